"""Accesses in text that QEMU's ``ftrace`` backend printed into a kernel's trace, a record a line.

Source: QEMU ``scripts/tracetool/backend/ftrace.py``: the name of the event and its arguments, as in the
``log`` backend, without a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.capture import Notes
from analyzer.readers.qemu.text import QemuText
from analyzer.readers.trace import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analyzer.options import Options
    from analyzer.readers.qemu.events import CfgEvents
    from analyzer.readers.trace.rows import TraceRows


class PrintedText:
    """Keeps lines until all that belongs to their access was seen."""

    def __init__(self, notes: Notes, options: Options) -> None:
        self._notes = notes
        self._own = Notes(notes.path)
        self._qemu = QemuText(self._own, options)
        self._size = 0
        self._rows = rows.make(0)
        self._starts = np.zeros(0, np.int64)

    def take(
        self, batch: TraceRows, texts: Sequence[bytes]
    ) -> tuple[CfgEvents, TraceRows, NDArray[np.int64]]:
        """Return accesses, the row of each, and its number in ``batch`` (negative: of an earlier batch).

        Args:
            batch: rows of printed text.
            texts: what was printed, one of each row.
        """
        lines = [text.replace(b"\n", b" ").rstrip() + b"\n" for text in texts]
        starts = self._size + np.cumsum([0, *map(len, lines)], dtype=np.int64)
        events = self._qemu.take(b"".join(lines), self._size)
        known = len(self._rows)
        self._size = int(starts[-1])
        self._rows = rows.concat([self._rows, batch])
        self._starts = np.concatenate([self._starts, starts[:-1]])
        found = self._found(events, known)
        waiting = self._qemu.waiting_from
        done = len(self._starts) if waiting is None else int(np.searchsorted(self._starts, waiting))
        self._rows, self._starts = self._rows.pick(slice(done, None)), self._starts[done:]
        return found

    def close(self) -> tuple[CfgEvents, TraceRows, NDArray[np.int64]]:
        """Return what still waited, and write the account into the notes."""
        found = self._found(self._qemu.close("record"), len(self._rows))
        self._notes.dropped += self._own.dropped
        for problem in self._own.problems:
            # Its place is one in the printed text alone.
            self._notes.problem(problem.kind, f"of what QEMU printed: {problem.message}")
        return found

    def _found(self, events: CfgEvents, known: int) -> tuple[CfgEvents, TraceRows, NDArray[np.int64]]:
        at = np.searchsorted(self._starts, events.where)
        return events, self._rows.pick(at), at - known
