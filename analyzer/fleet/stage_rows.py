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


def tables(kept: Sequence[tuple[int, str, Mapping[str, pl.DataFrame]]]) -> dict[str, pl.DataFrame]:
    """The tables of several inputs by their place in the output.

    Args:
        kept: of each input its number in the manifest, its name there, and its tables.
    """
    return {
        f"{FOLDER}/{name}": pl.concat(
            [
                pl.DataFrame(schema=SCHEMAS[name]),
                *(
                    stages[name].with_columns(capture=pl.lit(number, NUMBER), path=pl.lit(path, TEXT))
                    for number, path, stages in kept
                ),
            ]
        )
        for name in STAGES
    }
