"""What the outgoing kernel last used: from decisions, confirmed sets and reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tiny_trace import index

from analyzer import bdf
from analyzer.observed import decisions, register_state
from analyzer.observed.boots import split
from analyzer.observed.index import enumerations
from analyzer.observed.topology import Topology
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from analyzer.observed.register_state import OutgoingState

PORT = bdf.parse("00:03.0")
#: A root port 00:03.0 (PCIe capability at 40) with function 0 on bus 01, in the order of a stock kernel.
SCAN = """
r 00:00.0 00.l 29c08086
r 00:00.0 0e.b 00
r 00:03.0 00.l 000c1b36
r 00:03.0 0e.b 01
r 00:03.0 06.w 0010
r 00:03.0 34.b 40
r 00:03.0 40.w 0010
r 00:03.0 42.w 0142
r 00:03.0 18.l 00010100
r 00:04.0 00.l gone
r 01:00.0 00.l 00101b36
r 01:00.0 0e.b 00
r 01:00.0 06.w 0010
r 01:00.0 34.b 40
r 01:00.0 40.w 0010
r 01:00.0 42.w 0002
"""
SET = """
r 00:03.0 64.l 00000020
r 01:00.0 100.l 0000000e
r 00:03.0 68.w 0000
w 00:03.0 68.w 0020
"""
CLEAR = SET.replace("w 00:03.0 68.w 0020", "w 00:03.0 68.w 0000").replace("0000000e", "00000000")
INHERIT = """
r 00:03.0 64.l 00000020
r 00:03.0 68.w 0020
r 01:00.0 100.l 0000000e
"""
NOARI = "r 00:03.0 64.l 00000020\nr 01:00.0 100.l 0000000e\n"
UNSUPPORTED = "r 00:03.0 64.l 00000000\n"
NEXT = "r 01:01.0 00.l gone\n"
FUNCTION_8 = "r 01:01.0 00.l 00101b36\nr 01:01.0 0e.b 00\n"


def study(text: str) -> tuple[Topology, dict[int, list[decisions.Decision]]]:
    accesses = index(text)
    pairs = enumerations(accesses)
    topology = Topology(accesses, split(accesses, pairs)[0], pairs)
    return topology, decisions.of_boot(topology)


@pytest.mark.parametrize(
    ("text", "rule", "enabled"),
    [
        (SET + NEXT, "set", True),
        (CLEAR + NEXT, "clear", False),
        (INHERIT + NEXT, "inherit", True),
        (INHERIT.replace("68.w 0020", "68.w 0000") + NEXT, "inherit", False),
        (INHERIT.replace("68.w 0020", "68.w ffff") + NEXT, "inherit", True),  # data to the kernel
        (INHERIT.replace("68.w 0020", "68.w error") + NEXT, "inherit", False),  # the preset 0
        (SET.replace("r 00:03.0 68.w 0000\nw 00:03.0 68.w 0020", "r 00:03.0 68.w error") + NEXT, "set", True),
        (NOARI + NEXT, "untouched", False),
        (UNSUPPORTED + NEXT, "unsupported", False),
        (NEXT, "skipped", False),
        ("r 00:03.0 64.l 00000020", "cut", None),
        (SET.replace("w 00:03.0 68.w 0020", ""), "cut", None),
        ("", "cut", None),
    ],
    ids=[
        "set", "clear", "inherit on", "inherit off", "all ones", "accessor error", "set, read fails", "noari",
        "unsupported", "stock noari", "cut before DEVCTL2", "cut before the write", "cut before DEVCAP2",
    ],
)  # fmt: skip
def test_the_rule_behind_a_decision(text: str, rule: str, enabled: bool | None) -> None:
    _, decided = study(SCAN + text)
    assert [(item.rule, item.enabled) for item in decided[PORT]] == [(rule, enabled)]


def outgoing_states(text: str) -> OutgoingState:
    topology, decided = study(text)
    last = decisions.last_decided(decided.get(PORT, []))
    return register_state.outgoing_state(topology.functions.get(PORT), ARI_FORWARDING, last)


@pytest.mark.parametrize(
    ("text", "enabled"),
    [
        (SET + NEXT, True),
        (CLEAR + NEXT, False),
        (SET + NEXT + "w 00:03.0 68.w 0000", True),  # a stray clear is the loss, not a new state
        (CLEAR + NEXT + "w 00:03.0 68.w 0020\nr 00:03.0 68.w 0020", True),  # set and confirmed
        (CLEAR + NEXT + "w 00:03.0 68.w 0020\nr 00:03.0 68.w 0000", False),  # did not stick
        (CLEAR + NEXT + "r 00:03.0 68.w 0020", False),  # shown, but nobody set it
    ],
)
def test_state_after_a_decision(text: str, enabled: bool) -> None:
    assert outgoing_states(SCAN + text).enabled is enabled


def test_state_without_a_decision_comes_from_a_read() -> None:
    outgoing_state = outgoing_states(SCAN + "r 00:03.0 68.w 0020\n")
    assert (outgoing_state.enabled, outgoing_state.row) == (True, 16)


def test_state_is_never_inferred_from_an_address() -> None:
    """A function above 7 that answers does not show the bit."""
    assert outgoing_states(FUNCTION_8).enabled is None


def test_nothing_known_is_not_guessed() -> None:
    assert outgoing_states(SCAN).enabled is None
