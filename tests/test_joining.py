"""Pieces of one history, and captures that start mid-life with a snapshot in front."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from simulator import Kernel, Recording, one_port
from stories import tell

from analyzer.analysis import analyze, analyze_capture, open_pieces
from analyzer.capture import Boundary, Capture, LogLine, Notes, SourceFile, joining
from analyzer.observed import junctions
from analyzer.options import Options
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from analyzer.results import CaptureResult

NAMES = ("0000:01:00.0", "0000:01:00.1", "0000:01:01.0", "0000:01:01.1")
OPTIONS = Options(preserved=",".join(NAMES))
PORT = "0000:00:01.0"
TRACES = Path(__file__).parent.parent / "traces"


def piece(capture: Capture, first: int, last: int, path: str) -> Capture:
    """Some rows of a capture as a file of its own, with a clock of its own."""
    table = capture.accesses.filter(pl.col("seq").is_between(first, last))
    start = table["time_ns"].min()
    table = table.with_columns(
        seq=pl.int_range(table.height, dtype=pl.UInt64), time_ns=pl.col("time_ns") - start + 10**9
    )
    return Capture(path, [SourceFile(path, "native", "")], "native", table, Notes(path))


def verdicts(result: CaptureResult) -> object:
    kexec = result.kexecs[-1]
    return (
        result.verdict,
        [(bridge.bdf, bridge.verdict, bridge.cause, bridge.confidence) for bridge in kexec.bridges],
        # A recorder in the guest ends before the shutdown, which shows Bus Master.
        [replace(device, bus_master=None, bus_master_access=None) for device in kexec.devices],
        kexec.policies,
        kexec.divergences,
    )


def lost() -> tuple[Capture, CaptureResult]:
    story = tell(
        one_port(),
        preserve=NAMES,
        before=lambda recording: recording.setpci(PORT, "CAP_EXP+28.w", 0, mask=0x20),
        firmware=False,
    )
    return story.recording.capture(), story.result


def test_two_files_give_the_verdict_of_one() -> None:
    whole, result = lost()
    boundary = result.kexecs[0].at_access
    joined = junctions.join(
        [piece(whole, 0, boundary - 1, "kernel1"), piece(whole, boundary, whole.accesses.height, "kernel2")]
    )
    assert verdicts(analyze_capture(joined, OPTIONS)) == verdicts(result)
    assert [file.path for file in joined.files] == ["kernel1", "kernel2"]
    evidence = analyze_capture(joined, OPTIONS).kexecs[0].bridges[0].evidence
    assert {item.file for item in evidence} == {"kernel1", "kernel2"}


def test_the_guests_own_two_traces_give_the_verdict_of_the_log_of_the_same_run() -> None:
    """Two trace.dat, whose clocks overlap, beside what QEMU wrote meanwhile (without the kernel log)."""
    options = Options(join=True)
    pieces = [str(TRACES / "formats" / f"trace-dat-kprobes-kernel{number}.dat") for number in (1, 2)]
    (joined,) = analyze(pieces, options).captures
    other = open_capture(str(TRACES / "lost-explicit-write-traced-guest.bin"))
    other.notes.log.clear()
    assert verdicts(joined) == verdicts(analyze_capture(other))
    assert joined.kexecs[0].observed == analyze_capture(other).kexecs[0].observed


def test_the_sidecars_of_every_piece_belong_to_the_whole(tmp_path: Path) -> None:
    """Each guest's own trace with the log of its own kernel beside it."""
    other = open_capture(str(TRACES / "lost-explicit-write-traced-guest.bin"))
    text = [line.text for line in other.notes.log]
    second = [number for number, line in enumerate(text) if "Linux version" in line][1]
    pieces = []
    for number, lines in enumerate((text[:second], text[second:]), start=1):
        pieces.append(tmp_path / f"kernel{number}.dat")
        shutil.copyfile(TRACES / "formats" / f"trace-dat-kprobes-kernel{number}.dat", pieces[-1])
        pieces[-1].with_suffix(".dat.dmesg").write_text("\n".join(lines), encoding="utf-8")
    (joined,) = analyze([str(path) for path in pieces], Options(join=True)).captures
    alone = analyze_capture(other)
    assert verdicts(joined) == verdicts(alone)
    assert (joined.kexecs[0].kind, joined.kexecs[0].preserved_source) == ("live-update", "sidecar")
    assert [boot.cmdline for boot in joined.boots] == [boot.cmdline for boot in alone.boots][-2:]


