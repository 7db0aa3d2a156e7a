"""Which watched registers survived how many kexecs, over the table ``state``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from analyzer.fleet.answers import RegisterSurvival, StateSurvival, SurvivalCounts, SurvivalGroup
from analyzer.fleet.rates import rate
from analyzer.fleet.rows import TABLES
from analyzer.verdicts.state_counts import COUNTED, NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.fleet.result_tables import ResultTables

#: Words of a kexec for one state, the weakest first (:class:`analyzer.fleet.answers.SurvivalCounts`).
WORDS: Final = ("nothing", "kept", "cleared", "undetermined", "lost")
_KEXEC: Final = ("capture", "kexec")
_DIMENSIONS: Final = ("incoming_release", "vendor_device", "port_type")
_DECIDED: Final = ("lost", "cleared", "kept")
_NUMBERS: Final = (*COUNTED, *(f"kexecs_{word}" for word in WORDS))


def word_of_rows() -> pl.Expr:
    """The word of one row of the table, by its place in :data:`WORDS`; a kexec has the highest."""
    found = pl.lit(0, pl.Int8)
    for place, number in enumerate(
        (
            pl.col("kept") - pl.col("kept_at_reset"),
            pl.col("cleared"),
            pl.col("undetermined"),
            pl.col("lost") + pl.col("changed") + pl.col("healed"),
        ),
        start=1,
    ):
        found = pl.when(number > 0).then(pl.lit(place, pl.Int8)).otherwise(found)
    return found


def survival(tables: ResultTables) -> RegisterSurvival:
    """Count functions and kexecs of every state."""
    kexecs = tables.kexecs.select(
        *_KEXEC,
        "incoming_release",
        # Null: of a version that did not watch registers. Where a kexec has counts the table has rows.
        expected=pl.col("state_counts").is_null() | (pl.col("state_counts").list.len() > 0),
    ).collect()
    pieces = [_counted(piece, kexecs.lazy()) for piece in tables.state]
    whole = _sums(pl.concat([words for words, _ in pieces] or [_no_words()]), ["has_preserved", "word"])
    by_word = {(row["has_preserved"], row["word"]): row["kexecs"] for row in whole.iter_rows(named=True)}
    shown = sum(by_word.values())
    counts = _sums(pl.concat([rows for _, rows in pieces] or [_no_rows()]), _KEYS)
    return RegisterSurvival(
        kexecs=sum(number for (preserved, _), number in by_word.items() if preserved),
        **{word: by_word.get((True, place), 0) for place, word in enumerate(WORDS)},
        others=sum(number for (preserved, _), number in by_word.items() if not preserved),
        without=int(kexecs["expected"].sum()) - shown,
        states=sorted(_states(counts), key=lambda one: (-one.preserved.kexecs_lost, -one.others.kexecs_lost)),
    )


def kexecs_by_word(tables: ResultTables) -> pl.LazyFrame:
    """Kexecs by state, their word as ``ari``; those that kept it, or had nothing to lose, are not in it."""
    rows = pl.concat(tables.state) if tables.state else pl.LazyFrame(schema=TABLES["state"])
    return (
        rows.filter("preserved")
        .with_columns(word=word_of_rows())
        .filter(pl.col("word") > WORDS.index("kept"))
        .join(tables.kexecs.select(_KEXEC), on=_KEXEC)
        .group_by(*_KEXEC, "name")
        .agg(pl.col("word").max())
        .with_columns(ari=pl.col("word").replace_strict(dict(enumerate(WORDS)), return_dtype=pl.String))
    )


_KEYS: Final = ["dimension", "preserved", "name", "value"]


def _counted(piece: pl.LazyFrame, kexecs: pl.LazyFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Of some captures: kexecs by their word over all states, and the numbers by :data:`_KEYS`."""
    rows = piece.join(kexecs, on=_KEXEC).with_columns(word=word_of_rows()).collect()
    words = (
        rows.group_by(_KEXEC)
        .agg(has_preserved=pl.col("preserved").any(), word=pl.col("word").filter("preserved").max())
        .with_columns(pl.col("word").fill_null(0))
        .group_by("has_preserved", "word")
        .agg(kexecs=pl.len().cast(pl.Int64))
    )
    of_preserved = rows.filter("preserved")
    found = [_by_value(rows, "whole", pl.lit(None, pl.String))]
    found += [_by_value(of_preserved, name, pl.col(name)) for name in _DIMENSIONS]
    return words, pl.concat(found)


def _by_value(rows: pl.DataFrame, dimension: str, value: pl.Expr) -> pl.DataFrame:
    """Numbers of functions and kexecs for each value of a dimension."""
    return (
        rows.lazy()
        .group_by(*_KEXEC, "preserved", "name", value.alias("value"))
        .agg(pl.col("word").max(), pl.col(COUNTED).sum())
        .group_by(pl.lit(dimension).alias("dimension"), "preserved", "name", "value")
        .agg(
            pl.col(COUNTED).sum(),
            *(
                (pl.col("word") == place).sum().cast(pl.Int64).alias(f"kexecs_{word}")
                for place, word in enumerate(WORDS)
            ),
        )
        .collect()
    )


def _sums(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    return frame.group_by(keys).agg(pl.all().sum())


def _no_words() -> pl.DataFrame:
    return pl.DataFrame(schema={"has_preserved": pl.Boolean, "word": pl.Int8, "kexecs": pl.Int64})


def _no_rows() -> pl.DataFrame:
    kinds: dict[str, Any] = dict.fromkeys(_KEYS, pl.String) | dict.fromkeys(_NUMBERS, pl.Int64)
    return pl.DataFrame(schema=kinds | {"preserved": pl.Boolean})


def _states(counts: pl.DataFrame) -> Iterator[StateSurvival]:
    """Each state that a function shows, in the order of their declarations."""
    found: dict[tuple[str, bool, str], list[SurvivalGroup]] = {}
    for row in counts.iter_rows(named=True):
        key = row["dimension"], row["preserved"], row["name"]
        found.setdefault(key, []).append(SurvivalGroup(row["value"], _of_row(row)))
    none = [SurvivalGroup(None, _of_row(dict.fromkeys(_NUMBERS, 0)))]
    for name, code in NAMES.items():
        (preserved,), (others,) = (
            found.get(("whole", handed_over, name), none) for handed_over in (True, False)
        )
        if preserved is others:
            continue
        by_value = [sorted(found.get((one, True, name), []), key=_worst_first) for one in _DIMENSIONS]
        yield StateSurvival(name, code, preserved.counts, others.counts, *by_value)


def _of_row(row: dict[str, Any]) -> SurvivalCounts:
    lost = row["kexecs_lost"]
    decided = sum(row[f"kexecs_{word}"] for word in _DECIDED)
    return SurvivalCounts(**{name: row[name] for name in _NUMBERS}, loss=rate(lost, decided))


def _worst_first(group: SurvivalGroup) -> tuple[int, int, bool, str]:
    counts = group.counts
    return -counts.kexecs_lost, -counts.loss.trials, group.value is None, group.value or ""
