"""What every fuzz target is judged by: an answer that keeps its promises, or a reason in good order."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from analyzer.analysis import study
from analyzer.bdf import text as bdf_text
from analyzer.capture import accesses
from analyzer.errors import AritraceError
from analyzer.questions import statistics as capture_statistics
from analyzer.questions.atrisk import atrisk_of
from analyzer.questions.explain import function as explain
from analyzer.questions.snapshot import take_capture
from analyzer.readers import open_capture
from analyzer.report import json_report, page, text_report
from analyzer.report.lspci_text import lspci_text
from analyzer.results import Analysis
from analyzer.verdicts import verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.capture import Capture
    from analyzer.options import Options

#: Processor time that one input of the sizes used here may take.
SECONDS = 5.0
_ROOM = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))  # noqa: S108 shared memory: a disk would wear
_ACTS = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_VERDICTS = {"clean", "findings", "undetermined", "no-kexec", "unreadable"}


def room() -> Path:
    """A folder of this process."""
    folder = _ROOM / f"{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
    path = room() / name
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


def quiet(text: str) -> None:
    """Nothing that would act on a terminal: no control character but the line's end, none that misleads."""
    found = _ACTS.search(text)
    assert found is None, repr(found)


def analysed(capture: Capture, options: Options) -> None:
    """Every verb on a capture, and its reports."""
    working = study(capture, options)
    result = working.result
    assert result.verdict in _VERDICTS
    analysis = Analysis(options.policy, [result], verdict.summarise([result]))
    json.loads(json_report.json_text(analysis))
    quiet(json_report.json_text(analysis))
    quiet(page.plain(text_report.fill(page.Page(), analysis, verbosity=2)))
    for number in {int(working.index.function[0]), int(working.index.function[-1])}:
        allowed(lambda _, key=number: explain.explain_capture(capture, bdf_text(key), options), b"")
    allowed(lambda _: atrisk_of(capture, options), b"")
    allowed(lambda _: list(lspci_text(take_capture(capture, None, options))), b"")
