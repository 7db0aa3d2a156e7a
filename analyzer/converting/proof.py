"""Whether a smaller or redacted capture gives the same result as the whole one.

The whole result is compared, under several policies, with and without ``--assume-preserved``: verdicts,
causes, devices, what each policy discovers, divergences, and the accesses that are the evidence. What must
differ is not compared: path, hashes and format of the file, the number of accesses, places in the file,
problems of the source, and how many functions show each watched register.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from analyzer import analysis
from analyzer.errors import UnsupportedFormatError
from analyzer.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.capture import Capture
    from analyzer.options import PolicyChoice

#: Policy that verdicts are given under, and whether all below ARI bridges is taken as preserved. Every result
#: also holds what each policy discovers and strands.
_ASKED: Final[tuple[tuple[PolicyChoice, bool], ...]] = (
    ("observed", False),
    ("observed", True),
    ("stock", False),
    ("inherit", True),
    ("heal", True),
)
#: Fields of a result that say where it comes from, or how much of a machine the input shows.
_ORIGIN: Final = frozenset(
    {"path", "files", "format", "host", "accesses", "errors", "offset_bytes", "file", "state_counts"}
)
#: Fields that hold an access number.
_NUMBERS: Final = frozenset(
    {
        "access",
        "at_access",
        "first_access",
        "last_access",
        "last_on",
        "first_off",
        "access_before",
        "access_after",
        "bus_master_access",
    }
)


@dataclasses.dataclass(frozen=True)
class ComparableAnswer:
    """The comparable part of the results of one capture, one for each set of options."""

    results: list[Any]
    #: Every access that a result names.
    named: frozenset[int]


def answer(capture: Capture, *, ignore: frozenset[str] = frozenset()) -> ComparableAnswer:
    """Analyse a capture in every way that a reader of the new file might.

    Args:
        capture: with everything that is to be in the new file; sidecars of its path are not used.
        ignore: further fields of the result that may differ.
    """
    alone = dataclasses.replace(capture, path="-")
    seq = capture.accesses["seq"].to_list()
    named: set[int] = set()

    def number(value: int) -> int:
        named.add(value)
        return value

    results = []
    for options in _options():
        result = analysis.analyze_capture(alone, options)
        results.append(_comparable(dataclasses.asdict(result), _ORIGIN | ignore, number))
    known = frozenset(seq)
    return ComparableAnswer(results, frozenset(value for value in named if value in known))


def renumbered(found: ComparableAnswer, numbers: dict[int, int]) -> list[Any]:
    """The results with each access number replaced; one that is not in ``numbers`` becomes None."""
    return [_comparable(result, frozenset(), numbers.get) for result in found.results]


def standing_alone(capture: Capture) -> Capture:
    """The capture as the new file will give it: accesses and the notes numbered from 0."""
    seq = capture.accesses["seq"]
    table = capture.accesses.with_columns(pl.int_range(capture.accesses.height, dtype=pl.UInt64).alias("seq"))

    def moved(item: Any) -> Any:
        if item.seq is None:
            return item
        return dataclasses.replace(item, seq=int(seq.search_sorted(item.seq)))

    notes = dataclasses.replace(
        capture.notes,
        boundaries=[moved(mark) for mark in capture.notes.boundaries],
        log=[moved(line) for line in capture.notes.log],
        events=[moved(event) for event in capture.notes.events],
        uses=[moved(one) for one in capture.notes.uses],
    )
    return dataclasses.replace(capture, accesses=table, notes=notes)


def refuse_other_answer(capture: Capture) -> None:
    """Refuse a capture made from several files that would give another answer as one native file.

    One file holds accesses, boundaries, messages and preserved sets. It does not hold the scan that a kernel
    log stands for, nor sidecars that only name functions.

    Args:
        capture: as it is to be written.

    Raises:
        UnsupportedFormatError: as said.
    """
    from analyzer.converting.native import write_capture
    from analyzer.readers import open_capture

    with tempfile.TemporaryDirectory(prefix="aritrace-") as folder:
        path = str(Path(folder, "joined.bin"))
        write_capture(capture, path)
        written = open_capture(path, thin=False)
    ignored = frozenset({"dropped", "missing_dwords"})  # one file counts them together
    if answer(capture, ignore=ignored).results == answer(written, ignore=ignored).results:
        return
    raise UnsupportedFormatError(
        "as one file this history would give another answer than its pieces",
        path=capture.path,
        advice="keep the pieces, and name them with --join or in a manifest of 'fleet run'; kernel logs as"
        " pieces and NAME.preserved beside one cannot be written into a capture",
    )


def _options() -> Iterator[Options]:
    for policy, assume in _ASKED:
        yield Options(policy=policy, assume_preserved=assume)


def _comparable(value: Any, left_out: frozenset[str], number: Callable[[int], int | None]) -> Any:
    if isinstance(value, dict):
        return {
            key: number(item) if key in _NUMBERS and item is not None else _comparable(item, left_out, number)
            for key, item in value.items()
            if key not in left_out
        }
    if isinstance(value, list | tuple):
        return [_comparable(item, left_out, number) for item in value]
    return value
