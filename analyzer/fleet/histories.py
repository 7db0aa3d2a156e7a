"""What ``--manifest`` names: histories of one or more pieces each, with what belongs to each of them.

A manifest can come from somebody else: no path in it leads out of its own directory, or of the one that the
user names with ``--manifest-root``.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from analyzer import option_values, series
from analyzer.capture.joining import path_of
from analyzer.errors import UsageError
from analyzer.fleet import fetching, history_rows, listing
from analyzer.fleet.manifest import Entry, as_text
from analyzer.options import explicit_boundary
from analyzer.preservation.preserved import entries_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analyzer.fleet.history_rows import HistoryRow, ManifestContent

#: Pieces of one history, and bytes of a path: Linux accepts no longer one, and no store has longer keys.
PIECES_LIMIT: Final = 1000
_LONGEST: Final = 4096
_LONGEST_NAME: Final = 255
#: Between pieces, and between boundaries, in one text.
_SEPARATOR: Final = ";"
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
_NS: Final = 1_000_000_000
_LAST_NS: Final = (1 << 63) - 1


@dataclass
class Histories:
    """The histories of all manifests of a run.

    Attributes:
        contents: of the manifests, by their name as given.
        root: what paths are relative to; None: each manifest's own directory.
        named: files and URLs that histories name, filled by :meth:`entries`: real paths.
    """

    contents: dict[str, ManifestContent]
    root: str | None = None
    named: set[str] = field(default_factory=set)

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each row of each manifest.

        Raises:
            UsageError: a row that is not a history; says which one, what was found, and what was expected.
        """
        places: dict[bytes, str] = {}
        self.named.update(os.path.realpath(path) for path in self.contents if not listing.is_url(path))
        for path, content in self.contents.items():
            for row in content.rows():
                entry = self._entry(row, path)
                where = f"{row.place} of {path}"
                if entry.location in places:
                    raise UsageError(
                        f"expected each history once, found the one of {row.place} also in"
                        f" {places[entry.location]}",
                        path=path,
                        advice="remove one of the two rows",
                    )
                places[entry.location] = where
                yield entry

    def _entry(self, row: HistoryRow, path: str) -> Entry:
        reader = _RowReader(row, path, self.root)
        entry = reader.entry()
        self.named.update(reader.named)
        return entry


def read(paths: Sequence[str], root: str | None) -> Histories:
    """Read the manifests of a run.

    Args:
        paths: files or URLs, as given.
        root: of ``--manifest-root``, or None.

    Raises:
        UsageError: one of them cannot be read.
    """
    return Histories({path: history_rows.read(path) for path in paths}, root)


