"""Targets of a kexec that two snapshots show, one before it and one after, and of every form of a report."""

from __future__ import annotations

import json

import fake_hosts
import fuzz_parts
import fuzz_seeds as seeds
import fuzz_tables
import lspci_texts
import numpy as np
import small_dumps
import sriov_dumps
from fuzz_oracle import allowed, analysed, check, opened, quiet

from analyzer import bdf
from analyzer.analysis import study
from analyzer.capture import Capture, Notes, SourceFile, accesses
from analyzer.observed import junctions
from analyzer.options import Options
from analyzer.questions.explain import lanes
from analyzer.questions.explain.working import DetailsGatherer
from analyzer.questions.tables import stages, working
from analyzer.questions.tables.schemas import SCHEMAS
from analyzer.readers import with_keys
from analyzer.report import (
    junit_report,
    page,
    perfetto_report,
    sarif_report,
    stage_table_report,
    text_report,
    verdict_table,
)
from analyzer.report.html import page as html_page
from analyzer.results import Analysis
from analyzer.verdicts import verdict

#: Bytes of a function that a snapshot of :func:`two_snapshots` shows, by its bus: conventional ones, too.
_SIZES = (4096, 4096, 4096, 256, 64, 4096, 1024, 256)
#: Functions of each that are taken: they are dumped to their end.
_MOST = 8


def two_dumps(data: bytes) -> None:
    """Two texts of lspci, of any kind, as what was before the kexec and after it."""
    pieces = [
        opened(part, f"{number}.txt", Options(join=True))
        for number, part in enumerate(fuzz_parts.split(data, 2))
    ]
    analysed(junctions.join(pieces), Options(assume_preserved=len(data) % 2 == 1))


def dump_seeds() -> list[bytes]:
    """Derived dumps of small machines that lose something, and a real one beside itself."""
    whole = small_dumps.dump(size=4096, rows=small_dumps.END)
    lost = small_dumps.dump(small_dumps.PORT, small_dumps.FIRST, size=4096, rows=small_dumps.OFF)
    rows = sriov_dumps.sriov(0x19, 1, 8, 1) | sriov_dumps.VIRTUAL
    virtual = small_dumps.dump(size=4096, rows=rows)
    off = small_dumps.dump(size=4096, rows=rows | sriov_dumps.sriov(0, 1, 8, 1))
    texts = (lspci_texts.CHAIN, lspci_texts.VIRTUAL, lspci_texts.text(lspci_texts.OFF, lspci_texts.FIRST))
    real = seeds.text("lspci-xxxx-vvv*")[0]
    bare = [small_dumps.dump(), small_dumps.dump(rows=small_dumps.SILENT)]
    pairs = [(whole, lost), (virtual, off), texts[1:], bare]
    found = [fuzz_parts.joined(*(text.encode() for text in pair)) for pair in pairs]
    return [*found, fuzz_parts.joined(real, real)]


def two_snapshots(data: bytes) -> None:
    """Config space of any content, dumped before and after a kexec: what the state watch compares."""
    rows = np.frombuffer(data[: len(data) // fuzz_tables.RECORD.itemsize * fuzz_tables.RECORD.itemsize],
                         fuzz_tables.RECORD)  # fmt: skip
    marks = np.flatnonzero(rows["kind"] >= 0xF0)
    at = int(marks[0]) if marks.size else len(rows) // 2
    pieces = [_snapshot(rows[:at], "before"), _snapshot(rows[at:], "after")]
    if not all(piece.accesses.height for piece in pieces):
        return
    for piece in pieces:
        check(piece)
    analysed(junctions.join(pieces), Options(assume_preserved=len(rows) % 2 == 1))


def _snapshot(rows: np.ndarray, name: str) -> Capture:
    """The functions that rows name, to the end of their space; what no row says reads 0."""
    rows = rows[rows["kind"] < 0xF0]
    keys = rows["bus"].astype(np.int64) << 8 | rows["devfn"]
    tables = []
    for key in np.unique(keys)[:_MOST].tolist():
        size = _SIZES[(key >> 8) % len(_SIZES)]
        space = np.zeros(size // 4, np.uint32)
        own = rows[keys == key]
        space[(own["offset"] % size) >> 2] = own["value"]
        count = len(space)
        tables.append(
            accesses.from_columns(
                {
                    "domain": np.zeros(count, np.uint32),
                    "bus": np.full(count, key >> 8, np.uint8),
                    "devfn": np.full(count, key & 0xFF, np.uint8),
                    "offset": np.arange(0, size, 4, dtype=np.uint16),
                    "width": np.full(count, 4, np.uint8),
                    "op": np.full(count, accesses.READ, np.uint8),
                    "value": space,
                    "where": np.arange(count, dtype=np.uint64),
                },
                count,
            )
        )
    table = accesses.concat([accesses.empty(), *tables], rechunk=True)
    source = SourceFile(name, "sysfs-config", "0" * 64)
    return Capture(name, [source], "sysfs-config", with_keys(table, 0), Notes(name))


def snapshot_seeds() -> list[bytes]:
    """The machine of a real kexec that stranded 8 functions: all dwords that are not 0."""
    return [_rows(fake_hosts.BEFORE) + _mark() + _rows(fake_hosts.AFTER), _rows(fake_hosts.BEFORE) * 2]


def _rows(boot: int) -> bytes:
    parts = []
    for name, data in list(fake_hosts.functions(boot).items())[:_MOST]:
        key, space = bdf.parse(name), np.frombuffer(data, "<u4")
        rows = np.zeros(np.count_nonzero(space), fuzz_tables.RECORD)
        rows["kind"], rows["bus"], rows["devfn"] = 6, key >> 8 & 0xFF, key & 0xFF
        rows["offset"] = np.flatnonzero(space) * 4
        rows["value"] = space[space != 0]
        parts.append(rows.tobytes())
    return b"".join(parts)


def _mark() -> bytes:
    row = np.zeros(1, fuzz_tables.RECORD)
    row["kind"] = 0xF1
    return row.tobytes()


def every_form(data: bytes) -> None:
    """A hostile table in every form of a report, and as the tables of its working."""
    capture = fuzz_tables.capture_of(data)
    if not capture.accesses.height:
        return
    options = Options(assume_preserved=True)
    done = study(capture, options)
    analysis = Analysis(options.policy, [done.result], verdict.summarise([done.result]))
    json.loads(sarif_report.sarif_text(analysis))
    quiet(junit_report.junit_text(analysis))
    quiet(verdict_table.csv_text(analysis))
    allowed(lambda _: perfetto_report.perfetto_trace(done.result, lanes.gather(capture, done)), b"")
    details = DetailsGatherer(options)
    details(capture, done)
    quiet("".join(html_page.pieces(analysis, details.of)))
    quiet(page.plain(text_report.fill(page.Page(), analysis, verbosity=3, details=details)))
    part = working.tables(done, list(SCHEMAS))
    for name in SCHEMAS:
        table = stages.of_stage(name, analysis, part)
        assert table.columns
        for form in ("text", "csv", "jsonl"):
            quiet("".join(stage_table_report.text([table], form)))
