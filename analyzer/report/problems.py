"""What goes to standard error: warnings, inputs that could not be read, failures of the program itself."""

from __future__ import annotations

import contextlib
import sys
import traceback
from typing import TYPE_CHECKING

from analyzer.capture import OUT_OF_ORDER
from analyzer.escaping import inert
from analyzer.plurals import count
from analyzer.report import hints
from analyzer.report.wording import lost_records, missing_dwords
from analyzer.version import ISSUES, NAME, version

if TYPE_CHECKING:
    from analyzer.errors import AritraceError
    from analyzer.readers.sources import LeftOut
    from analyzer.results import Analysis

_PROGRAM = "analyze"


def complain(text: str, kind: str = "error") -> None:
    """Print one line ``analyze: KIND: text`` to standard error, inert; a closed stream is ignored."""
    stream = sys.stderr
    encoding = (getattr(stream, "encoding", None) or "ascii").lower()
    with contextlib.suppress(OSError):
        print(f"{_PROGRAM}: {kind}: {inert(text, ascii_only=not encoding.startswith('utf'))}", file=stream)


def complain_about(error: AritraceError) -> None:
    """Print an expected error: file, byte, what was expected and found, what to do; then its details."""
    complain(str(error))
    for detail in error.details:
        complain(detail, "note")


def print_unreadable(analysis: Analysis) -> None:
    """Print a line for each capture that gave no answer, so that a redirected report hides nothing."""
    for capture in analysis.captures:
        if capture.verdict == "unreadable":
            for problem in capture.errors[:1]:
                if problem.file != capture.path:  # then the message names the file
                    complain(f"{problem.message} ({capture.path} was not analysed)")
                    continue
                place = f" at byte {problem.offset_bytes:#x}" if problem.offset_bytes is not None else ""
                complain(f"{problem.file}{place}: {problem.message}")


def print_warnings(analysis: Analysis) -> None:
    """Print the warnings and limits of every capture, and hints, for reports that a machine reads."""
    for capture in analysis.captures:
        if capture.verdict == "unreadable":
            continue
        if capture.truncated:
            complain(f"{capture.path}: cut short, analysed up to the cut", "warning")
        if capture.dropped:
            complain(f"{capture.path}: {lost_records(capture.dropped)}", "warning")
        if capture.missing_dwords:
            complain(f"{capture.path}: {missing_dwords(capture.missing_dwords)}", "warning")
        for problem in capture.errors:
            if problem.kind == OUT_OF_ORDER:
                complain(f"{capture.path}: {problem.message}", "warning")
        for kexec in capture.kexecs:
            for warning in kexec.warnings:
                complain(f"{capture.path}: kexec {kexec.index}: {warning}", "warning")
    for hint in hints.of_analysis(analysis):
        complain(str(hint), "hint")


def print_left_out(left_out: LeftOut) -> None:
    """Print how many files are not analysed as captures, and the names of the first."""
    if left_out.number:
        what = "is not analysed as a capture" if left_out.number == 1 else "are not analysed as captures"
        more = f" and {left_out.number - len(left_out.names):,} more"
        names = ", ".join(left_out.names) + (more if left_out.number > len(left_out.names) else "")
        complain(f"{count(left_out.number, 'file')} {what}: {names}", "note")


def complain_about_crash(error: BaseException, *, trace: bool) -> None:
    """Print an unexpected failure and ask for a report: type, place, message, and the trace if wanted."""
    if trace:
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = (
        f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else "an unknown place"
    )
    complain(f"{type(error).__name__} at {place}: {error}", "internal error")
    complain(
        (
            f"this is a bug in {NAME} {version()}, not in the capture; please report it at {ISSUES} "
            "with this line and, if you can, the capture ('analyze -vv' prints the trace)"
        ),
        "internal error",
    )
