"""What a bridge is judged on: which decision, which reads, from which row on, and between which accesses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hand_made import EXP, Access, Part, read, shown, write
from hand_made_context import KEY, decision, kexec_context, node

from analyzer.observed.register_state import OutgoingState
from analyzer.results import Evidence, Window
from analyzer.verdicts import bridges
from analyzer.verdicts.causes import Attribution

if TYPE_CHECKING:
    from analyzer.observed.decisions import Decision
    from analyzer.replay.world import Node

DEVCTL2, PLACE = EXP + 0x28, f"CAP_EXP behind {EXP:#x}, 2 bytes"
ON, OFF = 0x20, 0x00
HELD = OutgoingState(True, 50)


def facts(context: bridges.KexecContext, outgoing_state: OutgoingState | None = HELD) -> bridges._Facts:
    (made,) = context.world.nodes()
    if outgoing_state is not None:
        context.handover.outgoing_states[KEY] = outgoing_state
    return bridges._facts(context, made)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"predicted": True}, True),
        ({"predicted": False}, False),
        ({"predicted": None}, None),
        # what the kernel was seen to decide counts, if it is the one that the verdicts are about
        ({"predicted": True, "decided": (decision(False),)}, False),
        ({"predicted": True, "decided": (decision(False), decision(True))}, False),  # the scan's
        ({"predicted": False, "decided": (decision(True),)}, True),
        ({"predicted": True, "decided": (decision(None),)}, True),
        ({"predicted": True, "decided": (decision(False),), "as_observed": False}, True),
        # a snapshot: what the kernel left is what it uses
        ({"predicted": True, "snapshot": True}, None),
        ({"predicted": True, "snapshot": True, "after": Part((read(DEVCTL2, 2, OFF),))}, False),
        ({"predicted": False, "snapshot": True, "after": Part((read(DEVCTL2, 2, ON),))}, True),
        (
            {
                "predicted": True,
                "snapshot": True,
                "after": Part((read(DEVCTL2, 2, OFF),)),
                "as_observed": False,
            },
            True,
        ),
    ],
)
def test_what_was_decided(more: dict[str, object], expected: bool | None) -> None:
    assert facts(kexec_context(**more)).decided is expected


def test_facts_of_a_bridge_that_both_boots_saw() -> None:
    before, after = Part((write(DEVCTL2, 2, ON),)), Part((read(DEVCTL2, 2, OFF),))
    found = facts(kexec_context(before, after, decided=(decision(True), decision(False))))
    assert (found.ari.before, found.ari.after, found.ari.outgoing) == (before, after, HELD)
    assert found.decision == decision(True)
    assert found.ari.first is not None
    assert (found.ari.first.row, found.ari.is_on_after) == (100, False)


@pytest.mark.parametrize("made", [node(outgoing=None), node(incoming=None)], ids=["new", "not found"])
def test_facts_of_a_bridge_that_one_boot_did_not_see(made: Node) -> None:
    found = facts(kexec_context(Part(), Part((read(DEVCTL2, 2, OFF),)), decided=(decision(True),), made=made))
    old, new = made.outgoing is not None, made.incoming is not None
    assert (found.ari.before is not None, found.ari.outgoing == HELD) == (old, old)
    assert [found.ari.after is None, found.ari.first is None, found.decision is None] == [not new] * 3
    assert old or found.ari.outgoing == OutgoingState(None)


def test_nothing_is_held_of_a_bridge_without_a_state() -> None:
    assert facts(kexec_context(), outgoing_state=None).ari.outgoing == OutgoingState(None)


@pytest.mark.parametrize(
    ("outgoing_state", "scan", "since"),
    [
        (OutgoingState(True, 50), 30, 50),
        (OutgoingState(True, 0), 30, 0),
        (OutgoingState(True), 30, 30),
        (OutgoingState(True), 0, 0),
        (OutgoingState(True), None, 9),  # the row before the boot's first
    ],
)
def test_from_which_row_on_a_cause_is_looked_for(
    outgoing_state: OutgoingState, scan: int | None, since: int
) -> None:
    context = kexec_context(Part(), Part(), scan=scan)
    found = bridges._cause_context(context, facts(context, outgoing_state))
    assert (found.since, found.outgoing_state, found.messages) == (since, outgoing_state, ("told",))
    assert [item.function for item in found.ancestors] == [0x05, 0x06]
    assert found.outgoing is context.outgoing.functions[KEY]
    assert found.incoming is context.incoming.functions[KEY]


@pytest.mark.parametrize(("decided", "row"), [((decision(True, row=77),), 77), ((), 901)])
def test_up_to_which_row(decided: tuple[Decision, ...], row: int) -> None:
    context = kexec_context(decided=decided)
    assert bridges._cause_context(context, facts(context)).decision == row


def test_a_new_bridge_has_no_ancestors_before() -> None:
    context = kexec_context(made=node(outgoing=None))
    assert bridges._cause_context(context, facts(context)).ancestors == []


@pytest.mark.parametrize(
    ("before", "after", "cause", "expected"),
    [
        # the write itself: last on, first off
        ([read(DEVCTL2, 2, ON), write(DEVCTL2, 2, OFF)], None, None, Window(100, 110, "outgoing")),
        ([write(DEVCTL2, 2, OFF)], None, None, Window(50, 100, "outgoing")),
        ([read(DEVCTL2, 2, ON)], None, None, Window(100, None, "blackout")),
        ([], None, None, Window(50, None, "blackout")),
        ([], [read(DEVCTL2, 2, OFF)], None, Window(50, 100, "blackout")),
        # the access that took it, where the bit itself is not seen off
        (
            [],
            [read(DEVCTL2, 2, OFF)],
            Attribution("secondary-bus-reset", "high", row=250),
            Window(50, 100, "outgoing"),
        ),
        (
            [],
            [read(DEVCTL2, 2, OFF)],
            Attribution("secondary-bus-reset", "high", row=300),
            Window(50, 100, "outgoing"),
        ),
        (
            [],
            [read(DEVCTL2, 2, OFF)],
            Attribution("secondary-bus-reset", "high", row=301),
            Window(50, 100, "blackout"),
        ),
        ([], [read(DEVCTL2, 2, OFF)], Attribution("selective-loss", "medium"), Window(50, 100, "blackout")),
        ([], [read(DEVCTL2, 2, OFF)], Attribution("incoming-write", "high"), Window(50, 100, "incoming")),
        ([], None, Attribution("secondary-bus-reset", "high", row=301), Window(50, None, "blackout")),
        # seen off behind the boundary of the outgoing kernel: that row counts, not the cause's
        (
            [*[read(0x04, 2, 0)] * 21, write(DEVCTL2, 2, OFF)],
            None,
            Attribution("explicit-write", "high", row=200),
            Window(50, 310, "blackout"),
        ),
        (
            [*[read(0x04, 2, 0)] * 20, write(DEVCTL2, 2, OFF)],
            None,
            Attribution("explicit-write", "high", row=200),
            Window(50, 300, "outgoing"),
        ),
    ],
)
@pytest.mark.parametrize("name", ["lost", "healed", "unconfigured", "renumbered"])
def test_between_which_accesses_the_bit_was_cleared(
    before: list[Access], after: list[Access] | None, cause: Attribution | None, expected: Window, name: str
) -> None:
    context = kexec_context(Part(tuple(before)), None if after is None else Part(tuple(after)))
    assert bridges._window(context, facts(context), name, cause) == expected


def test_only_accesses_after_the_state_was_held_show_the_bit_off() -> None:
    """The kernel took an all-ones read for a set bit."""
    context = kexec_context(Part((write(DEVCTL2, 2, OFF),)))
    found = bridges._window(context, facts(context, OutgoingState(True, 105)), "lost", None)
    assert found == Window(105, None, "blackout")


@pytest.mark.parametrize("name", ["kept", "gone", "hidden", "off", "undetermined"])
def test_verdicts_without_a_window(name: str) -> None:
    context = kexec_context(Part((write(DEVCTL2, 2, OFF),)))
    assert bridges._window(context, facts(context), name, None) is None


@pytest.mark.parametrize("enabled", [False, None])
def test_a_bit_that_was_not_on_has_no_window(enabled: bool | None) -> None:
    context = kexec_context(Part((write(DEVCTL2, 2, OFF),)))
    assert bridges._window(context, facts(context, OutgoingState(enabled, 50)), "unconfigured", None) is None


def evidence(
    context: bridges.KexecContext, outgoing_state: OutgoingState = HELD, cause: Attribution | None = None
) -> list[object]:
    return shown(bridges._evidence(context, facts(context, outgoing_state), cause))


def proof_of(row: int | None, note: str) -> Evidence:
    return Evidence(row, "", None, None, None, None, None, None, note)


HELD_ON = (50, PLACE, "outgoing kernel: ARI Forwarding on")
HELD_OFF = (50, PLACE, "outgoing kernel: ARI Forwarding off")
READ_ON, READ_OFF = ((100, PLACE, f"first read after the kexec: {state}") for state in ("on", "off"))


@pytest.mark.parametrize(
    ("context", "outgoing_state", "expected"),
    [
        (kexec_context(Part()), HELD, [HELD_ON]),
        (kexec_context(Part()), OutgoingState(False, 50), [HELD_OFF]),
        (kexec_context(Part()), OutgoingState(True), []),
        (kexec_context(Part(pcie=None)), HELD, []),
        (kexec_context(), HELD, []),
        (kexec_context(None, Part((read(DEVCTL2, 2, ON),))), HELD, [READ_ON]),
        (kexec_context(None, Part((read(DEVCTL2, 2, OFF),))), HELD, [READ_OFF]),
        (kexec_context(Part(), Part((read(DEVCTL2, 2, OFF),))), HELD, [HELD_ON, READ_OFF]),
        (
            kexec_context(None, Part(), decided=(decision(True),)),
            HELD,
            [(80, PLACE, "incoming kernel: ARI Forwarding set")],
        ),
        (
            kexec_context(None, Part(), decided=(decision(False, "clear"),)),
            HELD,
            [(80, PLACE, "incoming kernel: ARI Forwarding clear")],
        ),
        (kexec_context(None, Part(), decided=(decision(True, "inherit"),)), HELD, []),
        (kexec_context(None, Part(pcie=None), decided=(decision(True),)), HELD, []),
        (kexec_context(decided=(decision(True),)), HELD, []),
        (kexec_context(Part(), Part((read(DEVCTL2, 2, OFF),)), made=node(ari_supported=False)), HELD, []),
        (kexec_context(Part(), made=node(ari_supported=None)), HELD, [HELD_ON]),
    ],
)
def test_evidence_of_a_bridge(
    context: bridges.KexecContext, outgoing_state: OutgoingState, expected: list[object]
) -> None:
    assert evidence(context, outgoing_state) == expected


def test_evidence_of_the_cause_stands_among_it_in_order_and_once() -> None:
    proof = [
        proof_of(200, "later"),
        proof_of(None, "told"),
        proof_of(90, "between"),
        proof_of(90, "between"),
        proof_of(90, "and more"),
        proof_of(1, "the second access"),
        proof_of(0, "the first access"),
    ]
    context = kexec_context(Part(), Part((read(DEVCTL2, 2, OFF),)))
    notes = [note for *_, note in evidence(context, cause=Attribution("unknown", "low", evidence=proof))]
    assert notes == [
        "the first access",
        "the second access",
        HELD_ON[2],
        "between",
        "and more",
        READ_OFF[2],
        "later",
        "told",
    ]


def test_a_bridge_without_ari_has_the_evidence_of_its_cause_alone() -> None:
    proof = [proof_of(90, "why")]
    context = kexec_context(Part(), Part((read(DEVCTL2, 2, OFF),)), made=node(ari_supported=False))
    found = bridges._evidence(context, facts(context), Attribution("hot-reset", "medium", evidence=proof))
    assert found == proof
