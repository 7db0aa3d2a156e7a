"""What a fleet shows of registers across kexecs, in words: text and page say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from analyzer.plurals import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.fleet.answers import FleetReport, RegisterSurvival, StateSurvival, SurvivalCounts

QUESTION: Final = "Can hardware registers be trusted across a kexec?"
#: Names of states in one sentence.
_MOST: Final = 5
COUNTED: Final = (
    "Rates are of kexecs: those at which a preserved function read another value than it had, set again later"
    " or not, of those at which one had a value to lose. Functions are not independent: a reset of one bridge"
    " resets everything below it."
)
CLEARED: Final = "it survived, and the incoming kernel's own write changed it afterwards; not lost"
NOTHING: Final = (
    "before the kexec it already had its value after a reset, or the outgoing kernel itself cleared it: no"
    " loss would show; in no rate"
)
UNDETERMINED: Final = "one side of the kexec, or who changed it, is not in the capture; in no rate"
DIMENSIONS: Final = {
    "by_release": "release of the incoming kernel",
    "by_vendor_device": "vendor:device of the function",
    "by_port_type": "port type of the function",
}


class SurvivalAnswer(NamedTuple):
    """The answer to :data:`QUESTION`; ``sign`` is its state as reports mark it."""

    sign: Literal["bad", "good", "unknown"]
    text: str


def answer(registers: RegisterSurvival) -> SurvivalAnswer:
    """Say it in a sentence: never yes, since no loss that was seen is no proof."""
    if not registers.kexecs:
        return SurvivalAnswer(
            "unknown",
            "Not known: no capture here shows a register of a preserved function before and after a kexec.",
        )
    whole = count(registers.kexecs, "kexec")
    if registers.lost:
        hit = [one for one in registers.states if one.preserved.kexecs_lost]
        names = [f"{one.name} at {one.preserved.kexecs_lost:,}" for one in hit]
        return SurvivalAnswer(
            "bad",
            f"Not all: preserved functions lost some at {registers.lost:,} of {whole}: {_listed(names)}.",
        )
    decided = [one.preserved.loss.trials for one in registers.states if one.preserved.loss.trials]
    if not decided:
        return SurvivalAnswer("unknown", f"Not known: no register is decided at any of {whole}.")
    least, most = min(decided), max(decided)
    often = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    words = f"No loss was seen at {whole}. Each register that had a value to lose had one at {often} of them."
    if registers.undetermined:
        words += f" At {registers.undetermined:,} some are not captured."
    return SurvivalAnswer("good", words)


def limits(report: FleetReport) -> Iterator[str]:
    """What is in no number: registers of which nothing is known, functions and kexecs not compared."""
    registers = report.registers
    if registers is None:
        return
    unknown = [one.name for one in of_preserved(registers) if not one.preserved.loss.trials]
    if unknown:
        yield f"Nothing is known of: {', '.join(unknown)} (no value to lose, or not captured)."
    if registers.kexecs and report.devices_stranded:
        devices = count(report.devices_stranded, "stranded device")
        yield f"{devices} not compared: only functions that both kernels enumerated are."
    if registers.without:
        yield (
            f"{count(registers.without, 'kexec')} in no number here: analysed by a version of the program"
            " that did not count registers. 'analyze fleet run' into a new directory does."
        )


def not_handed_over(registers: RegisterSurvival) -> str:
    """What functions lost that were not preserved, in a sentence; empty where none did."""
    hit = [one for one in registers.states if one.others.kexecs_lost]
    hit.sort(key=lambda one: -one.others.kexecs_lost)
    names = [f"{one.name} at {one.others.kexecs_lost:,} of {one.others.loss.trials:,}" for one in hit]
    if not names:
        return ""
    return (
        "Functions that were not handed over, which the incoming kernel sets up anew, lost: "
        f"{', '.join(names)} (kexecs)."
    )


def shown(counts: SurvivalCounts) -> int:
    """Functions at kexecs that show the state."""
    return (
        counts.kept + counts.lost + counts.changed + counts.healed + counts.cleared + counts.expected
        + counts.undetermined
    )  # fmt: skip


def functions_lost(counts: SurvivalCounts) -> tuple[int, int]:
    """Functions at kexecs that lost the state, and those that had a value to lose and are decided."""
    lost = counts.lost + counts.changed + counts.healed
    return lost, lost + counts.cleared + counts.kept - counts.kept_at_reset


def of_preserved(registers: RegisterSurvival) -> list[StateSurvival]:
    """States that a preserved function shows."""
    return [one for one in registers.states if shown(one.preserved)]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
