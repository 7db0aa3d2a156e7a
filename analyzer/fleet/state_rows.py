"""The rows of the table ``state``: of each kexec how many functions of each kind kept each watched state.

Made of arrays: it has more rows than all other tables of a fleet together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from analyzer.results.columns import table
from analyzer.verdicts.state_counts import COUNTED, NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.verdicts.state_counts import StateGroups

_STATES: Final = pl.DataFrame({"name": list(NAMES), "code": list(NAMES.values())})
_KIND: Final = ("vendor_device", "port_type", "preserved")


def state_rows(kexecs: Sequence[tuple[Mapping[str, Any], StateGroups]], schema: pl.Schema) -> pl.DataFrame:
    """Return the rows of some kexecs, by kexec, kind of function and state.

    Args:
        kexecs: key columns and counts of each.
        schema: of the table.
    """
    if not kexecs:
        return pl.DataFrame(schema=schema)
    groups = [counted for _, counted in kexecs]
    rows = [len(one.kind) for one in groups]
    first_kind = np.cumsum([0, *(len(one.kinds) for one in groups)])
    kinds = pl.DataFrame(
        [kind for one in groups for kind in one.kinds],
        schema={name: schema[name] for name in _KIND},
        orient="row",
    )
    keys = table((key for key, _ in kexecs), {name: schema[name] for name in schema if name in kexecs[0][0]})
    parts = [
        keys[np.repeat(np.arange(len(rows)), rows)],
        _STATES[np.concatenate([one.name for one in groups])],
        kinds[np.concatenate([one.kind for one in groups]) + np.repeat(first_kind[:-1], rows)],
        pl.DataFrame(np.concatenate([one.counts for one in groups]), schema=list(COUNTED), orient="row"),
    ]
    whole: pl.DataFrame = pl.concat(parts, how="horizontal")
    return whole.select(schema.names())
