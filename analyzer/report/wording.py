"""How numbers, times, verdicts and causes read in human reports."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from analyzer.plurals import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.results import (
        BridgeVerdict,
        BridgeVerdictName,
        CaptureResult,
        Cause,
        KexecResult,
        Preservation,
        PreservedSource,
        Secondary,
    )

#: 2001-09-09, in ns since 1970: no clock that starts with a machine or a kernel counts so far.
SINCE_1970: Final = 10**18

CAUSES: dict[Cause, str] = {
    "explicit-write": "a register write cleared the bit before the incoming kernel ran",
    "restore-write": "the kernel's own PCIe state restore wrote a stale value",
    "incoming-write": "a register write on the incoming side cleared the bit before the kernel read it",
    "secondary-bus-reset": "a secondary bus reset on a port above reset this port",
    "upstream-link-down": "a link above went down, which reset this port",
    "hot-reset": "the port was reset; what reset it is not in the capture",
    "power-cycle": "the port was power cycled: even its sticky registers were reset",
    "selective-loss": (
        "only this bit was cleared, its neighbours are intact, and no write to it is in the capture: "
        "firmware, SMM or a management controller may have cleared it"
    ),
    "power-state": "the port came back from D3 without keeping its registers",
    "host-bridge-reinit": "the root port's registers were reset: the host bridge was initialised again",
    "unknown": "the capture does not show why",
}

#: A bridge that only a lost bridge above it harmed: no cause is sought for it (null in JSON and tables).
NO_CAUSE = "none of its own"

BRIDGES: dict[BridgeVerdictName, str] = {
    "kept": "ARI Forwarding kept",
    "lost": "lost ARI Forwarding",
    "healed": "lost ARI Forwarding, switched on again by the incoming kernel",
    "off": "ARI Forwarding was off",
    "gained": "gained ARI Forwarding",
    "cleared": "ARI Forwarding cleared by the incoming kernel",
    "ignored": "ARI Forwarding on but not used by the incoming kernel",
    "renumbered": "got bus numbers assigned anew",
    "unconfigured": "lost its bus numbers, left unconfigured",
    "hidden": "hidden below a lost bridge",
    "gone": "does not answer",
    "not-applicable": "ARI does not apply",
    "undetermined": "undetermined",
}

PRESERVED_SOURCES: dict[PreservedSource, str] = {
    "option": "given by option",
    "flb": "from the kernel's preserved-set dump",
    "dmesg": "from the kernel log",
    "capture": "from the capture itself",
    "sidecar": "from a file next to the capture",
    "assumed": "assumed: every function seen below a bridge with ARI Forwarding",
}

#: What an assumed preserved set means for the losses of a kexec.
PRESERVATIONS: dict[Preservation, str] = {
    "no-scan": (
        "The input does not say which devices were preserved across this kexec: a loss of any assumed "
        "function counts (exit status 1). Use --preserved to name the preserved devices."
    ),
    "unrecognised": (
        "The input says neither which devices were preserved across this kexec nor what kind of kexec it "
        "was: losses are reported and count as doubt (exit status 3). Use --preserved, --assume-preserved "
        "or --dmesg to say it."
    ),
    "none": (
        "As far as the input shows, nothing was preserved across this kexec: losses are reported and do not "
        "change the exit status (--preserved or --assume-preserved makes them count)."
    ),
}


def missing_dwords(number: int) -> str:
    """Return what a snapshot lacks (``208 dwords of the dump are missing``)."""
    return f"{count(number, 'dword')} of the dump {'is' if number == 1 else 'are'} missing"


def no_boundary(*, cut: bool) -> str:
    """Return the sentence for a capture without a kexec; ``cut``: the capture is cut short."""
    if cut:
        return "The capture ends before any boundary between two kernels: what came after the cut is unknown."
    return "There is no boundary between two kernels in this capture: it says nothing about a kexec."


def listed(names: Sequence[str], most: int) -> str:
    """Return the names with commas, at most ``most`` of them, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def duration(nanoseconds: int) -> str:
    """Return a length of time with a unit that fits (``1.234 s``); negative means that clocks jumped."""
    if nanoseconds < 0:
        return f"{nanoseconds / 1e9:.6f} s (clock jumped)"
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3f} {unit}"
    return f"{nanoseconds} ns"


