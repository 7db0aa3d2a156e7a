"""PCI Express errors that were recorded across a kexec: which bits, in which window, how severe.

The registers are witnesses (:mod:`schemas.error_status`): a bit that the incoming kernel's first read shows
was set after the last access that shows it clear or clears it. A kernel with native AER reads them at its
scan and clears them at once (Linux 7.3 pci_aer_raw_clear_status), so that only its first read counts; on
hosts whose firmware handles errors no kernel reads them. A dump that was taken after a scan shows what
happened since: a bit that is clear there proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from analyzer import bdf
from analyzer.results import ErrorBit, Secondary
from analyzer.verdicts import reset_evidence
from schemas import error_status as witnesses
from schemas.pcie_capability import TYPE_RC_EVENT_COLLECTOR, TYPE_ROOT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.observed.registers.functions import Function
    from analyzer.replay.world import World
    from analyzer.results import PathErrors
    from analyzer.verdicts.evidence import EvidenceBuilder
    from schemas.error_status import ErrorSeverity
    from schemas.inherited_state import InheritedState
    from schemas.registers import Register


class LatchedBit(NamedTuple):
    """One error bit in the incoming kernel's first read.

    Attributes:
        function: that has it, in the incoming boot.
        witness: its register.
        mask: the bit.
        since: row of the last access before that shows it clear or clears it, None if no access does.
        row: row of the first read.
        severity, severity_by_default, masked: as in :class:`analyzer.results.ErrorBit`.
    """

    function: Function
    witness: InheritedState
    mask: int
    since: int | None
    row: int
    severity: ErrorSeverity | None
    severity_by_default: bool
    masked: bool | None

    @property
    def word(self) -> str:
        """The word that lspci has for it."""
        return self.witness.register.words(self.mask)[0]


@dataclass(frozen=True)
class FunctionErrors:
    """What the error status registers of one function show at one kexec.

    Attributes:
        bdf: its address.
        latched: bits that were set between the two kernels.
        doubts: what is not known of it, as text: registers that were not read before they were cleared, and
            bits that were set before already and never cleared, where a new error leaves no trace.
        has_registers: it has an AER capability; None where the input does not show that.
        is_unread: none of its registers was read.
    """

    bdf: str
    latched: tuple[LatchedBit, ...] = ()
    doubts: tuple[str, ...] = ()
    has_registers: bool | None = True
    is_unread: bool = False


@dataclass(frozen=True)
class KexecWindow:
    """What the windows of one kexec are measured by.

    Attributes:
        builder: makes evidence, knows access numbers and times.
        outgoing_end: row of the outgoing kernel's last access.
        dump: the incoming boot is a snapshot.
        whole: no access between the first and the last is known to be missing.
    """

    builder: EvidenceBuilder
    outgoing_end: int
    dump: bool
    whole: bool = True


def of_function(
    name: int, before: Function | None, after: Function | None, window: KexecWindow
) -> FunctionErrors:
    """Look the error status of one function up in both boots.

    Args:
        name: key of the function.
        before: the function in the outgoing boot, None if it was not enumerated there.
        after: the same in the incoming boot.
        window: of the kexec.
    """
    place = bdf.text(name)
    if after is None:
        return FunctionErrors(place, (), ("the incoming kernel did not enumerate it",), None)
    has_registers = after.start_of("ECAP_AER") is not None
    latched: list[LatchedBit] = []
    doubts: list[str] = []
    is_unread = True
    if reset_evidence.sticky_lost(before, after, window.builder) is not None:
        doubts.append("it lost power, and its error status with it")
    for witness in _witnesses(after, dump=window.dump):
        first = _first_read(after, witness)
        shown = sum(first.bits)
        is_unread &= not shown
        if witness in witnesses.READ_AT_SCAN and (window.dump or shown != witness.mask):
            doubts.append(witness.register.setpci)
        for mask, row in first.set_bits():
            since, standing = _last_clear(before, witness, mask)
            if standing:
                doubts.append(f"{witness.word}: {witness.register.words(mask)[0]} was set before already")
                continue
            severity, by_default = _severity(witness, mask, before, after)
            masked = _masked(witness, mask, before, after)
            latched.append(LatchedBit(after, witness, mask, since, row, severity, by_default, masked))
    if not has_registers and not (after.is_pcie is False or after.capabilities.extended_end):
        return FunctionErrors(place, tuple(latched), ("its extended capabilities",), None)
    return FunctionErrors(place, tuple(latched), tuple(doubts), has_registers, is_unread and has_registers)


def _witnesses(function: Function, *, dump: bool) -> Iterator[InheritedState]:
    """The registers that a function has and that the input can show before they are cleared."""
    if function.start_of("ECAP_AER") is not None:
        if function.pcie_type in (TYPE_ROOT_PORT, TYPE_RC_EVENT_COLLECTOR):
            yield witnesses.ROOT_ERRORS
        yield witnesses.CORRECTABLE_ERRORS
        yield witnesses.UNCORRECTABLE_ERRORS
    if dump:
        if function.pcie is not None:
            yield witnesses.DEVICE_ERRORS
        if function.is_bridge:
            yield witnesses.SECONDARY_ERRORS


class _FirstRead(NamedTuple):
    """The bits that were read before anything cleared them: each mask with its value and row."""

    bits: dict[int, tuple[int, int]]

    def set_bits(self) -> Iterator[tuple[int, int]]:
        """Each bit that is set, and its row."""
        for value, row in self.bits.values():
            if value:
                yield value, row


def _first_read(function: Function, witness: InheritedState) -> _FirstRead:
    bits: dict[int, tuple[int, int]] = {}
    left = witness.mask
    for sample in function.accesses_to(witness.register):
        if sample.write:
            left &= ~(sample.value & sample.mask)
        elif not sample.dead:
            for bit in _each(left & sample.mask):
                bits[bit] = (sample.value & bit, sample.row)
            left &= ~sample.mask
        if not left:
            break
    return _FirstRead(bits)


def _each(mask: int) -> Iterator[int]:
    while mask:
        yield mask & -mask
        mask &= mask - 1


def _last_clear(before: Function | None, witness: InheritedState, mask: int) -> tuple[int | None, bool]:
    """Row of the last access that shows a bit clear or clears it; and whether it was last seen set."""
    since: int | None = None
    standing = unanswered = False
    if before is None:
        return None, False
    for sample in before.accesses_to(witness.register):
        if not sample.write:
            unanswered = sample.dead
        if sample.dead or not sample.mask & mask or (sample.write and unanswered):
            continue
        if sample.write == bool(sample.value & mask):
            since, standing = sample.row, False
        elif not sample.write:
            standing = True
    return since, standing


def _severity(
    witness: InheritedState, mask: int, before: Function | None, after: Function
) -> tuple[ErrorSeverity | None, bool]:
    register = witness.register
    if witness is witnesses.CORRECTABLE_ERRORS:
        return "correctable", False
    if witness is not witnesses.UNCORRECTABLE_ERRORS:
        return witnesses.SEVERITY_BY_WORD.get(register, {}).get(register.words(mask)[0]), False
    known = _bit(witnesses.SEVERITY, mask, before, after)
    fatal = bool(witnesses.DEFAULT_SEVERITY & mask) if known is None else known
    return "fatal" if fatal else "non-fatal", known is None


def _masked(witness: InheritedState, mask: int, before: Function | None, after: Function) -> bool | None:
    if witness is witnesses.ROOT_ERRORS:
        return False  # the message was sent
    register = witnesses.MASKS.get(witness.register)
    return None if register is None else _bit(register, mask, before, after)


def _bit(register: Register, mask: int, before: Function | None, after: Function) -> bool | None:
    """A bit of a sticky register at the kexec: as the outgoing boot last shows it, else as first read."""
    held = [] if before is None else before.accesses_to(register)
    for sample in [*reversed(held), *after.accesses_to(register)]:
        bit = sample.field(mask)
        if bit is not None:
            return bool(bit)
    return None


def findings(
    hardware: World, before: dict[int, Function], after: dict[int, Function], window: KexecWindow
) -> list[Secondary]:
    """Every error bit that was set across a kexec, by function: those of one register and window together.

    Args:
        hardware: which function is which where bus numbers have changed.
        before: functions of the outgoing boot by key.
        after: those of the incoming boot.
        window: of the kexec.
    """
    suspects = {key for key, function in after.items() if function.latched or window.dump}
    if not suspects:
        return []
    found: list[Secondary] = []
    for node in hardware.nodes():
        incoming = None if node.incoming is None else after.get(node.incoming)
        if incoming is not None and incoming.function in suspects:
            outgoing = None if node.outgoing is None else before.get(node.outgoing)
            errors = of_function(node.name, outgoing, incoming, window)
            found.extend(_observation(errors.bdf, group, window) for group in _groups(errors.latched))
    return sorted(found, key=lambda item: not item.is_alarm)


def _groups(latched: Iterable[LatchedBit]) -> list[list[LatchedBit]]:
    groups: dict[tuple[Register, int | None, int], list[LatchedBit]] = {}
    for one in latched:
        groups.setdefault((one.witness.register, one.since, one.row), []).append(one)
    return list(groups.values())


def _observation(place: str, group: Sequence[LatchedBit], window: KexecWindow) -> Secondary:
    first, builder = group[0], window.builder
    register = first.witness.register
    words = " ".join(f"{one.word}+" for one in group)
    proof = [] if first.since is None else [builder.access(first.since, register, "clear", first.function)]
    proof.append(builder.access(first.row, register, f"first read after the kexec: {words}", first.function))
    return Secondary(
        place, "error-status", _text(group, window), proof, [_bit_of(one, window) for one in group]
    )


def _bit_of(one: LatchedBit, window: KexecWindow) -> ErrorBit:
    register = one.witness.register
    return ErrorBit(
        register=register.setpci,
        status=one.witness.word,
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
    return witnesses.NAMES[one.witness.register].get(one.word, "an error that lspci has no word for")


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
    return f"{first.witness.word}: {words}, {_between(first, window)}: {names}"


def _between(one: LatchedBit, window: KexecWindow) -> str:
    read = f"access {window.builder.number(one.row)}"
    if one.since is None:
        return f"set at an unknown time before {read} (no access shows it clear)"
    lead = _lead(one.since, window)
    when = "" if lead is None or lead < 0 else f", {_duration(lead)} before the kexec,"
    return f"set between access {window.builder.number(one.since)}{when} and {read}"


def _duration(ns: int) -> str:
    return f"{ns / 1e9:,.3f} s" if ns >= 10**9 else f"{ns / 1e6:.3f} ms"


def _qualities(one: LatchedBit) -> str:
    parts: list[str] = [] if one.severity is None else [one.severity]
    if one.severity_by_default:
        parts = [f"{one.severity} by default: {witnesses.SEVERITY.setpci} is not in the capture"]
    if one.masked:
        parts.append("masked")
    elif one.masked is None and one.witness.register in witnesses.MASKS:
        parts.append(f"{witnesses.MASKS[one.witness.register].setpci} is not in the capture")
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


def link_errors(path: Sequence[FunctionErrors]) -> list[tuple[str, LatchedBit]]:
    """Bits that say that the link below a bridge went down, with its address, topmost bridge first."""
    return [
        (errors.bdf, one)
        for errors in reversed(path)
        for one in errors.latched
        if one.witness is witnesses.UNCORRECTABLE_ERRORS and one.word in ("SDES", "DLP")
    ]
