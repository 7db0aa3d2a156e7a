"""The result tables of a fleet: their columns, and analysed captures as rows; docs/fleet.md explains each.

Columns are the fields of the results' classes (:mod:`analyzer.results.columns`), the keys of the JSON output,
and a few that a fleet adds. Every table begins with the same key columns, and its files lie in hive folders
``capture_verdict=…``, so that a question about losses reads no clean capture's rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, get_args

import polars as pl

from analyzer.capture import Problem
from analyzer.fleet.manifest import as_text
from analyzer.fleet.state_rows import state_rows
from analyzer.results import (
    LASTING_LOSSES,
    LOSSES,
    BridgeVerdict,
    CaptureResult,
    CaptureVerdict,
    DeviceVerdict,
    KexecResult,
)
from analyzer.results.columns import columns, table
from analyzer.results.state import StateGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.fleet.analysis import AnalyzedInput
    from analyzer.fleet.manifest import Entry

#: Version of the tables: new columns may be added under the same number.
TABLES_SCHEMA: Final = 2
PARTITION: Final = "capture_verdict"
VERDICTS: Final[tuple[CaptureVerdict, ...]] = get_args(CaptureVerdict)
#: June 2007, when the ECN "Alternative Routing-ID Interpretation" was published: no bridge forwarded before.
_CLOCK_IS_SET_NS: Final = 1_180_656_000_000_000_000


class _CaptureKey(TypedDict):
    capture_verdict: str
    capture: int
    path: str
    host: str | None


class _KexecKey(_CaptureKey):
    kexec: int


class _InputColumns(TypedDict):
    """What a fleet knows of an input besides its result."""

    host_source: Literal["manifest", "path", "capture"] | None
    time_ns: int | None
    time_source: str | None
    pieces: list[str]
    outcome: str
    reason: str | None
    size_bytes: int | None
    modified_ns: int | None
    etag: str | None
    kexec_count: int


class _KexecColumns(TypedDict):
    """What is worked out for each kexec, so that questions need no join."""

    outgoing_release: str | None
    incoming_release: str | None
    time_ns: int | None
    time_source: str | None
    ari: str
    loss: bool
    doubt: bool
    bridges_lost: int
    devices_stranded: int


#: Without the lists that have a table of their own.
TABLES: Final[dict[str, pl.Schema]] = {
    "captures": pl.Schema(columns(_CaptureKey, _InputColumns, CaptureResult, without=("kexecs", "errors"))),
    "kexecs": pl.Schema(columns(_KexecKey, _KexecColumns, KexecResult, without=("bridges", "devices"))),
    "bridges": pl.Schema(columns(_KexecKey, BridgeVerdict)),
    "devices": pl.Schema(columns(_KexecKey, DeviceVerdict)),
    "state": pl.Schema(columns(_KexecKey, StateGroup)),
    "errors": pl.Schema(columns(_CaptureKey, Problem)),
}


def tables(judged: Sequence[AnalyzedInput], host_from_path: str | None) -> dict[str, pl.DataFrame]:
    """Return the frames of all tables, sorted by capture and kexec, columns as in :data:`TABLES`.

    Args:
        judged: in order of their numbers.
        host_from_path: regular expression that finds the host in a path, or None.
    """
    pattern = re.compile(host_from_path) if host_from_path else None
    captures = [(*_about(one, pattern), one) for one in judged]
    kexecs = [
        ({**key, "kexec": kexec.index}, kexec, one) for key, _, one in captures for kexec in one.result.kexecs
    ]
    rows: dict[str, Iterator[dict[str, Any]]] = {
        "captures": ({**vars(one.result), **about, **key} for key, about, one in captures),
        "kexecs": ({**vars(kexec), **_worked_out(kexec, one), **key} for key, kexec, one in kexecs),
        "bridges": ({**vars(bridge), **key} for key, kexec, _ in kexecs for bridge in kexec.bridges),
        "devices": ({**vars(device), **key} for key, kexec, _ in kexecs for device in kexec.devices),
        "errors": ({**vars(error), **key} for key, _, one in captures for error in one.result.errors),
    }
    counted = [
        ({**key, "kexec": kexec.index}, states)
        for key, _, one in captures
        for kexec, states in zip(one.result.kexecs, one.states, strict=bool(one.states))
    ]
    return {
        name: table(rows[name], schema) if name in rows else state_rows(counted, schema)
        for name, schema in TABLES.items()
    }


def host_of(path: str, pattern: re.Pattern[str]) -> str | None:
    """The host that a path names: group ``host``, else the first group, else the whole match."""
    match = pattern.search(path)
    if match is None:
        return None
    if "host" in pattern.groupindex:
        return match["host"]
    return match[1] if pattern.groups else match[0]


def _about(one: AnalyzedInput, pattern: re.Pattern[str] | None) -> tuple[_CaptureKey, _InputColumns]:
    named = host_of(one.entry.name, pattern) if pattern else None
    host = one.entry.host or named or one.result.host or None
    time_ns, time_source = _time(one, one.result.boots[0].start_ns if one.result.boots else None)
    key = _CaptureKey(capture_verdict=one.result.verdict, capture=one.number, path=one.entry.name, host=host)
    return key, _InputColumns(
        host_source=_host_source(one.entry, named) if host else None,
        time_ns=time_ns,
        time_source=time_source,
        pieces=[as_text(location) for location in one.entry.piece_locations],
        outcome=one.outcome,
        reason=one.reason,
        size_bytes=one.entry.size,
        modified_ns=one.entry.modified_ns,
        etag=one.entry.etag,
        kexec_count=len(one.result.kexecs),
    )


def _host_source(entry: Entry, named: str | None) -> Literal["manifest", "path", "capture"]:
    if entry.host and entry.stated_by:
        return entry.stated_by
    return "path" if named else "capture"


def _worked_out(kexec: KexecResult, one: AnalyzedInput) -> _KexecColumns:
    weights = {finding.weight for finding in kexec.findings}
    incoming = next((boot for boot in one.result.boots if boot.index == kexec.incoming_boot), None)
    time_ns, time_source = _time(one, incoming.start_ns if incoming else None)
    return _KexecColumns(
        outgoing_release=_release(one.result, kexec.outgoing_boot),
        incoming_release=_release(one.result, kexec.incoming_boot),
        time_ns=time_ns,
        time_source=time_source,
        ari=ari(kexec),
        loss="loss" in weights,
        doubt="doubt" in weights,
        bridges_lost=sum(bridge.preserved and bridge.verdict in LOSSES for bridge in kexec.bridges),
        devices_stranded=sum(device.verdict == "stranded" for device in kexec.devices),
    )


def ari(kexec: KexecResult) -> str:
    """What became of ARI Forwarding at one kexec, over its preserved bridges, in one word.

    ``lost`` (a bridge lost, unconfigured, hidden or gone); ``healed`` (the hardware lost it and the incoming
    kernel set it again or renumbered); ``undetermined`` (none of these, and a bridge that cannot be judged);
    ``kept`` (all that had it on still have it); ``nothing`` (no preserved bridge had it on); ``plain`` and
    ``crash`` (a kexec that hands nothing over).
    """
    if kexec.kind in ("plain", "crash"):
        return kexec.kind
    preserved = [
        bridge for bridge in kexec.bridges if bridge.preserved and bridge.verdict != "not-applicable"
    ]
    verdicts = {bridge.verdict for bridge in preserved}
    if not verdicts.isdisjoint(LASTING_LOSSES):
        return "lost"
    if "undetermined" in verdicts:
        return "undetermined"
    at_stake = [bridge for bridge in preserved if bridge.ari_before]
    if any(bridge.ari_after is False for bridge in at_stake):
        return "healed"
    if any(bridge.ari_after is None for bridge in at_stake):
        return "undetermined"
    return "kept" if at_stake else "nothing"


def _release(result: CaptureResult, boot: int) -> str | None:
    return next((one.release for one in result.boots if one.index == boot), None)


def _time(one: AnalyzedInput, first_ns: int | None) -> tuple[int | None, str | None]:
    """Wall-clock time and who says it: the accesses, else the manifest or path, else the recording's header.

    A host without a clock that runs on counts from 1970 until its time is set: such a time is none.

    Args:
        one: the input.
        first_ns: time of the first access that counts: the incoming kernel's, or the capture's.
    """
    if one.clock == "realtime" and first_ns is not None and first_ns >= _CLOCK_IS_SET_NS:
        return first_ns, "accesses"
    if one.entry.time_ns is not None:
        return one.entry.time_ns, one.entry.stated_by
    if one.created_ns is not None and one.created_ns >= _CLOCK_IS_SET_NS:
        return one.created_ns, "recording"
    return None, None
