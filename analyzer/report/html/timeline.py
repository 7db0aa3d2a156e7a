"""Where everything of a capture's timeline is drawn: boots and blackouts as bands, a lane for each bridge.

Two scales are laid out: *even* gives each shown access one step, so that single accesses never fall
together; *to scale* goes by access number. Places are percentages of the drawing's width, so that a page
zooms by making the drawing wider, without computing anything.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from analyzer.plurals import count
from analyzer.report.evidence import access_text
from analyzer.report.wording import (
    SINCE_1970,
    clock,
    duration,
    port,
)
from analyzer.results import CHANGES, LASTING_LOSSES
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analyzer.questions.explain.explanation import TimelineEntry
    from analyzer.questions.explain.lanes import Lane, Lanes
    from analyzer.report.html.tree import Sign
    from analyzer.results import Boot, BridgeVerdict, CaptureResult

#: Geometry in pixels: height of the bands and numbers above the lanes, of a lane, width of a step.
HEAD, LANE, STEP = 46, 52, 14
#: Widths in steps: of a blackout, of a reboot, and around the accesses of a boot.
_BLACKOUT, _REBOOT, _MARGIN = 8, 3, 2
#: Steps between two access numbers.
_TICKS_APART = 4
#: The same in percent of the drawing that is to scale.
_GAP_PERCENT = 4.0
#: Lanes that are shown at once; the others are folded away.
MOST_OPEN = 12

Symbol = Literal["set", "clear", "on", "off", "dead", "reset", "release", "bus", "link", "event"]


class Place(NamedTuple):
    """A place on both scales, in percent: evenly spaced, and by access number."""

    even: str
    linear: str


@dataclass(frozen=True)
class Band:
    """A boot or what lies between two: from ``place``, as wide as ``width``."""

    kind: Literal["boot", "kexec", "reboot"]
    place: Place
    width: Place
    text: str
    more: str = ""


@dataclass(frozen=True)
class Tick:
    """An access number above the lanes."""

    place: Place
    text: str


@dataclass(frozen=True)
class LaneBar:
    """The bit over a stretch of accesses; ``gone``: it was lost somewhere inside."""

    kind: Literal["on", "off", "unknown", "gone"]
    place: Place
    width: Place
    title: str


@dataclass(frozen=True)
class Mark:
    """One access on a lane; ``name`` is the row of the table below that says all of it."""

    name: str
    place: Place
    symbol: Symbol
    decides: bool
    key: bool
    title: str
    entry: TimelineEntry
    above: str = ""


@dataclass(frozen=True)
class DrawnLane:
    """One bridge; ``word`` is its verdict where that is remarkable."""

    bdf: str
    kind: str
    sign: Sign
    word: str
    bars: list[LaneBar]
    marks: list[Mark]
    left_out: int

    @property
    def summary(self) -> str:
        """The lane in a sentence, for readers who cannot see it."""
        words = {"on": "on", "off": "off", "unknown": "unknown", "gone": "lost in between"}
        path = ", then ".join(words[bar.kind] for bar in self.bars) or "not shown by any access"
        verdict = f", verdict {self.word}" if self.word else ""
        accesses = count(len(self.marks), "access", "accesses")
        return f"{self.bdf}, {self.kind}{verdict}: ARI Forwarding {path}; {accesses}"


@dataclass(frozen=True)
class Drawing:
    """The timeline of a capture, cut into the lanes shown at once and those folded away."""

    width: int
    bands: list[Band]
    ticks: list[Tick]
    lanes: list[DrawnLane]
    folded: list[DrawnLane]
    left_out: int
    events: list[TimelineEntry]
    events_left_out: int
    head: int = HEAD
    lane_height: int = LANE
    widest: int = field(default=0)


def draw(capture: CaptureResult, lanes: Lanes, prefix: str) -> Drawing | None:
    """Lay out a capture's timeline; None if no access shows an ARI bit.

    Args:
        capture: its boots and kexecs.
        lanes: what the accesses show.
        prefix: begins every name within the page, so that captures do not clash.
    """
    if not lanes.lanes or not capture.boots:
        return None
    scale = _Scale(capture, (e.access for lane in lanes.lanes for e in lane.entries if e.access is not None))
    drawn = [_lane(capture, lane, scale, f"{prefix}-l{number}") for number, lane in enumerate(lanes.lanes)]
    return Drawing(
        width=max(round(scale.total * STEP), 600),
        bands=list(_bands(capture, scale)),
        ticks=list(_ticks(scale, _losses(capture))),
        lanes=drawn[:MOST_OPEN],
        folded=drawn[MOST_OPEN:],
        left_out=lanes.left_out,
        events=lanes.events,
        events_left_out=lanes.events_left_out,
        widest=capture.accesses,
    )


class _Scale:
    """Access number -> place."""

    def __init__(self, capture: CaptureResult, accesses: Iterable[int]) -> None:
        self.boots = capture.boots
        self.kexecs = {kexec.incoming_boot: kexec for kexec in capture.kexecs}
        self.gap = [self._gap(boot) for boot in self.boots]
        self.steps: list[list[int]] = [[] for _ in self.boots]
        for access in sorted(set(accesses)):
            self.steps[self._boot(access)].append(access)
        self.starts: list[float] = []
        position = 0.0
        for gap, steps in zip(self.gap, self.steps, strict=True):
            position += gap
            self.starts.append(position)
            position += _MARGIN + max(len(steps), 3) + _MARGIN / 2
        self.total = position
        spans = [boot.last_access - boot.first_access + 1 for boot in self.boots]
        width = 100 - _GAP_PERCENT * (len(spans) - 1) if len(spans) < 20 else 100.0
        self.linear_gap = _GAP_PERCENT if len(spans) < 20 else 0.0
        self.per_access = width / max(sum(spans), 1)
        self.linear_starts: list[float] = []
        position = 0.0
        for span in spans:
            self.linear_starts.append(position)
            position += span * self.per_access + self.linear_gap

    def _gap(self, boot: Boot) -> int:
        if boot is self.boots[0]:
            return 0
        return _BLACKOUT if boot.index in self.kexecs else _REBOOT

    def _boot(self, access: int) -> int:
        firsts = [boot.first_access for boot in self.boots]
        number = bisect_left(firsts, access + 1) - 1
        return min(max(number, 0), len(self.boots) - 1)

    def place(self, access: int) -> Place:
        """Where an access is drawn."""
        boot = self._boot(access)
        steps = self.steps[boot]
        step = bisect_left(steps, access)
        even = self.starts[boot] + _MARGIN + min(step, max(len(steps), 3))
        inside = access - self.boots[boot].first_access
        linear = self.linear_starts[boot] + (inside + 0.5) * self.per_access
        return Place(_percent(100 * even / self.total), _percent(linear))

    def band(self, boot: int) -> tuple[Place, Place]:
        """Start and width of a boot."""
        even = _MARGIN + max(len(self.steps[boot]), 3) + _MARGIN / 2
        span = self.boots[boot].last_access - self.boots[boot].first_access + 1
        start = Place(_percent(100 * self.starts[boot] / self.total), _percent(self.linear_starts[boot]))
        return start, Place(_percent(100 * even / self.total), _percent(span * self.per_access))

    def before(self, boot: int) -> tuple[Place, Place]:
        """Start and width of the gap before a boot."""
        even, linear = self.starts[boot] - self.gap[boot], self.linear_starts[boot] - self.linear_gap
        start = Place(_percent(100 * even / self.total), _percent(linear))
        return start, Place(_percent(100 * self.gap[boot] / self.total), _percent(self.linear_gap))


def _percent(value: float) -> str:
    return f"{min(max(value, 0.0), 100.0):.4f}".rstrip("0").rstrip(".")


def _difference(first: Place, last: Place) -> Place:
    return Place(
        _percent(float(last.even) - float(first.even)), _percent(float(last.linear) - float(first.linear))
    )


def _bands(capture: CaptureResult, scale: _Scale) -> Iterable[Band]:
    roles = {kexec.outgoing_boot: "outgoing" for kexec in capture.kexecs}
    roles |= {
        kexec.incoming_boot: "outgoing, then incoming" if kexec.incoming_boot in roles else "incoming"
        for kexec in capture.kexecs
    }
    for number, boot in enumerate(capture.boots):
        kexec = scale.kexecs.get(boot.index)
        if number and kexec is not None:
            length = "unknown length" if kexec.blackout_ns is None else duration(kexec.blackout_ns)
            yield Band("kexec", *scale.before(number), f"kexec {kexec.index}: blackout", length)
        elif number:
            yield Band("reboot", *scale.before(number), "reboot")
        words = [f"boot {boot.index}:", roles.get(boot.index, ""), boot.kind]
        release = f" (Linux {boot.release})" if boot.release else ""
        yield Band("boot", *scale.band(number), " ".join(word for word in words if word) + release)


def _ticks(scale: _Scale, losses: frozenset[int]) -> Iterable[Tick]:
    """Numbers above the steps, as many as fit without overlap, those of a loss first."""
    for steps in scale.steps:
        chosen: list[int] = []
        for wanted in (True, False):
            for number, access in enumerate(steps):
                apart = all(abs(number - other) >= _TICKS_APART for other in chosen)
                if apart and (access in losses) == wanted:
                    chosen.append(number)
        yield from (Tick(scale.place(steps[number]), f"#{steps[number]}") for number in sorted(chosen))


def _lane(capture: CaptureResult, lane: Lane, scale: _Scale, prefix: str) -> DrawnLane:
    verdicts = [bridge for kexec in capture.kexecs for bridge in kexec.bridges if bridge.bdf == lane.bdf]
    worst = next((b for b in verdicts if b.verdict in LASTING_LOSSES), None) or next(
        (b for b in verdicts if b.verdict in CHANGES), None
    )
    sign: Sign = "none" if worst is None else "bad" if worst.verdict in LASTING_LOSSES else "warn"
    bus = "" if lane.secondary is None else f", bus {lane.secondary:02x}"
    gone = [
        (bridge.window.last_on, bridge.window.first_off) for bridge in verdicts if bridge.window is not None
    ]
    proofs = {item.access for bridge in verdicts if bridge.verdict in CHANGES for item in bridge.evidence}
    return DrawnLane(
        lane.bdf,
        port(lane.port_type) + bus,
        sign,
        "" if worst is None else worst.verdict.upper(),
        list(_bars(lane, scale, gone)),
        [
            _mark(entry, scale, f"{prefix}-{number}", _where_lost(verdicts, entry), entry.access in proofs)
            for number, entry in enumerate(lane.entries)
            if entry.access is not None
        ],
        lane.left_out,
    )


def _losses(capture: CaptureResult) -> frozenset[int]:
    """Accesses at which a loss shows."""
    windows = [bridge.window for kexec in capture.kexecs for bridge in kexec.bridges]
    return frozenset(w.first_off for w in windows if w is not None and w.first_off is not None)


def _where_lost(verdicts: Sequence[BridgeVerdict], entry: TimelineEntry) -> str:
    """The label above the first access that shows a loss."""
    for bridge in verdicts:
        if bridge.window is not None and entry.access == bridge.window.first_off and entry.ari is False:
            return "bit lost here" if entry.op == "write" else "first seen off"
    return ""


def _bars(lane: Lane, scale: _Scale, gone: Sequence[tuple[int | None, int | None]]) -> Iterable[LaneBar]:
    for stretch in lane.stretches:
        first, last = scale.place(stretch.first), scale.place(stretch.last)
        between = f"access {stretch.first} to {stretch.last}"
        state = "unknown" if stretch.state is None else ARI_FORWARDING.plain(stretch.state)
        lost = stretch.state is None and any(
            on is not None and off is not None and stretch.first < off <= stretch.last for on, off in gone
        )
        title = f"ARI Forwarding {state}, {between}"
        if lost:
            title = f"ARI Forwarding was lost somewhere between {between}"
        yield LaneBar("gone" if lost else state, first, _difference(first, last), title)  # type: ignore[arg-type]  # a key of the table above


def _mark(entry: TimelineEntry, scale: _Scale, name: str, above: str, proof: bool) -> Mark:
    said = access_text(entry.op, entry.bdf, entry.register, entry.value)
    state = "" if entry.ari is None else f"{ARI_FORWARDING.name} {ARI_FORWARDING.plain(entry.ari)}"
    time = (
        ""
        if entry.time_ns is None
        else f", {clock(entry.time_ns)}{' s' if entry.time_ns < SINCE_1970 else ''}"
    )
    parts = [f"access {entry.access}{time}", " ".join(said.split()), state, entry.note]
    return Mark(
        name,
        scale.place(entry.access or 0),
        _symbol(entry),
        entry.kind == "decides",
        proof and entry.ari is not True,
        ": ".join(part for part in parts if part),
        entry,
        above,
    )


def _symbol(entry: TimelineEntry) -> Symbol:
    if entry.ari is not None:
        if entry.op == "write":
            return "set" if entry.ari else "clear"
        return "on" if entry.ari else "off"
    note = entry.note
    if entry.kind == "shows":
        return "dead"
    if note.startswith("Secondary Bus Reset"):
        return "release" if "released" in note else "reset"
    if entry.register is not None and entry.register.startswith("PRIMARY_BUS"):
        return "bus"
    if entry.op is None and note.partition(":")[0] in ("link", "hotplug", "dpc", "aer"):
        return "link"
    return "event"
