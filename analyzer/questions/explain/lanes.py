"""One inherited state over a whole capture: for each function a lane of stretches, and what shows them.

What a drawing needs beyond the results, as plain objects that are small enough to keep while other captures
are analysed. Nothing is filled in: where two accesses disagree and no write lies between them, the stretch
between them is unknown.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.questions.explain import timeline as explain_timeline
from analyzer.questions.explain.decode import of_evidence
from analyzer.questions.explain.explanation import TimelineEntry
from analyzer.results import CHANGES
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.results import BridgeVerdict, Evidence
    from schemas.inherited_state import InheritedState

#: Bridges with a lane of their own, accesses shown on one lane, and events outside of all lanes.
MOST_LANES, MOST_ENTRIES, MOST_EVENTS = 40, 80, 100


@dataclass(frozen=True)
class Stretch:
    """The state from access ``first`` up to access ``last``; None: unknown between them."""

    first: int
    last: int
    state: int | None


@dataclass(frozen=True)
class Lane:
    """One bridge, or function.

    Attributes:
        bdf: its address under the outgoing kernel.
        port_type: as in the results.
        secondary: the bus below it.
        entries: the accesses and events that show, change or decide something, in order.
        stretches: the state over the capture, without gaps from the first access that shows it.
        left_out: reads that showed the state once more and are not among ``entries``.
    """

    bdf: str
    port_type: str | None
    secondary: int | None
    entries: list[TimelineEntry]
    stretches: list[Stretch]
    left_out: int = 0


@dataclass(frozen=True)
class Lanes:
    """All lanes of one capture.

    Attributes:
        lanes: bridges with a finding first, then by address.
        left_out: bridges that show the state in the capture and have no lane, for lack of room.
        events: link, hot-plug and error events of the capture about functions without a lane.
        events_left_out: how many more of those there are.
    """

    lanes: list[Lane] = field(default_factory=list)
    left_out: int = 0
    events: list[TimelineEntry] = field(default_factory=list)
    events_left_out: int = 0


def gather(
    capture: Capture, study: Study, *, state: InheritedState = ARI_FORWARDING, everything: bool = False
) -> Lanes:
    """Return the lanes of a capture that has just been studied.

    Args:
        capture: the capture.
        study: its study.
        state: the state that is followed.
        everything: leave nothing out, however much there is.
    """
    most_lanes, most_events = (sys.maxsize, sys.maxsize) if everything else (MOST_LANES, MOST_EVENTS)
    starts = [boot.first_access for boot in study.result.boots]
    events = [
        TimelineEntry(
            access=event.seq,
            time_ns=event.time_ns,
            boot=_boot_at(starts, event.seq),
            kind="event",
            bdf=None if event.bdf is None else bdf.text(bdf.key(*event.bdf)),
            note=f"{event.kind}: {event.text}",
        )
        for event in capture.notes.events
    ]
    ranked = _ranked(study, state)
    lanes = []
    for name in ranked[:most_lanes]:
        own = [event for event in events if event.bdf == name]
        lane = _lane(study, state, name, own, starts, everything=everything)
        if lane.entries:
            lanes.append(lane)
    drawn = {lane.bdf for lane in lanes}
    others = [event for event in events if event.bdf not in drawn]
    return Lanes(
        lanes,
        max(len(ranked) - most_lanes, 0),
        others[:most_events],
        max(len(others) - most_events, 0),
    )


def _ranked(study: Study, state: InheritedState) -> list[str]:
    """Bridges worth a lane: with a finding, what a cause names, preserved ones, others with the state."""
    rank: dict[str, int] = {}
    for kexec in study.result.kexecs:
        for bridge in kexec.bridges:
            rank[bridge.bdf] = min(_rank(bridge), rank.get(bridge.bdf, 9))
        for bridge in kexec.bridges:
            if bridge.cause_bdf is not None and bridge.verdict in CHANGES:
                rank[bridge.cause_bdf] = min(1, rank.get(bridge.cause_bdf, 9))
    if not study.result.kexecs or state is not ARI_FORWARDING:  # the verdicts are about ARI Forwarding
        for topology in study.topologies:
            for function in topology.bridges() if state.on_bridge else topology.functions.values():
                if function.accesses_to(state.register):
                    rank[bdf.text(function.function)] = min(3, rank.get(bdf.text(function.function), 9))
    wanted = [name for name, place in rank.items() if place < 9]
    return sorted(wanted, key=lambda name: (rank[name], bdf.parse(name)))


def _rank(bridge: BridgeVerdict) -> int:
    if bridge.verdict in CHANGES:
        return 0 if bridge.preserved or bridge.verdict != "gained" else 2
    if bridge.verdict == "undetermined" and bridge.preserved:
        return 1
    if bridge.verdict == "not-applicable":
        return 9
    return 2 if bridge.preserved else 3


def _lane(
    study: Study,
    state: InheritedState,
    name: str,
    events: list[TimelineEntry],
    starts: Sequence[int],
    *,
    everything: bool,
) -> Lane:
    own = [
        entry
        for entry in explain_timeline.of_function(study, bdf.parse(name), state=state)
        if entry.kind not in ("context", "boundary")
    ]
    known = {entry.access for entry in own}
    verdicts = [bridge for kexec in study.result.kexecs for bridge in kexec.bridges if bridge.bdf == name]
    proofs: dict[int, TimelineEntry] = {}
    for verdict in verdicts:
        for item in verdict.evidence:
            if item.access is not None and item.access not in known:
                proofs.setdefault(item.access, _from_evidence(item, starts))
    entries = sorted(
        [*own, *proofs.values(), *events], key=lambda entry: (entry.access or 0, entry.kind == "event")
    )
    kept = entries if everything else _shortened(entries)
    shape = verdicts[0] if verdicts else None
    return Lane(
        name,
        None if shape is None else shape.port_type,
        None if shape is None else shape.secondary,
        kept,
        stretches(entries, _broken_by(study)),
        len(entries) - len(kept),
    )


def _broken_by(study: Study) -> list[int]:
    """First accesses of boots that no state is carried into: firmware ran, every register was reset."""
    return [
        int(study.index.seq[topology.boot.first])
        for topology in study.topologies
        if topology.boot.entered_by == "reboot"
    ]


def stretches(entries: Iterable[TimelineEntry], reboots: Sequence[int] = ()) -> list[Stretch]:
    """Return the state between the accesses that show or write it.

    Between two accesses the state is that of the first, if the second wrote it or showed the same; else it
    changed somewhere between them and is unknown. A read without a response, or a reboot, ends what is known.

    Args:
        entries: in access order.
        reboots: access numbers at which firmware ran.
    """
    found: list[Stretch] = []
    previous: tuple[int, int | None] | None = None
    for entry in entries:
        dead = entry.ari is None and entry.kind == "shows"
        if entry.access is None or (entry.ari is None and not dead):
            continue
        if previous is not None:
            since, state = previous
            rebooted = any(since < first <= entry.access for first in reboots)
            agrees = entry.op == "write" or entry.ari == state
            found.append(Stretch(since, entry.access, state if agrees and not rebooted else None))
        previous = (entry.access, entry.ari)
    if previous is not None:
        found.append(Stretch(previous[0], previous[0], previous[1]))
    return _joined(found)


def _joined(parts: list[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for part in parts:
        if joined and joined[-1].state == part.state:
            joined[-1] = replace(joined[-1], last=part.last)
        else:
            joined.append(part)
    return joined


def _shortened(entries: list[TimelineEntry]) -> list[TimelineEntry]:
    """At most :data:`MOST_ENTRIES`: first all but mere reads, then changes of the state, then the ends."""
    last = len(entries) - 1

    def weight(number: int) -> tuple[int, int]:
        entry, ends = entries[number], min(number, last - number)
        if entry.kind != "shows":
            return 0, ends
        neighbours = entries[max(number - 1, 0)], entries[min(number + 1, last)]
        return (1 if any(other.ari not in (entry.ari, None) for other in neighbours) else 2), ends

    kept = sorted(range(len(entries)), key=weight)[:MOST_ENTRIES]
    return [entries[number] for number in sorted(kept)]


def _from_evidence(item: Evidence, starts: Sequence[int]) -> TimelineEntry:
    return TimelineEntry(
        access=item.access,
        time_ns=item.time_ns,
        boot=None if item.access is None else _boot_at(starts, item.access),
        kind="event",
        file=item.file,
        offset_bytes=item.offset_bytes,
        op=item.op,
        bdf=item.bdf,
        register=item.register,
        value=item.value,
        fields=of_evidence(item),
        note=item.note,
    )


def _boot_at(starts: Sequence[int], access: int) -> int | None:
    return bisect_right(starts, access) - 1 if starts and access >= starts[0] else None
