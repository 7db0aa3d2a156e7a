"""Put the lines of one config access together: ``pci_cfg_*`` says which function, the others how wide.

An access that the guest made shows as a ``pci_cfg_*`` line and, if they are traced too, as one of
``memory_region_ops_*`` and one of ``vfio_pci_*_config`` next to it (order:
:mod:`analyzer.readers.qemu.side_lines`). It becomes one row. A ``memory_region_ops_*`` line without a partner
is an access that no function answered, or one of a log in which ``pci_cfg_*`` was not traced. A ``pci_cfg_*``
line of QEMU before 7.0 does not say the bus: it has that of its ``memory_region_ops_*`` line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.capture.accesses import READ, WRITE
from analyzer.readers.columns import Columns
from analyzer.readers.config_mechanisms import ADDRESS_PORT, DATA_PORT, FULL_WINDOW, ConfigMechanisms, Touches
from analyzer.readers.qemu import side_lines as side
from analyzer.readers.qemu.events import CfgEvents
from analyzer.readers.tallies import Count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.readers.qemu.side_lines import SideLines

_CFG, _REGION, _VFIO, _CFG_NO_BUS = range(4)
#: Device, function and register of an address.
_WITHIN_BUS = 0xFFFFF
#: ``address`` of an access whose bus, devfn and register are not known.
_BLIND = -1
#: All that a function without extended config space has.
_CONVENTIONAL = 256
#: An ECAM window begins at a multiple of its size; the smallest has 64 buses.
_SMALLEST_WINDOW = FULL_WINDOW >> 2
_NO_ADDRESS = (
    "{} [access to the port 0xcfc is|accesses to the port 0xcfc are] left out: what was written to 0xcf8"
    " before is not in the log"
)
_NO_WINDOW = (
    "{} [access|accesses] to an ECAM window [is|are] left out: the log does not say where the window is; give"
    " --ecam-base"
)


@dataclass(frozen=True)
class _Sequence(Columns):
    """Lines of all kinds in file order; ``address`` is bus << 20 | devfn << 12 | register."""

    where: NDArray[np.int64]
    kind: NDArray[np.uint8]
    op: NDArray[np.uint8]
    address: NDArray[np.int64]
    low: NDArray[np.int64]
    value: NDArray[np.int64]
    size: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    timed: NDArray[np.bool_]
    absent: NDArray[np.bool_]


class WidthPairing:
    """Joins the lines of a log, a block at a time.

    Args:
        ecam_base: where the ECAM window is, if the user says it.

    Attributes:
        no_bus: ``pci_cfg_*`` lines without a bus that no other line says.
        vfio_alone: lines of ``vfio_pci_*_config`` without a ``pci_cfg_*`` line next to them, by direction.
    """

    def __init__(self, ecam_base: int | None) -> None:
        self._mechanisms = ConfigMechanisms(ecam_base)
        self._held: _Sequence | None = None
        self._side_seen = self._cfg_seen = False
        self._blind, self._no_window = Count(), Count()
        self.no_bus = Count()
        self.vfio_alone = {READ: 0, WRITE: 0}

    def take(
        self, events: CfgEvents, no_bus: CfgEvents, lines: SideLines, *, last: bool = False
    ) -> CfgEvents:
        """Return the accesses of a block; some wait for the next one, unless this is the ``last``.

        Args:
            events: ``pci_cfg_*`` lines.
            no_bus: those that do not say their bus.
            lines: the others.
            last: nothing follows.
        """
        self._side_seen |= len(lines) > 0
        self._cfg_seen |= len(events) + len(no_bus) > 0
        if not self._side_seen:
            if len(no_bus):
                self.no_bus.add(len(no_bus), int(no_bus.where[0]))
            return events
        rows = self._sequence(events, no_bus, lines)
        with_next = self._partners(rows)
        keep = len(rows)
        if not last and keep:
            # What belongs to the last line may still come.
            keep -= 1
            while keep and with_next[keep - 1]:
                keep -= 1
        self._held = rows.pick(slice(keep, None))
        return self._accesses(rows.pick(slice(keep)), with_next[:keep])

    @property
    def waiting_from(self) -> int | None:
        """Place of the first line that is held back, None if none is."""
        return None if self._held is None or not len(self._held) else int(self._held.where[0])

    def close(self, notes: Notes) -> None:
        """Write into the notes what could not be used; lines of ``vfio_alone`` are left to the caller."""
        for count, message in ((self._blind, _NO_ADDRESS), (self._no_window, _NO_WINDOW)):
            count.report(notes, "dropped", message)

    def _sequence(self, events: CfgEvents, no_bus: CfgEvents, lines: SideLines) -> _Sequence:
        """Return all lines in order, after those that were held back."""
        cfg = _of_events(events, _CFG)
        vfio = lines.pick(lines.kind == side.VFIO)
        parts = [
            cfg,
            _of_events(no_bus, _CFG_NO_BUS),
            _others(vfio, _VFIO, vfio.address),
            *self._regions(cfg, lines.pick(lines.kind != side.VFIO)),
        ]
        if self._held is not None:
            parts.insert(0, self._held)
        rows = _Sequence.concat(parts)
        return rows.pick(np.argsort(rows.where, kind="stable"))

    def _regions(self, cfg: _Sequence, lines: SideLines) -> list[_Sequence]:
        """Return accesses to the data port and the ECAM window, decoded as far as they can be."""
        if not len(lines):
            return []
        ecam = lines.kind == side.ECAM
        # Where the region is mapped through an alias (every machine but q35), addresses count from its start.
        relative = ecam & (lines.address >= 0) & (lines.address < FULL_WINDOW)
        if self._mechanisms.window is None and bool((ecam & ~relative).any()):
            self._learn_window(cfg, lines.pick(ecam & ~relative))
        port = np.where(lines.kind == side.ADDRESS, ADDRESS_PORT, DATA_PORT | lines.address & 3)
        decoded = self._mechanisms.decode(
            Touches(
                agent=lines.cpu,
                memory=ecam & ~relative,
                address=np.where(ecam, lines.address, port),
                size=lines.size,
                write=lines.op == WRITE,
                value=lines.value.astype(np.int64),
            )
        )
        address = np.full(len(lines), _BLIND, np.int64)
        address[decoded.row] = _address(decoded.bus, decoded.devfn, decoded.offset)
        address[relative] = lines.address[relative]
        # An address register written to without its enable bit makes the data port mean nothing.
        used = np.zeros(len(lines), bool)
        used[decoded.row] = used[decoded.no_address] = used[relative] = used[decoded.no_window] = True
        return [_others(lines.pick(used), _REGION, address[used], low=lines.address[used])]

    def _learn_window(self, cfg: _Sequence, ecam: SideLines) -> None:
        """Learn the ECAM window from an access to it and the ``pci_cfg_*`` line next to it."""
        at = np.searchsorted(cfg.where, ecam.where)
        partner = np.where(ecam.op == READ, at - 1, at)
        fits = (partner >= 0) & (partner < len(cfg))
        partner = partner[fits]
        base = ecam.address[fits] - cfg.address[partner]
        sure = (base > 0) & (base % _SMALLEST_WINDOW == 0) & (cfg.op[partner] == ecam.op[fits])
        sure &= cfg.value[partner] == _masked(ecam.value[fits], ecam.size[fits])
        if sure.any():
            self._mechanisms.window = (int(base[sure][0]), FULL_WINDOW)

    def _partners(self, rows: _Sequence) -> NDArray[np.bool_]:
        """Return for each row whether it and the next one are of the same access."""
        if len(rows) < 2:
            return np.zeros(len(rows), bool)
        first, second = rows.pick(slice(None, -1)), rows.pick(slice(1, None))
        read = first.op == READ
        old = first.kind == _CFG_NO_BUS, second.kind == _CFG_NO_BUS
        cfg = (first.kind == _CFG) | old[0], (second.kind == _CFG) | old[1]
        same = (first.op == second.op) & (first.value == second.value)
        register = (first.low ^ second.low) & 0xFFF == 0
        blind = (first.address == _BLIND) | (second.address == _BLIND)
        known = (first.address == second.address) | blind
        within = (first.address ^ second.address) & _WITHIN_BUS == 0
        known = np.where(old[0] | old[1], within & ~blind, known)
        port = (first.low ^ second.low) & 3 == 0
        with_region = (
            same
            & known
            & port
            & np.where(
                read,
                cfg[0] & (second.kind == _REGION),
                (first.kind == _REGION) & cfg[1],
            )
        )
        with_vfio = (
            same
            & register
            & np.where(
                read,
                (first.kind == _VFIO) & cfg[1],
                cfg[0] & (second.kind == _VFIO),
            )
        )
        return np.append(with_region | with_vfio, False)

    def _accesses(self, rows: _Sequence, with_next: NDArray[np.bool_]) -> CfgEvents:
        """Make one access of each ``pci_cfg_*`` line and its partners, and of each line without one."""
        with_last = np.concatenate(([False], with_next[:-1])) if len(with_next) else with_next
        rows, cfg = self._with_bus(rows, with_next, with_last)
        size = np.zeros(len(rows), np.int64)
        at = np.flatnonzero(cfg & with_last)
        size[at] = rows.size[at - 1]
        at = np.flatnonzero(cfg & with_next)
        # The partner after a read is the region, which the guest really touched; after a write it is VFIO.
        size[at] = np.where((rows.op[at] == READ) | (size[at] == 0), rows.size[at + 1], size[at])
        alone = (rows.kind == _REGION) & ~with_next & ~with_last
        blind = alone & (rows.address == _BLIND)
        self._count_alone(rows, blind, with_next | with_last)
        alone &= ~blind
        size = np.where(alone, rows.size, size)
        ones = rows.value == _masked(np.full(len(rows), -1), size)
        silent = alone & self._cfg_seen & (ones | (rows.op == WRITE))
        conventional = rows.address & 0xFFF < _CONVENTIONAL
        chosen = np.flatnonzero(cfg | alone)
        found = rows.pick(chosen)
        return CfgEvents(
            where=found.where,
            time_ns=found.time_ns,
            timed=found.timed,
            op=found.op,
            bus=(found.address >> 20).astype(np.uint8),
            devfn=(found.address >> 12 & 0xFF).astype(np.uint8),
            offset=(found.address & 0xFFF).astype(np.uint16),
            value=found.value.astype(np.uint32),
            absent=found.absent | (silent & conventional)[chosen],
            width=size[chosen].astype(np.uint8),
            unclear=(silent & ~conventional)[chosen],
        )

    def _with_bus(
        self, rows: _Sequence, with_next: NDArray[np.bool_], with_last: NDArray[np.bool_]
    ) -> tuple[_Sequence, NDArray[np.bool_]]:
        """Give lines without a bus that of the region's line next to them; return which rows are of CFG."""
        cfg, old = rows.kind == _CFG, rows.kind == _CFG_NO_BUS
        if not old.any():
            return rows, cfg
        address = rows.address.copy()
        # The region's line comes after a read, and before a write.
        for paired, step in (
            (old & (rows.op == READ) & with_next, 1),
            (old & (rows.op == WRITE) & with_last, -1),
        ):
            at = np.flatnonzero(paired)
            at = at[rows.kind[at + step] == _REGION]
            address[at] = rows.address[at + step]
            cfg[at] = True
        alone = old & ~cfg
        if alone.any():
            self.no_bus.add(int(alone.sum()), int(rows.where[alone][0]))
        return replace(rows, address=address), cfg

    def _count_alone(self, rows: _Sequence, blind: NDArray[np.bool_], joined: NDArray[np.bool_]) -> None:
        ecam = blind & (rows.low >= FULL_WINDOW)
        for count, these in ((self._blind, blind & ~ecam), (self._no_window, ecam)):
            if these.any():
                count.add(int(these.sum()), int(rows.where[these][0]))
        vfio = (rows.kind == _VFIO) & ~joined
        for op in (READ, WRITE):
            self.vfio_alone[op] += int((vfio & (rows.op == op)).sum())


