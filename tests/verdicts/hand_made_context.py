"""What the verdict on one bridge looks at, put together by hand."""

from __future__ import annotations

from types import SimpleNamespace

from hand_made import Part, PlainEvidence

from analyzer.observed.decisions import Decision
from analyzer.observed.register_state import OutgoingState
from analyzer.replay.ari import AriDecision
from analyzer.replay.enumeration import Prediction
from analyzer.replay.world import Node, World
from analyzer.verdicts import bridges
from analyzer.verdicts.causes import CauseContext

KEY, BRIDGE = 0x08, (0, 8)


def node(**more: object) -> Node:
    made = Node(BRIDGE, outgoing=KEY, incoming=KEY, is_bridge=True, is_pcie=True, ari_supported=True)
    for attribute, value in more.items():
        setattr(made, attribute, value)
    return made


def decision(enabled: bool | None, rule: str = "set", row: int = 80) -> Decision:
    return Decision(KEY, 0x100, rule, enabled, row)


def cause_context(**more: object) -> CauseContext:
    """A bit that was on in row 50, before a kernel that decides in row 999; no function, if none is named."""
    values = {
        "outgoing": None,
        "incoming": None,
        "ancestors": (),
        "since": 50,
        "decision": 999,
        "outgoing_state": OutgoingState(True, 50),
    }
    return CauseContext(**(values | more))


def kexec_context(
    before: Part | None = None,
    after: Part | None = None,
    *,
    decided: tuple[Decision, ...] = (),
    predicted: bool | str | None = "none",
    as_observed: bool = True,
    snapshot: bool = False,
    made: Node | None = None,
    preserved: tuple[int, ...] = (),
    stranded: tuple[int, ...] = (),
    scan: int | None = 30,
) -> bridges.KexecContext:
    above = [Part(function=0x05), Part(function=0x06)]
    prediction = Prediction(certain={BRIDGE}, numbers={BRIDGE: "use"})
    if predicted != "none":
        prediction.decisions[BRIDGE] = AriDecision(predicted, "set")
    made = made or node()
    return bridges.KexecContext(
        handover=SimpleNamespace(
            outgoing=SimpleNamespace(
                functions={} if before is None else {KEY: before},
                boot=SimpleNamespace(scan=scan, first=10, last=400, end=300),
                logged=None,
                ancestors={KEY: above}.__getitem__,
            ),
            incoming=SimpleNamespace(
                functions={} if after is None else {KEY: after},
                boot=SimpleNamespace(scan=401, last=900),
                is_snapshot=snapshot,
                logged=None,
                silent=frozenset(),
            ),
            decided_after={KEY: list(decided)} if decided else {},
            outgoing_states={},
        ),
        world=World({0: {8: made}}, {BRIDGE: made}, {KEY: made}),
        prediction=prediction,
        as_observed=as_observed,
        preserved=frozenset(preserved),
        stranded=frozenset(stranded),
        builder=PlainEvidence(),
        messages=("told",),
    )
