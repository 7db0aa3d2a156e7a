"""What a reader cannot use, counted while it reads and written into the notes at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.capture import Notes

#: Problems of one input that are listed one by one, and kinds that are named.
MOST_LISTED: Final = 100
_MOST_KINDS: Final = 12


@dataclass
class Count:
    """How many of something there were, and the byte of the first."""

    number: int = 0
    first: int | None = None

    def add(self, number: int, first: int | None) -> None:
        """Count ``number`` more, the first of them at byte ``first``."""
        if number and self.first is None:
            self.first = first
        self.number += number

    def report(self, notes: Notes, kind: str, message: str, *, loses: bool = True, example: str = "") -> None:
        """Note a problem if there were any.

        Args:
            notes: of the reader.
            kind: of the problem.
            message: a template of :func:`analyzer.plurals.counted`.
            example: what stands after it, such as a line of the input.
            loses: each is an access that is known to have happened and cannot be used: it counts as dropped,
                so that no verdict rests on a history that looks complete.
        """
        if self.number:
            notes.problem(kind, counted(message, self.number) + example, self.first)
            notes.dropped += self.number if loses else 0


class ProblemList:
    """Problems that are listed one by one up to ``MOST_LISTED``; the others are only counted.

    Args:
        notes: of the reader.
        what: what they are, for the message about those that are not listed.
    """

    def __init__(self, notes: Notes, what: str = "problems") -> None:
        self._notes = notes
        self._what = what
        self._number = 0

    def add(self, kind: str, message: str, offset: int | None) -> None:
        """Note a problem, or only count it once there are very many."""
        self._number += 1
        if self._number <= MOST_LISTED:
            self._notes.problem(kind, message, offset)

    def close(self, kind: str = "damaged") -> None:
        """Note how many problems were only counted."""
        if self._number > MOST_LISTED:
            self._notes.problem(kind, f"{self._number - MOST_LISTED} more {self._what}, not listed")


def report_kinds(notes: Notes, what: str, kinds: Mapping[str, int]) -> None:
    """Note that entries of other kinds are not used, the most frequent kinds by name, if there are any.

    Args:
        notes: of the reader.
        what: what they are, in the plural.
        kinds: how many there were by kind.
    """
    if kinds:
        ranked = sorted(kinds.items(), key=lambda kind: -kind[1])
        listed = ", ".join(f"{kind} ({number})" for kind, number in ranked[:_MOST_KINDS])
        more = f" and {len(ranked) - _MOST_KINDS} more kinds" if len(ranked) > _MOST_KINDS else ""
        notes.problem("foreign", f"{what} are not used: {listed}{more}")
