"""docs/examples: what collects after a kexec, and what reports on a fleet every night."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import zstandard
from example_scripts import run_example

TRACES = Path(__file__).parents[1] / "traces"
#: Real: what the recorder had written when a kexec replaced its kernel, and the log of the incoming kernel.
OUTGOING = TRACES / "formats" / "recorder-cut-by-kexec.bin.zst"
EARLYDUMP = TRACES / "formats" / "earlydump-behind-kexec.txt.zst"
SYSFS = TRACES / "formats" / "sysfs-config.tar.zst"
KEXEC, GRUB = "208", "114"
BOOT, BEFORE, LONG_BEFORE = ("0" * 31 + digit for digit in "123")


def whole(path: Path) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())


@pytest.fixture
def collect(tmp_path, monkeypatch):
    """Run the script on a host with recordings, a boot loader, and a kernel log."""
    state = tmp_path / "state"
    proc = tmp_path / "proc"
    (state / "recording").mkdir(parents=True)
    (proc / "random").mkdir(parents=True)
    (proc / "random" / "boot_id").write_text(
        f"{BOOT[:8]}-{BOOT[8:12]}-{BOOT[12:16]}-{BOOT[16:20]}-{BOOT[20:]}\n"
    )
    (tmp_path / "record.py").write_text(f"import shutil, sys\nshutil.copyfile({str(SYSFS)!r}, sys.argv[3])\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dmesg").write_text(f"#!/bin/sh\ncat {tmp_path}/log\n")
    (tmp_path / "bin" / "dmesg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def run(
        recordings: dict[str, int], loader: str = KEXEC, log: bytes = b""
    ) -> tuple[int, str, str, list[str]]:
        for boot, seconds in recordings.items():
            path = state / "recording" / f"{boot}.bin"
            path.write_bytes(whole(OUTGOING))
            os.utime(path, (seconds, seconds))
        (tmp_path / "log").write_bytes(log)
        (proc / "bootloader_type").write_text(f"{loader}\n")
        done = run_example("aritrace-collect", state=state, proc=proc, recorder=tmp_path / "record.py")
        left = sorted(str(path.relative_to(state)) for path in state.rglob("*") if path.is_file())
        return *done, left

    return run


@pytest.mark.parametrize("recordings", [{}, {BOOT: 3}], ids=["none", "of this kernel"])
def test_without_a_recording_of_an_earlier_kernel(collect, recordings):
    status, out, err, left = collect(recordings)
    assert (status, out, err) == (0, "no recording of an earlier kernel\n", "")
    assert left == [f"recording/{boot}.bin" for boot in recordings]


def test_a_log_with_the_registers_is_the_other_half(collect):
    status, out, err, left = collect({BEFORE: 2, LONG_BEFORE: 1, BOOT: 3}, log=whole(EARLYDUMP))
    assert status == 1, err
    assert "\nLOST (preserved set unknown, capture cut short): ARI Forwarding on 0000:02:00.0; " in out
    assert left == [
        f"collected/{BOOT}/incoming-dmesg.txt",
        f"collected/{BOOT}/outgoing.bin",
        f"collected/{BOOT}/verdict.txt",
        f"recording/{BOOT}.bin",
        f"unused/{LONG_BEFORE}.bin",
    ]


def test_without_them_config_space_is_read(collect):
    status, out, err, left = collect({BEFORE: 2}, log=b"[    0.000000] Linux version 6.12.95\n")
    assert status == 1, err
    assert out.startswith(
        "LOST (preserved set unknown, capture cut short): 1 function is gone (0000:00:05.0); "
    )
    assert f"collected/{BOOT}/incoming.bin" in left


def test_the_list_that_the_drop_in_kept_names_what_was_preserved(collect, tmp_path):
    kept = tmp_path / "state" / "recording" / f"{BEFORE}.preserved"
    kept.write_text("0000:03:00.0\n0000:03:01.0\n")
    status, out, err, left = collect({BEFORE: 2}, log=whole(EARLYDUMP))
    assert status == 1, err
    assert out.startswith("LOST (capture cut short): ARI Forwarding on 0000:02:00.0; ")
    assert f"collected/{BOOT}/outgoing.preserved" in left


def test_a_machine_that_was_rebooted_has_no_kexec_to_judge(collect):
    """The recording ended with a reboot through the firmware, which resets every register."""
    status, out, _, left = collect({BEFORE: 2}, GRUB, whole(EARLYDUMP))
    assert (status, left) == (0, [f"unused/{BEFORE}.bin"])
    assert "is not the recording of a kexec into this kernel" in out


@pytest.fixture
def night(tmp_path):
    captures, state = tmp_path / "captures", tmp_path / "state"
    captures.mkdir()
    state.mkdir()

    def run(*names: str) -> tuple[int, str, str]:
        for name in names:
            shutil.copyfile(TRACES / f"{name}.bin", captures / f"{name}.bin")
        return run_example(
            "aritrace-fleet", captures=captures, state=state, textfile=tmp_path / "textfile" / "aritrace.prom"
        )

    (tmp_path / "textfile").mkdir()
    return run


def test_each_night_has_all_captures(night, tmp_path):
    textfile = tmp_path / "textfile" / "aritrace.prom"
    for names, kept, lost in ((["clean-inherit"], "1.0", "0.0"), (["lost-explicit-write"], "1.0", "1.0")):
        status, _, err = night(*names)
        assert status == 0, err
        lines = textfile.read_text().splitlines()
        assert f'aritrace_fleet_kexecs{{ari="kept"}} {kept}' in lines
        assert f'aritrace_fleet_kexecs{{ari="lost"}} {lost}' in lines
        assert "aritrace_fleet_complete 1.0" in lines
        assert textfile.stat().st_mode & 0o444 == 0o444  # node_exporter is another user
        assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [
            "last", "report.html", "report.txt"
        ]  # fmt: skip


def test_a_run_that_fails_replaces_nothing(night, tmp_path):
    """The textfile keeps its age, by which its alert goes off."""
    night("clean-inherit")
    textfile = tmp_path / "textfile" / "aritrace.prom"
    before = textfile.stat().st_mtime_ns
    settings = {"captures": "-", "state": tmp_path / "state", "textfile": textfile}
    status, _, err = run_example("aritrace-fleet", **settings)
    assert status == 2
    assert "not from standard input" in err
    assert textfile.stat().st_mtime_ns == before
