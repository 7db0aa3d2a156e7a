"""The machine as one kernel sees it: its own functions, and what the kernel before it had seen of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hand_made_boots import HandMadeBoot, HandMadeTable

from analyzer.observed.registers.first_reads import NONE
from analyzer.replay import one_boot
from schemas.pcie_capability import TYPE_DOWNSTREAM, TYPE_ROOT_PORT, TYPE_UPSTREAM

if TYPE_CHECKING:
    from analyzer.replay.node_table import NodeTable
    from analyzer.replay.world import Path

#: Keys of a root port, of functions 0 and 8 below it, and of what is below function 8.
PORT, ZERO, EIGHT, DEEP = 0x0008, 0x0100, 0x0108, 0x0200
PATHS: dict[int, Path] = {PORT: (0, 8), ZERO: (0, 8, 0), EIGHT: (0, 8, 8), DEEP: (0, 8, 8, 0)}


def boot(*keys: int, **facts: list[int]) -> HandMadeBoot:
    """A boot with some functions of those above, the port and function 8 are bridges."""
    table = HandMadeTable([key in {PORT, EIGHT} for key in keys], facts)
    return HandMadeBoot(table, {key: PATHS[key] for key in keys})


def built(
    later: HandMadeBoot, bits: dict[int, bool | None], earlier: HandMadeBoot | None = None
) -> NodeTable:
    return one_boot.build(later, bits, earlier)  # type: ignore[arg-type]


def test_the_functions_of_one_kernel() -> None:
    """Bits are those of bridges; what a dump shows as all ones is noted."""
    later = boot(PORT, EIGHT, ZERO, has_ari=[NONE, 0, 1])
    later.silent = frozenset({EIGHT})
    machine = built(later, {PORT: True, EIGHT: None})
    assert machine.paths == [(0, 8), (0, 8, 0), (0, 8, 8)]
    expected = {
        "outgoing": [PORT, ZERO, EIGHT],
        "incoming": [NONE] * 3,
        "present": [1, 1, 1],
        "is_bridge": [1, 0, 1],
        "has_ari": [NONE, 1, 0],
        "hardware": [1, NONE, NONE],
        "silent": [0, 0, 1],
    }
    assert {name: machine.columns[name].tolist() for name in expected} == expected
    assert built(boot(PORT), {PORT: False}).columns["hardware"].tolist() == [0]


def test_a_kernel_without_functions() -> None:
    assert built(boot(), {}).paths == []
    assert built(boot(), {}, boot(PORT)).paths == []


def test_bus_numbers_in_use_are_those_before_the_next_kexec() -> None:
    table = HandMadeTable([True, False], first={0: (0, 9, 9, 5)}, last={0: (0, 1, 4, 70)})
    columns = built(HandMadeBoot(table, {PORT: (0, 8), ZERO: (0, 8, 0)}), {}).columns
    parts = ("primary", "secondary", "subordinate", "row")
    for name, expected in (
        ("numbers", (0, 1, 4, 70)), ("outgoing_numbers", (0, 1, 4, 70)), ("incoming_numbers", (NONE,) * 4)
    ):  # fmt: skip
        assert tuple(int(columns[f"{name}_{part}"][0]) for part in parts) == expected
        assert [int(columns[f"{name}_{part}"][1]) for part in parts] == [NONE] * 4


def test_port_types_are_corrected_below_bridges() -> None:
    later = boot(PORT, EIGHT, is_pcie=[1, 1], pcie_type=[TYPE_ROOT_PORT, TYPE_DOWNSTREAM])
    assert built(later, {}).columns["pcie_type"].tolist() == [TYPE_ROOT_PORT, TYPE_UPSTREAM]


def test_what_the_kernel_before_read_counts_where_this_one_did_not_read_it() -> None:
    """Each kernel's functions in a table of its own."""
    earlier = HandMadeBoot(
        HandMadeTable(
            [False, True, True],
            {"has_ari": [0, NONE, 1], "next_function": [8, NONE, 0]},
            last={1: (0, 1, 4, 30), 2: (1, 2, 2, 31)},
        ),
        {ZERO: (0, 8, 0), PORT: (0, 8), EIGHT: (0, 8, 8)},
    )
    later = HandMadeBoot(
        HandMadeTable([True, False, True], {"has_ari": [NONE, 1, NONE]}, last={0: (0, 3, 5, 70)}),
        {PORT: (0, 8), ZERO: (0, 8, 0), EIGHT: (0, 8, 8)},
    )
    machine = built(later, {}, earlier)
    expected = {
        "has_ari": [NONE, 1, 1],
        "next_function": [NONE, 8, 0],
        "numbers_secondary": [3, NONE, 2],
        "outgoing_numbers_secondary": [3, NONE, 2],
        "numbers_row": [70, NONE, 31],
    }
    assert {name: machine.columns[name].tolist() for name in expected} == expected


def shown(later: HandMadeBoot, bits: dict[int, bool | None]) -> list[Path]:
    """Where there are functions, if the kernel before had all four."""
    return list(built(later, bits, boot(PORT, ZERO, EIGHT, DEEP)).paths)


def test_what_this_kernel_did_not_find_is_there_below_a_port_whose_bit_is_off() -> None:
    """It may not be seen: PCIe 7.5.3.16."""
    later = boot(PORT, ZERO)
    every = [(0, 8), (0, 8, 0), (0, 8, 8), (0, 8, 8, 0)]
    assert shown(later, {PORT: False}) == every
    assert shown(later, {PORT: True}) == shown(later, {PORT: None}) == shown(later, {}) == every[:2]
    assert shown(boot(PORT, ZERO, EIGHT), {PORT: True, EIGHT: False}) == every
    assert shown(boot(PORT, ZERO, EIGHT), {PORT: True, EIGHT: True}) == every[:3]


def test_a_function_that_moved_is_another_one() -> None:
    """00:02.0 has bus 1 now: its 01:01.0 is not the one that was below 00:01.0."""
    other = 0x0010
    later = HandMadeBoot(
        HandMadeTable([True, True, True]),
        {PORT: (0, 8), other: (0, 16), EIGHT: (0, 16, 8)},
        silent={EIGHT},
    )
    machine = built(later, {PORT: True, other: None, EIGHT: True}, boot(PORT, EIGHT))
    assert machine.paths == [(0, 8), (0, 16), (0, 16, 8)]
    below = built(later, {PORT: False, other: None, EIGHT: True}, boot(PORT, EIGHT))
    assert below.paths == [(0, 8), (0, 8, 8), (0, 16), (0, 16, 8)]
    expected = {
        "outgoing": [PORT, EIGHT, other, EIGHT],
        "hardware": [0, NONE, NONE, 1],  # bits and silence are those of this kernel's functions
        "silent": [0, 0, 0, 1],
    }
    assert {name: below.columns[name].tolist() for name in expected} == expected