class _RowReader:
    """Reads the columns of one row; every error says where it stands."""

    def __init__(self, row: HistoryRow, path: str, root: str | None) -> None:
        self._row, self._path = row, path
        self._root = _folder_of(path) if root is None else root
        self.named: list[str] = []

    def entry(self) -> Entry:
        values = dict(self._row.values)
        pieces = self._pieces(values.pop("pieces", None))
        host = self._host(values.pop("host", None))
        time_ns = self._time(values.pop("time", None))
        unknown = next((name for name in values if name not in _READERS), None)
        if unknown is not None:
            known = ", ".join(("host", "pieces", "time", *_READERS))
            raise self._error(unknown, "a known column", repr(unknown), f"the columns are {known}")
        options: dict[str, Any] = {}
        for name, value in values.items():
            option, read = _READERS[name]
            options[option] = read(self, name, value)
        return history(
            pieces,
            options=json.dumps(options, sort_keys=True) if options else None,
            host=host,
            time_ns=time_ns,
            stated_by="manifest",
        )

    def _pieces(self, value: Any) -> list[str]:
        names = [name.strip() for name in value.split(_SEPARATOR)] if isinstance(value, str) else value
        if not isinstance(names, list) or not names:
            raise self._error("pieces", "at least one file", "none", "separate several by ';' in their order")
        if len(names) > PIECES_LIMIT:
            raise self._error("pieces", f"at most {PIECES_LIMIT} pieces", f"{len(names)}")
        return [self.location("pieces", name) for name in names]

    def location(self, column: str, value: Any) -> str:
        """The path or URL that a column names, below the root."""
        text = self.text(column, value)
        if not text.strip():
            raise self._error(column, "a path", "none")
        if "\0" in text or len(os.fsencode(text)) > _LONGEST:
            what = "a zero byte" if "\0" in text else f"{len(text)} characters"
            raise self._error(column, f"a path of at most {_LONGEST} bytes", what)
        if listing.is_url(self._root):
            found = self._below_url(column, text)
            self.named.append(found)
            return found
        if "://" in text:
            raise self._error(
                column,
                "a path below the manifest's directory",
                f"the URL {text!r}",
                "give --manifest-root URL/ to let it name objects below that URL",
            )
        root = os.path.normpath(self._root or ".")
        found = os.path.normpath(os.path.join(root, text))  # noqa: PTH118 keeps the user's spelling
        inside = os.path.relpath(os.path.abspath(found), os.path.abspath(root))  # noqa: PTH100 as above
        if inside == os.pardir or inside.startswith(os.pardir + os.sep):
            raise self._error(
                column,
                f"a path below {root}",
                repr(text),
                "give --manifest-root DIR to let it name files below DIR",
            )
        self.named.append(os.path.realpath(found))
        return found

    def _below_url(self, column: str, text: str) -> str:
        root = self._root.rstrip("/") + "/"
        key = text.removeprefix(root) if text.startswith(root) else text
        if "://" in key or key.startswith("/") or os.pardir in key.split("/"):
            raise self._error(column, f"a path or URL below {root}", repr(text))
        return root + posixpath.normpath(key)

    def _host(self, value: Any) -> str | None:
        if value is None:
            return None
        text = self.text("host", value).strip()
        if not text or len(text) > _LONGEST_NAME:
            raise self._error("host", f"a name of 1 to {_LONGEST_NAME} characters", f"{len(text)} characters")
        return as_text(os.fsencode(text))

    def _time(self, value: Any) -> int | None:
        if value is None:
            return None
        try:
            found = nanoseconds(value) if isinstance(value, str | dt.date) else None
        except (ValueError, TypeError, OverflowError):
            found = None
        if found is None:
            raise self._error(
                "time", "a date or time of ISO 8601", repr(value)[:80], "as in 2026-03-31T12:00:00Z"
            )
        return found

    def text(self, column: str, value: Any) -> str:
        r"""A value that must be text; in JSON, ``\udcNN`` is a byte of a name that is not UTF-8 (PEP 383)."""
        if not isinstance(value, str):
            raise self._error(column, "a text", type(value).__name__)
        try:
            os.fsencode(value)
        except UnicodeEncodeError:
            raise self._error(column, "a text", "half of a character (a surrogate)") from None
        return value

    def text_or_file(self, column: str, value: Any) -> str:
        """A text, or ``@FILE`` with the path resolved."""
        text = self.text(column, value)
        return f"@{self.location(column, text[1:])}" if text.startswith("@") else text

    def preserved(self, column: str, value: Any) -> str:
        listed = value if isinstance(value, list) else [value]
        text = self.text_or_file(column, ",".join(self.text(column, one) for one in listed))
        if not text.startswith("@"):
            self._checked(column, text, entries_of)
        return text

    def boundaries(self, column: str, value: Any) -> list[str]:
        texts = value.split(_SEPARATOR) if isinstance(value, str) else value
        for text in texts if isinstance(texts, list) else [value]:
            if not isinstance(text, str) or explicit_boundary(text.strip()) is None:
                raise self._error(column, "access:N or time:NS", repr(text))
        return [text.strip() for text in texts]

    def number(self, column: str, value: Any) -> int:
        text = str(value).strip()
        if isinstance(value, bool) or not text.isdecimal() or len(text) > 10:
            raise self._error(column, "a whole number", repr(value)[:80])
        return int(text)

    def truth(self, column: str, value: Any) -> bool:
        text = str(value).strip().lower()
        if text not in _TRUE | _FALSE:
            raise self._error(column, "true or false", repr(value)[:80])
        return text in _TRUE

    def field_map(self, column: str, value: Any) -> dict[str, str]:
        text = self.text(column, value)
        return self._checked(column, text, option_values.field_map)  # type: ignore[no-any-return]

    def ecam_base(self, column: str, value: Any) -> int:
        return self._checked(column, str(value), option_values.ecam_base)  # type: ignore[no-any-return]

    def flb_name(self, column: str, value: Any) -> str:
        return self._one_of(column, value, list(series.flb_names()))

    def series(self, column: str, value: Any) -> str:
        return self._one_of(column, value, list(series.names()))

    def _one_of(self, column: str, value: Any, names: list[str]) -> str:
        text = self.text(column, value).strip()
        if text not in names:
            raise self._error(column, f"one of {', '.join(names)}", repr(text)[:80])
        return text

    def _checked(self, column: str, text: str, check: Callable[[str], Any]) -> Any:
        try:
            return check(text)
        except UsageError as error:
            raise UsageError(
                f"column {column!r} in {self._row.place}: {error.message}",
                path=self._path,
                advice=error.advice,
            ) from None

    def _error(self, column: str, expected: str, found: str, advice: str = "") -> UsageError:
        return UsageError(
            f"expected {expected} in column {column!r} of {self._row.place}, found {found}"
            if column in self._row.values
            else f"expected {expected} in {self._row.place}, found {found}",
            path=self._path,
            advice=advice or "correct this row; nothing was analysed",
        )


