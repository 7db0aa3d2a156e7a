"""Analyse captures and return the table of each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from analyzer import analysis
from analyzer.errors import UsageError
from analyzer.options import Options
from analyzer.questions.tables import working
from analyzer.questions.tables.schemas import EVIDENCE, SCHEMAS, kexecs
from analyzer.results import Analysis, frames
from analyzer.results.columns import NUMBER, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analyzer.analysis import Study
    from analyzer.capture import Capture


def tables(
    paths: Sequence[str], options: Options | None = None, names: Sequence[str] = ()
) -> dict[str, pl.DataFrame]:
    """Analyse captures and return the table of each stage.

    Args:
        paths: one capture each; with ``options.join`` the consecutive pieces of one.
        options: as for :func:`analyzer.analyze`.
        names: which tables, of :data:`SCHEMAS`; none: all.

    Returns:
        tables by name, each with the rows of all captures. One that cannot be read has a row in ``captures``
        only. The accesses of all captures are in memory then: see :func:`of_each`.

    Raises:
        UsageError: an option cannot be meant as written, or no table has that name.
    """
    chosen = _chosen(names)
    parts = [part for _, part in of_each(paths, options, chosen)]
    return {
        name: pl.concat([pl.DataFrame(schema=SCHEMAS[name]), *(part[name] for part in parts)])
        for name in chosen
    }


def of_each(
    paths: Sequence[str], options: Options | None = None, names: Sequence[str] = ()
) -> Iterator[tuple[Analysis, dict[str, pl.DataFrame]]]:
    """The same, one capture after the other: its result, and its part of each table.

    Only one capture is in memory at a time.
    """
    chosen = _chosen(names)
    settings = options or Options()
    number = 0
    for group in [paths] if settings.join else [[path] for path in paths]:
        for alone, part in _analyzed(group, settings, chosen):
            place = pl.lit(number, NUMBER).alias("capture")
            yield alone, {name: frame.with_columns(place) for name, frame in part.items()}
            number += 1


def _analyzed(
    group: Sequence[str], options: Options, names: Sequence[str]
) -> Iterator[tuple[Analysis, dict[str, pl.DataFrame]]]:
    """The results of one input, one for each guest in it, with their tables."""
    parts: list[dict[str, pl.DataFrame]] = []

    def keep(_: Capture, study: Study) -> None:
        parts.append(working.tables(study, names))

    found = analysis.analyze(group, options, studied=keep)
    for number, result in enumerate(found.captures):
        part = parts[number] if number < len(parts) else {}  # an unreadable one has no working
        alone = Analysis(found.policy, [result], found.summary)
        yield alone, {name: of_stage(name, alone, part) for name in names}


def _chosen(names: Sequence[str]) -> list[str]:
    unknown = [name for name in names if name not in SCHEMAS]
    if unknown:
        raise UsageError(f"no table is named {unknown[0]!r}", advice=f"choose from {', '.join(SCHEMAS)}")
    return [name for name in SCHEMAS if not names or name in names]


def of_stage(name: str, alone: Analysis, part: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """One table of one capture: of its results, or what was made of its working."""
    make = _OF_RESULTS.get(name)
    if make is not None:
        return make(alone)
    return part[name] if part else pl.DataFrame(schema=SCHEMAS[name])


def _evidence(found: Analysis) -> pl.DataFrame:
    rows = (
        {"path": capture.path, "kexec": kexec.index, "bridge": bridge.bdf, **vars(item)}
        for capture in found.captures
        for kexec in capture.kexecs
        for bridge in kexec.bridges
        for item in bridge.evidence
    )
    return table(rows, EVIDENCE)


_OF_RESULTS: dict[str, Callable[[Analysis], pl.DataFrame]] = {
    "captures": frames.captures,
    "kexecs": kexecs,
    "bridges": frames.bridges,
    "devices": frames.devices,
    "evidence": _evidence,
}
