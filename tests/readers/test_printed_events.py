"""Probes that the kernel prints into its log (tp_printk, the dump of an oops): both kernels in one file."""

from __future__ import annotations

from pathlib import Path

import pytest
from printed_consoles import KEXEC, VERSION, console, printed

from analyzer.analysis import analyze
from analyzer.options import Options
from analyzer.readers import open_capture

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
KERNELS = [FORMATS / f"trace-dat-kprobes-kernel{number}.dat" for number in (1, 2)]
COLUMNS = ("domain", "bus", "devfn", "offset", "width", "op", "value", "status")
SAID = "(pci_read+0x25/0x40 <- pci_conf1_read) seg=0 bus=0 devfn=0 reg={} len={} val={:#x} rc=0"
VENDOR, HEADER = SAID.format(0, 2, 0x8086), SAID.format(14, 1, 0)


def read(path: Path, text: str, **options):
    file = path / "console.txt"
    file.write_text(text, newline="")
    return open_capture(str(file), Options(**options))


def event(time: str, text: str) -> str:
    return f"[{time:>12}] rd_conf1: {text}"


@pytest.mark.parametrize("prefix", ["[{:5d}.{:06d}] ", "[{:5d}.{:06d}][  T1] ", "<4>[{:5d}.{:06d}] "])
def test_two_kernels_on_one_console_are_their_two_recordings_joined(prefix, tmp_path):
    file = tmp_path / "console.txt"
    file.write_text(console(*(printed(path, prefix) for path in KERNELS)), newline="")
    capture = open_capture(str(file))
    recorded = [open_capture(str(path)).accesses for path in KERNELS]
    assert capture.format == "printed-events"
    expected = [row for table in recorded for row in table.select(COLUMNS).rows()]
    assert capture.accesses.select(COLUMNS).rows() == expected
    assert [(mark.seq, mark.kind) for mark in capture.notes.boundaries] == [(recorded[0].height, "kexec")]
    assert (capture.notes.problems, capture.notes.dropped) == ([], 0)
    (found,) = analyze([str(file)]).captures
    (joined,) = analyze([str(path) for path in KERNELS], Options(join=True)).captures
    assert found.verdict == joined.verdict
    assert [(b.bdf, b.verdict, b.cause) for k in found.kexecs for b in k.bridges] == [
        (b.bdf, b.verdict, b.cause) for k in joined.kexecs for b in k.bridges
    ]
    assert [boot.release for boot in found.boots] == ["6.12.95"] * 2


def test_what_the_example_says(tmp_path):
    capture = read(tmp_path, f"{event('47.501553', VENDOR)}\n{event('47.501556', HEADER)}\n")
    assert capture.accesses.select("time_ns", "offset", "width", "value", "where").rows() == [
        (47_501_553_000, 0, 2, 0x8086, 0),
        (47_501_556_000, 14, 1, 0, len(event("47.501553", VENDOR)) + 1),
    ]
    assert (capture.notes.clock, capture.notes.log) == ("local", [])


@pytest.mark.parametrize("prefix", ["[   47.501556] ", "<6>[   47.501556] ", ""])
def test_a_message_that_is_cut_is_no_access_and_said(prefix, tmp_path):
    """0x80 that is cut after 0x8 would be another value."""
    first, last = event("47.501553", VENDOR), f"{prefix}rd_conf1: {HEADER}"
    begin = 1 if prefix else last.index("bus=") + 4  # without a time it must be seen what it is
    for end in range(begin, len(last)):
        capture = read(tmp_path, f"{first}\n{last[:end]}")
        assert capture.accesses["value"].to_list() == [0x8086]
        assert (capture.notes.truncated, capture.notes.log) == (True, [])


def test_a_prompt_at_the_end_is_whole(tmp_path):
    capture = read(tmp_path, f"{event('47.501553', VENDOR)}\nlocalhost login: ")
    assert capture.notes.truncated is False
    assert [line.text for line in capture.notes.log] == ["localhost login: "]


DUMP = [
    "[   60.000001] Dumping ftrace buffer:",
    "[   60.000002] ---------------------------------",
    f"[   60.000003]     init-1         0d..1. 1183587us : rd_conf1: {VENDOR}",
    f"[   60.000004] kworker/-17        1..... 1183590us+: rd_conf1: {HEADER}",
    "[   60.000005] ---------------------------------",
]


