"""SARIF 2.1.0 for tools that collect findings: a rule for each code, a result for each finding.

Source: OASIS Static Analysis Results Interchange Format 2.1.0 (sections cited as §). The location of a result
is the access that proves it, as the capture file and the byte in its uncompressed stream; the address of the
function is its logical location.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from analyzer.report.json_report import dumps
from analyzer.results.rules import RULES
from analyzer.version import NAME, version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.results import Analysis, BridgeVerdict, CaptureResult, Evidence, Finding, KexecResult

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_CODES = list(RULES)


def sarif_text(analysis: Analysis) -> str:
    """Return the findings of an analysis as one SARIF log with one run, ending in a newline."""
    run = {
        "tool": {"driver": {"name": NAME, "version": version(), "rules": list(_rules())}},
        "invocations": [_invocation(analysis)],
        "artifacts": [
            {"location": {"uri": uri}, "hashes": {"sha-256": sha256}}
            for uri, sha256 in dict.fromkeys(
                (_uri(file.path), file.sha256) for capture in analysis.captures for file in capture.files
            )
        ],
        "results": [result for capture in analysis.captures for result in _results(capture)],
    }
    return dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _rules() -> Iterator[dict[str, Any]]:
    for rule in RULES.values():
        yield {
            "id": rule.code,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.meaning},
            "help": {"text": f"{rule.advice}\n\nSource: {rule.source}"},
            "defaultConfiguration": {"level": rule.severity},
        }


def _invocation(analysis: Analysis) -> dict[str, Any]:
    """What went wrong with inputs (§3.20.21); a run with an unreadable input is not a success."""
    notifications = [
        {
            "level": "error" if capture.verdict == "unreadable" else "warning",
            "message": {"text": problem.message},
            "descriptor": {"id": problem.kind},
            "locations": [{"physicalLocation": _place(problem.file, problem.offset_bytes)}],
        }
        for capture in analysis.captures
        for problem in capture.errors
    ]
    success = all(capture.verdict != "unreadable" for capture in analysis.captures)
    return {"executionSuccessful": success, "toolExecutionNotifications": notifications}


def _results(capture: CaptureResult) -> Iterator[dict[str, Any]]:
    for kexec in capture.kexecs:
        bridges = {bridge.bdf: bridge for bridge in kexec.bridges}
        above = {device.bdf: device.bridge for device in kexec.devices}
        for finding in kexec.findings:
            bridge = _shown(finding.bdf, bridges, above)
            yield _result(capture, kexec, finding, bridge)


def _shown(
    bdf: str | None, bridges: dict[str, BridgeVerdict], above: dict[str, str | None]
) -> BridgeVerdict | None:
    """The bridge whose evidence explains a function: the function itself, or the nearest bridge above it."""
    seen: set[str] = set()
    while bdf is not None and bdf not in seen:
        seen.add(bdf)
        bridge = bridges.get(bdf)
        if bridge is not None and bridge.evidence:
            return bridge
        bdf = above.get(bdf)
    return None


def _result(
    capture: CaptureResult, kexec: KexecResult, finding: Finding, bridge: BridgeVerdict | None
) -> dict[str, Any]:
    evidence: Sequence[Evidence] = bridge.evidence if bridge is not None else ()
    first_off = bridge.window.first_off if bridge is not None and bridge.window is not None else None
    proof = next((item for item in evidence if item.access == first_off and first_off is not None), None)
    proof = proof or (evidence[-1] if evidence else None)
    location: dict[str, Any] = {
        "physicalLocation": _place(proof.file or capture.path, proof.offset_bytes)
        if proof is not None
        else _place(capture.path, None)
    }
    if finding.bdf is not None:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.bdf, "kind": "resource"}]
    return {
        "ruleId": finding.code,
        "ruleIndex": _CODES.index(finding.code),
        "level": finding.severity,
        "message": {"text": finding.text},
        "locations": [location],
        "relatedLocations": [
            {
                "physicalLocation": _place(item.file or capture.path, item.offset_bytes),
                "message": {"text": item.note},
            }
            for item in dict.fromkeys(evidence)
        ],
        "properties": {"capture": capture.path, "kexec": kexec.index, "kexecKind": kexec.kind},
    }


def _place(path: str, offset: int | None) -> dict[str, Any]:
    """A file, and the byte of its uncompressed stream if one is known (§3.30.11)."""
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(path)}}
    return place if offset is None else place | {"region": {"byteOffset": offset}}


def _uri(path: str) -> str:
    """A path as a URI reference; bytes that are not UTF-8 are written as they are on disk."""
    quoted = quote(path.encode("utf-8", "surrogateescape"))
    return f"file://{quoted}" if path.startswith("/") else quoted