def cause_text(bridge: BridgeVerdict) -> str:
    """Return the cause of a bridge that has one, by its name in all outputs: ``hot-reset (BDF): why``."""
    if bridge.cause is None:
        return ""
    where = f" ({bridge.cause_bdf})" if bridge.cause_bdf else ""
    return f"{bridge.cause}{where}: {bridge.cause_note or CAUSES[bridge.cause]}"


def clock(time_ns: int) -> str:
    """Return a time stamp to the microsecond: a time of day as a date, any other in seconds.

    A time since 1970 reads as UTC does if its clock is UTC; the report says which clock it is
    (:func:`clock_name`). Clocks that start with a machine or a kernel do not count as far as 2001.
    """
    if time_ns >= SINCE_1970:
        seconds, rest = divmod(time_ns, 1_000_000_000)
        date = datetime.fromtimestamp(seconds, UTC)
        return f"{date:%Y-%m-%d %H:%M:%S}.{rest // 1000:06d}"
    sign = "-" if time_ns < 0 else ""
    seconds, rest = divmod(abs(time_ns), 1_000_000_000)
    return f"{sign}{seconds}.{rest // 1000:06d}"


def clock_name(clock: str | None, time_ns: int | None) -> str:
    """Return what the dates of a capture are: ``UTC``, ``TAI``; empty where it shows none.

    Args:
        clock: as in :class:`analyzer.results.CaptureResult`.
        time_ns: one of its times.
    """
    if time_ns is None or time_ns < SINCE_1970:
        return ""
    return {None: "UTC", "realtime": "UTC", "tai": "TAI"}.get(clock, "the clock of each piece")


def dates_in(capture: CaptureResult) -> str:
    """Return which clock the dates of a report on a capture are in; empty where it shows none."""
    times = (boot.start_ns for boot in capture.boots if boot.start_ns is not None)
    return clock_name(capture.clock, max(times, default=None))


class Agreement(NamedTuple):
    """What the self-check shows where nothing contradicts the prediction; ``whole``: of every function."""

    text: str
    whole: bool


def agreement(kexec: KexecResult) -> Agreement:
    """Return how prediction and observation agree, at a kexec without a divergence."""
    observed = kexec.observed.discovered
    # Where the rule of the kernel is not recognised, the inherit rule is compared (verdicts.kexecs).
    policy = "inherit" if kexec.observed_policy == "unknown" else kexec.observed_policy
    compared = kexec.policies.get(policy)
    left_open = 0 if compared is None else len(set(observed) - set(compared.discovered))
    found = count(len(observed), "function")
    if left_open:
        text = (
            f"the incoming kernel enumerated {found}; the input does not decide whether {left_open:,} of them"
        )
        return Agreement(f"{text} had to be found", whole=False)
    return Agreement(f"the incoming kernel enumerated exactly the {found} predicted", whole=True)


def port(kind: str | None) -> str:
    """Return a port type of the results in words (``switch downstream port``)."""
    words = (kind or "bridge").replace("-", " ")
    return f"{words} port" if words.startswith("switch") else words


def on_off(state: int | None) -> str:
    """Return a state of ARI Forwarding as lspci prints flags, with ``?`` for unknown."""
    from schemas.inherited_state import ARI_FORWARDING  # construct: not where the program starts

    return ARI_FORWARDING.text(state)


def lost_records(number: int) -> str:
    """Records that are known to have been there: the problems of the capture say what became of each kind."""
    return f"{count(number, 'record')} missing or unusable"


def common_errors(observations: Sequence[Secondary], option: str) -> str:
    """One sentence for error bits that healthy hosts show too, and the option that lists them."""
    bits = dict.fromkeys(f"{error.status} {error.bit}" for item in observations for error in item.errors)
    functions = count(len({item.bdf for item in observations}), "function")
    return f"error bits that healthy hosts show too, on {functions} ({option} lists them): {', '.join(bits)}"
