"""Where a file is, however its path is spelled: ``a``, ``./a``, ``b/../a``, ``/dir/a`` can be one capture."""

from __future__ import annotations

import os
from typing import Final

import polars as pl

from analyzer.capture.joining import path_of
from analyzer.fleet.listing import SCHEMES, is_url

#: What segments without need look like, at the beginning of a path, within it, and at its end.
_FIRST, _WITHIN, _LAST = (b"./", b"../"), (b"//", b"/./", b"/../"), (b"/.", b"/..")
_SCHEMES: Final = tuple(scheme.encode() for scheme in SCHEMES)


def absolute(path: str, start: str) -> str:
    """A path from the root, without ``.``, ``..`` and empty segments; a URL as it is. Links are not followed.

    Args:
        path: absolute, or relative to ``start``.
        start: working directory; "" if it is not known: a relative path stays one.
    """
    if is_url(path):
        return path
    found = os.path.normpath(os.path.join(start, path))  # noqa: PTH118 pathlib keeps ".."
    return found[1:] if found.startswith("//") else found


def spelled_alike(listed: pl.DataFrame, known: pl.DataFrame, start: str) -> pl.DataFrame:
    """Return rows of a manifest with each place spelled as it was first, in ``known`` or in themselves.

    Args:
        listed: the rows.
        known: rows of earlier manifests, which stay as they are.
        start: working directory of all of them.
    """
    if not _spellings_differ(pl.concat([frame.select("location", "pieces") for frame in (known, listed)])):
        return listed
    first: dict[str, bytes] = {}

    def as_first(location: bytes) -> bytes:
        return first.setdefault(absolute(os.fsdecode(location), start), location)

    for location, pieces in known.select("location", "pieces").iter_rows():
        for piece in pieces or [location]:
            as_first(piece)
    rows: list[tuple[bytes, list[bytes] | None]] = []
    for location, pieces in listed.select("location", "pieces").iter_rows():
        chosen = [as_first(piece) for piece in pieces or [location]]
        whole = os.fsencode(path_of([os.fsdecode(piece) for piece in chosen]))
        rows.append((whole, chosen if pieces else None))
    spelled = pl.DataFrame(rows, schema=listed.select("location", "pieces").schema, orient="row")
    return listed.with_columns(spelled).unique("location", keep="first").sort("location")


def _spellings_differ(rows: pl.DataFrame) -> bool:
    """Whether two of these can be one place: some are relative, not all, or have segments without need."""
    named = rows.select(pl.col("pieces").fill_null(pl.concat_list("location")).explode().alias("file"))
    file = pl.col("file").bin
    odd = pl.any_horizontal(
        *map(file.starts_with, _FIRST), *map(file.contains, _WITHIN), *map(file.ends_with, _LAST)
    ) & ~of_url(pl.col("file"))
    found = named.select(
        odd=odd.any(), relative=relative(pl.col("file")).any(), all=relative(pl.col("file")).all()
    )
    return bool(found["odd"][0]) or found["relative"][0] != found["all"][0]


def of_url(location: pl.Expr) -> pl.Expr:
    """Whether locations, as bytes, are URLs."""
    return pl.any_horizontal(*(location.bin.starts_with(scheme) for scheme in _SCHEMES))


def relative(location: pl.Expr) -> pl.Expr:
    """Whether locations, as bytes, are paths that begin in the working directory."""
    return ~(location.bin.starts_with(b"/") | of_url(location))
