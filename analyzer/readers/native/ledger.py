"""The accounts of one native file: which accesses were due, delivered or lost, and its problems.

Positions in a file count the accesses as they were recorded. Where some of them were lost to damage, the rows
that are left have smaller numbers; :meth:`Ledger.row_of` maps one to the other.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from analyzer.readers.tallies import ProblemList

if TYPE_CHECKING:
    from analyzer.capture import Notes


class Ledger:
    """Accounts of one file.

    Attributes:
        due: number, as recorded, of the access that must come next.
        rows: accesses delivered so far.
    """

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.due = 0
        self.rows = 0
        self._problems = ProblemList(notes)
        # Runs of accesses unbroken both in the file and in the rows: first number, first row, length.
        self._first: list[int] = []
        self._row: list[int] = []
        self._length: list[int] = []

    def deliver(self, count: int) -> None:
        """The next ``count`` accesses were read."""
        if self._first and self._first[-1] + self._length[-1] == self.due:
            self._length[-1] += count
        else:
            self._first.append(self.due)
            self._row.append(self.rows)
            self._length.append(count)
        self.due += count
        self.rows += count

    def lose(self, count: int) -> None:
        """The next ``count`` accesses are lost with their chunk."""
        self.due += count
        self.notes.dropped += count

    def skip_to(self, access: int, offset: int | None) -> None:
        """The file goes on at ``access``: what was due before it is missing."""
        missing = access - self.due
        if missing > 0:
            self.problem("dropped", f"accesses {self.due} to {access - 1} are missing ({missing})", offset)
            self.lose(missing)

    def row_of(self, access: int) -> int:
        """Return the row that recorded position ``access`` has now; beyond the last access, the row count."""
        run = bisect_right(self._first, access) - 1
        if run < 0:
            return 0
        return self._row[run] + min(access - self._first[run], self._length[run])

    def expected_row(self, access: int) -> int:
        """Return the row of a position, also of one to come: as if nothing more were lost up to there."""
        return self.row_of(access) if access < self.due else self.rows + access - self.due

    def problem(self, kind: str, message: str, offset: int | None) -> None:
        """Record a problem, or only count it once there are very many."""
        self._problems.add(kind, message, offset)

    def close(self) -> None:
        """Note how many problems were only counted."""
        self._problems.close()
