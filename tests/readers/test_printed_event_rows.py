"""What the reader of printed trace events makes of each line of a console: rows, log, boundaries and notes.

Derived: lines as tp_printk and an ftrace dump write them.
"""

from __future__ import annotations

import io
from typing import Any

import pytest
from printed_consoles import KEXEC, VERSION

from analyzer.capture import Boundary, Notes
from analyzer.errors import LimitExceededError
from analyzer.kernel_logs import kernel_log
from analyzer.options import Options
from analyzer.readers.trace import console
from analyzer.readers.unwrap import ByteStream

#: Time in ns, domain, bus, devfn, offset, value and place of the line.
Row = tuple[int | None, int, int, int, int, int, int]


def read(*lines: str | bytes, end: bytes = b"\n", **options: Any) -> tuple[list[Row], Notes]:
    """The rows of a console, and the notes; ``end`` stands after the last line."""
    notes = Notes("console.txt")
    data = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines) + end
    frames = console.read(ByteStream(notes.path, io.BytesIO(data)), notes, Options(**options))
    columns = ("time_ns", "domain", "bus", "devfn", "offset", "value", "where")
    return [row for frame in frames for row in frame.select(columns).rows()], notes


def at(time: str, text: str) -> str:
    return f"[{time:>12}] {text}"


def said(register: int, value: int = 0x8086, devfn: int = 0) -> str:
    place = f"seg=1 bus=2 devfn={devfn} reg={register} len=2"
    return f"rd_conf1: (pci_read+0x25/0x40 <- pci_conf1_read) {place} val={value:#x} rc=0"


def notes_of(notes: Notes) -> list[tuple[str, str, int | None]]:
    return [(one.kind, one.message, one.offset_bytes) for one in notes.problems]


def started(release: str = "6.12.95") -> str:
    return at("0.000000", VERSION.replace("6.12.95", release))


FIRST, SECOND = at("1.000001", said(0)), at("1.000002", said(4, 0x1234))
#: How long a line of an event is, with its line feed: they are all of this length.
LINE = len(FIRST) + 1
ROWS = [(1_000_001_000, 1, 2, 0, 0, 0x8086, 0), (1_000_002_000, 1, 2, 0, 4, 0x1234, LINE)]


def dumped(register: int, time_us: int, *, cpu: int = 0, comm: str = "init", pid: int = 1) -> str:
    return at("60.000003", f"{comm:>8}-{pid:<8} {cpu:>4}d..1. {time_us}us : {said(register)}")


@pytest.mark.parametrize(
    ("lines", "rows", "log"),
    [
        ([FIRST, SECOND], ROWS, []),
        # Times are not known where printk prints none.
        ([said(0), said(4, 0x1234)], [(None, *ROWS[0][1:]), (None, *ROWS[1][1:-1], len(said(0)) + 1)], []),
        # A dump gives the times of its trace buffer; blanks at the end are of no field.
        (
            [dumped(0, 5), dumped(4, 7, comm="kworker/", pid=17, cpu=12) + "  "],
            [(5000, 1, 2, 0, 0, 0x8086, 0), (7000, 1, 2, 0, 4, 0x8086, len(dumped(0, 5)) + 1)],
            [],
        ),
        # Other lines are the log: whatever their bytes, without the carriage returns at their end.
        ([b"LINUX\xff X\r\r", "", FIRST], [(*ROWS[0][:-1], 12)], ["LINUX\ufffd X", ""]),
        # Two messages on one line, one of them no event.
        ([at("1.000000", "hub 1-0") + "\r" + FIRST], [(*ROWS[0][:-1], 0)], []),
    ],
)  # fmt: skip
def test_rows(lines: list[str | bytes], rows: list[Row], log: list[str]) -> None:
    found, notes = read(*lines)
    assert found == rows
    assert [line.text for line in notes.log] == log
    assert notes.clock == ("local" if rows[0][0] is not None else None)
    assert (notes.problems, notes.dropped, notes.foreign_lines) == ([], 0, 0)


def test_threads_and_processors_are_those_of_the_dump() -> None:
    notes = Notes("console.txt")
    text = "\n".join([dumped(0, 5, cpu=3), dumped(4, 7, cpu=12, pid=17), at("61.000000", said(6)), ""])
    frames = list(console.read(ByteStream("x", io.BytesIO(text.encode())), notes, Options()))
    assert [row for frame in frames for row in frame.select("cpu").rows()] == [(3,), (12,), (None,)]


