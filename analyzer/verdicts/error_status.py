"""PCI Express errors that were recorded across a kexec: which bits, in which window, how severe.

The registers are in :mod:`schemas.error_status`. A bit that the incoming kernel's first read shows was set
after the last access that shows it clear or clears it. A kernel with native AER reads them at its
scan and clears them at once (Linux 7.3 pci_aer_raw_clear_status), so that only its first read counts; on
hosts whose firmware handles errors no kernel reads them. A dump that was taken after a scan shows what
happened since: a bit that is clear there proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer import bdf
from analyzer.verdicts import reset_evidence
from schemas import error_status as declared
from schemas.pcie_capability import TYPE_RC_EVENT_COLLECTOR, TYPE_ROOT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.observed.registers.functions import Function
    from analyzer.verdicts.evidence import EvidenceBuilder
    from schemas.error_status import ErrorSeverity
    from schemas.inherited_state import InheritedState
    from schemas.registers import Register

#: Bytes of the AER capability that are in a register of errors, and from which to before which they lie.
_STATUS_BYTES = frozenset(
    one.register.offset + byte for one in declared.READ_AT_SCAN for byte in range(one.register.size)
)
_FIRST, _LAST = min(_STATUS_BYTES), max(_STATUS_BYTES)


class LatchedBit(NamedTuple):
    """One error bit in the incoming kernel's first read, or in a read of the outgoing one before its end.

    Attributes:
        function: that has it, in the boot of that read.
        status: the register that has it.
        mask: the bit.
        since: row of the last access before that shows it clear or clears it, None if no access does.
        row: row of that read.
        severity, severity_by_default, masked: as in :class:`analyzer.results.ErrorBit`.
    """

    function: Function
    status: InheritedState
    mask: int
    since: int | None
    row: int
    severity: ErrorSeverity | None
    severity_by_default: bool
    masked: bool | None

    @property
    def word(self) -> str:
        """The word that lspci has for it."""
        return self.status.register.words(self.mask)[0]


@dataclass(frozen=True)
class FunctionErrors:
    """What the error status registers of one function show at one kexec.

    Attributes:
        bdf: its address.
        latched: bits that were set between the two kernels.
        handled: bits that the outgoing kernel itself read after the row that was asked for.
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
    handled: tuple[LatchedBit, ...] = ()


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
    name: int,
    before: Function | None,
    after: Function | None,
    window: KexecWindow,
    since: int | None = None,
) -> FunctionErrors:
    """Look the error status of one function up in both boots.

    Args:
        name: key of the function.
        before: the function in the outgoing boot, None if it was not enumerated there.
        after: the same in the incoming boot.
        window: of the kexec.
        since: row after which reads of the outgoing kernel count too.
    """
    place = bdf.text(name)
    if after is None:
        return FunctionErrors(place, (), ("the incoming kernel did not enumerate it",), None)
    has_registers = after.start_of("ECAP_AER") is not None
    may_lack_power = _may_have_lost_power(after)
    if has_registers and not window.dump and not may_lack_power and _is_quiet(before, after, since):
        return FunctionErrors(place)
    latched: list[LatchedBit] = []
    handled: list[LatchedBit] = []
    doubts: list[str] = []
    is_unread = True
    if may_lack_power and reset_evidence.sticky_lost(before, after, window.builder) is not None:
        doubts.append("it lost power, and its error status with it")
    for status in _status_registers(after, dump=window.dump):
        first = _first_read(after, status)
        is_unread &= not first.shown
        if status in declared.READ_AT_SCAN and (window.dump or first.shown != status.mask):
            doubts.append(status.register.setpci)
        held = _track(before, status, since)
        for mask, row in first.set_bits:
            if mask & held.standing:
                doubts.append(f"{status.word}: {status.register.words(mask)[0]} was set before already")
            else:
                latched.append(_latched(status, mask, (held.clear(mask), row), before, after))
        if before is not None:
            handled.extend(
                _latched(status, mask, rows, before, after)._replace(function=before)
                for mask, rows in held.handled.items()
            )
    if not has_registers and not (after.is_pcie is False or after.capabilities.extended_end):
        return FunctionErrors(place, tuple(latched), ("its extended capabilities",), None)
    return FunctionErrors(
        place, tuple(latched), tuple(doubts), has_registers, is_unread and has_registers, tuple(handled)
    )


def _latched(
    status: InheritedState,
    mask: int,
    rows: tuple[int | None, int],
    before: Function | None,
    after: Function,
) -> LatchedBit:
    """A bit that was read set, with the row before which it was clear and that of the read."""
    severity, by_default = _severity(status, mask, before, after)
    masked = _masked(status, mask, before, after)
    return LatchedBit(after, status, mask, *rows, severity, by_default, masked)


def _may_have_lost_power(function: Function) -> bool:
    """A bridge that lost power has no bus numbers; of a device they are not known."""
    numbers = function.first_bus_numbers
    return numbers is None or (numbers.primary, numbers.secondary, numbers.subordinate) == (0, 0, 0)


def _is_quiet(before: Function | None, after: Function, since: int | None) -> bool:
    """Whether a cheap check shows that all was read and clean, without working out each register.

    That holds for most: each status register was first read as 0, whole and by itself, and the outgoing
    kernel read nothing else after ``since``.
    """
    accesses = after.view.accesses
    if after.latched or accesses.known is not None:
        return False
    into = accesses.offsets - (after.start_of("ECAP_AER") or 0)
    places = np.flatnonzero((into >= _FIRST) & (into <= _LAST))
    offsets, firsts = np.unique(into[places], return_index=True)
    first = dict(zip(offsets.tolist(), places[firsts].tolist(), strict=True))
    for status in _status_registers(after, dump=False):
        register = status.register
        place = first.get(register.offset)
        if place is None or any(register.offset + byte in first for byte in range(1, register.size)):
            return False
        if accesses.writes[place] or accesses.values[place] or accesses.absent[place]:
            return False
        if accesses.widths[place] not in (0, register.size):
            return False
    return since is None or not _reads_errors(before, since)


