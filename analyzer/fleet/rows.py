"""Analysed captures as rows of the result tables."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from analyzer.capture.undecodable import all_encodable
from analyzer.fleet.schema import TABLES
from analyzer.verdicts.loss_weight import LOSSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analyzer.fleet.analysis import AnalyzedInput
    from analyzer.results import BridgeVerdict, CaptureResult, KexecResult

_KEYS: Final = ("capture_verdict", "capture", "path", "host", "kexec")
_BRIDGE: Final = tuple(name for name in TABLES["bridges"] if name not in _KEYS)
_DEVICE: Final = tuple(name for name in TABLES["devices"] if name not in _KEYS)
_of_bridge: Final = attrgetter(*_BRIDGE)
_of_device: Final = attrgetter(*_DEVICE)
#: Columns of bridges that hold objects.
_WINDOW, _EVIDENCE = _BRIDGE.index("window"), _BRIDGE.index("evidence")


def tables(judged: Sequence[AnalyzedInput], host_from_path: str | None) -> dict[str, pl.DataFrame]:
    """Return the frames of all tables, sorted by capture and kexec, columns as in :mod:`.schema`.

    Args:
        judged: in order of their numbers.
        host_from_path: regular expression that finds the host in a path, or None.
    """
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
    pattern = re.compile(host_from_path) if host_from_path else None
    for one in judged:
        _add(rows, one, pattern)
    return {name: _frame(rows[name], schema) for name, schema in TABLES.items()}


def _frame(rows: list[tuple[Any, ...]], schema: pl.Schema) -> pl.DataFrame:
    try:
        return pl.DataFrame(rows, schema=schema, orient="row")
    except UnicodeError:
        # A lone surrogate, which stands for an odd byte of a name, is no text that a table can hold.
        return pl.DataFrame(all_encodable(rows), schema=schema, orient="row")


def host_of(path: str, pattern: re.Pattern[str]) -> str | None:
    """The host that a path names: group ``host``, else the first group, else the whole match."""
    match = pattern.search(path)
    if match is None:
        return None
    if "host" in pattern.groupindex:
        return match["host"]
    return match[1] if pattern.groups else match[0]


def _add(rows: dict[str, list[tuple[Any, ...]]], one: AnalyzedInput, pattern: re.Pattern[str] | None) -> None:
    result = one.result
    named = host_of(one.entry.name, pattern) if pattern else None
    host = named or result.host or None
    keys = (result.verdict, one.number, one.entry.name, host)
    rows["captures"].append(
        (
            *keys,
            ("path" if named else "capture") if host else None,
            one.outcome,
            one.reason,
            result.verdict,
            one.entry.size,
            one.entry.modified_ns,
            one.entry.etag,
            _dicts(result.files),
            result.format,
            result.accesses,
            result.truncated,
            result.dropped,
            result.weight,
            len(result.kexecs),
            _dicts(result.boots),
            result.missing_dwords,
        )
    )
    rows["errors"].extend((*keys, *_values(problem)) for problem in result.errors)
    for kexec in result.kexecs:
        of_kexec = (*keys, kexec.index)
        rows["kexecs"].append((*of_kexec, *_kexec(kexec, one)))
        rows["bridges"].extend((*of_kexec, *_bridge(bridge)) for bridge in kexec.bridges)
        rows["devices"].extend((*of_kexec, *_of_device(device)) for device in kexec.devices)


def _bridge(bridge: BridgeVerdict) -> list[Any]:
    cells = list(_of_bridge(bridge))
    cells[_WINDOW] = None if bridge.window is None else vars(bridge.window)
    cells[_EVIDENCE] = _dicts(bridge.evidence)
    return cells


def _kexec(kexec: KexecResult, one: AnalyzedInput) -> tuple[Any, ...]:
    weights = {finding.weight for finding in kexec.findings}
    time_ns, time_source = _time(kexec, one)
    return (
        kexec.index,
        kexec.kind,
        kexec.outgoing_boot,
        kexec.incoming_boot,
        _release(one.result, kexec.outgoing_boot),
        _release(one.result, kexec.incoming_boot),
        kexec.at_access,
        time_ns,
        time_source,
        kexec.blackout_ns,
        kexec.observed_policy,
        kexec.policy,
        kexec.series,
        kexec.noari,
        kexec.preserved_source,
        kexec.preservation,
        ari(kexec),
        "loss" in weights,
        "doubt" in weights,
        sum(bridge.preserved and bridge.verdict in LOSSES for bridge in kexec.bridges),
        sum(device.verdict == "stranded" for device in kexec.devices),
        {name: vars(outcome) for name, outcome in kexec.policies.items()},
        vars(kexec.observed),
        _dicts(kexec.divergences),
        [vars(one) | {"evidence": _dicts(one.evidence)} for one in kexec.secondary],
        _dicts(kexec.consequences),
        _dicts(kexec.findings),
        kexec.warnings,
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
    if verdicts & (LOSSES - {"renumbered"}):
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


def _time(kexec: KexecResult, one: AnalyzedInput) -> tuple[int | None, str | None]:
    """Wall-clock time of a kexec: of its first incoming access, else of the recording's start, else null."""
    if one.clock == "realtime":
        start = next((b.start_ns for b in one.result.boots if b.index == kexec.incoming_boot), None)
        if start is not None:
            return start, "accesses"
    return (one.created_ns, "recording") if one.created_ns is not None else (None, None)


def _values(value: object) -> Iterable[Any]:
    return vars(value).values()


def _dicts(values: Iterable[object]) -> list[dict[str, Any]]:
    return [vars(value) for value in values]
