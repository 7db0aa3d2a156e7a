"""What a fleet owner would rather not post, taken out (``analyze convert --redact``, docs/sharing.md).

Only what is known to be harmless stays: of registers what
:mod:`analyzer.converting.redaction_registers` shows, of texts what
:mod:`analyzer.converting.redaction_text` knows. The result is proven: the verdict stays the same, or
nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from analyzer import analysis
from analyzer.capture import SourceFile
from analyzer.converting import proof
from analyzer.converting.redaction_log import plain_release
from analyzer.converting.redaction_registers import shown_values
from analyzer.converting.redaction_text import Scrubber, known_format
from analyzer.errors import AritraceError

if TYPE_CHECKING:
    from analyzer.capture import Capture

#: Fields of a result whose words come from the log, the host or the command line.
_WORDS: Final = frozenset({"note", "cmdline", "text"})
#: What a redacted file is called in its own notes.
_NAME: Final = "capture"
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Redacted:
    """A capture without what was asked to be taken out.

    Attributes:
        capture: the rest.
        values: accesses whose value, or a part of it, now is 0.
        log_lines: lines of the kernel log that were left out.
        texts: texts and parameters of command lines that were replaced.
    """

    capture: Capture
    values: int
    log_lines: int
    texts: int


def redact(capture: Capture) -> Redacted:
    """Take everything out of a capture that is not known to be harmless.

    Args:
        capture: with everything that shall be in the new file.

    Raises:
        AritraceError: the verdict would not stay the same, or a raw preserved set cannot be decoded.
    """
    wanted = _plain(proof.answer(capture, ignore=_WORDS).results)
    table, values = _harmless(capture)
    for keep_times in (False, True):
        scrubber = Scrubber()
        notes = scrubber.notes(capture.notes, _NAME, keep_times=keep_times)
        files = [SourceFile(_NAME, known_format(file.format) or _UNKNOWN, "") for file in capture.files]
        result = replace(
            capture,
            path=_NAME,
            files=files,
            format=known_format(capture.format) or _UNKNOWN,
            accesses=table,
            notes=notes,
            joined=(),
        )
        if _plain(proof.answer(result, ignore=_WORDS).results) == wanted:
            return Redacted(result, values, scrubber.left_out, scrubber.replaced)
    raise AritraceError(
        "without the parts that are not known to be harmless this capture does not give the same verdict;"
        " nothing was written",
        path=capture.path,
        advice="convert it without --redact, or with a kernel log that you made anonymous yourself (--dmesg)",
    )


def _plain(value: Any) -> Any:
    """Results with every kernel release as it stands in a redacted capture."""
    if isinstance(value, dict):
        return {
            key: plain_release(item) if key == "release" and item is not None else _plain(item)
            for key, item in value.items()
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _harmless(capture: Capture) -> tuple[pl.DataFrame, int]:
    """The access table with harmless values only, and in how many rows that took something away."""
    study = analysis.study(replace(capture, path="-", joined=()))
    index = study.index
    value = shown_values(index, [topology.boot for topology in study.topologies])
    # Bits beyond the width of an access are no part of it, and go too.
    changed = value.astype(np.uint32) != capture.accesses["value"].to_numpy()
    series = pl.Series("value", value.astype(np.uint32))
    return capture.accesses.with_columns(series), int(changed.sum())
