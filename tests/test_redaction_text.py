"""Texts without names: what goes, and what must stay for the kernel log to be read the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_log_facts
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture import LACKING, OUT_OF_ORDER, Boundary, Event, LogLine, Notes, Problem
from analyzer.converting.redaction import Scrubber, known_format
from analyzer.converting.redaction_log import Messages, phrases, plain_release
from analyzer.kernel_logs import kernel_log, log_facts

FORMATS = Path(__file__).parents[1] / "traces" / "formats"
HOST = "hv17.fleet.example"


@pytest.mark.parametrize(
    ("release", "numbers"),
    [
        ("6.12.0-acme-prod", "6.12.0"),
        ("6.12.95+deb12-amd64", "6.12.95"),
        ("7.3.0-rc2-acme", "7.3.0-rc2"),
        ("7.3.0-rc2", "7.3.0-rc2"),
        ("7.3.0-rcacme", "7.3.0"),
        ("6.1.0.7", "6.1.0"),
        ("7.3", "7.3"),
        ("6.1.4711", "6.1"),
        ("4711471147", "0"),
        ("acme", "0"),
        ("", "0"),
    ],
)
def test_releases(release, numbers):
    assert plain_release(release) == numbers


UNUSABLE = "devices behind bridge are unusable because [bus 05-06] cannot be assigned for them"


def lines(*given, keep_times=False):
    scrubber = Scrubber()
    notes = Notes("x", log=[LogLine(line) for line in given])
    return [line.text for line in scrubber.notes(notes, "capture", keep_times=keep_times).log], scrubber


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("[    1.000000] usb 1-1: SerialNumber: ABC123", []),
        ("Nov 22 09:06:18 hv17 kernel: [    1.5] nvme nvme0: serial", []),
        ("Nov 22 09:06:18 hv17 kernel: pcieport 0000:03:00.0: pciehp: Slot(7): Link Down",
         ["pcieport 0000:03:00.0: pciehp: Slot(7): Link Down"]),
        ("2026-11-22T09:06:18.1+00:00 hv17 kernel: Linux version 6.1.0.7 (me@hv17) (gcc 12) #1 SMP",
         ["Linux version 6.1.0 (build 1)"]),
        ("[    0.000000] Linux version 6.12.0-acme-prod (me@hv17) #1 SMP acme",
         ["[    0.000000] Linux version 6.12.0 (build 1)"]),
        ("[    0.000000] Command line: BOOT_IMAGE=/vm root=/dev/sda hostname=hv17 pci=noari,nomsi quiet",
         ["[    0.000000] Command line: pci=noari,nomsi (removed)"]),
        ("[    0.000000] Kernel command line: root=/dev/sda ip=10.0.0.1 intel_iommu=on kho=on",
         ["[    0.000000] Kernel command line: (removed)"]),
        ('[    0.000000] Command line: pci="noari" secret="a b" -- pci=noari',
         ["[    0.000000] Command line: pci=noari (removed)"]),
        ("Command line: pci=noari-acme,hv17,resource_alignment=20@pci:8086:9c22,realloc=on,pcie_scan_all",
         ["Command line: pci=noari,realloc=on,pcie_scan_all (removed)"]),
        ("Command line: pci=hv17", ["Command line: (removed)"]),
        ("Command line: reserve_mem=4M:4K:acme crashkernel=512M@hv17 elfcorehdr=0x7f000000 kho_scratch=1,2",
         ["Command line: elfcorehdr (removed)"]),
        ("Kernel command line: pci=noari kho_bootmem=0x1 \\",
         ["Kernel command line: pci=noari (removed) \\"]),
        ("[    0.000000] Command line: quiet", ["[    0.000000] Command line: (removed)"]),
        ("Command line: pci=noari", ["Command line: pci=noari"]),
        ("-- Boot 0123456789abcdef0123456789abcdef --", [f"-- Boot {'0' * 32} --"]),
        ("-- Reboot --", ["-- Reboot --"]),
        ('BdsDxe: loading Boot0001 "UEFI Disk S/N 4711" from PciRoot(0x0)', ["BdsDxe: (removed)"]),
        ("SeaBIOS (version acme-1.2)", ["SeaBIOS (version"]),
        ("reboot: Restarting system with command 'acme'", ["reboot: Restarting system"]),
        ("kexec_core: Starting new kernel", ["kexec_core: Starting new kernel"]),
        ("KHO: found kexec handover data, acme", ["KHO: found kexec handover data."]),
        ("luo: Retrieved live update data, liveupdate number: 7 of acme",
         ["luo: Retrieved live update data, liveupdate number: 7"]),
        ("Reserving 2MB of memory at 16MB for elfcorehdr of acme", ["Reserving memory for elfcorehdr"]),
        ("[    9.000000] Kernel panic - not syncing: hv17 is dead",
         ["[    9.000000] Kernel panic - not syncing"]),
        ("Kernel panic - not syncing: Incoming PCI FLB version (v3) on hv17",
         ["Kernel panic - not syncing: Incoming PCI FLB version (v"]),
        ("KHO: exec from: 6.12.0-hv17 (count 3)", ["KHO: exec from: 6.12.0 (count 3)"]),
        ("luo: LUO state is incompatible with 'acme'", ["luo: LUO state is incompatible with"]),
        ("acme_nic 0000:03:00.0: Max Payload Size set to 256 (was 128, max 512) on hv17",
         ["pci 0000:03:00.0: Max Payload Size set to 256 (was 128, max 512)"]),
        (f"pci 0000:02:00.0: {UNUSABLE} on hv17", [f"pci 0000:02:00.0: {UNUSABLE}"]),
        ("acme_nic 0000:03:00.0: AER: device recovery failed, see hv17",
         ["pci 0000:03:00.0: AER: device recovery failed"]),
        ("pcieport 0000:03:00.0: pciehp: Slot(hv17): Card present",
         ["pcieport 0000:03:00.0: pciehp: Slot( Card present"]),
        ("pcieport 0000:03:00.0: DPC: hv17", ["pcieport 0000:03:00.0: DPC: (removed)"]),
        ("pcieport 0000:03:00.0: AER: hv17 error was received",
         ["pcieport 0000:03:00.0: AER: error received"]),
        ("pcieport 0000:03:00.0: [ 7] Hv17", ["pcieport 0000:03:00.0: [ 7] H"]),
        ("pci 0000:03:00.0: ready 7ms after hv17", ["pci 0000:03:00.0: ready 7ms after (removed)"]),
        ("pci 0000:03:00.0: [8086:1234] type 00 class 0x020000 hv17",
         ["pci 0000:03:00.0: [8086:1234] type 00 class 0x020000"]),
    ],
)  # fmt: skip
def test_log_lines(line, kept):
    found, scrubber = lines(line)
    assert found == kept
    assert scrubber.left_out == (not kept)


#: What may come before a message and after it, with the name of the host.
AROUND = [
    "Nov 22 09:06:18 {host} kernel: {text}",
    "Sun 2026-11-22 09:06:18 UTC {host} kernel: {text}",  # journalctl -o short-full
    "1795338378.123456 {host} kernel: {text}",  # short-unix
    "[    4.123456 < +0.000012 >] {host} kernel: {text}",  # short-delta
    "[    4.123456] {host} kernel: {text}",  # short-monotonic
    "2026-11-22T09:06:18+0000 {host} kernel: {text}",
    "2026-11-22T09:06:18.123456+01:00 {host} kernel: {text}",
    "<6>1 2026-11-22T09:06:18.123456Z {host} kernel - - - {text}",  # RFC 5424
    '<6>1 2026-11-22T09:06:18Z {host} kernel - - [a@1 h="{host}"] {text}',
    "<6>Nov 22 2026 09:06:18 {host} kernel: {text}",  # RFC 3164 with a year
    "Nov 22 09:06:18.123 {host} kernel: {text}",
    "Nov 22 09:06:18 {host} kern.info kernel: {text}",
    "Nov 22 09:06:18 {host} kernel[0]: {text}",
    "Nov 22 09:06:18 {host} kernel: [    4.123456] {text}",
    "{host}: {text}",
    "{host}: [    4.123456] {text}",
    "{host} login: {text}",
    "{host} login: [    4.123456] {text}",
    "{host} | {text}",
    '{{"_HOSTNAME":"{host}","MESSAGE":"{text}","_TRANSPORT":"kernel"}}',
    '{{"MESSAGE" : "{text}", "_HOSTNAME" : "{host}"}}',
    "\x1b[32m{host}\x1b[0m {text} \x1b]0;{host}\x07{host}",
    "{text}\r{host}:~# {text}",
    "{text} {host} 10.1.2.3:443 fe80::1 2001:db8::7 525400123456 root@{host} /srv/{host}/x",
]
SAID = [
    "pcieport 0000:03:00.0: pciehp: Slot(7): Link Down",
    "pci 0000:03:00.0: [8086:1234] type 00 class 0x020000 PCIe Endpoint",
    "nvme 0000:03:00.0: Device will be preserved across next Live Update",
    "Linux version 6.12.0-hv17.fleet.example (me@hv17.fleet.example) (gcc 12) #1 SMP",
    "Command line: root=/dev/hv17.fleet.example ip=10.1.2.3 pci=noari",
    "reboot: Restarting system with command 'hv17.fleet.example'",
    "Kernel panic - not syncing: hv17.fleet.example",
    "luo: Retrieved live update data, liveupdate number: 3",
    "PCI: liveupdate: 0000:03:01.0 was never finished!",
    "KHO: exec from: 6.12.0-hv17.fleet.example (count 3)",
    "pci 0000:03:00.0: unknown header type 7f, ignoring device",
]
LEAKS = (HOST, "hv17", "fleet", "10.1", ":443", "fe80", "db8", "5254", "root@", "/srv", "2026")


@pytest.mark.parametrize("keep_times", [False, True])
@pytest.mark.parametrize("around", AROUND)
def test_no_host_name_stays_around_a_message(around, keep_times):
    for said in SAID:
        line = around.format(host=HOST, text=said)
        found, _ = lines(line, keep_times=keep_times)
        assert not [leak for leak in LEAKS for line in found if leak in line]
        before, after = (kernel_log.parse_lines(some) for some in ([line], found))
        for one, two in zip(before.runs, after.runs, strict=True):
            assert one.facts.keys() == two.facts.keys()
            assert (one.ended, one.noari, one.liveupdate_number) == (
                two.ended,
                two.noari,
                two.liveupdate_number,
            )
            assert [event.kind for event in one.events] == [event.kind for event in two.events]
            assert one.enumerated.keys() == two.enumerated.keys()


def samples():
    """Every message that the tests of log_facts read."""
    for test in (
        test_log_facts.test_series_evidence,
        test_log_facts.test_events,
        test_log_facts.test_facts,
    ):
        for mark in test.pytestmark:
            yield from (row[0] for row in mark.args[1])


@pytest.mark.parametrize("line", sorted(set(samples())))
def test_what_is_written_says_the_same(line):
    before = log_facts.read(line)
    shown = Messages().message(line)
    if before is None:
        assert shown is None
        return
    after = log_facts.read(shown)
    assert (after.kind, after.function, after.event, after.series) == (
        before.kind,
        before.function,
        before.event,
        before.series,
    )
    assert phrases(shown.partition(": ")[2]) or not before.function


def test_kernels_and_command_lines_that_differ_go_on_to_differ():
    messages = Messages()
    given = [
        "Linux version 6.12.0-acme (x) #1", "Linux version 6.12.0-other (x) #1",
        "Linux version 6.12.0-acme (x) #1", "Command line: acme", "Command line: other",
        "Kernel command line: acme",
    ]  # fmt: skip
    assert [messages.message(line) for line in given] == [
        "Linux version 6.12.0 (build 1)", "Linux version 6.12.0 (build 2)",
        "Linux version 6.12.0 (build 1)", "Command line: (removed)", "Command line: (removed-2)",
        "Kernel command line: (removed)",
    ]  # fmt: skip


@pytest.mark.parametrize("begin", ["Command line: ", "Kernel command line: "])
@pytest.mark.parametrize(("length", "noari"), [(900, False), (1021, None)])
def test_a_command_line_that_may_be_cut_still_may_be(begin, length, noari):
    line = (begin + "pci=nomsi " + "acme=1 " * 200)[: length - 1] + "x"
    found, _ = lines("Linux version 6.12.0 (x) #1", line)
    assert "acme" not in found[1]
    for log in (["Linux version 6.12.0 (x) #1", line], found):
        (run,) = kernel_log.parse_lines(log).runs
        assert run.noari is noari


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        ("pci_hp_event: 0000:00:03.0 slot:7, event:LINK_DOWN (Link Down)",
         "pci_hp_event: 0000:00:03.0 slot:7, event:LINK_DOWN Link Down"),
        ("pci_hp_event: 0000:00:03.0 slot:hv17, event:CARD_NOT_PRESENT (Card not present)",
         "pci_hp_event: 0000:00:03.0 event:CARD_NOT_PRESENT Card not present"),
        ("pcie_link_event: 0000:00:03.0 type:4, reason:1, status:LT|DLLLA",
         "pcie_link_event: 0000:00:03.0 type:4, reason:1, status:LT|DLLLA"),
        ("aer_event: 0000:00:03.0 PCIe Bus Error: severity=Fatal, Surprise Down Error /srv/hv17/log",
         "aer_event: 0000:00:03.0 PCIe Bus Error: severity=Fatal, Surprise Down Error"),
        ("hv17: link of 52:54:00:12:34:56 down, see /home/alice/x", "(removed)"),
    ],
)  # fmt: skip
def test_events(event, shown):
    notes = Notes("x", events=[Event("link", 5, (0, 0, 24), event), Event("hv17", 5, None, "")])
    first, second = Scrubber().notes(notes, "capture").events
    assert (first.kind, first.text, first.bdf) == ("link", shown, (0, 0, 24))
    assert (second.kind, second.text) == ("other", "(removed)")


@pytest.mark.parametrize(
    ("tool", "kept"),
    [
        ("aritrace traces/capture/record.py", True),
        ("aritrace 1.2.3", True),
        ("trace-cmd 3.3.1", True),
        ("trace-cmd", True),
        ("trace-cmd 3.3.1-acme", False),
        ("trace-cmd 4711", False),
        ("/srv/acme/record.py", False),
        ("recorder 1.0 on hv17", False),
    ],
)
def test_tools(tool, kept):
    assert Scrubber().notes(Notes("x", tool=tool), "capture").tool == (tool if kept else None)


@pytest.mark.parametrize(
    ("name", "kept"), [("qemu-log", True), ("native+trace-dat", True), ("acme", False), ("native+", False)]
)
def test_formats(name, kept):
    assert known_format(name) == (name if kept else None)


def test_the_other_notes():
    notes = Notes(
        "/srv/hv17.bin",
        host="hv17",
        problems=[Problem("damaged", "/srv/hv17", 7, "see /srv"), Problem("hv17", "x", None, "y")],
        boundaries=[Boundary(3, "kexec", "6.12.0-acme"), Boundary(4, "boot")],
        clock="hv17",
        created_ns=4711,
        releases=["6.12.0-acme", "6.12.0-hv17", "acme"],
        source_format="hv17",
    )
    found = Scrubber().notes(notes, "capture")
    assert found == Notes(
        "capture",
        problems=[
            Problem("damaged", "capture", 7, "(removed)"),
            Problem("other", "capture", None, "(removed)"),
        ],
        boundaries=[Boundary(3, "kexec", "6.12.0"), Boundary(4, "boot")],
        releases=["6.12.0", "0"],
    )


@pytest.mark.parametrize("kind", [*sorted(LACKING), OUT_OF_ORDER])
def test_problems_that_answers_depend_on_keep_their_kind(kind):
    notes = Scrubber().notes(Notes("x", problems=[Problem(kind, "x", None, "secret")]), "capture")
    assert notes.problems == [Problem(kind, "capture", None, "(removed)")]
    assert not notes.whole


def test_times_can_be_kept_where_a_dump_is_told_by_them():
    found, scrubber = lines("[    1.000000] secret", "no time", "[    2.000000] more", keep_times=True)
    assert found == ["[    1.000000] (removed)", "[    2.000000] (removed)"]
    assert scrubber.left_out == 1


@pytest.mark.parametrize(
    "name", ["console-healed-by-stock-kernel.txt.zst", "console-hidden-after-secondary-bus-reset.txt.zst"]
)
def test_a_real_console_says_the_same_without_the_rest(name):
    data = zstandard.ZstdDecompressor().decompressobj().decompress((FORMATS / name).read_bytes())
    found, scrubber = lines(*data.decode("utf-8", "replace").split("\n"), keep_times=True)
    before, after = kernel_log.parse(data), kernel_log.parse_lines(found)
    assert scrubber.left_out > 10
    assert len(before.runs) == len(after.runs) == 2
    for one, two in zip(before.runs, after.runs, strict=True):
        assert (plain_release(one.release), one.entered_by, one.ended) == (
            two.release,
            two.entered_by,
            two.ended,
        )
        assert (one.was_preserved, one.will_be_preserved, one.finished) == (
            two.was_preserved, two.will_be_preserved, two.finished,
        )  # fmt: skip
        assert (one.noari, one.liveupdate_number, one.series) == (
            two.noari,
            two.liveupdate_number,
            two.series,
        )
        assert [(event.kind, event.function) for event in one.events] == [
            (event.kind, event.function) for event in two.events
        ]


@given(st.text(max_size=300))
def test_no_text_is_too_strange(text):
    phrases(text)
    lines(text, f"[    1.000000] Command line: {text}", f"Linux version 6.{text} x", f"reboot: {text}")


@given(st.sampled_from(SAID), st.text("hvVQ7/ :.@-,()", max_size=30), st.integers(0, 200))
def test_letters_that_no_phrase_has_never_stay(said, secret, place):
    """Wherever foreign text stands in a message."""
    text = said[:place] + secret.replace("7", "Q") + said[place:]
    found, _ = lines(text)
    assert not any("Q" in line for line in found)
