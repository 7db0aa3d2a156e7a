"""What a host shows goes into one file, which answers as dumps and logs of the host do."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import fake_hosts
import pytest
from fake_hosts import AFTER, BEFORE, functions, host, lspci
from unprivileged import unprivileged

from analyzer.analysis import analyze
from analyzer.converting.collection import collect
from analyzer.errors import EmptyInputError, LimitExceededError
from analyzer.observed import junctions
from analyzer.options import Options
from analyzer.questions.atrisk import atrisk
from analyzer.readers import open_capture
from analyzer.readers.kmsg import read_kernel_messages

#: Two kernels' records, as /dev/kmsg has them: the later one was handed 01:00.0 by Live Update.
KMSG = (
    f"5,0,0,-;{fake_hosts.BANNER}\n"
    "6,1,0,-;Command line: root=/dev/vda1 pci=noaer\n"
    "6,2,1234567,-;PCI: Using ACPI for IRQ routing\n SUBSYSTEM=acpi\n DEVICE=+acpi:x\n"
)
LATER = KMSG.replace("1234567", "1234568")


def collected(tmp_path, name, boot, **others):
    root = host(tmp_path / name, functions(boot), boot=boot == AFTER, **others)
    output = str(tmp_path / f"{name}.bin")
    return output, collect(output, Options(), root=root)


def answer(*paths):
    (result,) = analyze(list(paths), Options(join=True)).captures
    (kexec,) = result.kexecs
    bridges = [(bridge.bdf, bridge.verdict, bridge.ari_before, bridge.ari_after) for bridge in kexec.bridges]
    devices = [(device.bdf, device.verdict, device.reason) for device in kexec.devices]
    return result.verdict, bridges, devices, kexec.policies


@pytest.mark.slow
def test_two_collected_files_answer_as_two_dumps_of_the_machine(tmp_path):
    before, _ = collected(tmp_path, "before", BEFORE, kmsg=KMSG)
    after, _ = collected(tmp_path, "after", AFTER, kmsg=LATER)
    dumps = [tmp_path / "before.txt", tmp_path / "after.txt"]
    for dump, boot in zip(dumps, (BEFORE, AFTER), strict=True):
        dump.write_text(lspci(functions(boot)))
    verdict, bridges, devices, _ = of_dumps = answer(*map(str, dumps))
    assert verdict == "findings"
    assert ("0000:02:00.0", "hidden", True, None) in bridges
    assert [verdict for _, verdict, _ in devices].count("stranded") == 8
    assert answer(before, after) == of_dumps
    assert [boot.release for boot in analyze([before, after], Options(join=True)).captures[0].boots] == [
        fake_hosts.RELEASE,
        fake_hosts.RELEASE,
    ]


def test_one_file_says_what_is_at_risk_as_a_dump_does(tmp_path):
    before, found = collected(tmp_path, "before", BEFORE)
    (tmp_path / "before.txt").write_text(lspci(functions(BEFORE)))
    mine, theirs = atrisk(before), atrisk(str(tmp_path / "before.txt"))
    assert (mine.verdict, mine.ports) == (theirs.verdict, theirs.ports)
    assert mine.verdict == "at-risk"
    assert (found.functions, found.short) == (19, 0)


def test_what_the_file_holds(tmp_path):
    path, found = collected(tmp_path, "x", BEFORE, kmsg=KMSG)
    notes = open_capture(path).notes
    assert (notes.host, notes.releases, notes.source_format) == (
        "host17",
        [fake_hosts.RELEASE],
        "sysfs-config",
    )
    assert notes.created_ns is not None
    assert notes.problems == []
    assert not found.missing
    assert [line.text for line in notes.log] == [
        "-- Boot 20dd942d255a45ba955e3956c814e4df --",
        f"[    0.000000] {fake_hosts.BANNER}",
        "[    0.000000] Command line: root=/dev/vda1 pci=noaer",
        "[    1.234567] PCI: Using ACPI for IRQ routing",
    ]


def test_a_ring_buffer_that_has_lost_its_beginning(tmp_path):
    """Release and command line come from /proc, and the number of lost messages stands in the log."""
    path, found = collected(tmp_path, "x", BEFORE, kmsg="6,417,99000000,-;eth0: link up\n")
    assert [line.text for line in open_capture(path).notes.log][1:] == [
        fake_hosts.BANNER,
        "Kernel command line: root=/dev/vda1 pci=noaer",
        "** 417 printk messages dropped **",
        "[   99.000000] eth0: link up",
    ]
    (missing,) = found.missing
    assert missing.what.startswith("417 messages of the kernel's log")
    assert not missing.decides


@pytest.fixture
def public():
    """A folder that every user can reach: pytest's own are below one that is closed."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_without_root(public):
    """The kernel shows 64 bytes of config space, and may refuse its log."""
    spaces = {name: data[:64] for name, data in functions(BEFORE).items()}
    root = host(public / "host", spaces, kmsg=KMSG)
    (public / "host/dev/kmsg").chmod(0)
    with unprivileged(public, owned=True):
        found = collect(str(public / "x.bin"), Options(), root=root)
    assert found.short == 19
    assert [(missing.what[:44], missing.decides) for missing in found.missing] == [
        ("of 19 of 19 functions more than the first 64", True),
        ("the kernel's log (/dev/kmsg: no permission)", False),
    ]
    assert atrisk(str(public / "x.bin")).verdict == "cannot-tell"


