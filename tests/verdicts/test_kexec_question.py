"""What is replayed of one kexec: the hardware, and one kernel for each policy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hand_made import SRIOV, Part, read, write
from hand_made_worlds import of_nodes

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.functions import BusNumbers
from analyzer.options import Options
from analyzer.preservation.preserved import HandedOver, PreservedSet
from analyzer.replay.world import Node
from analyzer.results import POLICIES
from analyzer.verdicts import kexecs
from analyzer.verdicts.handovers import Handover
from analyzer.verdicts.kexecs import KernelSettings, KexecQuestion

if TYPE_CHECKING:
    from analyzer.replay.node_table import NodeTable

#: A bridge with the preserved function below it, and the set that the policies are compared on.
PORT, BELOW = 0x08, 0x0100
PRESERVED, WHAT_IF = frozenset({PORT, BELOW}), frozenset({PORT, BELOW, 0x0101})
USABLE, LOST = (0, 1, 1), (0, 0, 0)


class Device(Part):
    """A function with its device and function number."""

    @property
    def devfn(self) -> int:
        return self.function & 0xFF


def machine(other: tuple[int, int, int] = (0, 2, 2), last: tuple[int, int, int] | None = None) -> NodeTable:
    """Beside the port another bridge, with bus numbers as first read and as last used after the kexec."""
    nodes = [Node((0, PORT), outgoing=PORT, incoming=PORT, is_bridge=True, is_pcie=True)]
    nodes += [Node((0, PORT, 0), outgoing=BELOW, incoming=BELOW), Node((0, 0x10), is_bridge=True)]
    for node, numbers in ((nodes[0], USABLE), (nodes[2], other)):
        node.numbers = node.incoming_numbers = BusNumbers(*numbers, row=5)
    if last is not None:
        nodes[2].incoming_numbers = BusNumbers(*last, row=6)
    return of_nodes(nodes)


def kexec(before: Part | None = None, after: Part | None = None, observed: str = "stock") -> Handover:
    """Its boots show one function each, or none."""
    boots: list[Any] = [
        SimpleNamespace(functions={} if one is None else {one.function: one}) for one in (before, after)
    ]
    return Handover(0, boots[0], boots[1], {}, {}, {}, cast("Any", observed), (0, 9))


def asked(
    hardware: NodeTable | None = None,
    *,
    observed: str = "stock",
    handed_over: HandedOver | None = None,
    series: str | None = None,
    policy: Any = "observed",
    **settings: Any,
) -> KexecQuestion:
    """The question about a kexec whose incoming kernel followed the stock rules, as it is put."""
    known: dict[str, Any] = {
        "kind": "live-update",
        "noari": False,
        "scan_all": False,
        "logged_series": (),
        "messages": (),
    }
    options = Options(series=series, policy=policy)
    return kexecs.question(
        cast("Any", "index"),
        kexec(observed=observed),
        hardware or machine(),
        PreservedSet(PRESERVED, "flb", handed_over=handed_over),
        WHAT_IF,
        KernelSettings(**(known | {"options": options} | settings)),
        "live-update",
        frozenset({0x10}),
    )


def test_one_kernel_for_each_policy_in_their_order() -> None:
    question = asked(observed="inherit", policy="heal")
    assert (question.ran, question.policy, question.preservation) == ("inherit", "heal", "live-update")
    asked_of: tuple[object, ...] = (question.index, question.what_if, question.not_handed_over)
    assert asked_of == ("index", WHAT_IF, {0x10})
    assert [
        (kernel.profile.policy, kernel.renumbered_as_observed, kernel.machine is question.machine)
        for kernel in question.kernels
    ] == [
        ("stock", False, True),
        ("inherit", True, True),
        ("serialize", False, True),
        ("heal", False, True),
    ]


@pytest.mark.parametrize(
    ("observed", "option", "ran", "policy"),
    [
        ("stock", "observed", "stock", "stock"),
        ("heal", "observed", "heal", "heal"),
        ("unknown", "observed", "inherit", "inherit"),
        ("stock", "inherit", "stock", "inherit"),
        ("unknown", "stock", "inherit", "stock"),
    ],
)
def test_the_policy_that_ran_and_the_one_that_verdicts_are_given_under(
    observed: str, option: str, ran: str, policy: str
) -> None:
    question = asked(observed=observed, policy=option)
    assert (question.ran, question.policy) == (ran, policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_only_the_chosen_policy_is_asked_of_the_preserved_set(policy: str) -> None:
    """The others are asked of what would have been preserved."""
    sets = {name: profile.preserved for name, profile in asked(policy=policy).profiles.items()}
    assert sets == {name: PRESERVED if name == policy else WHAT_IF for name in POLICIES}


@pytest.mark.parametrize(
    ("noari", "ran", "others"), [(None, None, False), (False, False, False), (True, True, True)]
)
def test_an_unknown_command_line_is_unknown_of_the_kernel_that_ran_alone(
    noari: bool | None, ran: bool | None, others: bool
) -> None:
    """A kernel that did not run is taken with the default one."""
    found = {name: profile.noari for name, profile in asked(noari=noari).profiles.items()}
    assert found == {"stock": ran, "inherit": others, "serialize": others, "heal": others}


#: Of v7; of v8 and v9; the same with a version field that they panic over.
V7, V8, OTHER = HandedOver("H7", None, "pci-v2"), HandedOver("H8", 2, "pci"), HandedOver("H8", 1, "pci")


@pytest.mark.parametrize(
    ("facts", "version"),
    [
        ({}, "v9"),
        ({"series": "v6"}, "v6"),
        ({"logged_series": ("v5", "v8")}, "v8"),
        ({"handed_over": V7}, "v7"),
        ({"series": "v6", "handed_over": V7, "logged_series": ("v5",)}, "v6"),
        # Up to v8 a patched kernel refuses new numbers to every bridge that lost its own.
        ({"hardware": machine(LOST), "observed": "inherit"}, "v8"),
        ({"hardware": machine(LOST, last=(0, 5, 5)), "observed": "inherit"}, "v9"),
        ({"hardware": machine(LOST), "observed": "stock"}, "v9"),  # it shows nothing of the patches
    ],
)
def test_the_version_is_that_of_all_kernels(facts: dict[str, Any], version: str) -> None:
    question = asked(**facts)
    assert question.version == version
    assert {profile.series for profile in question.profiles.values()} == {version}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "matched"),
        ({"handed_over": V8}, "matched"),
        ({"handed_over": V7, "series": "v8"}, "unmatched"),
        ({"handed_over": OTHER, "series": "v8"}, "panic"),
        # What the incoming kernel's log says goes before what the data says.
        ({"handed_over": V8, "data_not_taken": True}, "unmatched"),
        ({"handed_over": OTHER, "series": "v8", "data_not_taken": True}, "unmatched"),
        ({"handed_over": V8, "panicked": True}, "panic"),
        ({"panicked": True, "data_not_taken": True}, "panic"),
    ],
)
def test_whether_the_kernels_take_what_was_handed_over(facts: dict[str, Any], expected: str) -> None:
    assert {profile.handover for profile in asked(**facts).profiles.values()} == {expected}


@pytest.mark.parametrize(
    ("settings", "handed_over", "expected"),
    [
        ({}, None, (False, False, False, False)),
        ({"scan_all": True}, None, (True, False, False, False)),
        ({"assign_busses": True}, None, (False, True, False, False)),
        ({"isolated_functions": True}, None, (False, False, True, False)),
        ({}, V8, (False, False, False, True)),
    ],
)
def test_what_is_known_of_a_kernel_holds_under_each_policy(
    settings: dict[str, Any], handed_over: HandedOver | None, expected: tuple[bool, ...]
) -> None:
    profiles = asked(handed_over=handed_over, **settings).profiles.values()
    assert [
        (one.scan_all, one.assign_busses, one.isolated_functions, one.handed_over) for one in profiles
    ] == [expected] * 4


def test_an_inheriting_kernel_of_a_version_that_is_not_known_yet() -> None:
    """Candidates are compared under the inherit policy, with the preserved set."""
    question = asked(noari=True)
    found = kexecs._inheriting(question.handover, question.preserved, question.settings)
    assert (found.policy, found.preserved, found.noari) == ("inherit", PRESERVED, True)


def packed(*, last: tuple[int, int, int]) -> NodeTable:
    """A port that forwards buses 1 and 2, a bridge on bus 1 that has bus 2, and one beside it."""
    nodes = [
        Node((0, PORT), is_bridge=True, numbers=BusNumbers(0, 1, 2, 5)),
        Node((0, PORT, 0), is_bridge=True, numbers=BusNumbers(1, 2, 2, 5)),
        Node((0, PORT, 8), is_bridge=True, numbers=BusNumbers(*last, 5)),
    ]
    return of_nodes(nodes)


@pytest.mark.parametrize(
    ("last", "assign_busses", "beyond", "assigned"),
    [
        # No bus number is left for the bridge that lost its own.
        (LOST, False, [0, 0, 1], [NONE, NONE, NONE]),
        (LOST, True, [0, 0, 1], [1, 2, 3]),
        ((1, 2, 2), False, [0, 0, 0], [NONE, NONE, NONE]),
        ((1, 2, 2), True, [0, 0, 0], [1, 2, 3]),
    ],
)
def test_new_bus_numbers_are_worked_out_where_a_kernel_assigns_them(
    last: tuple[int, int, int], assign_busses: bool, beyond: list[int], assigned: list[int]
) -> None:
    columns = asked(packed(last=last), assign_busses=assign_busses).machine.columns
    assert columns["beyond_reach"].tolist() == beyond
    assert columns["assigned"].tolist() == assigned


def physical(offset: int | None, function: int = BELOW) -> Device:
    """One virtual function at a First VF Offset, as a kernel sets it up; None: a function without one."""
    place = [write(SRIOV + 0x10, 2, 1), read(SRIOV + 0x14, 2, offset or 0), read(SRIOV + 0x16, 2, 1)]
    return Device(() if offset is None else tuple(place), function=function)


@pytest.mark.parametrize(
    ("before", "after", "buses"),
    [
        (physical(0x100), physical(0x300), 3),  # as the incoming kernel read it
        (physical(0x100), physical(None), 0),
        (physical(0x100), None, 1),
        (None, physical(0x300), 3),
        (None, None, 0),
    ],
)
def test_buses_that_a_function_reserves_for_virtual_ones(
    before: Device | None, after: Device | None, buses: int
) -> None:
    reserved = kexecs._reserved(machine(), kexec(before, after))
    assert [reserved(row) for row in range(3)] == [0, buses, 0]