def _address(bus: NDArray[Any], devfn: NDArray[Any], offset: NDArray[Any]) -> NDArray[np.int64]:
    address: NDArray[np.int64] = bus.astype(np.int64) << 20 | devfn.astype(np.int64) << 12 | offset
    return address


def _of_events(events: CfgEvents, kind: int) -> _Sequence:
    return _Sequence(
        where=events.where,
        kind=np.full(len(events), kind, np.uint8),
        op=events.op,
        address=_address(events.bus, events.devfn, events.offset),
        low=events.offset.astype(np.int64),
        value=events.value.astype(np.int64),
        size=np.zeros(len(events), np.int64),
        time_ns=events.time_ns,
        timed=events.timed,
        absent=events.absent,
    )


def _masked(value: NDArray[Any], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bytes that an access of ``size`` bytes can hold, at most 4 of them."""
    bits = np.minimum(size, 4) * 8
    masked: NDArray[np.int64] = value.astype(np.int64) & ((np.int64(1) << bits) - 1)
    return masked


def _others(
    lines: SideLines, kind: int, address: NDArray[np.int64], *, low: NDArray[np.int64] | None = None
) -> _Sequence:
    return _Sequence(
        where=lines.where,
        kind=np.full(len(lines), kind, np.uint8),
        op=lines.op,
        address=address,
        low=address if low is None else low,
        value=_masked(lines.value, lines.size),
        size=lines.size,
        time_ns=lines.time_ns,
        timed=lines.timed,
        absent=np.zeros(len(lines), bool),
    )