def test_each_piece_is_told_how_many_accesses_come_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """``--kexec-at`` counts on from piece to piece, and thinning must know."""
    told = []

    def spy(path: str, options: Options, *, thin: bool = True, first: int = 0) -> Capture:
        told.append((Path(path).name, first))
        return open_capture(path, options, thin=thin, first=first)

    monkeypatch.setattr("analyzer.readers.open_capture", spy)
    dump, *pieces = ("lspci-xxx.txt", "trace-dat-kprobes-kernel1.dat", "trace-dat-kprobes-kernel2.dat")
    options = Options(seed=str(TRACES / "formats" / dump))
    whole = open_pieces([str(TRACES / "formats" / piece) for piece in pieces], options)
    counts = [open_capture(str(TRACES / "formats" / name)).recorded for name in (dump, *pieces)]
    assert told == list(zip((dump, *pieces), (0, counts[0], counts[0] + counts[1]), strict=True))
    assert whole.recorded == sum(counts)


def test_probes_that_miss_the_shutdown_and_the_early_sweep_give_the_same() -> None:
    """As probes inside the guest record: from the scan on, and not to the very end."""
    whole, result = lost()
    boundary = result.kexecs[0].at_access
    later = whole.accesses.filter((pl.col("seq") > boundary) & (pl.col("offset") == 0x0E))
    scan = int(later["seq"][0]) - 40
    joined = junctions.join(
        [
            piece(whole, 0, boundary - 30, "kernel1"),
            piece(whole, max(scan, boundary), whole.accesses.height, "kernel2"),
        ]
    )
    assert verdicts(analyze_capture(joined, OPTIONS)) == verdicts(result)


def test_a_boot_record_at_a_junction_is_no_kexec() -> None:
    whole, result = lost()
    boundary = result.kexecs[0].at_access
    second = piece(whole, boundary, whole.accesses.height, "kernel2")
    second.notes.boundaries.append(Boundary(0, "boot"))
    joined = junctions.join([piece(whole, 0, boundary - 1, "kernel1"), second])
    assert analyze_capture(joined).verdict == "no-kexec"


def test_places_in_later_pieces_move() -> None:
    whole, _ = lost()
    first, second = piece(whole, 0, 99, "a"), piece(whole, 100, 149, "b")
    second.notes.log.append(LogLine("hello", seq=7))
    second.notes.truncated, second.notes.dropped = True, 3
    joined = junctions.join([first, second])
    assert joined.notes.log == [LogLine("hello", seq=107)]
    assert joined.notes.boundaries == [Boundary(100, "kexec")]
    assert (joined.notes.truncated, joined.notes.dropped) == (True, 3)
    assert joined.accesses["seq"].to_list() == list(range(150))
    assert joined.accesses["file"].to_list() == [0] * 100 + [1] * 50


def snapshot(recording: Recording, path: str) -> Capture:
    """What lspci -xxxx would show now, as dword reads."""
    rows = []
    for name in recording.kernel.enumerated:
        function = recording.machine.function(name)
        domain, bus, rest = name.split(":")
        devfn = int(rest[:2], 16) << 3 | int(rest[3])
        rows += [
            (int(domain, 16), int(bus, 16), devfn, offset, function.config.get(offset, 4))
            for offset in range(0, function.size, 4)
        ]
    table = pl.DataFrame(
        rows,
        schema={
            "domain": pl.UInt32, "bus": pl.UInt8, "devfn": pl.UInt8, "offset": pl.UInt16, "value": pl.UInt32,
        },
        orient="row",
    )  # fmt: skip
    from analyzer.capture import accesses

    columns = {name: table[name] for name in table.columns}
    ones = pl.repeat(0, table.height, dtype=pl.UInt64, eager=True)
    frame = accesses.from_columns(
        columns
        | {"op": pl.repeat(0, table.height, dtype=pl.UInt8, eager=True), "where": ones}
        | {"width": pl.repeat(4, table.height, dtype=pl.UInt8, eager=True)},
        table.height,
    ).with_columns(
        capture=pl.lit(0, pl.UInt32),
        file=pl.lit(0, pl.UInt16),
        seq=pl.int_range(table.height, dtype=pl.UInt64),
    )
    return Capture(
        path,
        [SourceFile(path, "lspci-dump", "")],
        "lspci-dump",
        frame.select(list(accesses.SCHEMA)),
        Notes(path),
    )


