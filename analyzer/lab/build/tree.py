"""The edited source tree of a part, from which it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.lab.build.cache import fresh_folder
from analyzer.lab.build.edits import apply_edits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from analyzer.lab.build.edits import Edit, NewFile


def prepare_tree(
    work: Path, version: str, unpack: Callable[[Path], None], changes: Iterable[Edit | NewFile]
) -> None:
    """Fetch, unpack and edit a source.

    Args:
        work: the tree goes to ``work/source``, its version to ``work/version``; whole or not at all.
        version: of the source package.
        unpack: puts the unpacked source in a directory.
        changes: the edits.

    Raises:
        BuildError: a download or unpacking fails.
        EditError: this version is not one that the lab can edit.
    """
    with fresh_folder(work) as folder:
        (folder / "version").write_text(version, encoding="utf-8")
        unpack(folder / "source")
        apply_edits(folder / "source", changes)
