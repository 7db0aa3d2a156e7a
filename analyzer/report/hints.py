"""What to try where no kexec was found: the commands that can answer something about the same input."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.results import Analysis, CaptureResult

#: Captures that a command names; of more than these it is unknown which belong together.
_MOST_JOINED = 4


_AT_RISK = "what depends on ARI Forwarding at the next kexec"


@dataclass(frozen=True)
class Hint:
    """A command, and what it answers."""

    text: str
    command: str

    def __str__(self) -> str:
        return f"{self.text}: {self.command}"


@dataclass(frozen=True)
class Answered:
    """What is known of one capture that was read.

    Attributes:
        path: to open it with.
        snapshot: it shows each function at one moment, and no kernel at work.
        kexecs: how many it holds.
        whole: it is not cut short.
        joined: it is no file by itself: joined from several, or one guest of a recording.
    """

    path: str
    snapshot: bool = False
    kexecs: int = 0
    whole: bool = True
    joined: bool = False


def of_analysis(analysis: Analysis) -> list[Hint]:
    """Return the hints for the result of a run."""
    return no_kexec([_answered(capture) for capture in analysis.captures if capture.verdict != "unreadable"])


def no_kexec(captures: Sequence[Answered]) -> list[Hint]:
    """Return what to do with the captures that hold no kexec.

    Args:
        captures: all that were read, in the order given.
    """
    apart = [capture for capture in captures if not capture.kexecs and not capture.joined]
    if len(apart) > 1:
        return _several(apart)
    if not apart or not apart[0].whole:
        return []  # the report on the capture says what is missing
    only = apart[0]
    atrisk = Hint(_AT_RISK, command("atrisk", only.path))
    if only.snapshot:
        later = command("--join", only.path, "AFTER")
        return [atrisk, Hint("what a kexec changed, with a snapshot from after it", later)]
    return [atrisk]


def _several(captures: Sequence[Answered]) -> list[Hint]:
    kind = "snapshots" if all(capture.snapshot for capture in captures) else "captures"
    few = len(captures) <= _MOST_JOINED
    which = f"these {kind}" if few else f"two of these {kind}"
    names = [capture.path for capture in captures] if few else ["BEFORE", "AFTER"]
    return [
        Hint(
            f"if {which} are from one machine, before and after a kexec, name them in order",
            command("--join", *names),
        ),
        Hint(_AT_RISK, command("atrisk", "FILE")),
    ]


def _answered(capture: CaptureResult) -> Answered:
    from analyzer.readers.formats import SNAPSHOTS  # brings polars

    formats = (capture.format or "").split("+")
    return Answered(
        path=capture.path,
        snapshot=all(form in SNAPSHOTS for form in formats),
        kexecs=len(capture.kexecs),
        whole=not capture.truncated,
        joined=[file.path for file in capture.files] != [capture.path],
    )


def command(*words: str) -> str:
    """A command line of the program, quoted for a shell."""
    return f"analyze {' '.join(shlex.quote(word) for word in words)}"
