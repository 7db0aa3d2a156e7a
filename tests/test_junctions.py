"""Whether joined pieces can be in the order in which they were given."""

from __future__ import annotations

import tomllib
from pathlib import Path

import polars as pl
import pytest
from corpus_answers import answer

from analyzer.analysis import analyze_capture
from analyzer.capture import Capture, Notes, SourceFile, accesses
from analyzer.cli.application import run
from analyzer.converting.native import write_capture
from analyzer.observed import junctions
from analyzer.readers import open_capture
from analyzer.report import problems
from analyzer.results import Analysis
from analyzer.verdicts import verdict

TRACES = Path(__file__).parent.parent / "traces"
CAPTURES = sorted(TRACES.glob("*.bin"))
S = 10**9
#: A time of day in 2026.
NOW = 1_795_328_000 * S


def timed(
    path: str, times: list[int | None], clock: str | None = "realtime", form: str = "qemu-log"
) -> Capture:
    """A piece whose accesses were recorded at these times."""
    table = pl.DataFrame({"time_ns": times}, schema={"time_ns": accesses.SCHEMA["time_ns"]})
    return Capture(path, [SourceFile(path, form, "")], form, table, Notes(path, clock=clock))


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        # In order, or with clocks that overlap a little.
        ([("a", [0, 9]), ("b", [10, 19])], []),
        ([("a", [0, 9]), ("b", [4, 19])], []),
        # In the wrong order, long and short.
        ([("b", [107, 200]), ("a", [93, 106])], ["piece 2 (a) begins 107 s before piece 1 (b) ends"]),
        ([("b", [2, 3]), ("a", [0, 1])], ["piece 2 (a) begins 3.000 s before piece 1 (b) ends"]),
        # The later one begins in the middle of the earlier one; the same piece twice.
        ([("a", [0, 90]), ("b", [50, 95])], ["piece 2 (b) begins 40 s before piece 1 (a) ends"]),
        ([("a", [0, 1]), ("a", [0, 1])], ["piece 2 (a) begins 1.000 s before piece 1 (a) ends"]),
        # Of three, one without times between the others.
        ([("b", [9]), ("c", [None]), ("a", [0])], ["piece 3 (a) begins 9.000 s before piece 1 (b) ends"]),
        ([("a", [None, None]), ("b", [None])], []),
    ],
)
def test_a_piece_that_begins_before_an_earlier_one_ends(pieces, said):
    """Times in seconds."""
    times = [[None if second is None else NOW + second * S for second in seconds] for _, seconds in pieces]
    found = junctions.clock_problems([timed(path, of) for (path, _), of in zip(pieces, times, strict=True)])
    assert [problem.message.partition(": ")[0] for problem in found] == said
    assert {problem.kind for problem in found} <= {"order"}
    assert all("are they in order?" in problem.message for problem in found)


@pytest.mark.parametrize(
    ("clocks", "form", "compared"),
    [
        (("realtime", "realtime"), "native", True),
        (("realtime", None), "ftrace-text", True),  # that no clock since a boot could show
        (("tai", "tai"), "trace-dat", True),
        (("tai", "realtime"), "trace-dat", False),
        (("monotonic", "monotonic"), "qemu-simpletrace", True),
        (("monotonic", "monotonic"), "trace-dat", False),
        (("boot", "boot"), "native", False),
        (("local", "local"), "trace-dat", False),
    ],
)
def test_only_clocks_that_go_on_across_a_kexec_are_compared(clocks, form, compared):
    later, earlier = timed("b", [NOW + 9 * S], clocks[0], form), timed("a", [NOW], clocks[1], form)
    assert bool(junctions.clock_problems([later, earlier])) is compared


def test_times_since_a_boot_of_an_unknown_clock_are_not_compared():
    assert junctions.clock_problems([timed("b", [90 * S], None), timed("a", [S], None)]) == []


def piece(capture: Capture, first: int, last: int, path: str) -> Capture:
    """Some rows of a capture as a file of its own, with the clock of the whole."""
    table = capture.accesses.filter(pl.col("seq").is_between(first, last))
    table = table.with_columns(seq=pl.int_range(table.height, dtype=pl.UInt64))
    notes = Notes(path, clock=capture.notes.clock)
    return Capture(path, [SourceFile(path, "native", "")], "native", table, notes)


def cut(path: Path) -> tuple[Capture, Capture]:
    """A capture as two pieces, cut at its first kexec."""
    capture = open_capture(str(path))
    boundary = answer(path.stem).kexecs[0].at_access
    return piece(capture, 0, boundary - 1, "a.bin"), piece(capture, boundary, 1 << 40, "b.bin")


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_real_captures_cut_at_their_kexec(path):
    """In order nothing is said, whatever was written in the blackout; the other way round both things are."""
    outgoing, incoming = cut(path)
    case = tomllib.loads(path.with_suffix(".toml").read_text())
    firmware = case.get("truth", {}).get("boots", ["firmware"])[0] == "firmware"
    assert junctions.begins_with_firmware(outgoing) == firmware
    assert not junctions.begins_with_firmware(incoming)
    assert junctions.join([outgoing, incoming]).notes.problems == []
    wrong = junctions.join([incoming, outgoing]).notes
    # Without firmware only the clock tells.
    told = [("order", "a.bin")] * (1 + firmware)
    assert [(problem.kind, problem.file) for problem in wrong.problems] == told
    assert [mark.kind for mark in wrong.boundaries] == ["boot" if firmware else "kexec"]
    assert not wrong.whole


def test_pieces_in_the_wrong_order_are_no_kexec_and_nothing_healed(capsys):
    outgoing, incoming = cut(TRACES / "healed-in-blackout.bin")
    result = analyze_capture(junctions.join([incoming, outgoing]))
    assert (result.verdict, result.kexecs) == ("no-kexec", [])
    texts = [problem.message for problem in result.errors if problem.kind == "order"]
    assert texts[0].startswith("piece 2 (a.bin) begins with firmware")
    problems.print_warnings(Analysis("observed", [result], verdict.summarise([result])))
    assert capsys.readouterr().err.count("are they in order?") == 2


def test_the_same_files_in_both_orders(tmp_path, capsys):
    names = []
    for one in cut(TRACES / "healed-in-blackout.bin"):
        names.append(str(tmp_path / one.path))
        write_capture(one, names[-1])
    run(["--join", *names])
    assert "are they in order?" not in capsys.readouterr().out
    run(["--join", *reversed(names)])
    out = capsys.readouterr().out
    assert out.startswith("NO KEXEC")
    assert " ".join(out.split()).count("are they in order?") == 2
