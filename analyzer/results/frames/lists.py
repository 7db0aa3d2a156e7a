"""The result of an analysis as polars tables, one for each list of the JSON output, under the same names.

Every table begins with ``capture`` (its place in the call, from 0) and ``path``; below the level of captures
follows ``kexec`` (its number in the capture). Lists and structures of the JSON output stay lists and
structures; an unknown value is null. A table without rows has all its columns. Rows stand in the order of the
JSON output: captures as given, then by kexec, then by BDF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from analyzer.results.frames.rows import EVIDENCE, build, fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from analyzer.results import Analysis, CaptureResult, KexecResult

_TEXT, _FLAG, _COUNT = pl.String(), pl.Boolean(), pl.Int64()
_TEXTS = pl.List(_TEXT)
_CAPTURE: dict[str, pl.DataType] = {"capture": _COUNT, "path": _TEXT}
_KEXEC: dict[str, pl.DataType] = _CAPTURE | {"kexec": _COUNT}

CAPTURES: dict[str, pl.DataType] = _CAPTURE | {
    "format": _TEXT, "host": _TEXT, "accesses": _COUNT, "truncated": _FLAG, "dropped": _COUNT,
    "verdict": _TEXT, "weight": _TEXT, "missing_dwords": _COUNT,
}  # fmt: skip
BOOTS: dict[str, pl.DataType] = _CAPTURE | {
    "index": _COUNT, "kind": _TEXT, "release": _TEXT, "cmdline": _TEXT,
    "first_access": _COUNT, "last_access": _COUNT, "start_ns": _COUNT, "end_ns": _COUNT,
}  # fmt: skip
KEXECS: dict[str, pl.DataType] = _CAPTURE | {
    "index": _COUNT, "kind": _TEXT, "outgoing_boot": _COUNT, "incoming_boot": _COUNT,
    "at_access": _COUNT, "blackout_ns": _COUNT, "observed_policy": _TEXT, "policy": _TEXT, "series": _TEXT,
    "noari": _FLAG, "preserved_source": _TEXT, "preservation": _TEXT,
}  # fmt: skip
BRIDGES: dict[str, pl.DataType] = _KEXEC | {
    "bdf": _TEXT, "vendor_device": _TEXT, "secondary": _COUNT, "subordinate": _COUNT,
    "new_secondary": _COUNT, "port_type": _TEXT, "preserved": _FLAG, "ari_before": _FLAG, "ari_after": _FLAG,
    "ari_decided": _FLAG, "verdict": _TEXT, "cause": _TEXT, "cause_bdf": _TEXT, "confidence": _TEXT,
    "window": pl.Struct({"last_on": _COUNT, "first_off": _COUNT, "phase": _TEXT}),
    "evidence": pl.List(EVIDENCE), "stranded": _TEXTS, "missing_access": _TEXT, "cause_note": _TEXT,
}  # fmt: skip
DEVICES: dict[str, pl.DataType] = _KEXEC | {
    "bdf": _TEXT, "vendor_device": _TEXT, "preserved": _FLAG, "bridge": _TEXT, "verdict": _TEXT,
    "reason": _TEXT,
}  # fmt: skip
POLICIES: dict[str, pl.DataType] = _KEXEC | {
    "policy": _TEXT, "discovered": _TEXTS, "stranded": _TEXTS, "assumed": _TEXTS,
}  # fmt: skip
DIVERGENCES: dict[str, pl.DataType] = _KEXEC | {
    "bdf": _TEXT, "predicted": _FLAG, "observed": _FLAG, "note": _TEXT, "explained": _FLAG,
}  # fmt: skip
FINDINGS: dict[str, pl.DataType] = _KEXEC | {
    "code": _TEXT, "severity": _TEXT, "bdf": _TEXT, "text": _TEXT, "weight": _TEXT,
}  # fmt: skip
ERRORS: dict[str, pl.DataType] = _CAPTURE | {
    "kind": _TEXT, "file": _TEXT, "offset_bytes": _COUNT, "message": _TEXT,
}  # fmt: skip


def captures(analysis: Analysis) -> pl.DataFrame:
    """One row per capture (columns :data:`CAPTURES`)."""
    return _of_captures(analysis, lambda capture: [capture], CAPTURES)


def boots(analysis: Analysis) -> pl.DataFrame:
    """One row per boot of each capture (columns :data:`BOOTS`)."""
    return _of_captures(analysis, lambda capture: capture.boots, BOOTS)


def kexecs(analysis: Analysis) -> pl.DataFrame:
    """One row per kexec (columns :data:`KEXECS`)."""
    return _of_captures(analysis, lambda capture: capture.kexecs, KEXECS)


def bridges(analysis: Analysis) -> pl.DataFrame:
    """One row per bridge and kexec, with its evidence (columns :data:`BRIDGES`)."""
    return _of_kexecs(analysis, lambda kexec: kexec.bridges, BRIDGES)


def devices(analysis: Analysis) -> pl.DataFrame:
    """One row per function, endpoint or bridge, and kexec (columns :data:`DEVICES`)."""
    return _of_kexecs(analysis, lambda kexec: kexec.devices, DEVICES)


def policies(analysis: Analysis) -> pl.DataFrame:
    """One row per policy and kexec: what a kernel with it must have found (columns :data:`POLICIES`)."""
    rows = (
        key | {"policy": name} | fields(outcome, POLICIES)
        for key, kexec in _kexecs(analysis)
        for name, outcome in kexec.policies.items()
    )
    return build(rows, POLICIES)


def divergences(analysis: Analysis) -> pl.DataFrame:
    """One row per function where prediction and observation differ (columns :data:`DIVERGENCES`)."""
    return _of_kexecs(analysis, lambda kexec: kexec.divergences, DIVERGENCES)


def findings(analysis: Analysis) -> pl.DataFrame:
    """One row per finding (columns :data:`FINDINGS`); ``analyzer.rule(code)`` tells what a code means."""
    return _of_kexecs(analysis, lambda kexec: kexec.findings, FINDINGS)


def errors(analysis: Analysis) -> pl.DataFrame:
    """One row per problem of an input (columns :data:`ERRORS`)."""
    return _of_captures(analysis, lambda capture: capture.errors, ERRORS)


def _of_captures(
    analysis: Analysis, items: Callable[[CaptureResult], Iterable[Any]], schema: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    rows = (
        {"capture": number, "path": capture.path} | fields(item, schema)
        for number, capture in enumerate(analysis.captures)
        for item in items(capture)
    )
    return build(rows, schema)


def _of_kexecs(
    analysis: Analysis, items: Callable[[KexecResult], Iterable[Any]], schema: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    rows = (key | fields(item, schema) for key, kexec in _kexecs(analysis) for item in items(kexec))
    return build(rows, schema)


def _kexecs(analysis: Analysis) -> Iterator[tuple[dict[str, Any], KexecResult]]:
    for number, capture in enumerate(analysis.captures):
        for kexec in capture.kexecs:
            yield {"capture": number, "path": capture.path, "kexec": kexec.index}, kexec
