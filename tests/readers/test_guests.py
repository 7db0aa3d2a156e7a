"""Several guests in one recording of a KVM host: each has a history of its own."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from analyzer.analysis import analyze
from analyzer.capture import Notes
from analyzer.cli.application import run
from analyzer.errors import SeveralGuestsError
from analyzer.options import Options
from analyzer.questions.statistics import stat
from analyzer.readers import open_capture
from analyzer.readers.trace import ftrace_text
from analyzer.readers.unwrap import ByteStream, open_stream

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
#: What a scan does first: the host bridge, then a function 00:02.0.
SCAN = ((0x80000000, 0xCFC, 4, 0x29C08086), (0x8000000C, 0xCFE, 1, 0), (0x80001000, 0xCFC, 4, 0xC1B36))
#: What firmware writes: PCIEXBAR of q35.
FIRMWARE = ((0x80000060, 0xCFC, 4, 0xB0000001),)


def line(comm: str, said: str, time: float, tgid: str = "") -> str:
    return f"  {comm} {tgid} [003]  {time:.6f}: kvm_pio: {said} \n"


def scan(comm: str, start: float, steps=SCAN, op: str = "read", tgid: str = "") -> list[str]:
    lines = []
    for number, (address, port, size, value) in enumerate(steps):
        time = start + number * 0.00001
        said = f"pio_write at 0xcf8 size 4 count 1 val {address:#x}"
        lines.append(line(comm, said, time, tgid))
        said = f"pio_{op} at {port:#x} size {size} count 1 val {value:#x}"
        lines.append(line(comm, said, time + 0.000001, tgid))
    return lines


def firmware(comm: str, start: float) -> list[str]:
    return scan(comm, start, FIRMWARE, "write")


def guests(*parts: list[str], **options) -> list[tuple[int, list[int], int]]:
    """Pid, threads and accesses of each guest that a text is said to be of; none for one guest."""
    text = "".join(line for part in parts for line in part)
    with ByteStream("x", io.BytesIO(text.encode())) as stream:
        try:
            list(ftrace_text.read(stream, Notes("x"), Options(**options)))
        except SeveralGuestsError as error:
            found = error.guests
        else:
            return []
    assert found
    return [(guest.pid, sorted(guest.threads), guest.accesses) for guest in found]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([scan("CPU 0/KVM-42", 1), scan("CPU 0/KVM-55", 2)], [(42, [42], 3), (55, [55], 3)]),
        ([scan("CPU 0/KVM-42", 1), scan("CPU 1/KVM-43", 2)], []),
        # An id that started over: no number is there twice.
        ([scan("CPU 1/KVM-42", 1), scan("CPU 0/KVM-4242", 2)], []),
        (
            [
                scan("CPU 0/KVM-42", 1),
                scan("CPU 3/KVM-45", 2),
                scan("CPU 0/KVM-55", 3),
                scan("CPU 2/KVM-57", 4),
            ],
            [(42, [42, 45], 6), (55, [55, 57], 6)],
        ),
        # The process stands in the line: names do not matter.
        (
            [
                scan("CPU 0/KVM-42", 1, tgid="( 40)"),
                scan("CPU 0/KVM-43", 2, tgid="( 41)"),
                scan("CPU 1/KVM-44", 3, tgid="( 40)"),
            ],
            [(40, [42, 44], 6), (41, [43], 3)],
        ),
        ([scan("CPU 0/KVM  40/42", 1), scan("CPU 1/KVM  40/43", 2)], []),
        ([scan("qemu  40/42", 1), scan("qemu  41/43", 2)], [(40, [42], 3), (41, [43], 3)]),
        # Without names: threads that do what only firmware does.
        ([firmware("qemu-42", 1), scan("qemu-42", 2), scan("qemu-43", 3)], []),
        (
            [firmware("qemu-42", 1), scan("qemu-42", 2), firmware("qemu-55", 3)],
            [(42, [42], 4), (55, [55], 1)],
        ),
        ([scan("fc_vcpu 0-42", 1), scan("fc_vcpu 0-55", 2)], [(42, [42], 3), (55, [55], 3)]),
    ],
)
def test_which_thread_is_of_which_guest(parts, expected):
    assert guests(*parts) == expected


@pytest.mark.parametrize(
    "parts",
    [
        # Started at the same time: the second CPU may be of either.
        [
            scan("CPU 0/KVM-42", 1),
            scan("CPU 0/KVM-43", 2),
            scan("CPU 1/KVM-44", 3),
            scan("CPU 1/KVM-45", 4),
        ],
        [firmware("qemu-42", 1), firmware("qemu-55", 2), scan("qemu-56", 3)],
        [scan("CPU 0/KVM-42", 1), scan("CPU 0/KVM-55", 2), scan("<...>-56", 3)],
        [
            scan("qemu-42", 1, tgid="( 40)"),
            scan("qemu-43", 2, tgid="( 41)"),
            scan("qemu-44", 3, tgid="(----)"),
        ],
    ],
)
def test_threads_that_cannot_be_assigned_are_not(parts, tmp_path):
    path = tmp_path / "host.txt"
    path.write_text("".join(line for part in parts for line in part))
    with pytest.raises(SeveralGuestsError, match="nothing that says to which guest") as caught:
        open_capture(str(path))
    assert (caught.value.guests, "trace-cmd record -P" in caught.value.advice) == ((), True)
    assert analyze([str(path)]).captures[0].verdict == "unreadable"
    with pytest.raises(SeveralGuestsError):
        open_capture(str(path), Options(guest=42))


def two_guests() -> str:
    """The input of two guests, one after the other."""
    return "cpus=8\n" + "".join(scan("CPU 0/KVM-4242", 100) + scan("CPU 0/KVM-5555", 130))


def test_each_guest_is_a_capture_of_its_own(tmp_path):
    path = tmp_path / "host.txt"
    path.write_text(two_guests())
    results = analyze([str(path)]).captures
    assert [(result.path, result.verdict, result.accesses) for result in results] == [
        (f"{path}[pid 4242]", "no-kexec", 3),
        (f"{path}[pid 5555]", "no-kexec", 3),
    ]
    assert [file.path for result in results for file in result.files] == [str(path)] * 2
    chosen = open_capture(str(path), Options(guest=5555))
    assert (chosen.path, chosen.accesses["time_ns"].to_list()[0]) == (f"{path}[pid 5555]", 130_000_001_000)
    assert stat(str(path), Options(guest=4242)).path == f"{path}[pid 4242]"


def test_guests_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "host.txt"
    path.write_text(two_guests())
    for arguments, paths in (
        ([], ["host.txt[pid 4242]", "host.txt[pid 5555]"]),
        (["--guest", "5555"], ["host.txt[pid 5555]"]),
    ):
        for command in ([], ["stat"]):
            run([*command, str(path), "--format", "json", *arguments])
            answer = json.loads(capsys.readouterr().out)
            rows = answer if command else answer["captures"]
            assert [Path(row["path"]).name for row in rows] == paths
    assert run([str(path), "--guest", "1", "--format", "json"]) == 3
    found = capsys.readouterr()
    assert "pid 4242 (3 accesses), pid 5555 (3 accesses)" in found.err
    missing = tmp_path / "missing.txt"
    run(["--format", "json", str(path), str(missing), str(path)])
    rows = json.loads(capsys.readouterr().out)["captures"]
    assert [row["verdict"] for row in rows] == ["no-kexec", "no-kexec", "unreadable", "no-kexec", "no-kexec"]
    # No command joins two guests.
    run([str(path)])
    assert "--join" not in capsys.readouterr().out


def test_a_sidecar_of_the_recording_is_of_no_guest(tmp_path):
    path = tmp_path / "host.txt"
    path.write_text(two_guests())
    for name in ("host.dmesg", "host.txt[pid 5555].dmesg"):
        (tmp_path / name).write_text("[    0.000000] Linux version 7.3.4 (x@y) #1 SMP\n")
    results = analyze([str(path)]).captures
    assert [[boot.release for boot in result.boots] for result in results] == [[None], ["7.3.4"]]
    assert [[problem.kind for problem in result.errors] for result in results] == [
        ["not-followed", "truncated"]
    ] * 2


def test_one_guest_that_is_not_the_wanted_one(tmp_path):
    path = tmp_path / "host.txt"
    path.write_text("".join(scan("CPU 0/KVM-42", 1)))
    assert open_capture(str(path), Options(guest=42)).path == str(path)
    with pytest.raises(SeveralGuestsError, match=r"pid 7, found pid 42 \(3 accesses\)"):
        open_capture(str(path), Options(guest=7))


def test_the_host_s_own_accesses_are_of_another_machine():
    own = "  setpci-7 [001]  5.000000: wr: (f) seg=0 bus=0 devfn=16 reg=4 len=2 val=0x7\n"
    assert guests(scan("CPU 0/KVM-42", 1), [own]) == [(42, [42], 3), (0, [0], 1)]


def test_two_real_recordings_of_one_guest_each_merged_by_time(tmp_path):
    """The guest's threads have no name of their own in it: its boot CPU is known by what firmware does."""
    with open_stream(str(FORMATS / "ftrace-kvm-host.txt.zst")) as stream:
        first = stream.read(1 << 24).decode().splitlines(keepends=True)[1:]
    second = [re.sub(r"x86-(\d+) ", lambda m: f"x86-{int(m[1]) + 900} ", line) for line in first]
    timed = sorted(
        (float(re.search(r" (\d+\.\d+): ", line)[1]) + shift, line)
        for shift, lines in ((0.0, first), (0.0003, second))
        for line in lines
    )
    merged = tmp_path / "merged.txt"
    merged.write_text(
        "".join(re.sub(r" \d+\.\d+: ", f" {time:.6f}: ", line, count=1) for time, line in timed)
    )
    alone = open_capture(str(FORMATS / "ftrace-kvm-host.txt.zst"))
    pids = sorted({int(m[1]) for _, line in timed if (m := re.search(r"x86-(\d+) ", line))})
    for pid in pids:
        own = open_capture(str(merged), Options(guest=pid)).accesses
        columns = ("op", "bus", "devfn", "offset", "width", "value")
        assert own.select(columns).rows() == alone.accesses.select(columns).rows()
