"""The columns of a machine from hand-made tables of functions: which boot's word counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hand_made_boots import FACTS, HandMadeTable

from analyzer.observed.registers.first_reads import NONE
from analyzer.replay import boot_rows
from analyzer.replay.node_table import FLAGS, NUMBERS


def columns(before: HandMadeTable, after: HandMadeTable) -> dict[str, Any]:
    """Two boots of the same functions, row by row."""
    rows = np.arange(len(before.is_bridge))
    return boot_rows.columns((before, rows), (after, rows))  # type: ignore[arg-type]


def test_what_no_boot_shows() -> None:
    found = columns(HandMadeTable([False, False]), HandMadeTable([False, False]))
    assert sorted(found) == sorted([*NUMBERS, *FLAGS])
    assert {name: column.dtype.name for name, column in found.items()} == dict.fromkeys(found, "int64")
    unknown = {*NUMBERS, "is_pcie", "multifunction", "ari_supported", "has_ari", "hardware"}
    expected = {"present": (1, 1)} | dict.fromkeys(unknown, (NONE, NONE))
    assert {name: tuple(column.tolist()) for name, column in found.items()} == {
        name: expected.get(name, (0, 0)) for name in found
    }


@pytest.mark.parametrize("name", FACTS[:6])
def test_the_later_boot_counts_where_it_says_something(name: str) -> None:
    before = HandMadeTable([False] * 4, {name: [1, 1, NONE, NONE]})
    after = HandMadeTable([False] * 4, {name: [0, NONE, 0, NONE]})
    assert columns(before, after)[name].tolist() == [0, 1, 0, NONE]


def test_a_bridge_in_either_boot_is_one() -> None:
    before, after = HandMadeTable([True, True, False, False]), HandMadeTable([True, False, True, False])
    assert columns(before, after)["is_bridge"].tolist() == [1, 1, 1, 0]


def test_ids_count_together() -> None:
    """A vendor of one boot and a device of the other are the IDs of no function."""
    before = HandMadeTable([False] * 3, {"vendor": [0x8086] * 3, "device": [1, 1, NONE]})
    after = HandMadeTable([False] * 3, {"vendor": [0x1B36, 0x1B36, NONE], "device": [2, NONE, 2]})
    found = columns(before, after)
    assert found["vendor"].tolist() == [0x1B36, 0x8086, NONE]
    assert found["device"].tolist() == [2, 1, NONE]


MHZ_266, MHZ_533, MODE_1 = 0x4000_0000, 0x8000_0000, 0x3FFF_FFFF


def test_pcix_mode_2_of_bridges() -> None:
    """Only a bridge's counts, and of one whose capability was found but not its status, it is unknown."""
    statuses = {0: MHZ_266, 1: MODE_1, 2: None, 4: MHZ_266, 5: MHZ_533}
    table = HandMadeTable([True, True, True, True, False, True], {}, statuses)
    no_bridges, bridges = HandMadeTable([False] * 6), HandMadeTable([True] * 6)
    assert columns(no_bridges, table)["pcix_mode_2"].tolist() == [1, 0, NONE, 0, 0, 1]
    assert columns(table, no_bridges)["pcix_mode_2"].tolist() == [1, 0, NONE, 0, 0, 1]
    assert columns(table, bridges)["pcix_mode_2"].tolist() == [0] * 6


def test_rows_that_a_boot_does_not_have() -> None:
    assert boot_rows.taken(np.array([5, 6, 7]), np.array([2, NONE, 0])).tolist() == [7, NONE, 5]
    rows = boot_rows.taken(np.array([[1, 2], [3, 4]]), np.array([NONE, 1]))
    assert (rows.tolist(), rows.dtype) == ([[NONE, NONE], [3, 4]], np.int64)
