"""``--group-by``: files in whose paths a pattern finds the same are pieces of one history.

The order of pieces decides what an analysis says, so it is never guessed: it is that of the names, numbers
compared as numbers, unless words or a group of the pattern give it; names that say another order are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from analyzer.capture.joining import path_of
from analyzer.errors import UsageError
from analyzer.fleet import fetching
from analyzer.fleet.histories import PIECES_LIMIT, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.fleet.manifest import Entry, StatedBy

#: Groups of the pattern with a meaning; ``order`` is the only one that is not part of the key.
HOST, TIME, ORDER = "host", "time", "order"
#: Words for the two sides of a kexec: the first is before the second, whatever the alphabet says.
_SIDES: Final = (("before", "after"), ("pre", "post"), ("old", "new"), ("outgoing", "incoming"))
_NUMBER: Final = re.compile(r"([0-9]+)")
_COMPACT: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[T_-]?(\d{2}):?(\d{2}):?(\d{2})?Z?)?")


@dataclass(frozen=True)
class Grouping:
    """How files become pieces of histories.

    Attributes:
        pattern: finds the key in a path: all its groups but ``order``; the whole match if it has none.
        words: words in the order of the pieces; none: they are in the order of the names.
    """

    pattern: re.Pattern[str]
    words: tuple[str, ...] = ()

    def key(self, path: str) -> tuple[str | None, ...] | None:
        """The key of a path; None if the pattern does not match: the file is a history of its own."""
        match = self.pattern.search(path)
        if match is None:
            return None
        number = self.pattern.groupindex.get(ORDER)
        values = tuple(value for at, value in enumerate(match.groups(), start=1) if at != number)
        return values or (match[0],)

    def _group(self, path: str, name: str) -> str | None:
        match = self.pattern.search(path)
        return match[name] if match is not None and name in self.pattern.groupindex else None

    def grouped(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield a history for each key, and each entry without one as it is.

        Raises:
            UsageError: the order of the pieces of a history is not known, or they are too many.
        """
        histories: dict[tuple[str | None, ...], dict[bytes, Entry]] = {}
        for entry in entries:
            key = None if entry.problem is not None else self.key(entry.name)
            if key is None:
                yield entry
            else:
                histories.setdefault(key, {})[entry.location] = entry
        for pieces in histories.values():
            yield self._history(list(pieces.values()))

    def _history(self, pieces: list[Entry]) -> Entry:
        if len(pieces) > PIECES_LIMIT:
            raise UsageError(
                f"--group-by: expected at most {PIECES_LIMIT} files with the same key, found {len(pieces)},"
                f" as {pieces[0].name}",
                advice="name what tells histories apart in a group of the pattern, as (?P<host>[^/]+)",
            )
        alone = len(pieces) == 1
        pieces = sorted(pieces, key=lambda entry: self._place(entry.name, alone=alone))
        if not self.words and ORDER not in self.pattern.groupindex:
            _refuse_other_order([entry.name for entry in pieces])
        first = pieces[0]
        host, time_ns = self._group(first.name, HOST), self._time(first.name)
        by: StatedBy | None = None if host is None and time_ns is None else "path"
        first = replace(first, host=host, time_ns=time_ns, stated_by=by)
        if alone:
            return first
        sizes = [entry.size for entry in pieces]
        known = [name for entry in pieces for name in entry.sidecars or ()]
        return replace(
            first,
            location=path_of([entry.path for entry in pieces]).encode("utf-8", "surrogateescape"),
            size=None if None in sizes else sum(size or 0 for size in sizes),
            modified_ns=fetching.latest([entry.modified_ns for entry in pieces]),
            etag=fetching.joined_versions([entry.etag for entry in pieces]),
            sidecars=None if any(entry.sidecars is None for entry in pieces) else known,
            pieces=[entry.location for entry in pieces],
        )

    def _place(self, path: str, *, alone: bool) -> tuple[int, list[tuple[str, int]], str]:
        text = self._group(path, ORDER)
        text = path if text is None else text
        place = 0
        if self.words and not alone:
            there = [at for at, word in enumerate(self.words) if _has(text, word)]
            if len(there) != 1:
                found = "none of them" if not there else " and ".join(self.words[at] for at in there)
                raise UsageError(
                    f"expected one of the words of --group-order ({', '.join(self.words)}) in the name of a"
                    f" piece, found {found}",
                    path=path,
                    advice="choose words of which each piece has one, or mark the place with (?P<order>...)",
                )
            (place,) = there
        return place, _natural(text), path

    def _time(self, path: str) -> int | None:
        text = self._group(path, TIME)
        if text is None:
            return None
        try:
            match = _COMPACT.fullmatch(text)
            if match is None:
                return nanoseconds(text)
            year, month, day, hour, minute, second = (part or "00" for part in match.groups())
            return nanoseconds(f"{year}-{month}-{day}T{hour}:{minute}:{second}Z")
        except (ValueError, OverflowError):
            raise UsageError(
                f"--group-by: expected a date or time in the group 'time', found {text!r}",
                path=path,
                advice=r"as in (?P<time>\d{8}) for 20260331, or of ISO 8601",
            ) from None


def read(group_by: str | None, group_order: str | None) -> Grouping | None:
    """Return what the options say, None without ``--group-by``.

    Raises:
        UsageError: not a regular expression, or an order without groups.
    """
    words = tuple(word.strip() for word in (group_order or "").split(",") if word.strip())
    if group_by is None:
        if group_order is not None:
            raise UsageError("--group-order needs --group-by", advice="as in --group-by '[^/]+/'")
        return None
    if group_order is not None and len(set(words)) < 2:
        raise UsageError(
            f"--group-order: expected at least 2 words, found {group_order!r}", advice="as in before,after"
        )
    try:
        return Grouping(re.compile(group_by), words)
    except re.error as error:
        raise UsageError(f"--group-by: not a regular expression: {error}") from error


def _natural(text: str) -> list[tuple[str, int]]:
    """Key of an order in which 2 is before 10."""
    parts = _NUMBER.split(text)
    # Text and number alternate: each pair is the text before a number, and the number.
    return [(parts[at], int(parts[at + 1]) if at + 1 < len(parts) else -1) for at in range(0, len(parts), 2)]


def _has(text: str, word: str) -> bool:
    """Whether a word stands in a text with no letter beside it."""
    return re.search(rf"(?<![^\W\d_]){re.escape(word)}(?![^\W\d_])", text, re.IGNORECASE) is not None


def _refuse_other_order(paths: Sequence[str]) -> None:
    for earlier, later in _SIDES:
        first = next((path for path in paths if _has(path, later) and not _has(path, earlier)), None)
        if first is None:
            continue
        after = paths[paths.index(first) + 1 :]
        second = next((path for path in after if _has(path, earlier) and not _has(path, later)), None)
        if second is not None:
            raise UsageError(
                f"the order of names puts {first} before {second}",
                advice=f"say the order of the pieces: --group-order {earlier},{later}",
            )
