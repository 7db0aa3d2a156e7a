"""A bridge whose bus numbers changed: whether it lost them, was moved, or got new ones by an option."""

from __future__ import annotations

import pytest
from hand_made import Part
from hand_made_context import BRIDGE, KEY, kexec_context, node

from analyzer.observed.register_state import OutgoingState
from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay.world import Node
from analyzer.results import rules
from analyzer.verdicts import bridges

#: Bus 3 of domain 1: where the incoming kernel finds the bridge.
PLACE = 0x010308
#: What the bridge forwards: usable numbers on bus 3.
USABLE = BusNumbers(3, 4, 5, row=0)


def context(
    *, numbers: str = "use", renumbers: bool = False, place: int | None = PLACE, **more: object
) -> bridges.KexecContext:
    """The replay says what becomes of the bridge's numbers, and whether all bridges get new ones."""
    made = kexec_context(Part(), Part(), **more)
    made.prediction.numbers[BRIDGE] = numbers
    made.prediction.renumbers = renumbers
    if place is not None:
        made.prediction.keys[BRIDGE] = place
    return made


@pytest.mark.parametrize(
    ("facts", "of_bridge", "expected"),
    [
        ({}, {}, True),
        ({"renumbers": False}, {}, False),
        ({"numbers": "use"}, {}, False),
        ({"place": None}, {}, False),  # nobody finds it
        # Numbers that are broken where it is get replaced by any kernel.
        ({}, {"numbers": BusNumbers(2, 4, 5, row=0)}, False),
        ({}, {"numbers": BusNumbers(3, 3, 5, row=0)}, False),
        ({}, {"numbers": BusNumbers(3, 0, 0, row=0)}, False),
        ({}, {"numbers": None}, False),
        ({}, {"numbers": None, "outgoing_numbers": USABLE}, True),
        ({}, {"numbers_silent": True}, False),
    ],
)
def test_usable_numbers_are_replaced_by_the_option_alone(facts, of_bridge, expected):
    made = node(**({"numbers": USABLE} | of_bridge))
    asked = context(**({"numbers": "assign", "renumbers": True} | facts))
    assert bridges._renumbered_by_option(asked, made) is expected


@pytest.mark.parametrize(
    ("facts", "of_bridge", "expected"),
    [
        # It lost the numbers that it had, whatever it gets.
        ({"renumbers": False}, {"assigned": 4}, True),
        ({"renumbers": False}, {"outgoing_numbers": None}, False),
        # By the option: only if they differ from those that it had.
        ({}, {"outgoing_numbers": None, "assigned": 6}, False),
        ({}, {"assigned": 4}, False),
        ({}, {"assigned": 6}, True),
        # The kernel that ran: those that it was seen to give; not those of the replay.
        ({}, {"assigned": 6, "incoming_numbers": BusNumbers(3, 4, 4, row=9)}, False),
        ({}, {"assigned": 4, "incoming_numbers": BusNumbers(3, 6, 6, row=9)}, True),
        ({"as_observed": False}, {"assigned": 4, "incoming_numbers": BusNumbers(3, 6, 6, row=9)}, False),
        ({"as_observed": False}, {"assigned": 6, "incoming_numbers": BusNumbers(3, 4, 4, row=9)}, True),
    ],
)
def test_new_numbers(facts, of_bridge, expected):
    made = node(**({"numbers": USABLE, "outgoing_numbers": USABLE} | of_bridge))
    asked = context(**({"numbers": "assign", "renumbers": True} | facts))
    assert bridges._has_new_numbers(asked, made) is expected


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        ((0, 2, 2), (0, 2, 2), False),
        ((0, 2, 2), (0, 2, 9), False),  # more buses below the same one
        ((0, 2, 2), (0, 3, 3), True),
        ((0, 2, 2), (0, 1, 1), True),
        ((0, 2, 2), (0, 0, 0), False),  # lost, not moved
        (None, (0, 3, 3), False),
        ((0, 2, 2), None, False),
    ],
)
def test_a_bridge_that_came_back_with_other_usable_numbers_has_moved(before, after, moved):
    numbers = [None if one is None else BusNumbers(*one, row=0) for one in (before, after)]
    made = node(outgoing_numbers=numbers[0], numbers=numbers[1], children={0: Node((0, 8, 0))})
    assert bridges._moved(made) is moved
    found = judged(context(made=made, predicted=False))
    assert found.verdict == ("renumbered" if moved else "undetermined")


def judged(asked: bridges.KexecContext):
    asked.handover.outgoing_states[KEY] = OutgoingState(1, 50)
    (found,) = bridges.verdicts(asked)
    return found


@pytest.mark.parametrize(
    ("changes", "panicked", "expected"),
    [
        ({}, False, "undetermined"),
        ({"numbers_silent": True}, False, "gone"),
        # A kernel that panics finds nothing.
        ({}, True, "hidden"),
        ({"numbers_silent": True}, True, "hidden"),
        ({"present": False}, True, "hidden"),
    ],
)
def test_a_bridge_that_the_scan_does_not_get_behind(changes, panicked, expected):
    made = node(children={0: Node((0, 8, 0))}, **changes)
    asked = kexec_context(made=made, predicted=False)
    asked.prediction.panicked = panicked
    assert bridges._name(asked, bridges._facts(asked, made)) == expected


def test_numbers_given_by_the_option_have_that_cause():
    made = node(numbers=USABLE, outgoing_numbers=USABLE, incoming_numbers=BusNumbers(3, 6, 6, row=9))
    found = judged(context(made=made, numbers="assign", renumbers=True))
    assert (found.verdict, found.cause, found.confidence) == ("renumbered", "incoming-write", "high")
    assert found.cause_note == rules.BY_ASSIGN_BUSSES
    assert (found.secondary, found.new_secondary) == (4, 6)


def test_new_numbers_are_named_of_a_renumbered_bridge_only():
    made = node(ari_supported=False, incoming_numbers=BusNumbers(0, 6, 6, row=9))
    found = judged(context(made=made))
    assert (found.verdict, found.new_secondary) == ("not-applicable", None)
