"""A capture as a timeline that ui.perfetto.dev opens: boots, the ARI bit of each bridge, single accesses.

Written with the protocol buffers of the ``perfetto`` package, as track events (Perfetto documentation,
"Writing TrackEvent protos synthetically"). Tracks, below one for the capture:

* ``boots``: a slice for each boot and for each blackout between two kernels;
* one for each bridge, with its verdict: slices ``ARIFwd+``, ``ARIFwd-`` and ``ARIFwd?``; below it
  ``accesses``, an instant for each access that shows, changes or decides something, and for each event about
  the bridge;
* ``events``: link, hot-plug and error events about other functions.

Time is that of the capture, from its first access. A capture without times, or one whose clock runs backwards
somewhere, is drawn by access numbers instead, a microsecond each; the capture's track says which.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analyzer import extras
from analyzer.escaping import inert
from analyzer.report.evidence import access_text
from analyzer.report.wording import on_off
from analyzer.version import NAME, version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.questions.explain.explanation import TimelineEntry
    from analyzer.questions.explain.lanes import Lane, Lanes
    from analyzer.results import Boot, CaptureResult, KexecResult

#: Nanoseconds of one access where access numbers stand for time.
ACCESS_NS = 1000
#: The only writer of the trace: one sequence of packets, which begins without any state.
_SEQUENCE, _STATE_CLEARED = 1, 1


def require() -> None:
    """Make sure that a timeline can be written.

    Raises:
        UsageError: the package ``perfetto`` is not installed.
    """
    extras.require("a timeline", "perfetto", "perfetto", "report")


def perfetto_trace(result: CaptureResult, lanes: Lanes) -> bytes:
    """Return the timeline of one capture as a Perfetto trace; needs :func:`require`."""
    clock = _clock(result, lanes)
    trace = _Trace(clock)
    unit = (
        "time of the capture"
        if clock.by_time
        else f"access numbers, {ACCESS_NS // 1000} us each: the capture has no times that only grow"
    )
    top = trace.track(result.path, about=f"{NAME} {version()}; time axis: {unit}")
    _add_boots(trace, trace.track("boots", top), result)
    for lane in lanes.lanes:
        _add_lane(trace, top, lane, result)
    if lanes.events:
        events = trace.track("events", top)
        for entry in lanes.events:
            trace.instant(events, entry.note, entry.access or 0, _reported(entry))
    return trace.serialize()


@dataclass(frozen=True)
class _Clock:
    """Access number to nanoseconds; accesses without a time of their own are put between their neighbours."""

    accesses: list[int]
    times: list[int]
    by_time: bool

    def at(self, access: int) -> int:
        if not self.by_time:
            return access * ACCESS_NS
        return self.times[max(bisect_right(self.accesses, access) - 1, 0)] - self.times[0]


def _clock(result: CaptureResult, lanes: Lanes) -> _Clock:
    edges = [
        edge
        for boot in result.boots
        for edge in ((boot.first_access, boot.start_ns), (boot.last_access, boot.end_ns))
    ]
    known = {access: time for access, time in edges if time is not None}
    for entry in (*lanes.events, *(entry for lane in lanes.lanes for entry in lane.entries)):
        # The time of an event may be of another clock; that of an access is in its order.
        if entry.access is not None and entry.time_ns is not None and entry.op is not None:
            known[entry.access] = entry.time_ns
    accesses = sorted(known)
    times = [known[access] for access in accesses]
    whole = bool(result.boots) and all(boot.start_ns is not None for boot in result.boots)
    return _Clock(accesses, times, whole and times == sorted(times))


@dataclass
class _Trace:
    """Packets under construction."""

    clock: _Clock
    tracks: int = 0
    last: int = 0
    children: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The package ships no type information.
        from perfetto.protos.perfetto.trace import (  # type: ignore[import-untyped]
            perfetto_trace_pb2 as protos,
        )
        from perfetto.trace_builder.proto_builder import (  # type: ignore[import-untyped]
            TraceProtoBuilder,
        )

        self._protos: Any = protos
        self._builder: Any = TraceProtoBuilder()

    def _packet(self) -> Any:
        packet = self._builder.add_packet()
        packet.trusted_packet_sequence_id = _SEQUENCE
        return packet

    def track(self, name: str, parent: int | None = None, *, about: str = "") -> int:
        """Add a track after those of the same parent, and return its number."""
        self.tracks += 1
        packet = self._packet()
        if self.tracks == 1:
            packet.sequence_flags = _STATE_CLEARED
        descriptor = packet.track_descriptor
        kinds = self._protos.TrackDescriptor
        descriptor.uuid = self.tracks
        descriptor.name = inert(name)
        descriptor.child_ordering = kinds.EXPLICIT
        descriptor.sibling_merge_behavior = kinds.SIBLING_MERGE_BEHAVIOR_NONE
        if about:
            descriptor.description = inert(about)
        if parent is not None:
            descriptor.parent_uuid = parent
            self.children[parent] = self.children.get(parent, 0) + 1
            descriptor.sibling_order_rank = self.children[parent]
        return self.tracks

    def slice(self, track: int, name: str, span: tuple[int, int], annotations: Mapping[str, Any]) -> None:
        """Add a slice from one time to another (ns)."""
        event = self._event(track, span[0], "TYPE_SLICE_BEGIN")
        event.name = inert(name)
        self._annotate(event, annotations)
        self._event(track, span[1], "TYPE_SLICE_END")

    def instant(self, track: int, name: str, access: int, annotations: Mapping[str, Any]) -> None:
        """Add an instant at an access."""
        event = self._event(track, self.clock.at(access), "TYPE_INSTANT")
        event.name = inert(name)
        self._annotate(event, annotations)

    def _event(self, track: int, at: int, kind: str) -> Any:
        packet = self._packet()
        packet.timestamp = at
        event = packet.track_event
        event.type = getattr(self._protos.TrackEvent, kind)
        event.track_uuid = track
        return event

    def _annotate(self, event: Any, annotations: Mapping[str, Any]) -> None:
        for name, value in annotations.items():
            if value is None or value == "":
                continue
            note = event.debug_annotations.add()
            note.name = name
            if isinstance(value, bool):
                note.bool_value = value
            elif isinstance(value, int):
                note.int_value = value
            else:
                note.string_value = inert(str(value))

    def serialize(self) -> bytes:
        """Return the trace; the same packets give the same bytes."""
        return bytes(self._builder.trace.SerializeToString(deterministic=True))


def _add_boots(trace: _Trace, track: int, result: CaptureResult) -> None:
    entered = {kexec.incoming_boot: kexec for kexec in result.kexecs}
    previous: Boot | None = None
    for boot in result.boots:
        start = trace.clock.at(boot.first_access)
        kexec = entered.get(boot.index)
        if kexec is not None and previous is not None:
            name = f"blackout of kexec {kexec.index} ({kexec.kind})"
            trace.slice(track, name, (trace.clock.at(previous.last_access), start), _about(kexec))
        release = f", Linux {boot.release}" if boot.release else ""
        annotations = {
            "cmdline": boot.cmdline,
            "first access": boot.first_access,
            "last access": boot.last_access,
            "start_ns": boot.start_ns,
        }
        end = max(trace.clock.at(boot.last_access), start)
        trace.slice(track, f"boot {boot.index}: {boot.kind}{release}", (start, end), annotations)
        previous = boot


def _about(kexec: KexecResult) -> dict[str, Any]:
    return {
        "at access": kexec.at_access,
        "blackout_ns": kexec.blackout_ns,
        "observed policy": kexec.observed_policy,
        "judged by policy": kexec.policy,
        "series": kexec.series,
    }


def _add_lane(trace: _Trace, top: int, lane: Lane, result: CaptureResult) -> None:
    verdicts = [
        f"kexec {kexec.index}: {bridge.verdict}" + (f" ({bridge.cause})" if bridge.cause else "")
        for kexec in result.kexecs
        for bridge in kexec.bridges
        if bridge.bdf == lane.bdf
    ]
    words = {bridge.verdict for kexec in result.kexecs for bridge in kexec.bridges if bridge.bdf == lane.bdf}
    kind = f" {lane.port_type}" if lane.port_type else ""
    track = trace.track(f"{lane.bdf}{kind} {' '.join(sorted(words))}", top, about="; ".join(verdicts))
    for stretch in lane.stretches:
        span = (
            trace.clock.at(stretch.first),
            max(trace.clock.at(stretch.last), trace.clock.at(stretch.first)),
        )
        annotations = {"first access": stretch.first, "last access": stretch.last}
        trace.slice(track, on_off(stretch.state), span, annotations)
    accesses = trace.track("accesses", track)
    for entry in lane.entries:
        said = access_text(entry.op, None, entry.register, entry.value)
        trace.instant(accesses, " ".join(said.split()) or entry.note, entry.access or 0, _reported(entry))


def _reported(entry: TimelineEntry) -> dict[str, Any]:
    """What a click on an instant shows."""
    fields = ", ".join(item.text or f"{item.name} {item.value:#x}" for item in entry.fields if item.value)
    return {
        "access": entry.access,
        "file": entry.file,
        "byte offset": None if entry.offset_bytes is None else f"{entry.offset_bytes:#x}",
        "time_ns": entry.time_ns,
        "function": entry.bdf,
        "operation": entry.op,
        "register": entry.register,
        "value": entry.value,
        "fields": fields,
        "ARI Forwarding": entry.ari,
        "kind": entry.kind,
        "note": entry.note,
    }