def test_the_dump_of_an_oops(tmp_path):
    capture = read(tmp_path, "\n".join(["[   59.000000] sysrq: Trigger a crash", *DUMP, ""]))
    assert capture.accesses.select("time_ns", "cpu", "offset").rows() == [
        (1_183_587_000, 0, 0),
        (1_183_590_000, 1, 14),
    ]
    assert (capture.notes.problems, len(capture.notes.log)) == ([], 4)


@pytest.mark.parametrize(
    ("lines", "kept", "again"),
    [
        # A dump of what was printed before.
        ([event("1.000001", VENDOR), event("1.000002", HEADER), *DUMP], 2, 2),
        # dmesg in a shell.
        (2 * [event("1.000001", VENDOR), event("1.000002", HEADER)], 2, 2),
        (2 * [f"[    0.000000] {VERSION}", event("1.000001", VENDOR), event("1.000002", HEADER)], 2, 2),
        # The same access twice, and a dump in another kernel than the printed events.
        ([event("1.000001", VENDOR), event("1.000001", VENDOR), event("1.000002", HEADER)], 3, 0),
        (
            [
                f"[    0.000000] {VERSION}",
                event("1.000001", VENDOR),
                f"[   50.000000] {KEXEC}",
                f"[    0.000000] {VERSION}",
                *DUMP,
            ],
            3,
            0,
        ),
    ],
)
def test_what_the_log_shows_again_counts_once(lines, kept, again, tmp_path):
    capture = read(tmp_path, "\n".join([*lines, ""]))
    assert capture.accesses.height == kept
    assert [problem.message.split()[0] for problem in capture.notes.problems] == (
        [f"{again}"] if again else []
    )


@pytest.mark.parametrize(
    ("line", "kind", "lost"),
    [
        ("** 123 printk messages dropped **", "dropped", 123),
        ("[    1.500000] CPU:1 [LOST 7 EVENTS]", "dropped", 7),
        (
            "[    1.500000] rd_conf1: (pci_read+0x25/0x40 <- pci_conf1_read) seg=0 bus=0 devfn=0 re",
            "damaged",
            1,
        ),
        ("[    1.500000] rd_conf1: (pci_re", "damaged", 1),
        ("c1_read) seg=0 bus=0 devfn=0 reg=14 len=1 val=0x0 rc=0", "damaged", 1),
    ],
)
def test_what_a_console_lost_is_counted_once(line, kind, lost, tmp_path):
    text = f"{event('1.000001', VENDOR)}\n{line}\n{event('2.000001', HEADER)}\n"
    capture = read(tmp_path, text)
    assert capture.accesses.height == 2
    assert [problem.kind for problem in capture.notes.problems] == [kind]
    assert capture.notes.dropped == lost


def test_a_kernel_of_which_the_log_does_not_say_how_it_was_started(tmp_path):
    lines = [
        f"[    0.000000] {VERSION}",
        event("1.000001", VENDOR),
        f"[    0.000000] {VERSION.replace('95', '96')}",
        event("0.500001", VENDOR),
        event("0.500002", HEADER),
    ]
    capture = read(tmp_path, "\n".join([*lines, ""]))
    assert capture.accesses.height == 3
    assert [problem.kind for problem in capture.notes.problems] == ["no-boundary"]
    assert "--kexec-at access:1" in capture.notes.problems[0].message


def test_messages_of_the_kernel_are_its_log(tmp_path):
    other = "[    1.000000] pci 0000:00:02.0: [1b36:000c] type 01 class 0x060400"
    capture = read(tmp_path, f"{other}\n{event('1.000001', VENDOR)}\n")
    assert [line.text for line in capture.notes.log] == [other]
    assert capture.accesses.height == 1


def test_dumps_of_earlydump_in_the_same_log_are_named(tmp_path):
    dump = "[    1.000000] pci 0000:00:02.0: config space:"
    capture = read(tmp_path, f"{event('1.000001', VENDOR)}\n{dump}\n")
    assert [problem.kind for problem in capture.notes.problems] == ["unsupported"]
    assert "1 dump of pci=earlydump" in capture.notes.problems[0].message
