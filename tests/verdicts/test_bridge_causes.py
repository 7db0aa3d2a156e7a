"""What a bridge's cause is looked for in, and what its verdict takes from it: errors, notes, evidence."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hand_made import EXP, Part, PlainEvidence, read, write
from hand_made_context import BRIDGE, KEY, decision, kexec_context, node

from analyzer.observed.register_state import OutgoingState
from analyzer.observed.registers.samples import Sample
from analyzer.replay.world import Node, World
from analyzer.results import Evidence
from analyzer.verdicts import bridges, error_observations
from analyzer.verdicts.causes import Attribution
from analyzer.verdicts.error_status import FunctionErrors

HELD = OutgoingState(1, 50)
DEVCTL2, ON, OFF = EXP + 0x28, 0x20, 0x00
LEAF = Node((0, 8, 0), outgoing=0x100)


def bridge_facts(context: bridges.KexecContext, held: OutgoingState) -> bridges._Facts:
    context.handover.outgoing_states[KEY] = held
    (made,) = (one for one in context.world.nodes() if KEY in (one.outgoing, one.incoming))
    return bridges._facts(context, made)


def path_of_two(**more: object) -> bridges.KexecContext:
    """A bridge (0x0208 before, 0x0308 after) below the one that is looked at otherwise."""
    above, below = node(**more), Node((0, 8, 16), outgoing=0x0208, incoming=0x0308, is_bridge=True)
    context = kexec_context(Part(), Part())
    world = World({0: {8: above}}, {BRIDGE: above, below.path: below}, {KEY: above, 0x0208: below})
    context = bridges.KexecContext(**(vars(context) | {"world": world}))
    context.outgoing.functions[0x0208] = Part((read(DEVCTL2, 2, ON), read(DEVCTL2, 2, ON)))
    context.incoming.functions[0x0308] = Part((read(DEVCTL2, 2, OFF),))
    return context


def facts_below(context: bridges.KexecContext, held: OutgoingState = HELD) -> bridges._Facts:
    context.handover.outgoing_states[0x0208] = held
    return bridges._facts(context, context.world.by_path[0, 8, 16])


def errors_of(context: bridges.KexecContext, facts: bridges._Facts, monkeypatch) -> list[tuple]:
    """Name, both boots' functions and the row after which reads count, of each bridge that is asked."""
    monkeypatch.setattr(bridges.error_status, "of_function", lambda *given: (*given[:3], given[4]))
    return bridges._errors_on_path(context, facts)


def test_errors_are_asked_of_the_bridge_and_of_those_above(monkeypatch):
    """From the last access on that shows ARI Forwarding on: row 110."""
    context = path_of_two()
    before, after = context.outgoing.functions, context.incoming.functions
    assert errors_of(context, facts_below(context), monkeypatch) == [
        (0x0208, before[0x0208], after[0x0308], 110),
        (KEY, before[KEY], after[KEY], 110),
    ]


@pytest.mark.parametrize("missing", ["outgoing", "incoming"])
def test_errors_of_a_bridge_that_one_boot_did_not_see(monkeypatch, missing):
    context = path_of_two(**{missing: None})
    found = errors_of(context, facts_below(context), monkeypatch)[1]
    expected = [context.outgoing.functions[KEY], context.incoming.functions[KEY]]
    expected[missing == "incoming"] = None
    assert found[1:3] == tuple(expected)


def test_of_a_bit_that_no_access_shows_every_read_of_the_outgoing_kernel_counts(monkeypatch):
    context = path_of_two()
    context.outgoing.functions[0x0208] = Part()
    every = errors_of(context, facts_below(context, OutgoingState(1)), monkeypatch)
    assert [since < 0 for *_, since in every] == [True, True]


@pytest.mark.parametrize("logged", [False, True])
@pytest.mark.parametrize("scan", [None, 401])
def test_a_cause_knows_how_the_incoming_kernel_was_recorded(logged, scan):
    context = kexec_context()
    context.incoming.logged = "a log" if logged else None
    context.incoming.boot.scan = scan
    found = bridges._cause_context(context, bridge_facts(context, HELD))
    assert (found.logged, found.scanned) == (logged, scan is not None)