#: Column -> the option (a field of Options) that it gives for its row alone, and how its value is read.
_READERS: Final[dict[str, tuple[str, Callable[[_RowReader, str, Any], Any]]]] = {
    "seed": ("seed", _RowReader.location),
    "dmesg": ("dmesg", _RowReader.location),
    "preserved": ("preserved", _RowReader.preserved),
    "flb": ("flb", _RowReader.location),
    "flb_name": ("flb_name", _RowReader.flb_name),
    "kexec_at": ("kexec_at", _RowReader.boundaries),
    "cmdline": ("cmdline", _RowReader.text_or_file),
    "series": ("series", _RowReader.series),
    "assume_preserved": ("assume_preserved", _RowReader.truth),
    "map": ("field_map", _RowReader.field_map),
    "ecam_base": ("ecam_base", _RowReader.ecam_base),
    "guest": ("guest", _RowReader.number),
    "linktype_raw_tlp": ("linktype_raw_tlp", _RowReader.number),
}


def history(pieces: Sequence[str], **stated: Any) -> Entry:
    """Return the entry of a history whose pieces are files or objects that were not listed yet.

    Args:
        pieces: paths or URLs in order.
        stated: further fields of the entry.
    """
    size: int | None = 0
    times: list[int | None] = []
    for piece in pieces:
        found, time = (None, None) if listing.is_url(piece) else listing.size_and_time(piece)
        size = None if size is None or found is None else size + found
        times.append(time)
    locations = [os.fsencode(piece) for piece in pieces]
    return Entry(
        location=os.fsencode(path_of(pieces)),
        size=size,
        modified_ns=fetching.latest(times),
        pieces=locations if len(locations) > 1 else None,
        **stated,
    )


def nanoseconds(value: str | dt.date) -> int:
    """A date or time of ISO 8601 as ns since 1970; without a zone it is UTC, a date is its first moment.

    Raises:
        ValueError, TypeError, OverflowError: it is no such time.
    """
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value.strip())
    elif not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 the zone follows
    moment = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    found = (since.days * 86_400 + since.seconds) * _NS + since.microseconds * 1000
    if abs(found) > _LAST_NS:
        raise OverflowError("a time beyond 64 bits of ns")
    return found


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0] if listing.is_url(path) else os.path.dirname(path)  # noqa: PTH120 "" stays
