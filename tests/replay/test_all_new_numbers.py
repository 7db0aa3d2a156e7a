"""The secondary bus number of each bridge from a kernel that numbers all of them (pci=assign-busses)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hand_made_worlds import of_nodes

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay.bus_numbers import mark_unreachable
from analyzer.replay.world import Node

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[int, ...]
LOST, READ = BusNumbers(0, 0, 0, row=7), BusNumbers(0, 0x80, 0xFF, row=7)


def assigned(
    bridges: Iterable[Path], *others: Node, reserves: dict[Path, int] | None = None, renumbers: bool = True
) -> dict[Path, int]:
    """Bridge -> its number; ``reserves``: buses that a function reserves for virtual functions."""
    machine = of_nodes([*(Node(path, is_bridge=True, numbers=READ) for path in bridges), *others])
    mark_unreachable(machine, lambda row: (reserves or {}).get(machine.paths[row], 0), renumbers=renumbers)
    column = machine.columns["assigned"].tolist()
    return {path: number for path, number in zip(machine.paths, column, strict=True) if number != NONE}


def test_depth_first_whatever_the_bridges_had() -> None:
    """A switch of two downstream ports below the first port, then the second port."""
    switch = [(0, 8), (0, 8, 0), (0, 8, 0, 0), (0, 8, 0, 8)]
    assert assigned([*switch, (0, 16)]) == {
        (0, 8): 1,
        (0, 8, 0): 2,
        (0, 8, 0, 0): 3,
        (0, 8, 0, 8): 4,
        (0, 16): 5,
    }


def test_every_root_bus_has_numbers_of_its_own() -> None:
    """Domain 1 begins at bus 0x40: its first port gets 0x41."""
    assert assigned([(0, 8), (0, 16), (0x1_40, 8), (0x1_40, 8, 0)]) == {
        (0, 8): 1,
        (0, 16): 2,
        (0x1_40, 8): 0x41,
        (0x1_40, 8, 0): 0x42,
    }


def test_only_bridges_that_answer_get_a_number() -> None:
    absent = Node((0, 8), is_bridge=True, present=False)
    endpoint = Node((0, 16))
    assert assigned([(0, 24)], absent, endpoint) == {(0, 24): 1}


def test_a_bridge_whose_numbers_read_all_ones_gets_one_too() -> None:
    """Nothing is asked of the numbers that it has."""
    silent = Node((0, 8), is_bridge=True, numbers=LOST, numbers_silent=True)
    assert assigned([(0, 16)], silent) == {(0, 8): 1, (0, 16): 2}


@pytest.mark.parametrize(
    ("reserves", "expected"),
    [
        ({}, {(0, 8): 1, (0, 8, 8): 2, (0, 16): 3}),
        ({(0, 24): 2}, {(0, 8): 3, (0, 8, 8): 4, (0, 16): 5}),  # on the root bus: before any bridge there
        ({(0, 8, 0): 2}, {(0, 8): 1, (0, 8, 8): 4, (0, 16): 5}),  # below the first port: 2 and 3 are reserved
        ({(0, 8, 0): 2, (0, 8, 1): 3}, {(0, 8): 1, (0, 8, 8): 5, (0, 16): 6}),  # the most counts, not the sum
        ({(0, 8, 8, 0): 1}, {(0, 8): 1, (0, 8, 8): 2, (0, 16): 4}),
    ],
)
def test_buses_of_virtual_functions_are_left_out(
    reserves: dict[Path, int], expected: dict[Path, int]
) -> None:
    """7.3 pci_iov_bus_range: the last bus that physical functions reserve is in use before any bridge is."""
    endpoints = [Node(path) for path in ((0, 24), (0, 8, 0), (0, 8, 1), (0, 8, 8, 0))]
    assert assigned([(0, 8), (0, 8, 8), (0, 16)], *endpoints, reserves=reserves) == expected


def test_other_kernels_assign_none_of_these() -> None:
    """A kernel that keeps usable numbers gives new ones to bridges that lost theirs; nobody asks which."""
    assert assigned([(0, 8)], renumbers=False) == {}
