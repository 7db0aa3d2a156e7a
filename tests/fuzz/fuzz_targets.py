"""One target per reader, and for the replay, kernel logs, dumps of preserved sets and options.

A target takes any bytes. Its oracle: an answer that keeps the promises of the access table, or an
:class:`AritraceError`; no other exception, no warning, and within ``SECONDS`` of processor time.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import fuzz_mutators as mutators
import fuzz_seeds as seeds
import fuzz_tables
import polars as pl

from analyzer.analysis import analyze_capture, study
from analyzer.bdf import text as bdf_text
from analyzer.capture import accesses
from analyzer.converting import minimal, redaction
from analyzer.errors import AritraceError
from analyzer.kernel_logs import cmdline, kernel_log
from analyzer.observed import junctions
from analyzer.options import Options
from analyzer.preservation import flb
from analyzer.questions import statistics as capture_statistics
from analyzer.questions.atrisk import atrisk_of
from analyzer.questions.explain import function as explain
from analyzer.questions.snapshot import take_capture
from analyzer.readers import open_capture, sniff
from analyzer.readers.unwrap import ByteStream, open_stream
from analyzer.report import json_report, page, text_report
from analyzer.report.lspci_text import lspci_text
from analyzer.results import Analysis
from analyzer.series import names
from analyzer.verdicts import verdict

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from analyzer.capture import Capture

#: Processor time that one input of the sizes used here may take.
SECONDS = 5.0
_ROOM = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))  # noqa: S108 shared memory: a disk would wear
_VERDICTS = {"clean", "findings", "undetermined", "no-kexec", "unreadable"}


@dataclass(frozen=True)
class Target:
    """A function under test, what it starts from, and how its inputs are changed."""

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    mutators: tuple[mutators.Mutator, ...]
    repair: Callable[[bytes, random.Random], bytes] | None = None
    longest: int = 1 << 16

    def mutate(self, data: bytes, rng: random.Random, other: bytes) -> bytes:
        """A changed input, its checksums mostly right again."""
        data = mutators.mutate(data, self.mutators, rng, other)
        if self.repair is not None and rng.randrange(8):
            data = self.repair(data, rng)
        return data[: self.longest]


def allowed(run: Callable[[bytes], object], data: bytes) -> object | None:
    """The answer, or None where the input was refused in good order."""
    try:
        return run(data)
    except AritraceError as error:
        said = str(error)
    assert said
    return None


def opened(data: bytes, name: str = "input", options: Options | None = None) -> Capture:
    """What the readers make of a file with these bytes; checked."""
    path = _ROOM / f"{os.getpid()}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    capture = open_capture(str(path), options)
    check(capture)
    return capture


def check(capture: Capture) -> None:
    """The promises of an access table and its notes."""
    table = capture.accesses
    mask = [name for name in (accesses.KNOWN,) if name in table.columns]
    assert table.drop(mask).schema == accesses.SCHEMA
    for name in mask:  # bits that the input does not show are 0
        assert not (table["value"].to_numpy() & ~table[name].to_numpy()).any()
    assert table.height
    highest = table.select(pl.col("offset", "width", "bus", "devfn").max()).row(0, named=True)
    assert highest["offset"] <= 4095
    assert set(table["width"].unique().to_list()) <= {0, 1, 2, 4}
    assert table["seq"].is_sorted()
    notes = capture.notes
    assert notes.dropped >= 0
    for problem in notes.problems:
        assert problem.message
        assert problem.offset_bytes is None or problem.offset_bytes >= 0
    capture_statistics.describe(capture)


def analysed(capture: Capture, options: Options) -> None:
    """Every verb on a capture, and its reports."""
    working = study(capture, options)
    result = working.result
    assert result.verdict in _VERDICTS
    analysis = Analysis(options.policy, [result], verdict.summarise([result]))
    json.loads(json_report.json_text(analysis))
    page.plain(text_report.fill(page.Page(), analysis, verbosity=2))
    for number in {int(working.index.function[0]), int(working.index.function[-1])}:
        allowed(lambda _, key=number: explain.explain_capture(capture, bdf_text(key), options), b"")
    allowed(lambda _: atrisk_of(capture, options), b"")
    allowed(lambda _: list(lspci_text(take_capture(capture, None, options))), b"")


def native(data: bytes) -> None:
    opened(data, "a.bin")


def native_analysis(data: bytes) -> None:
    capture = opened(data, "a.bin")
    analysed(capture, Options(assume_preserved=True))


def any_reader(data: bytes) -> None:
    opened(data)


def pcap(data: bytes) -> None:
    allowed(lambda raw: opened(raw, options=Options(linktype_raw_tlp=150)), data)
    opened(data)


def trace_dat(data: bytes) -> None:
    opened(data, options=Options(ecam_base=0xB0000000))


def snapshot(data: bytes) -> None:
    capture = opened(data)
    analyze_capture(capture)
    atrisk_of(capture)
    list(lspci_text(take_capture(capture)))


def sysfs(data: bytes) -> None:
    snapshot_file = "0000:03:00.0" if len(data) in (64, 256, 4096) else "x.tar"
    list(lspci_text(take_capture(opened(data, snapshot_file))))


def hex_dump(data: bytes) -> None:
    list(lspci_text(take_capture(opened(data, "0000:03:00.0.txt"))))


def unwrap(data: bytes) -> None:
    path = _ROOM / f"packed-{os.getpid()}"
    path.write_bytes(data)
    with open_stream(str(path)) as stream:
        while stream.read(1 << 16):
            pass
        assert len(stream.sha256) == 64


def identify(data: bytes) -> None:
    with ByteStream("0000:03:00.0/config", io.BytesIO(data)) as stream:
        sniff.identify(stream)


def replay(data: bytes) -> None:
    capture = fuzz_tables.capture_of(data[1:])
    if not capture.accesses.height:
        return
    choice = data[0]
    policies = ("observed", "stock", "inherit", "serialize", "heal")
    versions = (None, *names())
    series = versions[choice // 5 % len(versions)]
    analysed(
        capture,
        Options(
            policy=policies[choice % 5],
            series=series,
            assume_preserved=choice >= 128,
            preserved="0000:03:00.0" if choice & 64 else None,
        ),
    )


def convert(data: bytes) -> None:
    """A hostile table, minimised, redacted, written and read again: the same verdict."""
    capture = fuzz_tables.capture_of(data)
    if not capture.accesses.height:
        return
    before = analyze_capture(capture)
    again = opened(seeds.stored(capture), "b.bin")
    assert again.accesses.drop("where").equals(capture.accesses.drop("where"))
    assert analyze_capture(again).verdict == before.verdict
    little = minimal.minimise(capture).capture
    assert analyze_capture(little).verdict == before.verdict
    redaction.redact(capture)


def log(data: bytes) -> None:
    parsed = kernel_log.parse(data)
    for run in parsed.runs:
        cmdline.pci_options(run.cmdline or "")


def log_piece(data: bytes) -> None:
    """A hostile log as the second piece of a history."""
    piece = opened(data, options=Options(join=True))
    if piece.notes.scans:
        analysed(junctions.join([_small_capture(), piece]), Options(assume_preserved=True))


def log_beside(data: bytes) -> None:
    """A hostile log given beside a real capture."""
    path = _ROOM / f"log-{os.getpid()}"
    path.write_bytes(data)
    capture = _small_capture()
    analysed(capture, Options(dmesg=str(path)))


def preserved_dump(data: bytes) -> None:
    for name in ("", "pci", "pci-v2"):
        found = allowed(lambda raw, name=name: flb.decode(raw, name), data)
        assert found is None or found.functions is not None


def option_texts(data: bytes) -> None:
    preserved, _, line = data.decode("utf-8", "surrogateescape").partition("\0")
    hand, _, line = line.partition("\0")
    cmdline.pci_options(line)
    cmdline.is_crash_kernel(line)
    options = Options(
        preserved=preserved.lstrip("@"), cmdline=line.lstrip("@"), kexec_at=(hand,) * bool(hand)
    )
    analysed(_small_capture(), options)


_SMALL: list[Capture] = []


def _small_capture() -> Capture:
    if not _SMALL:
        _SMALL.append(fuzz_tables.capture_of(seeds.simulated()))
    return _SMALL[0]


TARGETS: dict[str, Target] = {
    "native": Target(native, seeds.native, mutators.BINARY, mutators.native_repaired, 1 << 17),
    "native-analysis": Target(
        native_analysis, seeds.native, mutators.BINARY, mutators.native_repaired, 1 << 17
    ),
    "simpletrace": Target(any_reader, seeds.simpletrace, mutators.BINARY),
    "qemu-log": Target(any_reader, lambda: seeds.text("qemu-log*"), mutators.TEXT),
    "trace-dat": Target(trace_dat, seeds.trace_dat, mutators.BINARY),
    "ftrace-text": Target(any_reader, lambda: seeds.text("ftrace*", "tracefs*"), mutators.TEXT),
    "pcap": Target(pcap, seeds.pcap, mutators.BINARY),
    "lspci-dump": Target(snapshot, lambda: seeds.text("lspci*"), mutators.TEXT),
    "pasted": Target(any_reader, seeds.pasted, mutators.TEXT),
    "config-hex-dump": Target(hex_dump, lambda: [seeds.hex_dump()], mutators.TEXT),
    "printed-events": Target(any_reader, lambda: [seeds.printed_events()], mutators.TEXT),
    "lspci-text": Target(snapshot, seeds.lspci_text, mutators.TEXT),
    "earlydump": Target(snapshot, lambda: seeds.text("earlydump*"), mutators.TEXT),
    "sysfs-config": Target(sysfs, seeds.sysfs, mutators.BINARY, mutators.tar_repaired),
    "unwrap": Target(unwrap, seeds.wrapped, mutators.BINARY),
    "sniff": Target(identify, lambda: seeds.text("*.log", "*.txt"), mutators.TEXT),
    "replay": Target(replay, lambda: [b"\x80" + seed for seed in seeds.tables()], mutators.BINARY),
    "convert": Target(convert, seeds.tables, mutators.BINARY),
    "kernel-log": Target(log, lambda: seeds.text("console*", "earlydump*"), mutators.TEXT),
    "log-piece": Target(log_piece, lambda: seeds.text("console*"), mutators.TEXT),
    "log-beside": Target(log_beside, lambda: seeds.text("console*", "earlydump*"), mutators.TEXT),
    "preserved-dump": Target(preserved_dump, seeds.dumps, mutators.BINARY),
    "options": Target(option_texts, seeds.options, mutators.TEXT, longest=4096),
}


def _all_seeds() -> list[bytes]:
    return [bytes([number]) + seed for number, one in enumerate(TARGETS.values()) for seed in one.seeds()]


class AllTargets(Target):
    """Every target in one, chosen by the first byte: for a short run."""

    def mutate(self, data: bytes, rng: random.Random, other: bytes) -> bytes:
        chosen = _chosen(data)
        return data[:1] + chosen.mutate(data[1:], rng, other[1:])


def _chosen(data: bytes) -> Target:
    return list(TARGETS.values())[(data[0] if data else 0) % len(TARGETS)]


ALL = AllTargets(lambda data: _chosen(data).run(data[1:]), _all_seeds, mutators.BINARY, longest=1 << 17)