@pytest.mark.parametrize(
    ("name", "gone", "needs_state"),
    [
        ("lost", False, True),
        ("healed", False, True),
        ("gone", True, False),
        ("unconfigured", False, False),
        ("renumbered", False, False),
        ("cleared", False, False),
    ],
)
def test_what_a_cause_must_explain(monkeypatch, name, gone, needs_state):
    """Errors count that the bridges above latched: those of the bridge itself say nothing of its own link."""
    monkeypatch.setattr(bridges.error_status, "link_errors", lambda errors: ("link of", *errors))
    monkeypatch.setattr(bridges.causes, "attribute", lambda asked, *given, **more: (asked, given, more))
    context = kexec_context()
    asked, builder, more = bridges._cause(
        context, bridge_facts(context, HELD), name, ["own", "of the port", "of the root"]
    )
    assert more == {"gone": gone, "needs_state": needs_state}
    assert asked.link_errors == ("link of", "of the port", "of the root")
    assert (builder, asked.messages) == ((context.builder,), ("told",))


PROOF = Evidence(250, "", None, None, None, None, None, None, "why")


def judged(monkeypatch, after: int, *, decided: bool, named: list) -> object:
    """The verdict, with errors and a cause as given; ``named`` takes what the cause was asked for."""
    errors = [FunctionErrors("a port")]
    monkeypatch.setattr(bridges, "_errors_on_path", lambda *_: errors)
    monkeypatch.setattr(
        bridges,
        "_cause",
        lambda _context, _facts, name, found: (
            named.append((name, found is errors))
            or Attribution("hot-reset", "medium", "0000:00:01.0", evidence=[PROOF], note="by its port")
        ),
    )
    monkeypatch.setattr(
        error_observations, "path_errors", lambda found, _: ("latched", "a note") if found is errors else 0
    )
    context = kexec_context(
        Part(), Part((read(DEVCTL2, 2, after),)), predicted=decided, made=node(children={0: LEAF})
    )
    context.handover.outgoing_states[KEY] = HELD
    (found,) = bridges.verdicts(context)
    return found


@pytest.mark.parametrize(("decided", "name"), [(False, "lost"), (True, "healed")])
def test_a_loss_has_its_cause_and_the_errors_beside_it(monkeypatch, decided, name):
    named: list = []
    found = judged(monkeypatch, OFF, decided=decided, named=named)
    assert (found.verdict, named) == (name, [(name, True)])
    assert (found.cause, found.cause_bdf, found.confidence) == ("hot-reset", "0000:00:01.0", "medium")
    assert (found.cause_note, found.path_errors, found.path_errors_note) == (
        "by its port",
        "latched",
        "a note",
    )
    assert PROOF in found.evidence


def test_what_was_kept_has_no_cause(monkeypatch):
    named: list = []
    found = judged(monkeypatch, ON, decided=True, named=named)
    assert (found.verdict, named, found.cause, found.cause_note) == ("kept", [], None, None)
    assert (found.path_errors, found.path_errors_note) == (None, None)


@pytest.mark.parametrize(
    ("name", "after", "shown"),
    [
        ("unconfigured", ON, False),  # only the bus numbers were lost
        ("renumbered", ON, False),
        ("lost", ON, True),
        ("unconfigured", OFF, True),
        ("renumbered", OFF, True),
    ],
)
def test_a_bit_that_is_still_on_was_not_lost_in_any_window(name, after, shown):
    context = kexec_context(Part(), Part((read(DEVCTL2, 2, after),)))
    found = bridges._window(context, bridge_facts(context, HELD), name, None)
    assert (found is not None) is shown


def test_bus_numbers_that_read_all_ones_are_evidence():
    samples = [
        Sample(430, write=False, value=0x010100, mask=0xFFFFFF, dead=False),
        Sample(440, write=False, value=0xFFFFFF, mask=0xFFFFFF, dead=True),
        Sample(450, write=False, value=0xFFFFFF, mask=0xFFFFFF, dead=True),
    ]
    after = Part()
    after.bus_number_samples = lambda: samples
    context = kexec_context(None, after, made=node(numbers_silent=True))
    note = "bus numbers read all ones: it stopped answering while it was set up"
    found = bridges._evidence(context, bridge_facts(context, OutgoingState()), None)
    assert found == [PlainEvidence().access(440, bridges.BUS_NUMBERS, note, after)]
    answering = kexec_context(None, after)
    assert bridges._evidence(answering, bridge_facts(answering, OutgoingState()), None) == []


