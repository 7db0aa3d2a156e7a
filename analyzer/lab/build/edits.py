"""Text edits of other projects' source code, anchored in the text itself.

An anchor is a piece of the source written without regard to white space: each run of white space matches any
run. It must match exactly once. A source that has changed there stops the build with a clear error instead of
getting an edit in the wrong place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Place = Literal["before", "after", "instead"]


class EditError(UsageError):
    """An anchor that is not exactly once in the source, or a file that is missing."""

    kind = "lab-edit"


@dataclass(frozen=True)
class Edit:
    """One change of one file.

    Attributes:
        path: the file, relative to the root of the source tree.
        anchor: text that occurs once in the file, white space aside.
        place: whether ``text`` goes before the anchor, after it, or instead of it.
        text: what is put there, as it stands.
    """

    path: str
    anchor: str
    place: Place
    text: str


@dataclass(frozen=True)
class NewFile:
    """A file that only the edited tree has.

    Attributes:
        path: where it goes, relative to the root of the source tree.
        text: its content.
    """

    path: str
    text: str


def apply_edits(root: Path, changes: Iterable[Edit | NewFile]) -> None:
    """Change a source tree.

    Everything is checked before the first file is written: either all changes are made or none.

    Args:
        root: the unpacked source tree.
        changes: in the order in which they are made; two edits of one file may follow each other.

    Raises:
        EditError: a file or its anchor is not as expected, or a new file exists already.
    """
    texts: dict[str, str] = {}
    for change in changes:
        target = root / change.path
        if isinstance(change, NewFile):
            if target.exists() or change.path in texts:
                raise EditError("is already there", path=str(target), advice=_START_AGAIN)
            texts[change.path] = change.text
            continue
        if change.path not in texts:
            texts[change.path] = _read(target)
        texts[change.path] = edited(texts[change.path], change, where=str(target))
    for path, text in texts.items():
        (root / path).write_text(text, encoding="utf-8", errors="surrogateescape")


def edited(text: str, edit: Edit, *, where: str) -> str:
    """Return ``text`` with one edit made.

    Args:
        text: the source.
        edit: its anchor must occur in ``text`` exactly once, or not at all.
        where: how an error names the source.

    Raises:
        EditError: the anchor occurs never or more than once.
    """
    pattern = r"\s+".join(re.escape(word) for word in edit.anchor.split())
    found = list(re.finditer(pattern, text))
    if len(found) != 1:
        raise EditError(
            f"expected this text exactly once, found it {len(found)} times: {edit.anchor.strip()!r}",
            path=where,
            advice="the lab cannot edit this version of the source; "
            "docs/lab-build.md lists those that it was tried with",
        )
    start, end = found[0].span()
    match edit.place:
        case "before":
            return text[:start] + edit.text + text[start:]
        case "after":
            return text[:end] + edit.text + text[end:]
        case "instead":
            return text[:start] + edit.text + text[end:]


_START_AGAIN = "remove this source tree and start the build again"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise EditError(
            f"cannot read: {error.strerror or error}", path=str(path), advice=_START_AGAIN
        ) from error
