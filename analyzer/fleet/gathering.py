"""The entries of a run: histories that manifests name, files of the sources, and what of these is new.

What a manifest names is not also a row of its own. An addition has only what the run does not have yet; what
the manifest of an earlier day said of a history holds until a manifest says something else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from analyzer.errors import UsageError
from analyzer.fleet import fetching, histories, listing, manifest, places
from analyzer.fleet.manifest import STATED, VERSION
from analyzer.readers.sources import LeftOut

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from analyzer.fleet.grouping import Grouping
    from analyzer.fleet.histories import Histories
    from analyzer.fleet.job import Job
    from analyzer.fleet.listing import SourceList
    from analyzer.fleet.manifest import Entry

_NUMBER: Final = "number"


@dataclass(frozen=True)
class RequestedInputs:
    """What a run is asked to analyse, read once.

    Attributes:
        sources: as the user gave them.
        lists: the content of each list file among them.
        histories: what manifests name.
        grouping: how files become pieces; None: each is a history of its own.
        earlier: what manifests named that an addition is not given again.
    """

    sources: Sequence[str]
    lists: Mapping[str, SourceList]
    histories: Histories
    grouping: Grouping | None
    earlier: Sequence[Entry] = ()

    def entries(self, output: str, left_out: LeftOut) -> Iterator[Entry]:
        """Yield an entry for each history; one that several sources name comes several times.

        Args:
            output: the output directory, which is never walked.
            left_out: collects every file that is not analysed as a capture.

        Raises:
            UsageError: as of :func:`analyzer.fleet.listing.entries`, a manifest or a group without an order.
        """
        earlier = _EarlierHistories(self.earlier)
        for entry in self.histories.entries():
            earlier.forget(entry)
            yield entry
        named = self.histories.named | earlier.files
        left_out = _LeftOutUnnamed(left_out, named)
        grouping = self.grouping
        logs = None if grouping is None else lambda path: grouping.key(_text(path)) is not None
        files = listing.entries(self.sources, output, self.lists, left_out, logs)
        found = _without_named(files, named, earlier)
        yield from found if grouping is None else grouping.grouped(found)
        yield from earlier.there()

    def asks_for(self, path: str) -> bool:
        """Whether a source is ``path``, or a directory or prefix above it."""
        lines = [*self._lines(urls=True), *self._lines(urls=False)]
        return any(path == line or path.startswith(f"{line.rstrip('/')}/") for line in lines)

    def _lines(self, *, urls: bool) -> listing.SourceLines:
        return listing.SourceLines(self.sources, self.lists, urls=urls)


class _LeftOutUnnamed(LeftOut):
    """Passes on what is left out, but for files that a manifest names: those are used."""

    def __init__(self, left_out: LeftOut, named: Container[str]) -> None:
        super().__init__()
        self._left_out, self._named = left_out, named

    def add(self, name: str) -> None:
        """Count one more, unless it is named."""
        if os.path.realpath(name) not in self._named:
            self._left_out.add(name)


class _EarlierHistories:
    """Histories that only manifests of earlier additions name: listed as these say, if sources show them."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._of_file: dict[str, list[Entry]] = {}
        self._there: dict[bytes, Entry] = {}
        self._forgotten: set[bytes] = set()
        for entry in entries:
            for file in fetching.files_of(entry):
                self._of_file.setdefault(_place(file), []).append(entry)

    @property
    def files(self) -> set[str]:
        """All that they name."""
        return set(self._of_file)

    def forget(self, entry: Entry) -> None:
        """Leave out those whose pieces are all in a history that is named now."""
        pieces = set(entry.piece_locations)
        for piece in pieces:
            for one in self._of_file.get(_place(os.fsdecode(piece)), ()):
                if pieces.issuperset(one.piece_locations):
                    self._forgotten.add(one.location)

    def see(self, file: str) -> None:
        """Note that the sources show a file."""
        for entry in self._of_file.get(file, ()):
            self._there[entry.location] = entry

    def there(self) -> Iterator[Entry]:
        """Yield those that the sources show, with the sizes and times that their files have now."""
        for location, entry in self._there.items():
            if location not in self._forgotten:
                yield histories.history(
                    [os.fsdecode(piece) for piece in entry.piece_locations],
                    options=entry.options,
                    host=entry.host,
                    time_ns=entry.time_ns,
                    stated_by=entry.stated_by,
                )


def with_earlier(wanted: RequestedInputs, jobs: Sequence[Job]) -> RequestedInputs:
    """Return what is asked for of an addition, with what the manifests of a run named until now."""
    rows = _known(jobs).filter(pl.col("stated_by") == "manifest").drop(_NUMBER)
    paths = {path for job in jobs for path in job.request.manifests}
    wanted.histories.named.update(_place(path) for path in paths)
    return replace(wanted, earlier=[manifest.Entry(*row) for row in rows.iter_rows()])


def _without_named(entries: Iterator[Entry], named: set[str], earlier: _EarlierHistories) -> Iterator[Entry]:
    for entry in entries:
        place = _place(entry.path) if named else ""
        if place in named:
            earlier.see(place)
        else:
            yield entry


