"""The files of one manifest entry on this machine, and its own options: what is needed to open it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from analyzer.capture.joining import of_piece, path_of
from analyzer.errors import AritraceError, LimitExceededError
from analyzer.fleet import listing
from analyzer.fleet.manifest import as_text

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.fleet.manifest import Entry
    from analyzer.options import Options

#: Options of a history that name a file, and those whose text may (``@FILE``).
FILE_OPTIONS = ("seed", "dmesg", "flb")
TEXT_OPTIONS = ("preserved", "cmdline")


@dataclass
class LocalFiles:
    """What to open for one entry.

    Attributes:
        paths: the pieces in order, on this machine.
        options: those of the run with those of the entry.
        names: what the user calls a path that differs from it: a URL, or escaped bytes.
        changed: whether a piece is not what it was when it was listed.
    """

    paths: list[str]
    options: Options
    names: dict[str, str] = field(default_factory=dict)
    changed: bool = False

    @property
    def path(self) -> str:
        """The path of the whole, as the analysis names it."""
        return path_of(self.paths)


def is_remote(entry: Entry) -> bool:
    """Whether something of an entry is in an object store."""
    named = [value for value in own_options(entry).values() if isinstance(value, str)]
    return any(map(listing.is_url, [*_paths(entry), *(text.removeprefix("@") for text in named)]))


def own_options(entry: Entry) -> dict[str, Any]:
    """Options of an entry's own: fields of :class:`analyzer.options.Options`."""
    return {} if entry.options is None else dict(json.loads(entry.options))


def files_of(entry: Entry) -> list[str]:
    """Paths and URLs of the pieces of an entry, and of the files that its own options name."""
    own = own_options(entry)
    named = [own[name] for name in FILE_OPTIONS if name in own]
    texts = [own[name] for name in TEXT_OPTIONS if name in own]
    return _paths(entry) + named + [text[1:] for text in texts if text.startswith("@")]


def local_files(entry: Entry, options: Options, folder: Path | None, limit: int) -> LocalFiles:
    """Bring what an entry names onto this machine.

    Args:
        entry: of a manifest.
        options: of the run.
        folder: directory for what is fetched; None if nothing of it :func:`is_remote`.
        limit: most bytes of all pieces, as stored.

    Raises:
        AritraceError: a piece or file is missing or too large, or a store is out of reach.
    """
    names: dict[str, str] = {}
    own = _with_local_files(own_options(entry), folder, names)
    found = LocalFiles([], replace(options, **own) if own else options, names)
    size: int | None = 0
    stored: int | None
    left, times, versions = limit, [], []
    paths = _paths(entry)
    for number, (path, location) in enumerate(zip(paths, entry.piece_locations, strict=True), start=1):
        name = as_text(location)
        try:
            if listing.is_url(path):
                stored, version = _fetched(path, entry, _subfolder(folder, f"piece-{number}"), left, found)
                versions.append(version)
            else:
                stored, modified_ns = listing.size_and_time(path)
                times.append(modified_ns)
                found.paths.append(path)
                found.names[path] = name
                if stored is not None and stored > left:
                    raise _too_large(stored, left, name)
        except AritraceError as error:
            raise of_piece(error, number, [as_text(one) for one in entry.piece_locations]) from None
        left -= stored or 0
        size = None if size is None or stored is None else size + stored
    found.names[found.path] = entry.name
    if versions:
        found.changed = entry.etag is not None and joined_versions(versions) != entry.etag
    else:
        found.changed = entry.size is not None and (size, latest(times)) != (entry.size, entry.modified_ns)
    return found


def joined_versions(versions: list[str | None]) -> str | None:
    """The version of a whole: those of its pieces; None if one is not known."""
    known = [version for version in versions if version is not None]
    return " + ".join(known) if len(known) == len(versions) else None


def latest(times: list[int | None]) -> int | None:
    """When the last of some pieces changed; None if it is not known of one."""
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None


def _paths(entry: Entry) -> list[str]:
    return [os.fsdecode(location) for location in entry.piece_locations]


def _fetched(url: str, entry: Entry, folder: Path, limit: int, found: LocalFiles) -> tuple[int, str | None]:
    from analyzer.fleet import stores

    local, urls, version = stores.fetch(url, entry.sidecars, folder, limit)
    found.paths.append(str(local))
    found.names |= urls
    return local.stat().st_size, version


def _with_local_files(own: dict[str, Any], folder: Path | None, names: dict[str, str]) -> dict[str, Any]:
    """The options with the path of a fetched file in place of each URL, which goes to ``names``."""
    from analyzer.fleet import stores

    chosen = dict(own)
    for name in (*FILE_OPTIONS, *TEXT_OPTIONS):
        text = chosen.get(name)
        url = text if text is None or name in FILE_OPTIONS else text[1:] if text.startswith("@") else None
        if url is not None and listing.is_url(url):
            target = _subfolder(folder, "options") / name
            names[str(target)] = url
            try:
                stores.fetch_file(url, target)
            except AritraceError as error:
                error.option = f"--{name}"
                raise
            chosen[name] = str(target) if name in FILE_OPTIONS else f"@{target}"
    if "kexec_at" in chosen:
        chosen["kexec_at"] = tuple(chosen["kexec_at"])
    return chosen


def _subfolder(folder: Path | None, name: str) -> Path:
    from analyzer.fleet.stores import storing

    if folder is None:
        raise ValueError("there is no folder for what is fetched")
    with storing(folder):
        made = folder / name
        made.mkdir(exist_ok=True)
    return made


def _too_large(size: int, limit: int, name: str) -> LimitExceededError:
    return LimitExceededError(
        f"expected at most {limit} bytes, found {size}", path=name, advice="raise --max-bytes"
    )
