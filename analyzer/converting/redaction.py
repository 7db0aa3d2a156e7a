"""What a fleet owner would rather not post, taken out (``analyze convert --redact``, docs/sharing.md).

Registers: serial numbers (Device Serial Number capability) and vital product data read 0. Everything else is
for :mod:`analyzer.converting.redaction_text`: host names, kernel logs, paths. The result is proven: the
verdict stays the same, or nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from analyzer import analysis
from analyzer.capture import SourceFile
from analyzer.converting import proof
from analyzer.converting.redaction_text import Scrubber
from analyzer.errors import AritraceError
from schemas.config_header import EXTENDED_CONFIG_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.index import AccessIndex

#: PCI Express 7.9.3 Device Serial Number: two dwords behind the header; its header in any list, less the
#: pointer.
_SERIAL_ID: Final = 0x0003
_SERIAL_NUMBER: Final = (0x04, 8)
_SERIAL_HEADER, _SERIAL_HEADER_MASK = 0x10003, 0xFFFFF
#: PCI 3.0 appendix I, Vital Product Data: address with the flag, then the data register.
_VPD_ID: Final = 0x03
_VPD_DATA: Final = (0x04, 4)
#: Fields of a result whose words come from the log, the host or the command line.
_WORDS: Final = frozenset({"note", "cmdline", "text"})
#: What a redacted file is called in its own notes.
_NAME: Final = "capture"


@dataclass(frozen=True)
class Redacted:
    """A capture without what was asked to be taken out.

    Attributes:
        capture: the rest.
        values: accesses whose value, or a part of it, now is 0.
        log_lines: lines of the kernel log that were left out.
        texts: pieces of text that were replaced.
    """

    capture: Capture
    values: int
    log_lines: int
    texts: int


def redact(capture: Capture) -> Redacted:
    """Take serial numbers, product data, host names and logs' private parts out of a capture.

    Args:
        capture: with everything that shall be in the new file.

    Raises:
        AritraceError: the verdict would not stay the same.
    """
    wanted = proof.answer(capture, ignore=_WORDS)
    table, values = _without_serials(capture)
    for keep_times in (False, True):
        scrubber = Scrubber(capture.notes.host)
        notes = scrubber.notes(capture.notes, _NAME, keep_times=keep_times)
        files = [SourceFile(_NAME, file.format, file.sha256) for file in capture.files]
        result = replace(capture, path=_NAME, files=files, accesses=table, notes=notes)
        if proof.answer(result, ignore=_WORDS).results == wanted.results:
            return Redacted(result, values, scrubber.left_out, scrubber.replaced)
    raise AritraceError(
        "without the private parts of its kernel log this capture does not give the same verdict; nothing was"
        " written",
        path=capture.path,
        advice="convert it without --redact, or with a kernel log that you made anonymous yourself (--dmesg)",
    )


def _without_serials(capture: Capture) -> tuple[pl.DataFrame, int]:
    """The access table with the private registers 0, and in how many rows that took something away."""
    study = analysis.study(replace(capture, path="-"))
    index = study.index
    value = index.value.copy()
    for key, places in _private(study).items():
        hidden = np.zeros(EXTENDED_CONFIG_SIZE + 3, bool)
        for offset, size in places:
            hidden[offset : offset + size] = True
        rows = index.rows_of(key)
        for lane in range(4):
            value[rows] &= ~np.where(hidden[index.offset[rows] + lane], np.int64(0xFF) << 8 * lane, 0)
    changed = value != index.value
    series = pl.Series("value", value.astype(np.uint32))
    return capture.accesses.with_columns(series), int(changed.sum())


def _private(study: Study) -> dict[int, set[tuple[int, int]]]:
    """Offset and size of the private registers of each function, as any boot's capability lists show them."""
    found: dict[int, set[tuple[int, int]]] = {}
    for topology in study.topologies:
        for key, function in topology.functions.items():
            lists = function.capabilities
            if _VPD_ID in lists.standard:
                found.setdefault(key, set()).add((lists.standard[_VPD_ID] + _VPD_DATA[0], _VPD_DATA[1]))
            if _SERIAL_ID in lists.extended:
                found.setdefault(key, set()).add(_serial_at(lists.extended[_SERIAL_ID]))
    for key, offset in _serial_headers(study.index):
        found.setdefault(key, set()).add(_serial_at(offset))
    return found


def _serial_at(capability: int) -> tuple[int, int]:
    return capability + _SERIAL_NUMBER[0], _SERIAL_NUMBER[1]


def _serial_headers(index: AccessIndex) -> Iterator[tuple[int, int]]:
    """Reads that look like the header of a serial number, wherever: the list may not be in the capture."""
    rows = index.is_read & (index.offset >= 0x100) & (index.offset % 4 == 0)
    rows &= (index.value & _SERIAL_HEADER_MASK) == _SERIAL_HEADER
    pairs: NDArray[np.int64] = np.unique(
        np.stack([index.function[rows], index.offset[rows].astype(np.int64)], axis=1), axis=0
    )
    yield from map(tuple, pairs.tolist())