def _place(path: str) -> str:
    """What two names of one file have in common."""
    return path if listing.is_url(path) else os.path.realpath(path)


def _text(path: str) -> str:
    return manifest.as_text(os.fsencode(path))


@dataclass(frozen=True)
class Addition:
    """What a listing adds to a run.

    Attributes:
        rows: of a manifest, the new ones.
        replaced: captures of the run whose rows do not count any more: the same file was changed, the pieces
            are part of a longer history now, or a source without captures has some.
    """

    rows: pl.DataFrame
    replaced: tuple[int, ...]


def addition(jobs: Sequence[Job], listed: pl.DataFrame, wanted: RequestedInputs) -> Addition:
    """Return what of a listing a run does not have yet.

    A history that the run has is new only if it changed: its size, time, version in its store, or what a
    manifest says of it. Pieces of a longer history that the run has are not captures of their own.

    Args:
        jobs: of the run's directory, in order.
        listed: rows of a manifest: all that the sources hold now.
        wanted: what was listed.

    Raises:
        UsageError: a relative path, and the run began in another working directory.
    """
    _refuse_other_place(jobs, listed)
    known = _known(jobs)
    listed = places.spelled_alike(listed, known, jobs[0].working_directory)
    fresh = _without(listed, known, ["location", *VERSION])
    # What is gone from its place by now was analysed when it was there.
    missing = fresh.filter(pl.col("size").is_null())
    stated = ["location", *STATED]
    fresh = _without(fresh, missing.join(known, on=stated, how="semi", nulls_equal=True), ["location"])
    superseded, parts = _by_pieces(known, fresh)
    fresh = _without(fresh, parts, ["location"])
    now = set(known.join(fresh, on="location", how="semi")[_NUMBER].to_list()) | superseded
    gone = known.filter(pl.col("problem").is_not_null()).join(listed, on="location", how="anti")
    now |= {
        number
        for number, location in gone.select(_NUMBER, "location").iter_rows()
        if wanted.asks_for(os.fsdecode(location))
    }
    return Addition(fresh.select(listed.columns), tuple(sorted(now)))


def _known(jobs: Sequence[Job]) -> pl.DataFrame:
    """The rows of a run's manifests that count, numbered."""
    known = pl.concat([_numbered(job) for job in jobs])
    return known.filter(~pl.col(_NUMBER).is_in(_numbers(number for job in jobs for number in job.replaced)))


def _without(frame: pl.DataFrame, others: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    return frame.join(others.select(columns), on=columns, how="anti", nulls_equal=True, maintain_order="left")


def _numbers(numbers: Iterable[int]) -> pl.Series:
    return pl.Series(sorted(numbers), dtype=pl.Int64).implode()


def _numbered(job: Job) -> pl.DataFrame:
    return manifest.frame_of(job).with_row_index(_NUMBER, job.first_capture).cast({_NUMBER: pl.Int64})


def _by_pieces(known: pl.DataFrame, fresh: pl.DataFrame) -> tuple[set[int], pl.DataFrame]:
    """Captures of the run that are part of new ones, and new ones (by location) that are part of its own."""
    old, new = (
        _exploded(known.select(_NUMBER, "location", "pieces", "stated_by")),
        _exploded(fresh.select("location", "pieces", "stated_by")),
    )
    pairs = (
        old.join(new, on="piece", suffix="_new")
        .filter(pl.col("location") != pl.col("location_new"))
        .group_by("location", "location_new")
        .agg(
            pl.first(_NUMBER),
            pl.len().alias("common"),
            pl.first("count"),
            pl.first("count_new"),
            pl.first("stated_by_new"),
        )
    )
    inside = pairs.filter(pl.col("common") == pl.col("count"))
    # What a manifest names is meant as it stands, even if it is part of another history.
    parts = pairs.filter(
        (pl.col("common") == pl.col("count_new"))
        & (pl.col("count_new") < pl.col("count"))
        & (pl.col("stated_by_new") != "manifest").fill_null(value=True)
    )
    return set(inside[_NUMBER].to_list()), parts.select(location="location_new").unique()


def _exploded(frame: pl.DataFrame) -> pl.DataFrame:
    """A row for each distinct piece of each history, with how many these are."""
    pieces = pl.when(pl.col("pieces").is_null()).then(pl.concat_list("location")).otherwise("pieces")
    listed = frame.with_columns(piece=pieces.list.unique(maintain_order=True)).drop("pieces")
    return listed.with_columns(count=pl.col("piece").list.len()).explode("piece")


def _refuse_other_place(jobs: Sequence[Job], listed: pl.DataFrame) -> None:
    here = os.getcwd()  # noqa: PTH109 as text
    begun = next((job.working_directory for job in jobs if job.working_directory != here), None)
    if begun is None:
        return
    relative = listed.filter(places.relative(pl.col("location")))
    if relative.height:
        raise UsageError(
            f"this run began in the directory {begun or 'that is not known'}; relative paths mean other files"
            " here",
            path=os.fsdecode(relative["location"][0]),
            advice="run it there, or give absolute paths",
        )