@pytest.mark.parametrize(
    ("clear", "verdict", "confidence", "stranded"),
    [(True, "lost", "low", ["0000:01:01.0", "0000:01:01.1"]), (False, "kept", "low", [])],
)
def test_snapshots_before_and_after(clear: bool, verdict: str, confidence: str, stranded: list[str]) -> None:
    recording = Recording(one_port())
    recording.firmware()
    recording.boot(Kernel())
    before = snapshot(recording, "before")
    handed_over = recording.preserve(*NAMES)
    recording.kexec()
    if clear:
        recording.blackout(lambda machine: machine.clear(PORT, "CAP_EXP+28.w", 0x20))
    recording.boot(Kernel(policy="inherit", preserved=handed_over))
    after = snapshot(recording, "after")
    result = analyze_capture(junctions.join([before, after]), OPTIONS)
    kexec = result.kexecs[0]
    bridge = next(item for item in kexec.bridges if item.bdf == PORT)
    assert (bridge.verdict, bridge.confidence) == (verdict, confidence)
    assert [device.bdf for device in kexec.devices if device.verdict == "stranded"] == stranded
    assert kexec.observed.discovered == recording.kernel.enumerated
    assert kexec.divergences == []
    assert result.verdict == ("findings" if clear else "clean")


def test_a_capture_that_starts_mid_life_is_seeded_by_a_snapshot() -> None:
    recording = Recording(one_port())
    recording.firmware()
    recording.boot(Kernel())
    start = recording.capture().accesses.height
    before = snapshot(recording, "before")
    handed_over = recording.preserve(*NAMES)
    recording.kexec()
    recording.blackout(lambda machine: machine.clear(PORT, "CAP_EXP+28.w", 0x20))
    recording.boot(Kernel(policy="inherit", preserved=handed_over))
    late = piece(recording.capture(), start, 10**9, "late")
    alone = analyze_capture(late, OPTIONS).kexecs[0]
    assert next(item for item in alone.bridges if item.bdf == PORT).verdict == "undetermined"
    seeded = analyze_capture(joining.seed(before, late), OPTIONS).kexecs[0]
    bridge = next(item for item in seeded.bridges if item.bdf == PORT)
    assert (bridge.verdict, bridge.cause) == ("lost", "selective-loss")
    assert [device.bdf for device in seeded.devices if device.verdict == "stranded"] == list(NAMES[2:])


def test_notes_of_the_pieces_are_kept_apart() -> None:
    whole, _ = lost()
    first = piece(whole, 0, 9, "a")
    assert replace(first.notes) == Notes("a")


@pytest.mark.parametrize(
    ("clocks", "expected"),
    [
        (["realtime", "realtime"], "realtime"),
        (["realtime", "boot"], "mixed"),
        (["realtime", None], "realtime"),
        ([None, None], None),
    ],
)
def test_joined_pieces_keep_a_clock_that_all_have(clocks: list[str | None], expected: str | None) -> None:
    whole, _ = lost()
    last = whole.recorded - 1
    pieces = [piece(whole, 0, 99, "a"), piece(whole, 100, last, "b")]
    for one, clock in zip(pieces, clocks, strict=True):
        one.notes.clock = clock
    pieces[0].notes.created_ns = 7
    joined = joining.join(pieces, lambda _: None)
    assert (joined.notes.clock, joined.notes.created_ns) == (expected, 7)
    pieces[1].notes.created_ns = 9
    assert joining.join(pieces, lambda _: None).notes.created_ns == 9
    timeless = replace(pieces[0], accesses=pieces[0].accesses.with_columns(time_ns=pl.lit(None, pl.Int64)))
    timeless.notes.clock = None
    assert joining.seed(timeless, pieces[1]).notes.clock == clocks[1]
