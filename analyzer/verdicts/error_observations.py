"""What is said of PCIe errors: one observation per register and window, and the line beside a cause."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from analyzer.results import ErrorBit, Secondary
from analyzer.verdicts import error_status
from schemas import error_status as declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from analyzer.observed.registers.functions import Function
    from analyzer.replay.node_table import NodeTable
    from analyzer.results import PathErrors
    from analyzer.verdicts.error_status import FunctionErrors, KexecWindow, LatchedBit
    from schemas.registers import Register


def findings(
    machine: NodeTable, before: Mapping[int, Function], after: Mapping[int, Function], window: KexecWindow
) -> list[Secondary]:
    """Every error bit that was set across a kexec, by function: those of one register and window together.

    Args:
        machine: which function is which where bus numbers have changed.
        before: functions of the outgoing boot by key.
        after: those of the incoming boot.
        window: of the kexec.
    """
    suspects = {key for key, function in after.items() if function.latched or window.dump}
    if not suspects:
        return []
    found: list[Secondary] = []
    for node in machine.nodes:
        incoming = None if node.incoming is None else after.get(node.incoming)
        if incoming is not None and incoming.function in suspects:
            outgoing = None if node.outgoing is None else before.get(node.outgoing)
            errors = error_status.of_function(node.name, outgoing, incoming, window)
            found.extend(_observation(errors.bdf, group, window) for group in _groups(errors.latched))
    return sorted(found, key=lambda item: not item.is_alarm)


def _groups(latched: Iterable[LatchedBit]) -> list[list[LatchedBit]]:
    groups: dict[tuple[Register, int | None, int], list[LatchedBit]] = {}
    for one in latched:
        groups.setdefault((one.status.register, one.since, one.row), []).append(one)
    return list(groups.values())


def _observation(place: str, group: Sequence[LatchedBit], window: KexecWindow) -> Secondary:
    first, builder = group[0], window.builder
    register = first.status.register
    words = " ".join(f"{one.word}+" for one in group)
    proof = [] if first.since is None else [builder.access(first.since, register, "clear", first.function)]
    proof.append(builder.access(first.row, register, f"first read after the kexec: {words}", first.function))
    return Secondary(
        place, "error-status", _text(group, window), proof, [_bit_of(one, window) for one in group]
    )


def _bit_of(one: LatchedBit, window: KexecWindow) -> ErrorBit:
    register = one.status.register
    return ErrorBit(
        register=register.setpci,
        status=one.status.word,
        bit=one.word,
        name=_name(one),
        severity=one.severity,
        severity_by_default=one.severity_by_default,
        masked=one.masked,
        last_clear=window.builder.number(one.since),
        first_set=window.builder.number(one.row),
        before_kexec_ns=_lead(one.since, window),
    )


def _name(one: LatchedBit) -> str:
    return declared.NAMES[one.status.register].get(one.word, "an error that lspci has no word for")


def _lead(since: int | None, window: KexecWindow) -> int | None:
    """Time from the access that opens a window to the outgoing kernel's last one."""
    if since is None:
        return None
    opened, ended = window.builder.time_ns(since), window.builder.time_ns(window.outgoing_end)
    return None if opened is None or ended is None else ended - opened


def _text(group: Sequence[LatchedBit], window: KexecWindow) -> str:
    """``UESta: SDES+, set between access 7, 0.120 s before the kexec, and access 9: Surprise Down ...``."""
    first = group[0]
    words = " ".join(f"{one.word}+" for one in group)
    names = ", ".join(f"{_name(one)}{_qualities(one)}" for one in group)
    return f"{first.status.word}: {words}, {_between(first, window)}: {names}"


def _between(one: LatchedBit, window: KexecWindow) -> str:
    read = f"access {window.builder.number(one.row)}"
    if one.since is None:
        return f"set at an unknown time before {read} (no access shows it clear)"
    lead = _lead(one.since, window)
    when = "" if lead is None or lead < 0 else f", {_duration(lead)} before the kexec,"
    by = " of the outgoing kernel" if one.row <= window.outgoing_end else ""
    return f"set between access {window.builder.number(one.since)}{when} and {read}{by}"


def _duration(ns: int) -> str:
    return f"{ns / 1e9:,.3f} s" if ns >= 10**9 else f"{ns / 1e6:.3f} ms"


def _qualities(one: LatchedBit) -> str:
    parts: list[str] = [] if one.severity is None else [one.severity]
    if one.severity_by_default:
        parts = [f"{one.severity} by default: {declared.SEVERITY.setpci} is not in the capture"]
    if one.masked:
        parts.append("masked")
    elif one.masked is None and one.status.register in declared.MASKS:
        parts.append(f"{declared.MASKS[one.status.register].setpci} is not in the capture")
    return f" ({'; '.join(parts)})" if parts else ""


def path_errors(path: Sequence[FunctionErrors], window: KexecWindow) -> tuple[PathErrors, str]:
    """What stands beside the cause of a loss: the errors of a bridge and of every bridge above it.

    Args:
        path: the bridge, then the bridges above, nearest first.
        window: of the kexec.
    """
    doubts = "; ".join(f"{errors.bdf} ({', '.join(errors.doubts)})" for errors in path if errors.doubts)
    without = ", ".join(errors.bdf for errors in path if errors.has_registers is False)
    rest = f"; without AER: {without}" if without else ""
    rest += f"; not captured: {doubts}" if doubts else ""
    path = [replace(errors, latched=(*errors.handled, *errors.latched)) for errors in path]
    fatal = _named(path, window, fatal=True)
    if fatal:
        return "fatal", f"a fatal PCIe error was recorded on the path: {fatal}{rest}"
    others = _named(path, window, fatal=False)
    if others:
        return "recorded", f"PCIe errors were recorded on the path, none signalled as fatal: {others}{rest}"
    clean = ", ".join(errors.bdf for errors in path if errors.has_registers and not errors.doubts)
    if clean and not doubts and window.whole:
        return "clean", f"read and clean: no PCIe error was recorded on the path ({clean}{rest})"
    known = f"; read and clean: {clean}" if clean else ""
    lacking = "" if window.whole else "; accesses are missing from the capture"
    if not window.dump and all(errors.is_unread for errors in path):
        lacking += "; no kernel reads them where firmware handles errors"
    unknown = "whether a PCIe error was recorded on the path is not known"
    return "not-captured", f"{rest}{known}{lacking}; {unknown}".removeprefix("; ")


def _named(path: Sequence[FunctionErrors], window: KexecWindow, *, fatal: bool) -> str:
    """The bits on a path that are fatal and signalled, or those that are not."""
    return "; ".join(
        f"{errors.bdf} {_text(group, window)}"
        for errors in path
        for group in _groups(
            one for one in errors.latched if (one.severity == "fatal" and not one.masked) == fatal
        )
    )