def test_a_bridge_that_was_not_found_has_no_such_evidence():
    context = kexec_context(made=node(numbers_silent=True))
    assert bridges._evidence(context, bridge_facts(context, OutgoingState()), None) == []


def function(*, support: bool | None, at: int | None = EXP) -> SimpleNamespace:
    """A function of a dump: whether its support of ARI Forwarding is known, and where its capability is."""
    return SimpleNamespace(
        ari_supported=support, pcie=at, pcie_flags=None, start_of=lambda _: at, accesses_to=lambda _: []
    )


SUPPORT, BIT, LOGGED = "CAP_EXP+02.w, CAP_EXP+24.l", "CAP_EXP+28.w", "which no kernel log shows"
DUMP, LOG = {"scan": None}, {"logged": "a log"}
NAME = "0000:00:01.0"


@pytest.mark.parametrize(
    ("before", "after", "bits", "missing"),
    [
        # Kernel logs show nothing of the bit.
        (LOG, LOG, (None, None), f"ARI Forwarding of {NAME} before and after the kexec, {LOGGED}"),
        (LOG, {}, (None, 1), f"ARI Forwarding of {NAME} before the kexec, {LOGGED}"),
        ({}, LOG, (1, None), f"ARI Forwarding of {NAME} after the kexec, {LOGGED}"),
        # Of dumps, the bytes that they lack; the one before the kexec is named first.
        (DUMP, {}, (None, 1), f"{SUPPORT}, {BIT} of {NAME} before the kexec"),
        (DUMP, DUMP, (1, None), f"{SUPPORT} of {NAME} before the kexec"),
        ({}, DUMP, (1, None), f"{SUPPORT}, {BIT} of {NAME} after the kexec"),
        (DUMP | {"support": True}, DUMP, (1, None), f"{SUPPORT}, {BIT} of {NAME} after the kexec"),
        (DUMP | {"support": True}, DUMP, (None, None), f"{BIT} of {NAME} before the kexec"),
        # Nothing that a dump could show is missing: the decision is.
        (
            DUMP | {"support": True},
            DUMP | {"support": True},
            (1, 1),
            f"the incoming kernel's ARI decision on {NAME}",
        ),
        # What a boot did not see is missing nothing there.
        (
            LOG | {"there": False},
            {},
            (None, 1),
            f"the outgoing kernel's ARI decision on {NAME} ({BIT} written or read during its scan)",
        ),
        ({}, DUMP | {"there": False}, (1, None), f"a read of {BIT} of {NAME} by the incoming kernel"),
        # A bit that is shown is not asked of the log that does not show it.
        (LOG, {}, (1, None), f"a read of {BIT} of {NAME} by the incoming kernel"),
    ],
)
def test_what_a_log_or_a_dump_does_not_show(before, after, bits, missing):
    context = kexec_context()
    functions = []
    for topology, facts in ((context.outgoing, before), (context.incoming, after)):
        topology.logged = facts.get("logged")
        topology.boot.scan = facts.get("scan", 30)
        functions.append(function(support=facts.get("support")) if facts.get("there", True) else None)
    first = None
    if bits[1] is not None:
        first = Sample(90, write=False, value=bits[1] << 5, mask=0xFFFF, dead=False)
    ari = bridges.StateAtKexec(bridges.ARI_FORWARDING, *functions, OutgoingState(bits[0], 50), first)
    facts = bridges._Facts(node(), ari, None, None)
    assert bridges._missing_access(context, facts) == missing


@pytest.mark.parametrize("rule", ["clear", "restore"])
def test_a_kernel_that_wrote_the_bit_off_has_cleared_it(rule):
    context = kexec_context(
        Part((write(DEVCTL2, 2, ON),)), Part((read(DEVCTL2, 2, ON),)), decided=(decision(False, rule),)
    )
    assert bridges._ari_name(bridge_facts(context, HELD)) == "cleared"
