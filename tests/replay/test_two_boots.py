"""The machine at a kexec from two boots: where functions sit, what is assumed, what reads all ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hand_made_boots import HandMadeBoot, HandMadeTable

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.samples import Sample
from analyzer.replay import two_boots
from analyzer.replay.two_boots import TwoBoots
from schemas.pcie_capability import TYPE_DOWNSTREAM, TYPE_ROOT_PORT, TYPE_UPSTREAM

if TYPE_CHECKING:
    from collections.abc import Collection

    from analyzer.replay.node_table import NodeTable
    from analyzer.replay.world import Path

#: A root port and three functions below it.
PORT, ZERO, THREE, EIGHT = (0, 8), (0, 8, 0), (0, 8, 3), (0, 8, 8)
PATHS: dict[int, Path] = {0x0008: PORT, 0x0100: ZERO, 0x0103: THREE, 0x0108: EIGHT}

Boots = tuple[dict[int, "Path"], dict[int, "Path"]]


def built(
    kexecs: list[Boots],
    named: dict[str, list[int]] | None = None,
    *,
    silent: tuple[Collection[int], Collection[int]] = ((), ()),
    ignored: dict[int, int] | None = None,
    roots: tuple[Collection[int], Collection[int]] = ((0,), (0,)),
) -> list[NodeTable]:
    """Machines of kexecs with their functions in one table; a function with others below it is a bridge."""
    every = [path for boots in kexecs for paths in boots for path in paths.values()]
    bridges = {path[:-1] for path in every}
    table = HandMadeTable([path in bridges for path in every], named or {})
    made, first = [], 0
    for outgoing, incoming in kexecs:
        before = HandMadeBoot(table, outgoing, first, silent=silent[0], roots=roots[0])
        first += len(outgoing)
        after = HandMadeBoot(table, incoming, first, silent=silent[1], ignored=ignored, roots=roots[1])
        first += len(incoming)
        made.append(TwoBoots(before, after, {}))  # type: ignore[arg-type]
    return two_boots.build(made)


def column(machine: NodeTable, name: str) -> dict[Path, int]:
    return dict(zip(machine.paths, machine.columns[name].tolist(), strict=True))


def only(*keys: int) -> dict[int, Path]:
    return {key: PATHS[key] for key in keys}


def test_what_only_the_outgoing_kernel_found_is_assumed() -> None:
    (machine,) = built([(only(0x0008, 0x0100, 0x0103), only(0x0008, 0x0100, 0x0108))])
    assert column(machine, "assumed") == {PORT: 0, ZERO: 0, THREE: 1, EIGHT: 0}
    assert column(machine, "outgoing") == {PORT: 0x0008, ZERO: 0x0100, THREE: 0x0103, EIGHT: NONE}
    assert column(machine, "incoming") == {PORT: 0x0008, ZERO: 0x0100, THREE: NONE, EIGHT: 0x0108}


def test_a_kexec_without_functions() -> None:
    assert [machine.paths for machine in built([({}, {})])] == [[]]
    assert [machine.paths for machine in built([({}, {}), (only(0x0008), {})])] == [[], [PORT]]
    assert built([]) == []


def test_port_types_are_corrected_in_each_machine_by_itself() -> None:
    """Two kexecs; in both a downstream port below a root port acts as upstream port, another below it not."""
    first = {0x0000: (0, 0), 0x0008: PORT, 0x0100: ZERO, 0x0200: (*ZERO, 0)}
    second = {0x0008: PORT, 0x0100: ZERO, 0x0200: (*ZERO, 0)}
    kinds = [TYPE_ROOT_PORT, TYPE_DOWNSTREAM, TYPE_DOWNSTREAM]
    machines = built(
        [(first, {}), ({}, second), (second, {})],
        {"is_pcie": [1] * 10, "pcie_type": [NONE, *kinds, *kinds, *kinds]},
    )
    corrected = {PORT: TYPE_ROOT_PORT, ZERO: TYPE_UPSTREAM, (*ZERO, 0): TYPE_DOWNSTREAM}
    assert [column(machine, "pcie_type") for machine in machines] == [
        {(0, 0): NONE, **corrected},
        corrected,
        corrected,
    ]


def test_a_function_whose_bridge_no_boot_lists_is_below_nothing() -> None:
    """The last function of the kexec before is a conventional bridge."""
    conventional, orphan = {0x0008: PORT}, {0x0300: (0, 24, 0)}
    machines = built([(conventional, {}), (orphan, {})], {"is_pcie": [0, NONE]})
    assert [column(machine, "below_conventional") for machine in machines] == [{PORT: 0}, {(0, 24, 0): 0}]


#: Bus 0x40 has no bridge in one of the boots; whether it is a root bus is not certain there.
LOOSE, PLACED = (0x40, 0), (0, 8, 0)


@pytest.mark.parametrize(
    ("outgoing", "incoming", "roots", "expected"),
    [
        # the boot that shows the bridge above says where the function sits, whichever it is
        (LOOSE, PLACED, ((0,), (0,)), [PLACED]),
        (PLACED, LOOSE, ((0,), (0,)), [PLACED]),
        # a root bus for certain: two different places
        (LOOSE, PLACED, ((0, 0x40), (0,)), [PLACED, LOOSE]),
        # neither boot knows more
        (LOOSE, (0x50, 0), ((0,), (0,)), [LOOSE, (0x50, 0)]),
        (LOOSE, LOOSE, ((0,), (0,)), [LOOSE]),
    ],
)
def test_where_a_function_sits(
    outgoing: Path, incoming: Path, roots: tuple[Collection[int], Collection[int]], expected: list[Path]
) -> None:
    (machine,) = built([({0x4000: outgoing}, {0x4000: incoming})], roots=roots)
    assert machine.paths == expected


def test_where_a_function_sits_if_no_boot_shows_a_root_bus() -> None:
    """Each boot's address counts where that boot says it is."""
    (machine,) = built([({0x4000: LOOSE}, {0x4000: (0x50, 0)})])
    assert column(machine, "outgoing") == {LOOSE: 0x4000, (0x50, 0): NONE}
    assert column(machine, "incoming") == {LOOSE: NONE, (0x50, 0): 0x4000}


