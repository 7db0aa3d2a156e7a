"""Every verdict of an analysis in one flat table: what ``--format csv`` and ``--format parquet`` write.

A row is one verdict, and ``row`` says of what: the ``capture`` itself (each has one such row, so that an
unreadable one is never lost), a ``bridge`` or a ``device`` at one kexec, a ``divergence`` between prediction
and observation, or a ``secondary`` observation. A bridge has two rows at a kexec, as in the JSON output: what
became of its ARI Forwarding, and whether it was found. ``code``, ``severity`` and ``text`` are set where the
verdict is a finding; every finding of the analysis stands in exactly one row.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

import polars as pl

from analyzer.results import rules
from analyzer.results.frames import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.results import Analysis, CaptureResult, DeviceVerdict, Divergence, Finding, KexecResult

_TEXT, _FLAG, _COUNT = pl.String(), pl.Boolean(), pl.Int64()

#: The columns, in order; ``docs/outputs.md`` describes them.
COLUMNS: dict[str, pl.DataType] = {
    "capture": _COUNT, "path": _TEXT, "host": _TEXT, "kexec": _COUNT, "kexec_kind": _TEXT, "row": _TEXT,
    "bdf": _TEXT, "verdict": _TEXT, "reason": _TEXT, "cause": _TEXT, "cause_bdf": _TEXT, "confidence": _TEXT,
    "preserved": _FLAG, "code": _TEXT, "severity": _TEXT, "text": _TEXT, "vendor_device": _TEXT,
    "port_type": _TEXT, "bridge": _TEXT, "secondary": _COUNT, "subordinate": _COUNT, "new_secondary": _COUNT,
    "ari_before": _FLAG, "ari_after": _FLAG, "ari_decided": _FLAG, "policy": _TEXT, "observed_policy": _TEXT,
    "preserved_source": _TEXT, "stranded": pl.List(_TEXT), "evidence": pl.List(rows.EVIDENCE),
}  # fmt: skip

_DEVICE_CODES = {
    "stranded": rules.STRANDED,
    "missing": rules.MISSING,
    "undetermined": rules.UNDETERMINED,
}


def verdict_table(analysis: Analysis) -> pl.DataFrame:
    """Return the table (columns :data:`COLUMNS`): per capture its own row, then those of each kexec."""
    return rows.build(_rows(analysis), COLUMNS)


def _rows(analysis: Analysis) -> Iterator[dict[str, Any]]:
    for number, capture in enumerate(analysis.captures):
        key = {"capture": number, "path": capture.path, "host": capture.host}
        yield key | _capture(capture)
        for kexec in capture.kexecs:
            about = {
                "kexec": kexec.index,
                "kexec_kind": kexec.kind,
                "policy": kexec.policy,
                "observed_policy": kexec.observed_policy,
                "preserved_source": kexec.preserved_source,
            }
            for row in _verdicts(kexec):
                yield key | about | row


def _capture(capture: CaptureResult) -> dict[str, Any]:
    row: dict[str, Any] = {"row": "capture", "verdict": capture.verdict}
    if capture.errors:
        row |= {"reason": capture.errors[0].kind, "text": capture.errors[0].message}
    return row


def _verdicts(kexec: KexecResult) -> Iterator[dict[str, Any]]:
    """The rows of one kexec, in the order of its findings (bridges, devices, divergences, secondary)."""
    left: defaultdict[tuple[str, str | None], deque[Finding]] = defaultdict(deque)
    for finding in kexec.findings:
        left[finding.code, finding.bdf].append(finding)

    def found(code: str | None, bdf: str) -> dict[str, Any]:
        waiting = left[code, bdf] if code is not None else None
        return rows.fields(waiting.popleft(), ("code", "severity", "text")) if waiting else {}

    for bridge in kexec.bridges:
        row = rows.fields(bridge, COLUMNS) | {"row": "bridge", "reason": bridge.missing_access}
        yield row | found(rules.BRIDGE_CODES.get(bridge.verdict), bridge.bdf)
    for device in kexec.devices:
        yield rows.fields(device, COLUMNS) | {"row": "device"} | found(_device_code(device), device.bdf)
    for item in kexec.divergences:
        yield _divergence(item) | found(rules.DIVERGENCE, item.bdf)
    for other in kexec.secondary:
        code = rules.SECONDARY_CODES.get(other.kind, rules.OTHER_SECONDARY)
        row = {"row": "secondary", "verdict": other.kind, "reason": other.note}
        yield row | rows.fields(other, ("bdf", "evidence")) | found(code, other.bdf)


def _device_code(device: DeviceVerdict) -> str | None:
    if device.verdict == "undetermined" and not device.preserved:
        return None  # as in analyzer.verdicts.findings: no finding
    return _DEVICE_CODES.get(device.verdict)


def _divergence(item: Divergence) -> dict[str, Any]:
    return {
        "row": "divergence",
        "bdf": item.bdf,
        "verdict": "explained" if item.explained else "unexplained",
        "reason": item.note or None,
    }