def test_a_function_that_cannot_be_read_is_named_and_the_rest_is_collected(tmp_path):
    root = host(tmp_path / "host", functions(BEFORE), kmsg=KMSG)
    device = tmp_path / "host/sys/devices/pci0000:00/0000:03:01.0"
    (device / "config").unlink()
    (device / "config").mkdir()
    (tmp_path / "host/sys/devices/pci0000:00/0000:03:02.0/config").write_bytes(b"")
    found = collect(str(tmp_path / "x.bin"), Options(), root=root)
    assert found.functions == 17
    assert [missing.decides for missing in found.missing] == [True, True]
    assert "0000:03:02.0/config (it is empty)" in " ".join(missing.what for missing in found.missing)
    assert answer(str(tmp_path / "x.bin"), str(tmp_path / "x.bin"))[0] == "undetermined"


@pytest.mark.parametrize("error", [errno.ENODEV, errno.EIO, errno.ENOENT])
def test_a_function_that_vanishes_while_it_is_read(tmp_path, monkeypatch, error):
    """Kernfs answers ENODEV to a read of a device that was removed after the open."""
    root = host(tmp_path / "host", functions(BEFORE))
    opened = Path.open

    def broken(path, *arguments, **named):
        if "0000:04:00.0" in str(path):
            raise OSError(error, os.strerror(error))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", broken)
    found = collect(str(tmp_path / "x.bin"), Options(), root=root)
    assert found.functions == 18
    assert f"0000:04:00.0/config ({os.strerror(error)})" in found.missing[0].what


def test_a_host_without_functions(tmp_path):
    root = host(tmp_path / "host", {})
    with pytest.raises(EmptyInputError, match="expected PCI functions in this directory, found none"):
        collect(str(tmp_path / "x.bin"), Options(), root=root)
    assert not (tmp_path / "x.bin").exists()


def test_links_that_lead_out_of_the_root_are_not_followed(tmp_path):
    root = host(tmp_path / "host", functions(BEFORE), kmsg=KMSG)
    host(tmp_path / "other", {"0000:09:00.0": b"x" * 256})
    (tmp_path / "host/sys/bus/pci/devices/0000:09:00.0").symlink_to(
        tmp_path / "other/sys/devices/pci0000:00/0000:09:00.0"
    )
    found = collect(str(tmp_path / "x.bin"), Options(), root=root)
    assert found.functions == 19
    assert [missing.decides for missing in found.missing] == [True]