def test_where_a_function_of_one_boot_sits() -> None:
    """Nothing else is known of its bus."""
    assert built([({0x4000: LOOSE}, {})])[0].paths == built([({}, {0x4000: LOOSE})])[0].paths == [LOOSE]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # whether every byte of it reads ff, before and after the kexec; None: it is not listed there
        (True, True, 1),
        (False, True, 0),
        (True, False, 0),
        (None, True, 1),
        (None, False, 0),
        (True, None, 1),
        (False, None, 0),
    ],
)
def test_a_function_that_no_boot_heard(before: bool | None, after: bool | None, expected: int) -> None:
    boots = [only(0x0008, 0x0100) | ({} if state is None else only(0x0103)) for state in (before, after)]
    silent = tuple([0x0103] if state else [] for state in (before, after))
    (machine,) = built([(boots[0], boots[1])], silent=silent)
    assert column(machine, "silent") == {PORT: 0, ZERO: 0, THREE: expected}


def hand_made(bit: int) -> NodeTable:
    (machine,) = built([(PATHS, PATHS)], {"pcie_type": [TYPE_ROOT_PORT] * 8, "is_pcie": [1] * 8})
    machine.columns["hardware"][0] = bit
    return machine


@pytest.mark.parametrize(
    ("key", "bit", "expected"),
    [
        # present, assumed, gated
        (0x0100, NONE, (0, 0, 0)),
        (0x0103, 0, (0, 0, 0)),
        (0x0108, NONE, (0, 0, 0)),
        (0x0108, 1, (0, 0, 0)),
        (0x0108, 0, (1, 0, 1)),  # ARI is off above: it may answer once that is on
    ],
)
def test_a_function_that_has_fallen_silent_since(key: int, bit: int, expected: tuple[int, ...]) -> None:
    """It was found after the kexec, answered before it, and reads all ones now."""
    machine = hand_made(bit)
    two_boots.mark_fallen(machine, SimpleNamespace(silent=frozenset({key})))  # type: ignore[arg-type]
    row = machine.columns["incoming"].tolist().index(key)
    assert tuple(int(machine.columns[name][row]) for name in ("present", "assumed", "gated")) == expected
    others = [other for other in range(len(machine.paths)) if other != row]
    assert machine.columns["present"][others].tolist() == [1] * 3
    assert machine.columns["gated"].sum() == expected[2]


def test_what_was_never_heard_has_not_fallen_silent() -> None:
    machine = hand_made(1)
    machine.columns["silent"][1] = 1
    two_boots.mark_fallen(machine, SimpleNamespace(silent=frozenset({0x0100, 0x0103})))  # type: ignore[arg-type]
    assert column(machine, "present") == {PORT: 1, ZERO: 1, THREE: 0, EIGHT: 1}


def test_a_machine_that_lists_functions_as_all_ones_has_them_marked() -> None:
    """Every function was found; function 3 answered before the kexec."""
    (machine,) = built([(PATHS, PATHS)], silent=((), (0x0103,)))
    assert column(machine, "present") == {PORT: 1, ZERO: 1, THREE: 0, EIGHT: 1}
    assert column(machine, "silent") == {PORT: 0, ZERO: 0, THREE: 0, EIGHT: 0}


@pytest.mark.parametrize(
    ("layout", "why"), [(0x7F, "no-response"), (0x03, "unknown-header-type"), (0x00, "unknown-header-type")]
)
def test_a_kernel_that_found_nothing_because_it_ignored_the_only_function(layout: int, why: str) -> None:
    (machine,) = built([(only(0x0008), {})], ignored={0x0008: layout})
    assert (machine.ignored, column(machine, "present")) == ({0: why}, {PORT: 0})


def dead(row: int) -> Sample:
    return Sample(row, False, 0xFFFFFFFF, 0xFFFFFFFF, True, False)


ALIVE, WRITE = (
    Sample(120, False, 0x00030300, 0xFFFFFFFF, False, False),
    Sample(130, True, 0, 0xFFFFFFFF, False, False),
)


def function(samples: list[Sample], **otherwise: object) -> SimpleNamespace:
    facts = {"is_bridge": True, "first_bus_numbers": None, "scans": [100], **otherwise}
    return SimpleNamespace(**facts, bus_number_samples=lambda: samples)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([dead(110)], True),
        ([dead(110), WRITE, dead(140)], True),
        ([], False),
        ([WRITE], False),
        ([dead(110), ALIVE], False),
        ([dead(90)], False),  # before the bridge was discovered: an early quirk
        ([ALIVE._replace(row=90), dead(110)], True),
    ],
)
def test_bus_numbers_that_read_all_ones(samples: list[Sample], expected: bool) -> None:
    """A bridge that was discovered in row 100."""
    assert two_boots._numbers_silent(function(samples)) is expected


def test_what_is_no_bridge_or_shows_its_numbers_has_none_that_read_all_ones() -> None:
    assert two_boots._numbers_silent(function([dead(110)], is_bridge=False)) is False
    assert two_boots._numbers_silent(function([dead(110)], first_bus_numbers=(0, 3, 3))) is False
