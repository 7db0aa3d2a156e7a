"""The table ``state``: its rows are what the analysis of each capture says, whatever the batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fleet_runs import TRACES

from analyzer.analysis import open_pieces, study
from analyzer.fleet.rows import TABLES
from analyzer.fleet.state_rows import state_rows
from analyzer.verdicts.state_counts import COUNTED, NAMES, StateGroups

NAMED = ("clean-inherit", "inherit-two-kexecs", "inherit-isolation-lost", "healed-by-stock-kernel")


def test_rows_of_two_kexecs() -> None:
    """By hand: of the first one kind of function, of the second two, with one state each."""
    names = list(NAMES)
    counts = np.array([[1, 4, 0, 0, 0, 0, 0, 1], [0, 0, 0, 2, 0, 0, 3, 0]])
    one = StateGroups([("8086:1572", "endpoint", True)], np.array([0]), np.array([0]), counts[:1])
    other = StateGroups(
        [(None, "root-port", False), ("1b36:000c", None, True)], np.array([0, 1]), np.array([1, 2]), counts
    )
    keys = [
        {"capture_verdict": "clean", "capture": 7, "path": "a\udcff", "host": None, "kexec": 0},
        {"capture_verdict": "clean", "capture": 7, "path": "a\udcff", "host": None, "kexec": 1},
    ]
    frame = state_rows(list(zip(keys, (one, other), strict=True)), TABLES["state"])
    assert frame.schema == TABLES["state"]
    assert frame["path"].unique().to_list() == ["a\\xff"]
    shown = ["kexec", "name", "code", "vendor_device", "port_type", "preserved", *COUNTED]
    assert frame.select(shown).rows() == [
        (0, names[0], NAMES[names[0]], "8086:1572", "endpoint", True, 1, 4, 0, 0, 0, 0, 0, 1),
        (1, names[1], NAMES[names[1]], None, "root-port", False, 1, 4, 0, 0, 0, 0, 0, 1),
        (1, names[2], NAMES[names[2]], "1b36:000c", None, True, 0, 0, 0, 2, 0, 0, 3, 0),
    ]


def test_no_kexec_has_no_row() -> None:
    assert state_rows([], TABLES["state"]).schema == TABLES["state"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--batch-size", "1"), ("-j", "1")], ids=["", "batches", "one job"])
def test_the_table_of_a_run(fleet, options) -> None:
    for name in NAMED:
        fleet.add(f"{name}.bin", TRACES / f"{name}.bin")
    fleet.run(*options)
    found: Counter[tuple] = Counter()
    for row in fleet.rows("state"):
        for word in COUNTED:
            kind = (row["vendor_device"], row["port_type"], row["preserved"])
            found[Path(row["path"]).stem, row["kexec"], row["name"], kind, word] += row[word]
    wanted: Counter[tuple] = Counter()
    for name in NAMED:
        for number, kexec in enumerate(study(open_pieces([str(TRACES / f"{name}.bin")])).kexec_analyses):
            groups = kexec.watch.groups
            rows = zip(groups.kind.tolist(), groups.name.tolist(), groups.counts.tolist(), strict=True)
            for kind, state, counts in rows:
                for word, count in zip(COUNTED, counts, strict=True):
                    wanted[name, number, list(NAMES)[state], groups.kinds[kind], word] += count
    assert found == wanted
    assert found.total() > 0
    keys = ["capture", "kexec", "name", "vendor_device", "port_type", "preserved"]
    assert not pl.DataFrame(fleet.rows("state")).select(keys).is_duplicated().any()
