"""Captures in object stores (S3, Google Cloud Storage, Azure), through obstore.

Credentials and endpoints come from the environment and the machine's own identity, as every tool of that
store reads them (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ``GOOGLE_SERVICE_ACCOUNT``,
``AZURE_STORAGE_ACCOUNT_NAME``, ...). Retries are obstore's. A request that fails because the object or the
permission is missing affects that capture only; a store that cannot be reached stops the run, which can be
resumed.
"""

from __future__ import annotations

import fnmatch
import functools
import ipaddress
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from analyzer import extras
from analyzer.capture import sidecars
from analyzer.capture.sidecars import SUFFIXES
from analyzer.errors import AritraceError, LimitExceededError, UnreadableInputError, UsageError
from analyzer.fleet.manifest import Entry
from analyzer.readers.small_files import read_unpacked
from analyzer.writing import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import ReadableBuffer
    from obstore import ObjectMeta
    from obstore.store import ObjectStore, RetryConfig

_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
_MAGIC: Final = re.compile(r"[*?\[]")
#: obstore's own retries, shorter than its default: a dead endpoint must not take minutes for each request.
RETRY: RetryConfig = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
_PIECE = 8 << 20
_SIDECAR_LIMIT = 256 << 20


class StoreError(AritraceError):
    """A store does not respond, or not as a store does: not caused by a capture, so the run stops."""

    kind = "unreachable"


@dataclass(frozen=True)
class _Place:
    """An object or prefix: the URL of its bucket, and the key in it."""

    root: str
    key: str

    @classmethod
    def of(cls, url: str) -> _Place:
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        if not bucket:
            raise UsageError(
                "expected the name of a bucket after the scheme", path=url, advice="as in s3://bucket/path"
            )
        return cls(f"{scheme}://{bucket}", key)

    def url(self, key: str) -> str:
        return f"{self.root}/{key}"


def entries(url: str) -> Iterator[Entry]:
    """Yield the captures that a URL names: an object, all objects below a prefix, or those that match a glob.

    Raises:
        UsageError: no such bucket.
        StoreError: the store cannot be reached.
    """
    place = _Place.of(url)
    if _MAGIC.search(place.key):
        directory = _MAGIC.split(place.key)[0].rpartition("/")[0]
        matches = _pattern(place.key).fullmatch
        yield from _listed(url, place, directory, lambda key: matches(key) is not None, (*SUFFIXES, ".toml"))
        return
    if place.key and not place.key.endswith("/"):
        found = _head(place)
        if found is not None:
            yield _entry(place, found, None)
            return
    start = len(place.key.rstrip("/")) + 1 if place.key else 0
    yield from _listed(url, place, place.key.rstrip("/"), lambda key: "/." not in f"/{key[start:]}", SUFFIXES)


def require() -> None:
    """Make sure that captures in object stores can be read.

    Raises:
        UsageError: obstore is not installed.
    """
    extras.require("a source in an object store", "obstore", "obstore", "fleet")


def fetch(
    source: str, known_sidecars: list[str] | None, folder: Path, max_bytes: int
) -> tuple[Path, dict[str, str], str | None]:
    """Download a capture and its sidecars; return its path, the URL of each file in ``folder``, its version.

    The names in ``folder`` do not depend on those in the store.

    Args:
        source: its URL.
        known_sidecars: URLs of the sidecars that exist there; None: not known.
        folder: directory for the files.
        max_bytes: most bytes of the capture.

    Raises:
        UnreadableInputError: it does not exist, or no permission.
        LimitExceededError: more than ``max_bytes``.
        StoreError: the store cannot be reached.
        UsageError: obstore is not installed, as it may be on another machine than that of the listing.
    """
    require()
    place = _Place.of(source)
    capture = folder / "capture"
    version = _download(place, capture, max_bytes)
    urls = {str(capture): source}
    for url in _candidates(source):
        if known_sidecars is not None and url not in known_sidecars:
            continue
        target = folder / f"capture{PurePosixPath(url).suffix}"
        if str(target) in urls:
            continue  # the better name came first
        try:
            _download(_Place.of(url), target, _SIDECAR_LIMIT)
        except _MissingError:
            continue
        urls[str(target)] = url
    return capture, urls, version


def fetch_file(url: str, target: Path) -> None:
    """Download a small file that an option names.

    Raises:
        UnreadableInputError, LimitExceededError, StoreError: as :func:`fetch`.
    """
    _download(_Place.of(url), target, _SIDECAR_LIMIT)


