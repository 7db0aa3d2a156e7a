"""The result of an analysis as polars tables: one for each list of the JSON output, and all verdicts in one.

Every table begins with ``capture`` (its place in the call, from 0) and ``path``; below the level of captures
follows ``kexec`` (its number in the capture). The other columns are the fields of one class of
:mod:`analyzer.results`, as :mod:`analyzer.results.columns` derives them, but for the lists that have a table
of their own. Rows are in the order of the JSON output: captures as given, then by kexec, then by BDF.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from analyzer.capture import Problem
from analyzer.results import (
    Boot,
    BridgeVerdict,
    CaptureResult,
    DeviceVerdict,
    Divergence,
    Finding,
    KexecResult,
    PolicyOutcome,
    rules,
)
from analyzer.results.columns import NUMBER, TEXT, columns, table
from analyzer.results.state import StateVerdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import polars as pl

    from analyzer.results import Analysis

__all__ = [
    "boots",
    "bridges",
    "captures",
    "devices",
    "divergences",
    "errors",
    "findings",
    "kexecs",
    "policies",
    "state",
    "verdicts",
]

_CAPTURE: dict[str, pl.DataType] = {"capture": NUMBER, "path": TEXT}
_KEXEC = _CAPTURE | {"kexec": NUMBER}


def captures(analysis: Analysis) -> pl.DataFrame:
    """One row per capture: the fields of :class:`CaptureResult`."""
    return _of_captures(analysis, lambda capture: [capture], CaptureResult, "boots", "kexecs", "errors")


def boots(analysis: Analysis) -> pl.DataFrame:
    """One row per boot of each capture: the fields of :class:`Boot`."""
    return _of_captures(analysis, lambda capture: capture.boots, Boot)


def kexecs(analysis: Analysis) -> pl.DataFrame:
    """One row per kexec: the fields of :class:`KexecResult`."""
    elsewhere = ("bridges", "devices", "policies", "divergences", "findings", "state", "state_undetermined")
    return _of_captures(analysis, lambda capture: capture.kexecs, KexecResult, *elsewhere)


def bridges(analysis: Analysis) -> pl.DataFrame:
    """One row per bridge and kexec: the fields of :class:`BridgeVerdict`."""
    return _of_kexecs(analysis, lambda kexec: kexec.bridges, BridgeVerdict)


def devices(analysis: Analysis) -> pl.DataFrame:
    """One row per function, endpoint or bridge, and kexec: the fields of :class:`DeviceVerdict`."""
    return _of_kexecs(analysis, lambda kexec: kexec.devices, DeviceVerdict)


def policies(analysis: Analysis) -> pl.DataFrame:
    """One row per policy and kexec: ``policy``, and the fields of :class:`PolicyOutcome`."""
    rows = (
        {**vars(outcome), **key, "policy": name}
        for key, kexec in _kexecs(analysis)
        for name, outcome in kexec.policies.items()
    )
    return table(rows, _KEXEC | {"policy": TEXT} | columns(PolicyOutcome))


def divergences(analysis: Analysis) -> pl.DataFrame:
    """One row per function where prediction and observation differ: the fields of :class:`Divergence`."""
    return _of_kexecs(analysis, lambda kexec: kexec.divergences, Divergence)


def state(analysis: Analysis) -> pl.DataFrame:
    """One row per watched register that changed at a kexec: the fields of :class:`StateVerdict`."""
    return _of_kexecs(analysis, lambda kexec: [*kexec.state, *kexec.state_undetermined], StateVerdict)


def findings(analysis: Analysis) -> pl.DataFrame:
    """One row per finding: the fields of :class:`Finding`; ``analyzer.rule(code)`` says what a code means."""
    return _of_kexecs(analysis, lambda kexec: kexec.findings, Finding)


def errors(analysis: Analysis) -> pl.DataFrame:
    """One row per problem of an input: the fields of :class:`analyzer.capture.Problem`."""
    return _of_captures(analysis, lambda capture: capture.errors, Problem)


def _of_captures(
    analysis: Analysis, items: Callable[[CaptureResult], Iterable[Any]], kind: type, *elsewhere: str
) -> pl.DataFrame:
    """The table of one class, without the lists that have a table of their own."""
    rows = (
        {**vars(item), "capture": number, "path": capture.path}
        for number, capture in enumerate(analysis.captures)
        for item in items(capture)
    )
    return table(rows, _CAPTURE | columns(kind, without=elsewhere))


def _of_kexecs(analysis: Analysis, items: Callable[[KexecResult], Iterable[Any]], kind: type) -> pl.DataFrame:
    rows = ({**vars(item), **key} for key, kexec in _kexecs(analysis) for item in items(kexec))
    return table(rows, _KEXEC | columns(kind))


def _kexecs(analysis: Analysis) -> Iterator[tuple[dict[str, Any], KexecResult]]:
    for number, capture in enumerate(analysis.captures):
        for kexec in capture.kexecs:
            yield {"capture": number, "path": capture.path, "kexec": kexec.index}, kexec


#: The columns of :func:`verdicts` that come first, in the order of the CSV output.
_FIRST = (
    "capture", "path", "host", "kexec", "kexec_kind", "row", "bdf", "verdict", "reason", "cause", "cause_bdf",
    "confidence", "preserved", "code", "severity", "text", "vendor_device", "port_type", "bridge",
    "secondary", "subordinate", "new_secondary", "ari_before", "ari_after", "ari_decided", "policy",
    "observed_policy", "preserved_source", "stranded", "evidence", "path_errors", "path_errors_note",
    "registers_note", "was", "bus_master", "bus_master_access",
)  # fmt: skip
#: What :func:`verdicts` has; a field that is added to the verdicts or to their findings is its last column.
#: A bridge's missing access is its ``reason``; its window and alternatives are for readers of one bridge.
VERDICT_COLUMNS = {
    **dict.fromkeys(_FIRST, TEXT),
    **_KEXEC,
    **columns(
        Finding,
        DeviceVerdict,
        BridgeVerdict,
        without=("weight", "window", "missing_access", "cause_note"),
    ),
}
_DEVICE_CODES = {"stranded": rules.STRANDED, "missing": rules.MISSING, "undetermined": rules.UNDETERMINED}


def verdicts(analysis: Analysis) -> pl.DataFrame:
    """Every verdict in one flat table: what ``--format csv`` and ``--format parquet`` write.

    A row is one verdict, and ``row`` says of what: the ``capture`` itself (each has one such row, so that an
    unreadable one is never lost), a ``bridge`` or a ``device`` at one kexec, a ``divergence`` between
    prediction and observation, a ``secondary`` observation, or the ``state`` of a watched register that
    changed. A bridge has two rows at a kexec, as in the JSON output: what became of its ARI Forwarding, and
    whether it was found. ``code``, ``severity`` and ``text`` are set where the verdict is a finding; every
    finding about a function is in exactly one row.

    The columns are :data:`VERDICT_COLUMNS`.
    """
    return table(_rows(analysis), VERDICT_COLUMNS)


def _rows(analysis: Analysis) -> Iterator[dict[str, Any]]:
    for number, capture in enumerate(analysis.captures):
        key = {"capture": number, "path": capture.path, "host": capture.host}
        row = key | {"row": "capture", "verdict": capture.verdict}
        if capture.errors:
            row |= {"reason": capture.errors[0].kind, "text": capture.errors[0].message}
        yield row
        for kexec in capture.kexecs:
            key |= {
                "kexec": kexec.index,
                "kexec_kind": kexec.kind,
                "policy": kexec.policy,
                "observed_policy": kexec.observed_policy,
                "preserved_source": kexec.preserved_source,
            }
            for row in _rows_of_kexec(kexec):
                yield row | key


def _rows_of_kexec(kexec: KexecResult) -> Iterator[dict[str, Any]]:
    """The rows of one kexec, in the order of its findings (bridges, devices, divergences, secondary)."""
    left: defaultdict[tuple[str | None, str | None], deque[Finding]] = defaultdict(deque)
    for finding in kexec.findings:
        left[finding.code, finding.bdf].append(finding)

    def found(code: str | None, bdf: str) -> dict[str, Any]:
        waiting = left[code, bdf]
        return vars(waiting.popleft()) if waiting else {}

    for bridge in kexec.bridges:
        row = vars(bridge) | {"row": "bridge", "reason": bridge.missing_access}
        yield row | found(rules.BRIDGE_CODES.get(bridge.verdict), bridge.bdf)
    for device in kexec.devices:
        # As in analyzer.verdicts.findings: what was not preserved and is undetermined is no finding.
        counts = device.preserved or device.verdict != "undetermined"
        code = _DEVICE_CODES.get(device.verdict) if counts else None
        yield vars(device) | {"row": "device"} | found(code, device.bdf)
    for item in kexec.divergences:
        verdict = "explained" if item.explained else "unexplained"
        row = {"row": "divergence", "bdf": item.bdf, "verdict": verdict, "reason": item.note or None}
        yield row | found(rules.DIVERGENCE, item.bdf)
    for other in kexec.secondary:
        code = rules.SECONDARY_CODES.get(other.kind, rules.OTHER_SECONDARY)
        row = {"row": "secondary", "verdict": other.kind, "reason": other.note}
        yield vars(other) | row | found(code, other.bdf)
    for one in (*kexec.state, *kexec.state_undetermined):
        reason = f"{one.register} {one.field}: {one.before} to {one.after}"
        row = {"row": "state", "bdf": one.bdf, "verdict": one.verdict, "reason": reason}
        yield row | (found(one.code, one.bdf) if one.code else {})
