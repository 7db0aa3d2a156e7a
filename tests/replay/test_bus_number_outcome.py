"""What a scan does with the bus numbers of one bridge: used, new ones assigned, or refused, by series."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made_worlds import link, predict

from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay.bus_numbers import node_unusable, outcome, outcomes, unusable
from analyzer.replay.profile import Profile
from analyzer.replay.world import Node

#: Root bus 2 of domain 1, and the numbers of a bridge that are valid there and those that are not.
BUS = 0x1_02
VALID, RESET = BusNumbers(2, 3, 5, 0), BusNumbers(0, 0, 0, 0)


def bridge(devfn: int, numbers: BusNumbers | None, outgoing: BusNumbers | None = None) -> Node:
    return Node((BUS, devfn), is_bridge=True, numbers=numbers, outgoing_numbers=outgoing)


def key(devfn: int) -> int:
    return BUS << 8 | devfn


def profile(policy: str, series: str, *preserved: int, handover: str = "matched") -> Profile:
    return Profile(policy, series, frozenset(preserved), False, False, {}, handover)


def said(one: Node, others: list[Node], kernel: Profile) -> str:
    """What the scan of the bus does with one bridge, among other functions."""
    world = link({node.path: node for node in (one, *others)})
    return predict(world, kernel).numbers[one.path]


def parts(numbers: BusNumbers | None) -> tuple[int | None, int | None, int | None]:
    """The facts that a scan asks about."""
    return (None,) * 3 if numbers is None else (numbers.primary, numbers.secondary, numbers.subordinate)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        # renumbers, numbers_silent, unusable, keeps_numbers, series, neighbour
        ((True, False, False, False, "v7", False), "assign"),
        ((True, True, True, False, "v7", False), "assign"),
        ((False, True, True, True, "v7", True), "silent"),
        ((False, True, True, False, "v9", False), "silent"),
        ((False, False, False, True, "v7", True), "use"),
        ((False, False, True, False, "v7", True), "assign"),
        *(((False, False, True, True, series, False), "refuse") for series in ("v4", "v5", "v6", "v7", "v8")),
        ((False, False, True, True, "v9", False), "assign"),
        ((False, False, True, True, "v9", True), "refuse"),
        ((False, False, True, False, "v9", True), "assign"),
    ],
)
def test_the_rule_by_its_facts(facts: tuple[object, ...], expected: str) -> None:
    assert outcome(*facts) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        # As above; then, if numbers that were not read are lost, unusable_if_lost, firm_neighbour, and
        # neighbour_if_lost. Expected: what is said, what is certain, the worst.
        ((False, False, False, True, "v9", False, False, False, False), ("use", "use", "use")),
        ((False, False, False, False, "v7", False, True, False, False), ("use", "use", "assign")),
        ((False, False, False, True, "v7", False, True, False, False), ("use", "use", "refuse")),
        ((False, False, True, False, "v9", True, True, True, True), ("assign", "assign", "assign")),
        ((False, False, True, True, "v9", True, True, True, True), ("refuse", "refuse", "refuse")),
        # A neighbour that is perhaps not found, and one whose numbers are perhaps lost.
        ((False, False, True, True, "v9", True, True, False, True), ("unknown", "assign", "refuse")),
        ((False, False, True, True, "v9", False, True, False, True), ("unknown", "assign", "refuse")),
        ((False, False, False, True, "v9", False, True, False, True), ("use", "use", "refuse")),
    ],
)
def test_the_rule_where_a_fact_is_perhaps_not_so(
    facts: tuple[object, ...], expected: tuple[str, str, str]
) -> None:
    assert outcomes(*facts) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        # numbers_silent, bus, primary, secondary, subordinate
        ((False, 2, 2, 3, 5), False),
        ((True, 2, 2, 3, 5), True),
        ((False, 2, None, None, None), True),
        ((False, 2, None, 3, 5), True),
        ((False, 2, 2, None, 5), True),
        ((False, 2, 2, 3, None), True),
        ((False, 2, 0, 0, 0), True),
        ((False, 2, 4, 5, 6), True),  # the primary number of another bus
        ((False, 2, 2, 6, 5), True),
        ((False, 2, 2, 2, 5), True),
        ((False, 0, 0, 1, 1), False),
    ],
)
def test_numbers_that_a_scan_does_not_use(facts: tuple[object, ...], expected: bool) -> None:
    assert unusable(*facts) is expected


@pytest.mark.parametrize(
    ("numbers", "outgoing", "kept", "expected"),
    [
        (VALID, None, True, False),
        (VALID, RESET, False, False),
        (RESET, VALID, True, True),
        (RESET, VALID, False, True),
        (None, VALID, True, False),  # not read by the incoming kernel: taken as kept
        (None, VALID, False, True),  # or as lost
        (None, RESET, True, True),
        (None, None, True, True),
    ],
)
def test_numbers_that_were_not_read_are_kept_or_lost(
    numbers: BusNumbers | None, outgoing: BusNumbers | None, kept: bool, expected: bool
) -> None:
    """A kernel that refuses new numbers surely finds what is below where they are usable in either case."""
    shown = numbers or (outgoing if kept else None)
    assert unusable(False, 2, *parts(shown)) is expected
    one, below = bridge(0, numbers, outgoing), Node((BUS, 0, 0))
    world = link({node.path: node for node in (one, below)})
    refusing = predict(world, profile("inherit", "v7", key(0)))
    if kept:
        assert node_unusable(one, 2) is expected
        assert said(one, [], profile("stock", "v7")) == ("assign" if expected else "use")
        assert (below.path not in refusing.certain | refusing.possible) is expected
    else:
        assert (below.path not in refusing.certain) is expected


SERIES = ("v4", "v5", "v6", "v7", "v8", "v9")


@pytest.mark.parametrize(
    ("preserved", "refusing"),
    [
        ((key(0),), SERIES),  # the bridge itself
        ((key(8),), SERIES),  # its sibling, which lost its numbers too (v9)
        ((key(16),), SERIES[:-1]),  # a sibling that kept them
        ((key(24),), SERIES[:-1]),  # an endpoint on the same bus
        ((key(0) & 0xFFFF,), SERIES[:-1]),  # the same address in another domain
        ((), ()),
    ],
)
@pytest.mark.parametrize("series", SERIES)
def test_who_must_be_preserved_for_a_refusal(
    series: str, preserved: tuple[int, ...], refusing: tuple[str, ...]
) -> None:
    lost = bridge(0, RESET)
    siblings = [bridge(8, RESET), bridge(16, VALID), Node((BUS, 24), numbers=RESET)]
    expected = "refuse" if series in refusing else "assign"
    assert said(lost, siblings, profile("inherit", series, *preserved)) == expected


@pytest.mark.parametrize("handed_over", [True, False])
@pytest.mark.parametrize("series", SERIES)
def test_data_without_a_device_in_it(series: str, handed_over: bool) -> None:
    """v4 flags each device, and v5 the kernel, before the set is looked at; later ones count devices."""
    chosen = replace(profile("inherit", series), handed_over=handed_over)
    refused = handed_over and series in ("v4", "v5")
    assert said(bridge(0, RESET), [], chosen) == ("refuse" if refused else "assign")
    assert replace(chosen, assign_busses=True).renumbers is not refused


@pytest.mark.parametrize(
    ("policy", "preserved", "handover", "expected"),
    [
        ("stock", (key(0),), "matched", "assign"),
        ("inherit", (), "matched", "assign"),
        ("inherit", (key(24),), "unmatched", "assign"),
        ("inherit", (key(24),), "matched", "use"),
        ("heal", (key(24),), "matched", "use"),
    ],
)
@pytest.mark.parametrize("series", SERIES)
def test_assign_busses_numbers_every_bridge_unless_a_live_update_keeps_them(
    series: str, policy: str, preserved: tuple[int, ...], handover: str, expected: str
) -> None:
    chosen = replace(profile(policy, series, *preserved, handover=handover), assign_busses=True)
    assert said(bridge(0, VALID), [], chosen) == expected


def test_numbers_that_read_all_ones_are_neither_used_nor_replaced() -> None:
    """A bridge that died while it was set up: broken in pass 0, set in pass 1."""
    dead = bridge(0, None, VALID)
    dead.numbers_silent = True
    for series in SERIES:
        assert said(dead, [], profile("stock", series)) == "silent"
        assert said(dead, [], profile("inherit", series, key(0))) == "silent"
    lost = bridge(8, RESET)
    assert said(lost, [dead], profile("inherit", "v9", key(0))) == "refuse"


@pytest.mark.parametrize(("kept", "expected"), [(True, "assign"), (False, "refuse")])
def test_a_preserved_sibling_whose_numbers_were_not_read(kept: bool, expected: str) -> None:
    """Series v9: it refuses if they are gone; which of both is not known."""
    lost, sibling = bridge(0, RESET), bridge(8, None, VALID)
    chosen = profile("inherit", "v9", key(8))
    assert said(lost, [sibling], chosen) == "unknown"
    assert said(lost, [bridge(8, VALID if kept else RESET)], chosen) == expected


@pytest.mark.parametrize(
    ("policy", "handover", "expected"),
    [
        ("stock", "matched", "assign"),
        ("inherit", "matched", "refuse"),
        ("serialize", "matched", "refuse"),
        ("heal", "matched", "refuse"),
        ("inherit", "unmatched", "assign"),  # nothing is incoming
    ],
)
def test_only_a_kernel_that_was_handed_something_refuses(policy: str, handover: str, expected: str) -> None:
    chosen = profile(policy, "v7", key(0), handover=handover)
    assert said(bridge(0, RESET), [], chosen) == expected
    assert said(bridge(0, VALID), [], chosen) == "use"


@pytest.mark.parametrize(
    ("policy", "handover", "panics"),
    [
        ("inherit", "panic", True),
        ("inherit", "matched", False),
        ("stock", "panic", False),
        ("heal", "panic", True),
    ],
)
def test_only_a_patched_kernel_panics_over_the_version_of_the_data(
    policy: str, handover: str, panics: bool
) -> None:
    assert profile(policy, "v9", key(0), handover=handover).panics is panics
