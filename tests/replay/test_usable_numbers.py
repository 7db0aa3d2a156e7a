"""Whether a machine has bridges whose bus numbers no scan can use: only then a kernel assigns new ones."""

from __future__ import annotations

import numpy as np
import pytest
from hand_made_worlds import of_nodes

from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay.bus_numbers import all_usable, unusable_on
from analyzer.replay.world import Node

#: Root bus 0x40 of domain 1: keys of root buses are ``domain << 8 | bus``.
ROOT = 0x1_40

Triple = tuple[int, int, int] | None


def numbers(triple: Triple) -> BusNumbers | None:
    return None if triple is None else BusNumbers(*triple, row=7)


def bridge(
    path: tuple[int, ...],
    read: Triple,
    outgoing: Triple = None,
    *,
    silent: bool = False,
    is_bridge: bool = True,
) -> Node:
    return Node(
        path,
        is_bridge=is_bridge,
        numbers=numbers(read),
        outgoing_numbers=numbers(outgoing),
        numbers_silent=silent,
    )


#: A port and the upstream port of a switch below it, as they stand after a boot.
PORT, UPSTREAM = (ROOT, 8), (ROOT, 8, 0)
VALID, BELOW = (0x40, 0x41, 0x45), (0x41, 0x42, 0x45)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ([], True),
        ([Node(PORT)], True),  # an endpoint has no bus numbers
        ([bridge(PORT, (0, 0, 0), is_bridge=False)], True),  # what stands there is a BAR
        ([bridge(PORT, VALID)], True),
        ([bridge(PORT, (0, 0, 0))], False),
        ([bridge(PORT, (0, 0x41, 0x45))], True),  # a primary number hard-wired to 0
        ([bridge(PORT, (0x140, 0x41, 0x45))], False),  # buses are numbered within their domain
        ([bridge(PORT, (0x41, 0x42, 0x45))], False),  # the numbers of another bus
        ([bridge(PORT, (0x40, 0x40, 0x45))], False),
        ([bridge(PORT, VALID, silent=True)], False),
        ([bridge(PORT, VALID), bridge(UPSTREAM, BELOW)], True),
        ([bridge(PORT, VALID), bridge(UPSTREAM, (0x40, 0x42, 0x45))], False),  # it sits on bus 0x41
        ([bridge(PORT, VALID), bridge(UPSTREAM, (0, 0, 0))], False),
        ([bridge(PORT, None, VALID), bridge(UPSTREAM, BELOW)], True),  # not read: as before the kexec
        ([bridge(PORT, None, (0, 0, 0)), bridge(UPSTREAM, BELOW)], False),
        ([bridge(PORT, (0, 0, 0), VALID)], False),  # what was read counts
        ([bridge(PORT, None)], False),
    ],
)
def test_no_bridge_needs_new_numbers(machine: list[Node], expected: bool) -> None:
    assert all_usable(of_nodes(machine)) is expected


def test_which_bridges_cannot_use_their_numbers() -> None:
    """One number of a bus for each function, in path order."""
    paths = [(ROOT, devfn) for devfn in (0, 8, 16, 24, 32)]
    machine = of_nodes(
        [
            bridge(paths[0], VALID),
            bridge(paths[1], (0, 0, 0)),
            Node(paths[2]),
            bridge(paths[3], VALID, silent=True),
            bridge(paths[4], VALID),
        ]
    )
    found = unusable_on(machine, np.array([0x40, 0x40, 0x40, 0x40, 0x44]))
    assert found.tolist() == [False, True, False, True, True]