def test_redacted(tmp_path):
    root = host(tmp_path / "host", functions(BEFORE), kmsg=KMSG)
    found = collect(str(tmp_path / "x.bin"), Options(), root=root, redact=True, moment="before")
    data = zstd_free(str(tmp_path / "x.bin"))
    for secret in ("host17", "vda1", "debian", "20dd942d"):
        assert secret not in data
    assert found.blanked is not None
    assert open_capture(str(tmp_path / "x.bin")).notes.tool.endswith(" collect --before")
    assert atrisk(str(tmp_path / "x.bin")).verdict == "at-risk"


def zstd_free(path):
    capture = open_capture(path)
    return repr((capture.notes, capture.accesses.to_dicts()))


def test_a_preserved_set_that_lies_in_memory_is_named_as_missing(tmp_path):
    root = host(tmp_path / "host", functions(AFTER), kmsg=KMSG)
    (tmp_path / "host/sys/kernel/debug/kho/in/sub_fdts").mkdir(parents=True)
    (tmp_path / "host/sys/kernel/debug/kho/in/sub_fdts/LUO").write_bytes(b"luo-v5")
    (missing,) = collect(str(tmp_path / "x.bin"), Options(), root=root).missing
    assert missing.what.startswith("the set of preserved functions: Live Update handed one to this kernel")
    assert "--flb" in missing.advice
    listed = (
        KMSG + "6,3,2000000,-;pci 0000:03:00.0: Device was preserved by previous kernel across Live Update\n"
    )
    (tmp_path / "host/dev/kmsg").write_text(listed)
    assert collect(str(tmp_path / "y.bin"), Options(), root=root).missing == ()


def test_pieces_of_one_boot_and_pieces_in_the_wrong_order(tmp_path, monkeypatch):
    times = iter((20 * 10**18, 10 * 10**18))
    monkeypatch.setattr("time.time_ns", lambda: next(times) // 10)
    late, _ = collected(tmp_path, "late", BEFORE)
    early, _ = collected(tmp_path, "early", AFTER)
    (problem,) = junctions.join([open_capture(late), open_capture(early)]).notes.problems
    assert "was made 1,000,000,000 s before piece 1" in problem.message
    messages = [problem.message for problem in junctions.join([open_capture(early)] * 2).notes.problems]
    assert len(messages) == 1
    assert "are of the same boot (30dd942d255a45ba955e3956c814e4df)" in messages[0]
    assert answer(early, early)[0] == "undetermined"


@pytest.mark.parametrize(
    ("records", "lines", "lost"),
    [
        ("6,0,5,-;a\\x0ab \\xc3\\xa9 \\x5c\n", ["[    0.000005] a", "[    0.000005] b \u00e9 \\"], 0),
        ("6,3,1000000,c,caller=T1;x\n6,9,2000000,-;y\n", ["[    1.000000] x", "[    2.000000] y"], 8),
        ("30,0,1,-;of user space\n", ["[    0.000001] of user space"], 0),
        ("no record\n 6,0,1,-;in a dictionary\n6,0,1,-", [], 0),
        ("6,99999999999999999999,1,-;number too long\n", [], 0),
        ("", [], 0),
    ],
)
def test_records_of_the_kernel(tmp_path, records, lines, lost):
    (tmp_path / "kmsg").write_text(records)
    found = read_kernel_messages(str(tmp_path / "kmsg"))
    assert (list(found.lines), found.lost) == (lines, lost)


def test_a_log_that_never_ends(tmp_path):
    (tmp_path / "kmsg").write_text("6,0,1,-;x\n" * 1000)
    with pytest.raises(LimitExceededError, match="at most 100 bytes"):
        read_kernel_messages(str(tmp_path / "kmsg"), limit=100)
