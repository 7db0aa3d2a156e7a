"""JUnit XML for continuous integration: a test suite for each capture, a test case for each kexec.

A case fails if its kexec has a finding that sets exit status 1; it is an error if one is a doubt (exit
status 3). The first case of a suite, ``capture``, stands for the capture itself: one that could not be
analysed is an error, a complete one without a kexec is skipped. Names stay the same from run to run, so
that a server can show a history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree as ET

from analyzer.escaping import inert
from analyzer.report import headline
from analyzer.report.kexec_section import add_kexec
from analyzer.report.page import Page, plain
from analyzer.version import NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.results import Analysis, CaptureResult, Finding, KexecResult

#: Names of the elements; a case without one has passed.
Outcome = Literal["failure", "error", "skipped"]


def junit_text(analysis: Analysis) -> str:
    """Return the result as JUnit XML; a case ends as the weight of its findings says."""
    root = ET.Element("testsuites", name=NAME)
    for capture in analysis.captures:
        suite = ET.SubElement(root, "testsuite", name=_text(capture.path))
        if capture.host:
            suite.set("hostname", _text(capture.host))
        _add_capture(suite, capture)
        for kexec in capture.kexecs:
            _add_kexec(suite, capture, kexec)
        _count(suite)
    for name in ("tests", "failures", "errors"):  # the schema has no "skipped" here
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ET.indent(root)
    # ASCII, with references for all else: no stream and no reader can misunderstand it.
    body: bytes = ET.tostring(root, "us-ascii", xml_declaration=True)
    return body.decode("ascii") + "\n"


def _add_capture(suite: ET.Element, capture: CaptureResult) -> None:
    """The case that says whether there was anything to analyse."""
    not_analysed: Outcome = "skipped" if capture.weight is None else "error"
    case = ET.SubElement(suite, "testcase", classname=_text(capture.path), name="capture")
    if capture.verdict == "unreadable":
        problem = capture.errors[0] if capture.errors else None
        message = headline.of_capture(capture).text
        _end(case, "error", problem.kind if problem else "unreadable", message)
    elif capture.verdict == "no-kexec":
        _end(case, not_analysed, "no-kexec", headline.of_capture(capture).text)
    elif capture.verdict == "undetermined":
        _end(case, not_analysed, "undetermined", headline.of_capture(capture).text)


def _add_kexec(suite: ET.Element, capture: CaptureResult, kexec: KexecResult) -> None:
    case = ET.SubElement(suite, "testcase", classname=_text(capture.path), name=f"kexec {kexec.index}")
    losses = [item for item in kexec.findings if item.weight == "loss"]
    doubts = [item for item in kexec.findings if item.weight == "doubt"]
    page = Page()
    add_kexec(page, capture, kexec)
    outcomes: tuple[tuple[Outcome, list[Finding]], ...] = (("failure", losses), ("error", doubts))
    for outcome, found in outcomes:
        if found:
            _end(case, outcome, found[0].code, _message(found), _lines(found) + plain(page))
            break
    else:
        # What was noticed without an effect on the exit status is still worth reading.
        ET.SubElement(case, "system-out").text = _text(_lines(kexec.findings) + plain(page))


def _message(found: Sequence[Finding]) -> str:
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return found[0].text + more


def _lines(found: Sequence[Finding]) -> str:
    return "".join(f"{item.code} {item.severity}: {item.text}\n" for item in found)


def _end(case: ET.Element, outcome: Outcome, kind: str, message: str, text: str = "") -> None:
    element = ET.SubElement(case, outcome, type=kind, message=_text(message))
    if text:
        element.text = _text(text)


def _count(suite: ET.Element) -> None:
    suite.set("tests", str(len(suite)))
    for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{element}"))))


def _text(text: str) -> str:
    """Text whose characters XML 1.0 allows, line by line (inert keeps no line breaks)."""
    return "\n".join(inert(line) for line in text.split("\n"))
