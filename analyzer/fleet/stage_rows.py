"""The working of every capture of a run as tables (``fleet run --tables``): those of ``analyze tables``.

Accesses are not among them: the captures hold those, in fewer bytes. Tables of verdicts are those of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from analyzer.questions.tables import stages, working
from analyzer.questions.tables.schemas import SCHEMAS
from analyzer.results import Analysis
from analyzer.results.columns import NUMBER, TEXT
from analyzer.verdicts.verdict import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.analysis import Study
    from analyzer.fleet.analysis import AnalyzedInput

#: The tables, in the order of the stages.
STAGES: Final = (
    "boots", "functions", "links", "registers", "decisions", "nodes", "predictions", "evidence", "state",
)  # fmt: skip
#: Folder of a run's output that holds a folder for each of them.
FOLDER: Final = "stages"


def of_study(study: Study) -> dict[str, pl.DataFrame]:
    """The tables of one capture."""
    alone = Analysis("observed", [study.result], summarise([study.result]))
    part = working.tables(study, STAGES)
    return {name: stages.of_stage(name, alone, part) for name in STAGES}


def tables(judged: Sequence[AnalyzedInput]) -> dict[str, pl.DataFrame]:
    """The tables of several inputs by their place in the output, with the run's ``capture`` and ``path``."""
    return {
        f"{FOLDER}/{name}": pl.concat(
            [
                pl.DataFrame(schema=SCHEMAS[name]),
                *(_keyed(one, one.stages, name) for one in judged if one.stages),
            ]
        )
        for name in STAGES
    }


def _keyed(one: AnalyzedInput, stages: Mapping[str, pl.DataFrame], name: str) -> pl.DataFrame:
    keys = {"capture": pl.lit(one.number, NUMBER), "path": pl.lit(one.entry.name, TEXT)}
    return stages[name].with_columns(**keys)
