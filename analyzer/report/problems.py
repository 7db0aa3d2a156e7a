"""What goes to standard error: warnings, inputs that could not be read, failures of the program itself."""

from __future__ import annotations

import contextlib
import sys
import traceback
from typing import TYPE_CHECKING

from analyzer.report.inert import inert
from analyzer.report.wording import count
from analyzer.version import NAME, version

if TYPE_CHECKING:
    from analyzer.errors import AritraceError
    from analyzer.results import Analysis

_PROGRAM = "analyze"


def complain(text: str, kind: str = "error") -> None:
    """Print one line ``analyze: KIND: text`` to standard error, inert; if nobody listens, so be it."""
    stream = sys.stderr
    encoding = (getattr(stream, "encoding", None) or "ascii").lower()
    with contextlib.suppress(OSError):
        print(f"{_PROGRAM}: {kind}: {inert(text, ascii_only=not encoding.startswith('utf'))}", file=stream)


def complain_about(error: AritraceError) -> None:
    """Print an expected error: file, byte, what was expected and found, what to do."""
    complain(str(error))


def tell_unreadable(analysis: Analysis) -> None:
    """Print a line for each capture that gave no answer, so that a redirected report hides nothing."""
    for capture in analysis.captures:
        if capture.verdict == "unreadable":
            for problem in capture.errors[:1]:
                if problem.file != capture.path:  # then the message names it
                    complain(f"{problem.message} ({capture.path} was not judged)")
                    continue
                place = f" at byte {problem.offset_bytes:#x}" if problem.offset_bytes is not None else ""
                complain(f"{problem.file}{place}: {problem.message}")


def tell_warnings(analysis: Analysis) -> None:
    """Print the warnings and limits of every capture, for reports that a machine reads."""
    for capture in analysis.captures:
        if capture.verdict == "unreadable":
            continue
        if capture.truncated:
            complain(f"{capture.path}: cut short, analysed up to the cut", "warning")
        if capture.dropped:
            complain(f"{capture.path}: the recorder dropped {count(capture.dropped, 'record')}", "warning")
        for kexec in capture.kexecs:
            for warning in kexec.warnings:
                complain(f"{capture.path}: kexec {kexec.index}: {warning}", "warning")


def tell_skipped(number: int) -> None:
    """Print how many files are no captures and were skipped (found in directories, or sidecars)."""
    if number:
        verb = "is no capture" if number == 1 else "are no captures"
        complain(f"{count(number, 'file')} {verb}, skipped", "note")


def complain_about_crash(error: BaseException, *, trace: bool) -> None:
    """Print an unexpected failure as a plea for a report: type, place, message, and the trace if wanted."""
    if trace:
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = (
        f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else "an unknown place"
    )
    complain(f"{type(error).__name__} at {place}: {error}", "internal error")
    complain(
        (
            f"this is a fault of {NAME} {version()}, not of the capture; please report it with this line "
            "and, if you can, the capture ('analyze -vv' prints the trace)"
        ),
        "internal error",
    )
