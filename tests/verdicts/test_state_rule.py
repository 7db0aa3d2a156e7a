"""The rule of the state watch: what became of a register, and what that weighs; facts in, word out."""

from __future__ import annotations

import pytest

from analyzer.verdicts.state_rule import StateFacts, severity, verdict
from schemas import state_watch as states

ACS = StateFacts(states.ACS, known=0x7F, held=0x1D, first=0x1D)
MPS = StateFacts(states.MAX_PAYLOAD, known=0xE0, held=0x40, first=0x40)
MASTER = StateFacts(states.BUS_MASTERS[0], known=4, held=4, first=4)
WIDTH = StateFacts(states.LINK_WIDTH, known=0x3F0, held=0x100, first=0x100)
TAGS = StateFacts(states.REQUESTS, known=0x7910, held=0x2810, first=0x2810)
BAR = StateFacts(states.BARS[0], known=0xFFFFFFF0, held=0xFDB00000, first=0xFDB00000)
BASE = StateFacts(states.WINDOWS[2], known=0xFFF0, held=0xFDC0, first=0xFDC0)
CONTROL_2 = StateFacts(states.DEVICE_CONTROL_2, known=0xF7DF, held=0x0401, first=0x0401)
MSI = StateFacts(states.MSI, known=1, held=1, first=1)


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        (ACS, "kept"),
        (ACS._replace(first=0x19), "lost"),
        (ACS._replace(first=0), "lost"),
        (ACS._replace(first=0x1F), "changed"),  # a bit more than before is no reset
        (ACS._replace(first=0, set_again=True), "healed"),
        (ACS._replace(first=0, from_dump=True), "undetermined"),
        (ACS._replace(first=0, whole=False), "undetermined"),
        (ACS._replace(whole=False), "undetermined"),  # the loss, and the write that mended it, may be missing
        (ACS._replace(first=0, was_reset=True, whole=False), "expected"),
        (ACS._replace(written=0, whole=False), "cleared"),
        (ACS._replace(first=0, was_reset=True), "expected"),  # VFIO's freeze
        (ACS._replace(known=0x0F, first=0x0D, held=0x0D), "undetermined"),  # a bit is not in the capture
        (ACS._replace(known=0x01, held=0x01, first=0), "lost"),  # what is known is enough
        (ACS._replace(written=0), "cleared"),
        (ACS._replace(written=0x1F), "kept"),  # set in addition
        (MPS._replace(first=0), "lost"),
        (MPS._replace(first=0x20), "changed"),
        (MPS._replace(held=0x60, first=0x20), "changed"),  # a number: one bit of it is no reset
        (BAR._replace(first=0), "lost"),
        (BAR._replace(first=0xFDA00000), "changed"),
        (BAR._replace(first=0, set_again=True), "healed"),
        (BASE._replace(first=0), "lost"),
        (BASE._replace(first=0xFFF0), "lost"),  # above its limit: the window of a root port that was reset
        (BASE._replace(first=0xFDB0), "changed"),
        (MPS._replace(written=0x20), "cleared"),
        (MASTER, "kept"),
        (MASTER._replace(first=0), "lost"),
        (MASTER._replace(first=0, shutdown_known=False), "undetermined"),
        (MASTER._replace(held=0, first=0, used=4), "expected"),
        (MASTER._replace(held=0, first=0), "kept"),
        (WIDTH._replace(first=0x80), "lost"),
        (WIDTH._replace(held=0x80), "changed"),
        (TAGS._replace(written=0x2910), "kept"),  # Extended Tag is set live
        (MSI._replace(written=0), "cleared"),
        (MSI._replace(held=0), "changed"),
        (MSI._replace(held=0, set_again=True), "changed"),  # found on, and cleared: nobody was without it
        (ACS._replace(first=0x19, set_again=True), "healed"),
        (ACS._replace(held=0x11, first=0x1D, set_again=True), "changed"),
        (MPS._replace(first=0, set_again=True), "healed"),
        (TAGS._replace(held=0x2810, first=0x2910, set_again=True), "healed"),
        (ACS._replace(first=0x0D), "lost"),
        (ACS._replace(written=0x1C), "cleared"),
        (ACS._replace(known=0x01, held=0x01, first=0x01, written=0), "undetermined"),
        (MPS._replace(written=0x40), "kept"),
        (MPS._replace(written=0x60), "cleared"),
        (CONTROL_2._replace(written=0), "kept"),
        (TAGS._replace(written=0), "kept"),  # what it switches off there is its own
        (BAR._replace(written=0xFDA00000), "kept"),  # addresses are its to assign
        (ACS._replace(shutdown_known=False), "kept"),  # no shutdown clears it
        (ACS._replace(from_dump=True), "kept"),
        (ACS._replace(used=0x1D), "kept"),
        (ACS._replace(used=0x1F), "expected"),
        (ACS._replace(used=0x05), "kept"),
        (WIDTH._replace(first=0x90), "lost"),
        (WIDTH._replace(first=0x110), "changed"),
        (WIDTH._replace(known=0x300, held=0x100, first=0x200), "changed"),
        (TAGS._replace(first=0x2910), "changed"),
        (TAGS._replace(held=0x5000, first=0x2810), "lost"),  # as after a reset
        (TAGS._replace(first=0x2800), "changed"),
        (MSI._replace(shutdown_known=False), "undetermined"),
    ],
)
def test_the_word(facts: StateFacts, word: str) -> None:
    assert verdict(facts) == word


@pytest.mark.parametrize(
    ("state", "word", "preserved", "weight"),
    [
        (states.ACS, "lost", True, "alarm"),
        (states.ACS, "lost", False, "note"),
        (states.ACS, "healed", True, "warning"),
        (states.BARS[0], "lost", True, "alarm"),
        (states.BARS[0], "healed", True, "alarm"),
        (states.BUS_MASTERS[1], "lost", True, "alarm"),
        (states.BUS_MASTERS[1], "cleared", True, "alarm"),
        (states.MAX_PAYLOAD, "lost", True, "warning"),
        (states.VIRTUAL_FUNCTIONS, "cleared", True, "note"),
        (states.MSI, "lost", True, "note"),
        (states.ACS, "undetermined", True, "note"),
        (states.ACS, "expected", True, "note"),
        (states.ACS, "kept", True, "note"),
        (states.ACS, "changed", True, "alarm"),
        (states.ACS, "changed", False, "note"),
        (states.ACS, "cleared", True, "alarm"),
        (states.MAX_PAYLOAD, "cleared", True, "warning"),
        (states.MAX_PAYLOAD, "healed", True, "warning"),
        (states.WINDOWS[0], "healed", True, "warning"),
        (states.MSI, "healed", True, "note"),
    ],
)
def test_what_it_weighs(state: states.WatchedState, word: str, preserved: bool, weight: str) -> None:
    assert severity(state, word, preserved=preserved) == weight  # type: ignore[arg-type]