def content(url: str, limit: int, expected: str) -> bytes:
    """Return the content of a small object, without the compressions that captures may have.

    Args:
        url: of the object.
        limit: most bytes, stored and decompressed.
        expected: what it should hold, for messages.

    Raises:
        UnreadableInputError, LimitExceededError, StoreError: as :func:`fetch`.
        EmptyInputError, DamagedInputError: as :func:`analyzer.readers.small_files.read_unpacked`.
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix="aritrace-") as folder:
        target = Path(folder, "content")
        _download(_Place.of(url), target, limit)
        return read_unpacked(str(target), limit, expected)


class _MissingError(UnreadableInputError):
    """There is no such object."""


def _candidates(url: str) -> list[str]:
    """URLs that a sidecar can have, the best first; as for files: NAME, or NAME less one or two suffixes."""
    head, _, name = url.rpartition("/")
    return [f"{head}/{candidate}{suffix}" for suffix in SUFFIXES for candidate in sidecars.names(name)]


def _listed(
    url: str, place: _Place, prefix: str, wanted: Callable[[str], bool], orphans: tuple[str, ...]
) -> Iterator[Entry]:
    """Yield every object that is wanted and is neither a sidecar nor ``.toml``; no object is opened for that.

    These are captures, too, if they end in one of ``orphans`` and no capture is beside them.
    """
    import obstore

    captures: list[ObjectMeta] = []
    others: list[ObjectMeta] = []
    beside: set[str] = set()
    try:
        with _translating_errors(url):
            for chunk in obstore.list(_store(place.root), prefix or None, chunk_size=1000):
                for found in chunk:
                    key = found["path"]
                    if key.endswith(SUFFIXES):
                        beside.add(key)
                    if key.endswith("/") or not wanted(key):
                        continue
                    (others if key.endswith((*SUFFIXES, ".toml")) else captures).append(found)
    except UnreadableInputError as error:
        yield Entry.nothing(url, f"this URL cannot be listed: {error.message}; {error.advice}", "unreadable")
        return
    captures += _without_capture([one for one in others if one["path"].endswith(orphans)], captures)
    if not captures:
        yield Entry.nothing(
            url, "expected captures below this URL, found none; check the bucket and the prefix"
        )
    for found in captures:
        near = _candidates(place.url(found["path"])) if beside else []
        at = len(place.root) + 1
        yield _entry(place, found, [candidate for candidate in near if candidate[at:] in beside])


def _without_capture(others: list[ObjectMeta], captures: list[ObjectMeta]) -> list[ObjectMeta]:
    """Those of ``others``, files NAME.SUFFIX, without a NAME.* among ``captures``."""
    owners = {sidecars.name_of(one["path"]) for one in others}
    for one in captures if owners else ():
        folder, slash, name = one["path"].rpartition("/")
        owners -= {f"{folder}{slash}{owner}" for owner in sidecars.names(name)}
    return [one for one in others if sidecars.name_of(one["path"]) in owners]


def _entry(place: _Place, found: ObjectMeta, sidecars: list[str] | None) -> Entry:
    changed = found["last_modified"]
    return Entry(
        location=place.url(found["path"]).encode(),
        size=found["size"],
        modified_ns=int(changed.timestamp()) * 1_000_000_000,
        etag=found["e_tag"],
        sidecars=sidecars,
    )


def _head(place: _Place) -> ObjectMeta | None:
    import obstore

    try:
        with _translating_errors(place.url(place.key)):
            return obstore.head(_store(place.root), place.key)
    except _MissingError:
        return None


def _download(place: _Place, target: Path, max_bytes: int) -> str | None:
    import obstore

    url = place.url(place.key)
    with _translating_errors(url):
        result = obstore.get(_store(place.root), place.key)
        size = result.meta["size"]
        if size <= max_bytes:
            size = _keep(result.stream(min_chunk_size=_PIECE), target, max_bytes)
    if size > max_bytes:
        raise LimitExceededError(
            f"expected at most {max_bytes} bytes, found {size}", path=url, advice="raise --max-bytes"
        )
    return result.meta["e_tag"]


def _keep(pieces: Iterable[ReadableBuffer], target: Path, max_bytes: int) -> int:
    """Write an object's content to a file; return its bytes, counted no further than beyond ``max_bytes``.

    Raises:
        UsageError: there is no room for it, which the object did not cause.
    """
    size = 0
    with target.open("wb", buffering=0) as stream:  # a buffer would be written once more when it is closed
        for piece in pieces:
            left = memoryview(piece)
            size += len(left)
            with storing(target):
                while left:
                    left = left[stream.write(left) :]
            if size > max_bytes:
                break
    return size


@contextmanager
def storing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an error of the system about a file or folder for fetched objects into one that stops the run.

    Raises:
        UsageError: it cannot be made or written.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot store an object while it is read: {refusal(error)}",
            path=os.fspath(path),
            advice="make room there, or name another directory in TMPDIR, then run the same command again",
        ) from error


@functools.lru_cache(maxsize=32)
def _store(root: str) -> ObjectStore:
    from obstore.store import from_url

    return from_url(root, client_options={"allow_http": True} if _on_loopback() else {}, retry_config=RETRY)


def _on_loopback() -> bool:
    """Whether the endpoint is plain HTTP on this machine, where no one else can read it."""
    endpoint = urlsplit(next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), ""))
    host = endpoint.hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return endpoint.scheme == "http" and local


@contextmanager
def _translating_errors(url: str) -> Iterator[None]:
    """Turn obstore's errors into those of :mod:`analyzer.errors`."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError) as error:
        raise _MissingError("there is no such object", path=url, advice="check the name") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise UnreadableInputError(
            "no permission to read this object", path=url, advice="check the credentials"
        ) from error
    except exceptions.InvalidPathError as error:
        raise UnreadableInputError(f"not a valid key: {_first(error)}", path=url) from error
    except exceptions.BaseError as error:
        raise StoreError(
            f"the object store does not answer: {_first(error)}",
            path=url,
            advice="check the network, the endpoint and the credentials, then run the same command again",
        ) from error


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:500]


def _pattern(key: str) -> re.Pattern[str]:
    """A shell pattern over keys: ``*`` stays within a segment, ``**`` is any number of them."""
    parts = []
    for segment in key.split("/"):
        if segment == "**":
            parts.append("(?:[^/]+/)*")
        else:
            inner = fnmatch.translate(segment).removeprefix("(?s:").removesuffix(r")\Z").removesuffix(r")\z")
            parts.append(inner.replace(".*", "[^/]*") + "/")
    return re.compile("".join(parts).removesuffix("/"))