def test_events_that_are_no_accesses_are_events() -> None:
    text = "0000:00:03.0 PCIe Bus Error: severity=Corrected, Receiver Error, TLP Header=Not available"
    rows, notes = read(FIRST, at("1.000002", f"aer_event: {text}"), at("1.000002", said(4, 0x1234)))
    assert [row[:-1] for row in rows] == [row[:-1] for row in ROWS]
    (event,) = notes.events
    assert (event.kind, event.seq, event.bdf, event.time_ns) == ("aer", 1, (0, 0, 0x18), 1_000_002_000)
    assert (notes.problems, notes.log) == ([], [])


def test_names_of_fields_that_a_user_gives() -> None:
    line = at("1.000001", "mine: (f+0x1/0x2) bus=2 where=4 df=9 n=2 value=0x1")
    rows, notes = read(line, field_map={"devfn": "df", "offset": "where", "len": "n", "read": "mine"})
    assert [row[2:6] for row in rows] == [(2, 9, 4, 1)]
    assert not notes.problems


@pytest.mark.parametrize("part", [1, 2, 3, 1000])
def test_many_events_in_parts_of_any_size(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_PART", part)
    third = at("1.000003", said(6))
    rows, notes = read(started(), FIRST, SECOND, third, at("9.000000", KEXEC), started(), SECOND, third)
    assert [row[4] for row in rows] == [0, 4, 6, 4, 6]
    assert [(mark.seq, mark.kind) for mark in notes.boundaries] == [(3, "kexec")]


def too_slow(messages: str) -> str:
    return (
        f"the kernel dropped {messages} because the console was too slow; accesses may be among them: use a"
        " faster console, or print fewer messages"
    )


def not_used(dumps: str) -> str:
    return (
        f"{dumps} not used: the log is read for its trace events; put the lines of that kernel into a file of"
        " their own, and give both with --join"
    )


@pytest.mark.parametrize(
    ("lines", "kind", "message", "place", "dropped"),
    [
        (
            ["** 5 printk messages dropped **", "** 7 printk messages dropped **"],
            "dropped",
            too_slow("12 messages"),
            0,
            12,
        ),
        (
            ["x", "** 1 printk messages dropped **"],
            "dropped",
            too_slow("1 message"),
            2,
            1,
        ),
        (
            [at("1.500000", text) for text in ("CPU:1 [LOST 7 EVENTS]", " CPU:0 [LOST EVENTS]")],
            "dropped",
            "the ring buffer that was dumped had lost 8 events",
            0,
            8,
        ),
        (
            [at("1.500000", "CPU:11 [EVENTS DROPPED]")],
            "dropped",
            "the ring buffer that was dumped had lost 1 event",
            0,
            1,
        ),
        (
            ["x", at("1.500000", "rd_conf1: (pci_re"), "c1_read) seg=0 bus=0 devfn=0 reg=14"],
            "damaged",
            "2 lines of config accesses are torn and left out",
            2,
            2,
        ),
        (
            ["c1_read) devfn=0 reg=14"],
            "damaged",
            "1 line of a config access is torn and left out",
            0,
            1,
        ),
        (
            [at("1.000000", f"pci 0000:00:0{device}.0: config space:  ") for device in range(2)],
            "unsupported",
            not_used("2 dumps of pci=earlydump in this log are"),
            0,
            0,
        ),
        (
            ["x", at("1.000000", "pci 0000:00:00.0: config space:")],
            "unsupported",
            not_used("1 dump of pci=earlydump in this log is"),
            2,
            0,
        ),
        (
            [SECOND, FIRST, SECOND],
            "duplicate",
            "2 events are in the log a second time and do not count again",
            LINE,
            0,
        ),
    ],
)
def test_notes(lines: list[str], kind: str, message: str, place: int, dropped: int) -> None:
    """After an event, by whose name the lines of others are known."""
    rows, notes = read(FIRST, *lines)
    assert notes_of(notes) == [(kind, message, place + LINE)]
    assert notes.dropped == dropped
    assert [line.text for line in notes.log] == [line for line in lines if line not in (FIRST, SECOND)]
    assert len(rows) == 1 + (kind == "duplicate")


@pytest.mark.parametrize(
    ("lines", "registers"),
    [
        # In one dump an event may come twice, and before anything was printed all of a dump count.
        ([dumped(0, 5), dumped(0, 5), at("61.000000", said(6))], [0, 0, 6]),
        # After a printed event a dump holds it and those before.
        ([at("61.000000", said(6)), dumped(0, 5), dumped(6, 61_000_000)], [6]),
        # A log that is shown again goes on with new messages.
        ([FIRST, SECOND, FIRST, SECOND, at("1.000003", said(6))], [0, 4, 6]),
        # The same time and text twice in a row are two accesses; of the log shown again none counts.
        ([FIRST, FIRST, SECOND, FIRST, FIRST, SECOND, SECOND], [0, 0, 4]),
        ([FIRST, FIRST], [0, 0]),
        (2 * [at("0.000000", said(0))], [0, 0]),
        # An older message that was not seen yet counts.
        ([SECOND, FIRST], [4, 0]),
        # Without times nothing shows a repetition.
        ([said(0), said(4), said(0), said(4)], [0, 4, 0, 4]),
        ([said(0), SECOND, said(0)], [0, 4, 0]),
        ([said(0), FIRST, SECOND, said(0), FIRST, said(0)], [0, 0, 4, 0]),
        # Another kernel has its own times.
        ([started(), SECOND, at("9.000000", KEXEC), started(), FIRST, SECOND], [4, 0, 4]),
        ([started(), SECOND, at("9.000000", KEXEC), started(), dumped(0, 5), dumped(4, 6)], [4, 0, 4]),
    ],
)
def test_what_counts_once(lines: list[str], registers: list[int]) -> None:
    rows, _ = read(*lines)
    assert [row[4] for row in rows] == registers


@pytest.mark.parametrize(
    ("between", "boundaries"),
    [
        ([at("9.000000", KEXEC)], [Boundary(2, "kexec", "6.12.96")]),
        (["SeaBIOS (version 1.16)"], [Boundary(2, "boot", "6.12.96")]),
        ([at("9.000000", "Kernel panic - not syncing: sysrq")], []),
    ],
)
def test_boundaries(between: list[str], boundaries: list[Boundary]) -> None:
    rows, notes = read(started(), FIRST, SECOND, *between, started("6.12.96"), FIRST)
    assert len(rows) == 3
    assert notes.boundaries == boundaries
    assert [problem.kind for problem in notes.problems] == ([] if boundaries else ["no-boundary"])


def test_a_kernel_for_a_crash() -> None:
    panic = at("5.000000", "Kernel panic - not syncing: sysrq")
    rows, notes = read(
        started(), FIRST, panic, started("6.12.96"), at("0.000000", "Command line: elfcorehdr=0x1000"), SECOND
    )
    assert len(rows) == 2
    assert notes.boundaries == [Boundary(1, "crash", "6.12.96")]


def test_a_kernel_without_accesses_begins_nowhere() -> None:
    mark = at("9.000000", KEXEC)
    _, notes = read(started(), mark, started("6.12.96"), FIRST, mark, started("6.12.97"))
    assert (notes.boundaries, notes.problems) == ([], [])


def test_the_line_of_a_kernel_is_that_of_the_file() -> None:
    _, notes = read(started(), FIRST, SECOND, started("6.12.96"), FIRST)
    message = (
        "the log does not say how the kernel of its line 4 was started; if by kexec, give --kexec-at access:2"
    )
    assert notes_of(notes) == [("no-boundary", message, None)]


def test_limits_of_lines_and_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "MAX_LINES", 2)
    rows, notes = read(FIRST, SECOND, FIRST)
    assert (rows, notes.truncated) == (ROWS, True)
    assert [(kind, place) for kind, _, place in notes_of(notes)] == [("too-large", 2 * LINE)]
    monkeypatch.setattr(kernel_log, "MAX_MESSAGES", 0)
    with pytest.raises(LimitExceededError) as caught:
        read(at("1.000000", "x"), FIRST)
    assert caught.value.path == "console.txt"


@pytest.mark.parametrize(
    ("last", "cut"),
    [
        (SECOND, True),
        ("<6>[", True),
        ("[", True),
        ("** 5 printk messages dropped **", True),
        ("CPU:1 [LOST 7 EVENTS]", True),
        ("localhost login: ", False),
        ("[root@host ~]# ", False),
    ],
)
def test_a_last_line_without_its_end(last: str, cut: bool) -> None:
    rows, notes = read(FIRST, last, end=b"")
    assert (rows, notes.truncated) == (ROWS[:1], cut)
    assert [line.text for line in notes.log] == ([] if cut else [last])


def test_only_so_many_names_are_remembered() -> None:
    """By the name alone a torn line is known; 20 probes are more than anyone sets."""
    names = [f"probe{number:02d}" for number in range(21)]
    lines = [at(f"1.0000{name[-2:]}", said(2 * int(name[-2:])).replace("rd_conf1", name)) for name in names]
    _, notes = read(*lines, *(at("2.000000", f"{name}: (pci_re") for name in names))
    (note,) = notes_of(notes)
    assert note[1] == "20 lines of config accesses are torn and left out"