def _reads_errors(function: Function | None, since: int) -> bool:
    """Whether a read of error status after a row returned anything but 0."""
    start = None if function is None else function.start_of("ECAP_AER")
    if function is None or start is None:
        return False
    accesses = function.view.accesses
    into = accesses.offsets - start
    read = (into >= _FIRST) & (into <= _LAST) & (accesses.rows > since) & ~accesses.writes
    found = into[read & (accesses.values != 0)]
    return any(offset in _STATUS_BYTES for offset in np.unique(found).tolist())


def _status_registers(function: Function, *, dump: bool) -> Iterator[InheritedState]:
    """The registers that a function has and that the input can show before they are cleared."""
    if function.start_of("ECAP_AER") is not None:
        if function.pcie_type in (TYPE_ROOT_PORT, TYPE_RC_EVENT_COLLECTOR):
            yield declared.ROOT_ERRORS
        yield declared.CORRECTABLE_ERRORS
        yield declared.UNCORRECTABLE_ERRORS
    if dump:
        if function.pcie is not None:
            yield declared.DEVICE_ERRORS
        if function.is_bridge:
            yield declared.SECONDARY_ERRORS


class _FirstRead(NamedTuple):
    """The bits that were read before anything cleared them, and those that were set, with the row of each."""

    shown: int
    set_bits: list[tuple[int, int]]


def _first_read(function: Function, status: InheritedState) -> _FirstRead:
    shown, left = 0, status.mask
    set_bits: list[tuple[int, int]] = []
    for sample in function.accesses_to(status.register):
        if sample.write:
            left &= ~(sample.value & sample.mask)
        elif not sample.dead:
            fresh = left & sample.mask
            set_bits.extend((bit, sample.row) for bit in _each(fresh & sample.value))
            shown, left = shown | fresh, left & ~fresh
        if not left:
            break
    return _FirstRead(shown, set_bits)


def _each(mask: int) -> Iterator[int]:
    while mask:
        yield mask & -mask
        mask &= mask - 1


class _Held(NamedTuple):
    """What the outgoing boot shows of one register.

    Attributes:
        cleared: bits that an access shows clear or clears, and its row, in order.
        standing: bits that were last seen set.
        handled: bits that were set and then read: the row that last showed it clear, and that of the read.
    """

    cleared: list[tuple[int, int]]
    standing: int
    handled: dict[int, tuple[int, int]]

    def clear(self, bit: int) -> int | None:
        """Row of the last access that shows a bit clear or clears it."""
        return next((row for bits, row in reversed(self.cleared) if bits & bit), None)


def _track(before: Function | None, status: InheritedState, since: int | None) -> _Held:
    cleared: list[tuple[int, int]] = []
    handled: dict[int, tuple[int, int]] = {}
    standing = 0
    unanswered = False
    for sample in () if before is None else before.accesses_to(status.register):
        if not sample.write:
            unanswered = sample.dead
        if sample.dead or unanswered:
            continue  # no write arrives where no read is answered
        shown = sample.mask & status.mask
        lit = shown & sample.value
        if not sample.write and since is not None and sample.row > since:
            for bit in _each(lit & ~standing):
                opened = _Held(cleared, standing, handled).clear(bit)
                if opened is not None:
                    handled.setdefault(bit, (opened, sample.row))
        off = lit if sample.write else shown & ~lit
        if off:
            cleared.append((off, sample.row))
        standing = standing & ~off if sample.write else standing & ~off | lit
    return _Held(cleared, standing, handled)


def _severity(
    status: InheritedState, mask: int, before: Function | None, after: Function
) -> tuple[ErrorSeverity | None, bool]:
    register = status.register
    if status is declared.CORRECTABLE_ERRORS:
        return "correctable", False
    if status is not declared.UNCORRECTABLE_ERRORS:
        return declared.SEVERITY_BY_WORD.get(register, {}).get(register.words(mask)[0]), False
    known = _bit(declared.SEVERITY, mask, before, after)
    fatal = bool(declared.DEFAULT_SEVERITY & mask) if known is None else known
    return "fatal" if fatal else "non-fatal", known is None


def _masked(status: InheritedState, mask: int, before: Function | None, after: Function) -> bool | None:
    if status is declared.ROOT_ERRORS:
        return False  # the message was sent
    register = declared.MASKS.get(status.register)
    return None if register is None else _bit(register, mask, before, after)


def _bit(register: Register, mask: int, before: Function | None, after: Function) -> bool | None:
    """A bit of a sticky register at the kexec: as the outgoing boot last shows it, else as first read."""
    held = [] if before is None else before.accesses_to(register)
    for sample in [*reversed(held), *after.accesses_to(register)]:
        bit = sample.field(mask)
        if bit is not None:
            return bool(bit)
    return None


def link_errors(path: Sequence[FunctionErrors]) -> list[tuple[str, LatchedBit]]:
    """Bits that say that the link below a bridge went down, with its address, topmost bridge first."""
    return [
        (errors.bdf, one)
        for errors in reversed(path)
        for one in (*errors.handled, *errors.latched)
        if one.status is declared.UNCORRECTABLE_ERRORS and one.word in ("SDES", "DLP")
    ]
