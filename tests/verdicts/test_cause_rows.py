"""The cause of a loss, one row of the table at a time, on functions put together from a few accesses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hand_made import AER, EXP, PM, Access, Part, PlainEvidence, read, shown, write
from hand_made_context import cause_context

from analyzer.verdicts import causes
from analyzer.verdicts.reset_evidence import LogMessage
from schemas.pcie_capability import TYPE_ROOT_PORT, TYPE_UPSTREAM

if TYPE_CHECKING:
    from analyzer.verdicts.causes import Attribution

DEVCTL, LNKCTL, DEVCTL2, LNKCTL2 = EXP + 0x08, EXP + 0x10, EXP + 0x28, EXP + 0x30
CONTROL, PMCSR = 0x3E, PM + 0x04
PLACE = f"CAP_EXP behind {EXP:#x}, 2 bytes"
NUMBERS, CONTROL_PLACE = "PRIMARY_BUS.l, 4 bytes", "BRIDGE_CONTROL, 2 bytes"
ON, OFF = 0x0420, 0x0400


def said(found: Attribution) -> tuple[object, ...]:
    return found.cause, found.confidence, found.cause_bdf, found.row


WRITTEN = (PLACE, "bit 5 (ARIFwd) written as 0")


@pytest.mark.parametrize(
    ("accesses", "cause", "proof"),
    [
        (
            [read(DEVCTL2, 2, ON), write(DEVCTL2, 2, OFF)],
            ("explicit-write", "high", None, 110),
            [(100, PLACE, "last read before that write"), (110, *WRITTEN)],
        ),
        ([write(DEVCTL2, 2, OFF)], ("explicit-write", "high", None, 100), [(100, *WRITTEN)]),
        # pci_restore_pcie_state: DEVCTL, LNKCTL, SLTCTL, RTCTL and DEVCTL2 without a read between
        (
            [write(DEVCTL, 2, 0), write(LNKCTL, 2, 0), write(DEVCTL2, 2, OFF)],
            ("restore-write", "high", None, 120),
            [(120, *WRITTEN)],
        ),
        (
            [
                *(write(DEVCTL, 2, 0), write(LNKCTL, 2, 0), write(EXP + 0x18, 2, 0), write(EXP + 0x1C, 2, 0)),
                write(DEVCTL2, 2, OFF),
            ],
            ("restore-write", "high", None, 140),
            [(140, *WRITTEN)],
        ),
        (
            [
                *(write(0x04, 2, 0), write(DEVCTL, 2, 0), write(LNKCTL, 2, 0)),
                *(write(EXP + 0x18, 2, 0), write(EXP + 0x1C, 2, 0), write(DEVCTL2, 2, OFF)),
            ],
            ("restore-write", "high", None, 150),
            [(150, *WRITTEN)],
        ),
        (
            [write(0x04, 2, 0), write(DEVCTL, 2, 0), write(LNKCTL, 2, 0), write(DEVCTL2, 2, OFF)],
            ("explicit-write", "high", None, 130),
            [(130, *WRITTEN)],
        ),
        (
            [write(LNKCTL, 2, 0), write(DEVCTL, 2, 0), write(DEVCTL2, 2, OFF)],
            ("explicit-write", "high", None, 120),
            [(120, *WRITTEN)],
        ),
        (
            [write(DEVCTL, 2, 0), write(LNKCTL, 2, 0), read(CONTROL, 2, 0), write(DEVCTL2, 2, OFF)],
            ("explicit-write", "high", None, 130),
            [(130, *WRITTEN)],
        ),
    ],
)
def test_a_write_of_the_outgoing_boot(
    accesses: list[Access], cause: tuple[object, ...], proof: list[tuple[object, ...]]
) -> None:
    found = causes.attribute(cause_context(outgoing=Part(tuple(accesses))), PlainEvidence())
    assert said(found) == cause
    assert shown(found.evidence) == proof


def test_a_write_of_the_incoming_kernel_before_it_decides() -> None:
    incoming = Part((write(DEVCTL2, 2, OFF), read(DEVCTL2, 2, OFF)))
    found = causes.attribute(cause_context(incoming=incoming, decision=110), PlainEvidence())
    assert said(found) == ("incoming-write", "high", None, 100)
    assert shown(found.evidence) == [(100, PLACE, "bit 5 written as 0 before the decision read")]


@pytest.mark.parametrize(
    "more",
    [{"decision": 100}, {"incoming": Part(())}, {"incoming": Part((write(DEVCTL2, 2, OFF),), pcie=None)}],
    ids=["the decision's own write", "no access", "no PCI Express"],
)
def test_writes_of_the_incoming_kernel_that_are_no_cause(more: dict[str, object]) -> None:
    values = {"incoming": Part((write(DEVCTL2, 2, OFF),))} | more
    assert said(causes.attribute(cause_context(**values), PlainEvidence())) == ("unknown", "low", None, None)


def test_a_write_in_the_outgoing_boot_comes_first() -> None:
    outgoing, incoming = Part((write(DEVCTL2, 2, OFF),)), Part((write(DEVCTL2, 2, OFF),))
    found = causes.attribute(cause_context(outgoing=outgoing, incoming=incoming), PlainEvidence())
    assert found.cause == "explicit-write"


@pytest.mark.parametrize(("since", "cause"), [(99, "explicit-write"), (100, "unknown")])
def test_only_writes_behind_the_last_sign_of_the_bit_count(since: int, cause: str) -> None:
    outgoing = Part((write(DEVCTL2, 2, OFF),))
    assert causes.attribute(cause_context(outgoing=outgoing, since=since), PlainEvidence()).cause == cause


def test_a_bridge_that_lost_only_its_numbers_is_not_asked_for_writes() -> None:
    outgoing = Part((write(DEVCTL2, 2, OFF),))
    found = causes.attribute(cause_context(outgoing=outgoing), PlainEvidence(), needs_state=False)
    assert found.cause == "unknown"


def reset(*accesses: Access, kind: int = TYPE_UPSTREAM) -> Part:
    return Part((read(CONTROL, 2, 0), read(DEVCTL, 2, 0x2810), *accesses), numbers=(0, 0, 0), pcie_type=kind)


RESET_PROOF = [
    (5, NUMBERS, "bus numbers are 0: the port was reset"),
    (100, CONTROL_PLACE, "Bridge Control reads its reset value"),
    (110, PLACE, "error reporting is off"),
]
PULSE = Part((write(CONTROL, 2, 0x40),), function=0x0100)
UPPER_PULSE = Part((write(CONTROL, 2, 0x40),), function=0x0008)
LINK = Part((read(EXP + 0x1A, 2, 0x0100),), function=0x0100)
ASLEEP = Part((write(PMCSR, 2, 3),))
STICKY = Part((read(AER + 8, 4, 0x10), write(AER + 8, 4, 0x30)))


@pytest.mark.parametrize(
    ("more", "expected", "first"),
    [
        ({}, ("hot-reset", "medium", None, None), []),
        (
            {"incoming": reset(kind=TYPE_ROOT_PORT)},
            ("host-bridge-reinit", "medium", None, None),
            [],
        ),
        (
            {"ancestors": (PULSE,)},
            ("secondary-bus-reset", "high", "0000:01:00.0", 100),
            [(100, CONTROL_PLACE, "Secondary Bus Reset set (0 to 1)")],
        ),
        # nearest first: the topmost that shows it
        (
            {"ancestors": (PULSE, UPPER_PULSE)},
            ("secondary-bus-reset", "high", "0000:00:01.0", 100),
            [(100, CONTROL_PLACE, "Secondary Bus Reset set (0 to 1)")],
        ),
        (
            {"ancestors": (LINK, UPPER_PULSE)},
            ("secondary-bus-reset", "high", "0000:00:01.0", 100),
            [(100, CONTROL_PLACE, "Secondary Bus Reset set (0 to 1)")],
        ),
        (
            {"ancestors": (LINK,)},
            ("upstream-link-down", "medium", "0000:01:00.0", None),
            [(100, PLACE, "the link below went down")],
        ),
        (
            {
                "ancestors": (Part(function=0x0100),),
                "messages": (LogMessage(0x0100, "Slot(1): Link Down", "kernel log"),),
            },
            ("upstream-link-down", "high", "0000:01:00.0", None),
            [(None, None, "Slot(1): Link Down")],
        ),
        (
            {"ancestors": (PULSE,), "since": 100},
            ("hot-reset", "medium", None, None),
            [],
        ),
        (
            {"outgoing": ASLEEP},
            ("power-state", "medium", None, 100),
            [
                (
                    100,
                    f"CAP_PM behind {PM:#x}, 2 bytes",
                    "in D3, No_Soft_Reset 0: state is lost on the way back",
                )
            ],
        ),
        ({"outgoing": ASLEEP, "since": 100}, ("hot-reset", "medium", None, None), []),
        (
            {"outgoing": ASLEEP, "ancestors": (PULSE,)},
            ("secondary-bus-reset", "high", "0000:01:00.0", 100),
            [(100, CONTROL_PLACE, "Secondary Bus Reset set (0 to 1)")],
        ),
        (
            {"outgoing": STICKY, "incoming": reset(read(AER + 8, 4, 0x10))},
            ("power-cycle", "medium", None, None),
            [
                (
                    120,
                    f"ECAP_AER behind {AER:#x}, 4 bytes",
                    "a sticky AER register was 0x00000030 and has its first value again",
                )
            ],
        ),
        (
            {"outgoing": STICKY, "incoming": reset(read(AER + 8, 4, 0x10), kind=TYPE_ROOT_PORT)},
            ("host-bridge-reinit", "medium", None, None),
            [],
        ),
    ],
)
def test_what_reset_a_port(
    more: dict[str, object], expected: tuple[object, ...], first: list[tuple[object, ...]]
) -> None:
    found = causes.attribute(cause_context(**({"incoming": reset()} | more)), PlainEvidence())
    assert said(found) == expected
    assert shown(found.evidence) == [*first, *RESET_PROOF]


@pytest.mark.parametrize(
    ("accesses", "proof"),
    [
        ([read(CONTROL, 2, 0)], RESET_PROOF[:2]),
        ([read(CONTROL, 2, 2), read(DEVCTL, 2, 0x2810)], [RESET_PROOF[0], RESET_PROOF[2]]),
        ([read(DEVCTL, 2, 0)], [RESET_PROOF[0], (100, *RESET_PROOF[2][1:])]),
        ([read(CONTROL, 2, 0), read(DEVCTL, 2, 0x000F)], RESET_PROOF[:2]),
    ],
)
def test_only_what_was_read_proves_a_reset(accesses: list[Access], proof: list[tuple[object, ...]]) -> None:
    incoming = Part(tuple(accesses), numbers=(0, 0, 0))
    assert shown(causes.attribute(cause_context(incoming=incoming), PlainEvidence()).evidence) == proof


def test_a_reset_of_a_bridge_without_pci_express() -> None:
    incoming = Part((read(CONTROL, 2, 0), read(DEVCTL, 2, 0)), pcie=None, numbers=(0, 0, 0))
    found = causes.attribute(cause_context(incoming=incoming), PlainEvidence())
    assert shown(found.evidence) == RESET_PROOF[:2]


@pytest.mark.parametrize(
    ("ancestors", "expected"),
    [
        ((), ("unknown", "high", None, None)),
        ((PULSE,), ("secondary-bus-reset", "high", "0000:01:00.0", 100)),
        ((LINK,), ("upstream-link-down", "medium", "0000:01:00.0", None)),
    ],
)
def test_a_bridge_that_is_gone(ancestors: tuple[Part, ...], expected: tuple[object, ...]) -> None:
    """Nothing that its own registers said before counts."""
    outgoing = Part((write(DEVCTL2, 2, OFF), write(PMCSR, 2, 3)))
    found = causes.attribute(
        cause_context(outgoing=outgoing, ancestors=ancestors), PlainEvidence(), gone=True
    )
    assert said(found) == expected


INTACT = (5, NUMBERS, "bus numbers are intact")
LTR_ON, LTR_OFF = (
    "LTR Enable is still on: only ARI Forwarding was cleared",
    "LTR Enable is off too: the link went down",
)


@pytest.mark.parametrize(
    ("outgoing", "incoming", "proof"),
    [
        ([], [], [INTACT]),
        ([], [read(CONTROL, 2, 2)], [INTACT, (100, CONTROL_PLACE, "Bridge Control is intact")]),
        ([], [read(CONTROL, 2, 0)], [INTACT, (100, CONTROL_PLACE, "Bridge Control reads 0")]),
        ([read(DEVCTL2, 2, ON)], [read(DEVCTL2, 2, 0x0400)], [INTACT, (100, PLACE, LTR_ON)]),
        ([read(DEVCTL2, 2, ON)], [read(DEVCTL2, 2, 0x0000)], [INTACT, (100, PLACE, LTR_OFF)]),
        ([read(DEVCTL2, 2, 0x0020)], [read(DEVCTL2, 2, 0x0000)], [INTACT]),  # LTR never was on
        ([read(DEVCTL2, 2, ON), read(DEVCTL2, 2, 0x20)], [read(DEVCTL2, 2, 0)], [INTACT]),  # nor at last
        (
            [read(DEVCTL2, 2, 0x20), read(DEVCTL2, 2, ON)],
            [read(DEVCTL2, 2, 0)],
            [INTACT, (100, PLACE, LTR_OFF)],
        ),
        (
            [read(DEVCTL2, 2, ON), read(DEVCTL2, 1, 0x20)],
            [read(DEVCTL2, 2, 0)],
            [INTACT, (100, PLACE, LTR_OFF)],
        ),
        ([read(DEVCTL2, 2, ON)], [write(DEVCTL2, 2, 0x0400)], [INTACT]),  # the kernel wrote first
        ([read(DEVCTL2, 2, ON)], [], [INTACT]),
        (
            [read(DEVCTL2, 2, ON)],
            [read(DEVCTL2, 1, 0x00), read(DEVCTL2, 2, 0x0400)],
            [INTACT, (110, PLACE, LTR_ON)],
        ),
    ],
)
def test_only_the_bit_was_cleared(
    outgoing: list[Access], incoming: list[Access], proof: list[tuple[object, ...]]
) -> None:
    """The decision comes before any write of the incoming kernel."""
    after = Part(tuple(incoming), numbers=(0, 1, 1))
    found = causes.attribute(
        cause_context(
            outgoing=Part(tuple(outgoing)) if outgoing else None, incoming=after, since=999, decision=0
        ),
        PlainEvidence(),
    )
    assert said(found) == ("selective-loss", "medium", None, None)
    assert shown(found.evidence) == proof


@pytest.mark.parametrize("incoming", [None, Part(numbers=None)])
def test_without_bus_numbers_nothing_is_called_selective(incoming: Part | None) -> None:
    found = causes.attribute(cause_context(incoming=incoming), PlainEvidence())
    assert said(found) == ("unknown", "low", None, None)
    assert found.evidence == []


def test_a_port_in_d3_lost_the_bit_on_the_way_back() -> None:
    found = causes.attribute(
        cause_context(outgoing=ASLEEP, incoming=Part(numbers=(0, 1, 1))), PlainEvidence()
    )
    assert said(found) == ("power-state", "medium", None, 100)
