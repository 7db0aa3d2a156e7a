"""Which functions a kexec is judged by: those that a source lists, or those that are assumed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from analyzer.capture import Capture, Notes, Problem
from analyzer.observed.boots import BootSpan
from analyzer.observed.decisions import Decision
from analyzer.observed.register_state import OutgoingState
from analyzer.observed.registers.functions import BusNumbers
from analyzer.options import Options
from analyzer.preservation.preserved import PreservedAnswer, PreservedSet, PreservedSources
from analyzer.verdicts import captures
from analyzer.verdicts.handovers import Handover
from analyzer.verdicts.kexecs import KernelSettings
from schemas import pcie_capability

#: Two root ports with ARI Forwarding on and a device below each. The incoming kernel found the first, and
#: followed the stock rule on the second: that one was not handed over.
FIRST, BELOW_FIRST, SECOND, BELOW_SECOND = 0x08, 0x0100, 0x10, 0x0200
ALL, KEPT = frozenset({FIRST, BELOW_FIRST, SECOND, BELOW_SECOND}), frozenset({FIRST, BELOW_FIRST})
DECIDED = {SECOND: [Decision(SECOND, 0x100, "set", enabled=True, row=7)]}


def port(key: int, below: int) -> SimpleNamespace:
    return SimpleNamespace(
        function=key,
        bus=0,
        is_bridge=True,
        bus_numbers=BusNumbers(0, below >> 8, below >> 8, 5),
        pcie_type=pcie_capability.TYPE_ROOT_PORT,
        ari_supported=True,
    )


def boot(span: BootSpan) -> SimpleNamespace:
    above = {BELOW_FIRST: port(FIRST, BELOW_FIRST), BELOW_SECOND: port(SECOND, BELOW_SECOND)}
    functions = {key: SimpleNamespace(function=key, is_bridge=False) for key in above}
    functions |= {one.function: one for one in above.values()}
    return SimpleNamespace(
        boot=span,
        functions=functions,
        bridges=lambda: list(above.values()),
        ancestors=lambda key: [above[key]] if key in above else [],
        path=lambda key: (0, key),
        lost_numbers=lambda: ([], []),
        enumerated={FIRST, BELOW_FIRST},
        is_snapshot=False,
    )


def asked_of(
    monkeypatch,
    *,
    kind: str = "unknown",
    policy: str = "stock",
    scan: int | None = 5,
    assume: bool = False,
    listed: frozenset[int] | None = None,
    source: str = "dmesg",
    **notes: object,
):
    """The arguments of the question that is asked about kexec 2, which a list may answer for."""
    options = Options(assume_preserved=assume)
    states = {key: OutgoingState(1, row=1) for key in (FIRST, SECOND)}
    outgoing, incoming = (
        boot(BootSpan(0, "kernel", 0, 4, "start")),
        boot(BootSpan(1, "kernel", 5, 9, "kexec")),
    )
    incoming.boot.scan = scan
    handover = Handover(2, outgoing, incoming, {}, DECIDED, states, policy, (0, 9))
    known = KernelSettings(kind, None, scan_all=False, logged_series=(), messages=(), options=options)
    answer = {} if listed is None else {2: PreservedAnswer(listed)}
    asked = captures._CaptureAsked(
        Capture("place", [], "native", None, Notes("place", **notes)),
        "index",
        [outgoing, incoming],
        options,
        SimpleNamespace(settings=lambda *given: known if given == ("index", handover, options) else None),
        PreservedSources(((source, answer.get),)),
        "builder",
    )
    monkeypatch.setattr(captures.kexecs, "question", lambda *given: given)
    question = captures._ask_kexec(asked, handover, "machine")
    assert question[:3] == ("index", handover, "machine")
    return question[3:]


@pytest.mark.parametrize(
    ("facts", "preservation", "assumed", "what_if", "others"),
    [
        # Nothing shows what the kexec was for: what was not handed over is left out.
        ({}, "unrecognised", KEPT, KEPT, {SECOND}),
        ({"scan": None}, "no-scan", KEPT, KEPT, {SECOND}),
        # A live update: all below bridges with ARI, but what an inheriting kernel shows as not preserved.
        ({"kind": "live-update"}, "live-update", ALL, ALL, set()),
        ({"assume": True}, "live-update", ALL, ALL, set()),
        ({"policy": "inherit"}, "live-update", KEPT, KEPT, set()),
        # Nothing was handed over; the policies are compared on what would have been.
        ({"kind": "plain"}, "none", set(), ALL, set()),
        ({"kind": "crash", "scan": None}, "none", set(), ALL, set()),
    ],
)
def test_what_is_assumed(monkeypatch, facts, preservation, assumed, what_if, others):
    preserved, compared, _, how, not_handed_over = asked_of(monkeypatch, **facts)
    assert preserved == PreservedSet(frozenset(assumed), "assumed")
    assert (compared, how, not_handed_over) == (what_if, preservation, others)


@pytest.mark.parametrize("kind", ["unknown", "live-update", "plain"])
def test_a_list_goes_before_what_is_assumed(monkeypatch, kind):
    listed = frozenset({SECOND, BELOW_SECOND})
    preserved, compared, *_ = asked_of(monkeypatch, kind=kind, listed=listed)
    assert preserved == PreservedSet(listed, "dmesg")
    assert compared == listed


@pytest.mark.parametrize(("source", "implied"), [("option", {SECOND}), ("flb", set())])
def test_what_the_user_lists_implies_the_bridges_above(monkeypatch, source, implied):
    preserved, *_ = asked_of(monkeypatch, listed=frozenset({BELOW_SECOND}), source=source)
    assert preserved == PreservedSet({BELOW_SECOND} | implied, source)


@pytest.mark.parametrize(
    ("notes", "complete", "whole"),
    [
        ({}, True, True),
        ({"dropped": 1}, True, False),
        ({"problems": [Problem("lacks-functions", "place", None, "")]}, False, False),
    ],
)
def test_what_the_input_lacks_is_known_to_the_verdicts(monkeypatch, notes, complete, whole):
    _, _, settings, *_ = asked_of(monkeypatch, **notes)
    assert (settings.complete, settings.whole, settings.kind) == (complete, whole, "unknown")


@pytest.mark.parametrize(
    ("source", "expected"), [("assumed", "unrecognised"), ("dmesg", "known"), ("option", "known")]
)
def test_how_the_set_is_known(monkeypatch, source, expected):
    """And the bridges that were not handed over are named to the findings."""
    result = SimpleNamespace(devices=["device"], warnings=["first"])
    told = []
    monkeypatch.setattr(captures.kexecs, "conclude", lambda *given: SimpleNamespace(result=result, of=given))
    monkeypatch.setattr(captures.former_uses, "of_boot", lambda *given: {"uses of": given})
    monkeypatch.setattr(captures.former_uses, "added", lambda *given, whole: [*given, whole])
    monkeypatch.setattr(captures.verdict, "conclude", lambda *given: told.append(given))
    outgoing, incoming = (boot(BootSpan(number, "kernel", 0, 4, "start")) for number in (3, 4))
    question = SimpleNamespace(
        handover=SimpleNamespace(outgoing=outgoing, incoming=incoming),
        preservation="unrecognised",
        preserved=PreservedSet(KEPT, source),
        not_handed_over=frozenset({SECOND}),
    )
    logs = SimpleNamespace(warnings=["of a log"])
    capture = Capture("place", [], "native", None, Notes("place", uses=["a use"], dropped=1))
    asked = captures._CaptureAsked(capture, "index", [], Options(), logs, None, "builder")
    found = captures._conclude_kexec(asked, question, "predictions", "watch")
    assert found.of == (question, "predictions", "watch", "builder")
    assert result.preservation == expected
    assert result.warnings == ["first", "of a log"]
    uses = {"uses of": (3, "index", logs, ["a use"])}
    assert result.devices == [["device"], outgoing, incoming, uses, "builder", False]
    assert told == [(result, asked.options, frozenset({"0000:00:02.0"}))]
