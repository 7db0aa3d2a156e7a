"""Causes where less is known: dumps without a scan, errors on bridges above, registers shown in part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hand_made import AER, EXP, PM, Part, PlainEvidence, View, read, shown, write
from hand_made_context import cause_context

from analyzer.verdicts import causes
from analyzer.verdicts.error_status import LatchedBit
from schemas.config_header import BRIDGE_CONTROL_BITS
from schemas.error_status import UNCORRECTABLE_ERRORS
from schemas.pcie_capability import DEVCTL_ERROR_REPORTING, TYPE_ROOT_PORT
from schemas.registers import BRIDGE_CONTROL, DEVCTL

if TYPE_CHECKING:
    from schemas.registers import Register

CONTROL, PMCSR, UESTA = 0x3E, PM + 0x04, AER + 0x04
DEVCTL_AT, DEVCTL2 = EXP + 0x08, EXP + 0x28
PLACE = f"CAP_EXP behind {EXP:#x}, 2 bytes"
UESTA_PLACE = f"ECAP_AER behind {AER:#x}, 4 bytes"
ON, OFF = 0x0420, 0x0400


def attribute(*, gone: bool = False, needs_state: bool = True, **more: object) -> causes.Attribution:
    return causes.attribute(cause_context(**more), PlainEvidence(), gone=gone, needs_state=needs_state)


def said(found: causes.Attribution) -> tuple[object, ...]:
    return found.cause, found.confidence, found.cause_bdf


def error(mask: int, row: int) -> LatchedBit:
    function = Part((read(UESTA, 4, mask),))
    return LatchedBit(
        function, UNCORRECTABLE_ERRORS, mask, None, row, "fatal", severity_by_default=False, masked=False
    )


ERRORS = [("0000:00:01.0", error(0x20, 910)), ("0000:01:00.0", error(0x10, 920))]
BY_LINK = ("upstream-link-down", "medium", "0000:00:01.0")
LINK_PROOF = (910, UESTA_PLACE, "SDES+: the link below had an error")
RESET = Part((read(CONTROL, 2, 0),), numbers=(0, 0, 0))
PULSE = Part((write(CONTROL, 2, 0x40),), function=0x0100)


def test_the_topmost_bridge_with_a_link_error_is_named():
    """Of a port that came back in its reset state, and of one that is gone."""
    found = attribute(incoming=RESET, link_errors=ERRORS)
    assert said(found) == BY_LINK
    assert shown(found.evidence)[0] == LINK_PROOF
    away = attribute(gone=True, link_errors=ERRORS)
    assert (said(away), shown(away.evidence)) == (BY_LINK, [LINK_PROOF])


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"ancestors": (PULSE,)}, "secondary-bus-reset"),
        (
            {"incoming": Part(RESET.accesses, numbers=(0, 0, 0), pcie_type=TYPE_ROOT_PORT)},
            "host-bridge-reinit",
        ),
    ],
)
def test_what_says_more_goes_before_a_link_error(more, cause):
    assert attribute(**({"incoming": RESET, "link_errors": ERRORS} | more)).cause == cause


def test_a_link_error_is_no_cause_of_a_lost_bit_alone():
    """The port itself was not reset: its bus numbers are intact."""
    found = attribute(incoming=Part(numbers=(0, 1, 1)), link_errors=ERRORS)
    assert found.cause == "selective-loss"


STATE_NOTE = (
    "lost before the incoming kernel ran, cleared by that kernel (function 0 without ARI), never set by it "
    "(pci=noari), or cleared later: a dump shows only what was left"
)


def test_dumps_leave_alternatives():
    found = attribute(incoming=Part(numbers=(0, 1, 1)), scanned=False)
    assert said(found) == ("unknown", "low", None)
    assert (found.note, found.evidence) == (STATE_NOTE, [])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"ancestors": (PULSE,)}, ("secondary-bus-reset", "high", "0000:01:00.0")),
        ({"outgoing": Part((write(PMCSR, 2, 3),))}, ("power-state", "medium", None)),
        (
            {"ancestors": (PULSE,), "outgoing": Part((write(PMCSR, 2, 3),))},
            ("secondary-bus-reset", "high", "0000:01:00.0"),
        ),
    ],
)
@pytest.mark.parametrize("needs_state", [True, False])
def test_a_reset_that_was_seen_before_a_dump_is_the_cause(more, expected, needs_state):
    found = attribute(incoming=Part(numbers=(0, 1, 1)), scanned=False, needs_state=needs_state, **more)
    assert said(found) == expected
    assert found.note is None
    assert [row for row, *_ in shown(found.evidence)] == [100]


def bridge(now: tuple[int, int, int] | None, first: tuple[int, int, int] | None, *, bus: int = 0x03) -> Part:
    """A bridge with bus numbers as they are in the end and as the first read shows them."""
    made = Part(numbers=first)
    made.bus_numbers, made.bus = now, bus
    return made


LEFT_UNCONFIGURED = (
    "lost before the incoming kernel's scan, which left the bridge unconfigured, or cleared later: a dump "
    "shows only what was left"
)
RENUMBERED = (
    "assigned by the incoming kernel (after a reset, or with pci=assign-busses) or later (remove and "
    "rescan): a dump shows only what was left"
)
FOUND_INVALID = (
    "the incoming kernel found invalid bus numbers and {}: they were lost before its scan, by a reset or a "
    "write; no kernel message shows which"
)
FOUND_OTHERS = (
    "assigned before the incoming kernel's scan, or by it with pci=assign-busses: the kernel log shows only "
    "the numbers in use"
)


@pytest.mark.parametrize(
    ("incoming", "logged", "note"),
    [
        (bridge((3, 4, 4), (3, 4, 4)), False, RENUMBERED),
        (bridge(None, (3, 0, 0)), False, LEFT_UNCONFIGURED),
        (None, False, LEFT_UNCONFIGURED),
        # A log says what the kernel found: numbers that were usable on its bus, or not.
        (bridge((3, 4, 4), (3, 4, 4)), True, FOUND_OTHERS),
        (bridge((3, 4, 4), (3, 4, 4), bus=0x010003), True, FOUND_OTHERS),  # in another domain
        (bridge((3, 4, 4), (3, 0, 0)), True, FOUND_INVALID.format("assigned new ones")),
        (bridge((3, 4, 4), (3, 4, 4), bus=0x05), True, FOUND_INVALID.format("assigned new ones")),
        (bridge((3, 4, 4), None), True, FOUND_INVALID.format("assigned new ones")),
        (bridge(None, (3, 0, 0)), True, FOUND_INVALID.format("left the bridge unconfigured")),
        (bridge(None, None), True, FOUND_INVALID.format("left the bridge unconfigured")),
        (None, True, FOUND_INVALID.format("left the bridge unconfigured")),
    ],
)
def test_what_may_have_become_of_lost_bus_numbers(incoming, logged, note):
    found = attribute(incoming=incoming, scanned=False, logged=logged, needs_state=False)
    assert (said(found), found.note) == (("unknown", "low", None), note)


SHOWN = {BRIDGE_CONTROL: BRIDGE_CONTROL_BITS, DEVCTL: DEVCTL_ERROR_REPORTING}


class InPart(Part):
    """A function of the text of lspci, which shows some bits of its registers: those that rules go by."""

    def first(self, register: Register, bits: int | None = None) -> tuple[int, int] | None:
        every = (1 << 8 * register.size) - 1
        wanted, known = every if bits is None else bits, SHOWN.get(register, every)
        found = super().first(register, bits)
        return None if found is None or wanted & ~known else (found[0] & wanted, found[1])


def test_bits_that_no_rule_asks_need_not_be_shown():
    accesses = read(CONTROL, 2, 0), read(DEVCTL_AT, 2, 0x2810)
    found = attribute(incoming=InPart(accesses, numbers=(0, 0, 0)))
    assert found.cause == "hot-reset"
    assert [note for *_, note in shown(found.evidence)] == [
        "bus numbers are 0: the port was reset",
        "Bridge Control reads its reset value",
        "error reporting is off",
    ]
    by_control = attribute(incoming=InPart(accesses[:1], numbers=(0, 0, 0)))
    assert by_control.cause == "hot-reset"
    by_reporting = attribute(incoming=InPart(accesses[1:], numbers=(0, 0, 0)))
    assert by_reporting.cause == "hot-reset"
    intact = attribute(incoming=InPart((read(CONTROL, 2, 2),), numbers=(0, 1, 1)))
    assert [note for *_, note in shown(intact.evidence)] == [
        "bus numbers are intact",
        "Bridge Control is intact",
    ]


def test_a_write_that_leaves_the_bit_as_it_was_held_is_no_cause():
    incoming = Part((write(DEVCTL2, 2, ON),), numbers=(0, 1, 1))
    assert attribute(incoming=incoming).cause == "selective-loss"
    incoming = Part((write(DEVCTL2, 2, OFF),), numbers=(0, 1, 1))
    assert attribute(incoming=incoming).cause == "incoming-write"


class Early(View):
    """The accesses of the second boot of a capture whose first boot is one access: rows 1, 2, ..."""

    @property
    def rows(self) -> np.ndarray:
        return np.arange(len(self.listed)) + 1


def test_a_write_in_the_first_row_after_the_kexec_counts():
    incoming = Part(numbers=(0, 1, 1))
    incoming.view = Early((write(DEVCTL2, 2, OFF),))
    assert attribute(incoming=incoming, since=0).cause == "incoming-write"
