"""The cache of built parts: how they are recognised, how a build is published, and the trees of builds."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from analyzer.lab.build.edits import Edit, NewFile, apply_edits
from analyzer.lab.build.steps import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

_RECORD = "built.json"
_NEEDED_BYTES = 5 << 30  # both source trees with their object files take 3 GiB


def recipe_key(changes: Iterable[Edit | NewFile], *more: str) -> str:
    """Return 12 hex digits that change with any edit, option or configuration of a part.

    Args:
        changes: the edits and new files.
        more: everything else the result depends on, apart from the version of the source.
    """
    digest = hashlib.sha256()
    for change in changes:
        words = (
            (change.path, change.anchor, change.place, change.text)
            if isinstance(change, Edit)
            else (change.path, change.text)
        )
        digest.update(json.dumps([type(change).__name__, *words]).encode())
    digest.update(json.dumps(list(more)).encode())
    return digest.hexdigest()[:12]


def finished(cache: Path, part: str, key: str) -> Path | None:
    """Return the directory of the newest finished build of a part, or None.

    Args:
        cache: the lab's cache.
        part: ``qemu`` or ``kernel``.
        key: from :func:`recipe_key`; builds of other recipes do not count.
    """
    records = cache.glob(f"{part}-*-{key}/{_RECORD}")
    return max((record.parent for record in records), key=lambda folder: folder.stat().st_mtime, default=None)


def publish(folder: Path, cache: Path, part: str, version: str, key: str) -> Path:
    """Make a finished directory visible under its name, in one step.

    Args:
        folder: what was built; moves.
        cache: the lab's cache, on the same file system.
        part: ``qemu`` or ``kernel``.
        version: of the source package; goes into the name and the record.
        key: from :func:`recipe_key`.
    """
    record = {"part": part, "version": version, "recipe": key}
    (folder / _RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    target = cache / f"{part}-{version.replace(':', '_').replace('/', '_')}-{key}"
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
    return target


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Keep other builds out of the cache while the block runs.

    Raises:
        BuildError: the cache cannot be written, has too little room, or another build is at work.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        stream = (cache / "lock").open("a")
    except OSError as error:
        raise BuildError(
            f"cannot write the lab's cache: {error.strerror or error}",
            path=str(cache),
            advice="set XDG_CACHE_HOME to a directory that you may write",
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BuildError(
                "another build is at work in this cache", path=str(cache), advice="wait for it"
            ) from error
        free = shutil.disk_usage(cache).free
        if free < _NEEDED_BYTES and not (cache / "work").exists():
            raise BuildError(
                f"building needs {_NEEDED_BYTES >> 30} GiB of free space, found {free / (1 << 30):.1f} GiB",
                path=str(cache),
                advice="make room, or set XDG_CACHE_HOME to another file system",
            )
        yield


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """Make a directory that exists afterwards only if the block ends without an error.

    It is filled under another name, so that a build that was killed does not leave half of it.
    """
    partial = path.with_name(path.name + ".partial")
    for old in (partial, path):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    os.replace(partial, path)  # noqa: PTH105 - as for files: in one step


def drop_others(work: Path, *, keep: Collection[Path]) -> None:
    """Remove trees that no build of today's recipes resumes.

    Args:
        work: the directory of trees, each ``PART-KEY``.
        keep: those that are resumed; trees of other parts stay too.
    """
    parts = {path.name.rpartition("-")[0] for path in keep}
    for path in work.glob("*"):
        if path not in keep and path.name.rpartition("-")[0] in parts:
            shutil.rmtree(path, ignore_errors=True)


def prepare_tree(
    work: Path, version: str, unpack: Callable[[Path], None], changes: Iterable[Edit | NewFile]
) -> None:
    """Fetch, unpack and edit a source.

    Args:
        work: the tree goes to ``work/source``, its version to ``work/version``; it exists when all is done.
        version: of the source package.
        unpack: puts the unpacked source in a directory.
        changes: the edits.

    Raises:
        BuildError: a download or unpacking fails.
        EditError: the lab cannot edit this version.
    """
    with fresh_folder(work) as folder:
        (folder / "version").write_text(version, encoding="utf-8")
        unpack(folder / "source")
        apply_edits(folder / "source", changes)
