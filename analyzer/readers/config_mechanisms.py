"""The two ways in which an x86 machine reaches config space, decoded from what a hypervisor saw of them.

*Ports* (PCI Local Bus 3.0, 3.2.2.3.2): a dword written to 0xCF8 is an address, an access to 0xCFC to 0xCFF
is the data. AMD puts bits 11 to 8 of the register into bits 27 to 24 of the address (BKDG, EnableCf8ExtCfg).
Each CPU, or each thread that plays one, has a latch of its own here: in the machine there is one, but a
kernel writes the address in front of every access with a lock held, and a trace may show CPUs out of step.

*ECAM* (PCI Express 7.2.2): a window of memory in which bus, device, function and register are the address.
QEMU's ``q35`` has its place in PCIEXBAR, at 0x60 of 00:00.0 (Intel 3 series datasheet, 5.1.13; QEMU
``include/hw/pci-host/q35.h``), from where it is learned; for other machines a user has to say it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analyzer.readers.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Numbers = NDArray[np.int64]
    _Access = tuple[int, bytes, bool]

ADDRESS_PORT, DATA_PORT = 0xCF8, 0xCFC
_ENABLE = 1 << 31
#: Bus shift in an ECAM address; bytes of a window with all 256 buses.
_BUS_SHIFT, FULL_WINDOW = 20, 1 << 28
#: PCIEXBAR of 8 bytes: bit 0 enables, bits 2:1 are the size, the base is a multiple of it.
_PCIEXBAR, _PCIEXBAR_SIZE = 0x60, 8
_WINDOW_SIZES = {0: FULL_WINDOW, 1: FULL_WINDOW >> 1, 2: FULL_WINDOW >> 2}
_BASE_LIMIT = 1 << 40
_WIDTHS = (1, 2, 4)
#: Bits of PCIEXBAR that are not of the base, and those of them that read as zero.
_BAR_FLAGS, _BAR_RESERVED = 0x3FF_FFFF, 0x3FF_FFF8
#: Vendor and device of QEMU's q35 host bridge.
_Q35 = 0x29C0_8086


@dataclass(frozen=True)
class Touches(Columns):
    """Accesses to ports and memory as columns of one length, in the order in which they happened.

    Attributes:
        agent: the CPU, or the thread that plays it.
        memory: whether ``address`` is one of memory, not a port.
        address: port or physical address.
        size: bytes.
        write: whether it is a write.
        value: what was read or written.
    """

    agent: Numbers
    memory: Bools
    address: Numbers
    size: Numbers
    write: Bools
    value: Numbers


@dataclass(frozen=True)
class Decoded:
    """What the touches are: ``row`` names those that are config accesses.

    Attributes:
        row: index in the touches, ascending.
        bus: bus number.
        devfn: device and function.
        offset: register.
        no_address: rows of data ports whose address was not seen.
        no_window: rows of memory that may be ECAM, as no window is known.
        odd: rows within the window of a size or at a place that no config access has.
    """

    row: Numbers
    bus: NDArray[np.uint8]
    devfn: NDArray[np.uint8]
    offset: NDArray[np.uint16]
    no_address: Numbers
    no_window: Numbers
    odd: Numbers


class ConfigMechanisms:
    """Remembers addresses written to 0xCF8 and the place of the ECAM window, from one batch to the next.

    Args:
        ecam_base: where the window is, if a user says it: then nothing is learned.

    Attributes:
        window: base and size in bytes of the ECAM window, None if it is not known.
    """

    def __init__(self, ecam_base: int | None = None) -> None:
        self.window: tuple[int, int] | None = None if ecam_base is None else (ecam_base, FULL_WINDOW)
        self._given = ecam_base is not None
        self._latches: dict[int, int] = {}
        self._pciexbar = bytearray(_PCIEXBAR_SIZE)
        self._identity: dict[int, int] = {}  # bytes of vendor and device of 00:00.0

    @property
    def host_bridge(self) -> int | None:
        """Vendor (low half) and device of 00:00.0, None as long as they were not read."""
        if len(self._identity) < 4:
            return None
        return int.from_bytes(bytes(self._identity[at] for at in range(4)), "little")

    @property
    def may_have_window(self) -> bool:
        """Whether the machine can have an ECAM window that is not known."""
        return self.window is None and self.host_bridge in (None, _Q35)

    def decode(self, touches: Touches) -> Decoded:
        """Find which touches are config accesses, and of which register."""
        count = len(touches)
        address = np.full(count, -1, np.int64)  # bus << 20 | devfn << 12 | register, -1: no config access
        no_address = self._decode_ports(touches, address)
        no_window, odd = self._decode_memory(touches, address)
        row = np.flatnonzero(address >= 0)
        found = address[row]
        return Decoded(
            row=row,
            bus=(found >> _BUS_SHIFT).astype(np.uint8),
            devfn=(found >> 12 & 0xFF).astype(np.uint8),
            offset=(found & 0xFFF).astype(np.uint16),
            no_address=no_address,
            no_window=no_window,
            odd=odd,
        )

    def _decode_ports(self, touches: Touches, address: Numbers) -> Numbers:
        """Fill in the address of accesses to the data ports; return the rows that lack one."""
        ports = ~touches.memory
        latch = ports & touches.write & (touches.address == ADDRESS_PORT) & (touches.size == 4)
        end = touches.address + touches.size
        data = (
            ports & (touches.address >= DATA_PORT) & (end <= DATA_PORT + 4) & np.isin(touches.size, (1, 2, 4))
        )
        rows = np.flatnonzero(latch | data)
        if not len(rows):
            return rows
        # What was latched in earlier batches stands in front, one row an agent.
        known = np.array(list(self._latches.items()), np.int64).reshape(-1, 2)
        agent = np.concatenate([known[:, 0], touches.agent[rows]])
        value = np.concatenate([known[:, 1], touches.value[rows]])
        is_latch = np.concatenate([np.ones(len(known), bool), latch[rows]])
        order = np.argsort(agent, kind="stable")
        sorted_agent = agent[order]
        source = np.maximum.accumulate(np.where(is_latch[order], np.arange(len(order)), -1))
        # The last address in front of a row is that of another agent, if this one wrote none.
        fits = (source >= 0) & (sorted_agent[source] == sorted_agent)
        latched = np.full(len(order), -1, np.int64)
        latched[order] = np.where(fits, value[order][source], -1)
        last = np.flatnonzero(np.append(sorted_agent[1:] != sorted_agent[:-1], True) & fits)
        self._latches.update(zip(sorted_agent[last].tolist(), latched[order][last].tolist(), strict=True))
        latched = latched[len(known) :]
        is_data = data[rows]
        use = is_data & (latched >= 0) & (latched & _ENABLE != 0)
        register = latched & 0xFC | latched >> 16 & 0xF00 | touches.address[rows] & 3
        address[rows[use]] = (latched >> 8 & 0xFFFF)[use] << 12 | register[use]
        return rows[is_data & (latched < 0)]

    def _decode_memory(self, touches: Touches, address: Numbers) -> tuple[Numbers, Numbers]:
        """Fill in the address of accesses to the ECAM window; return rows without window, and odd ones."""
        unknown, odd = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        start = 0
        for stop, learned in (*self._changes(touches, address), (len(touches), None)):
            while start < stop:
                begin = start
                if self.window is None:
                    start = stop
                    unknown.append(begin + np.flatnonzero(touches.memory[begin:stop]))
                else:
                    start, within = self._decode_part(touches, address, begin, stop)
                    odd.append(within[address[within] < 0])
            if learned is not None:
                self._learn(*learned)
        return np.concatenate(unknown), np.concatenate(odd)

    def _decode_part(self, touches: Touches, address: Numbers, begin: int, stop: int) -> tuple[int, Numbers]:
        """Fill in the address of accesses to the window up to ``stop``, or up to where it moves itself.

        Returns the row after it, and the rows within the window.
        """
        base, size = self.window or (0, 0)
        inside = touches.address[begin:stop] - base
        within = touches.memory[begin:stop] & (inside >= 0) & (inside < size)
        width = touches.size[begin:stop]
        fits = within & np.isin(width, _WIDTHS) & ((inside & 3) + width <= 4)
        moving = fits & touches.write[begin:stop] & (inside >> 3 == _PCIEXBAR >> 3)
        moves = not self._given and bool(moving.any())
        if moves:
            stop = begin + int(np.argmax(moving)) + 1
        rows = begin + np.flatnonzero(fits[: stop - begin])
        address[rows] = inside[rows - begin]
        if moves:
            self._learn(*_access(touches, address, stop - 1))
        return stop, begin + np.flatnonzero(within[: stop - begin])

    def _changes(self, touches: Touches, address: Numbers) -> Iterator[tuple[int, _Access]]:
        """Yield next row and access where ports say something about the window or the host bridge."""
        if self._given:
            return
        of_bridge = (address >= 0) & (address < _PCIEXBAR + _PCIEXBAR_SIZE)
        rows = np.flatnonzero(of_bridge & ((address < 4) & ~touches.write | (address >= _PCIEXBAR)))
        before: _Access | None = None
        for row in rows.tolist():
            access = _access(touches, address, row)
            if access != before:
                yield row + 1, access
            before = access

    def _learn(self, register: int, data: bytes, write: bool) -> None:
        """Learn from an access to 00:00.0: which host bridge it is, and where PCIEXBAR puts the window."""
        if register < 4:
            self._identity.update(enumerate(data[: 4 - register], register))
            return
        # A read can be of any chipset: it counts once the host bridge said who it is.
        if self.host_bridge not in (None, _Q35) or (
            not write and (self.window is not None or self.host_bridge is None)
        ):
            return
        at = register - _PCIEXBAR
        data = data[: _PCIEXBAR_SIZE - at]
        self._pciexbar[at : at + len(data)] = data
        bar = int.from_bytes(self._pciexbar, "little")
        size = _WINDOW_SIZES.get(bar >> 1 & 3, 0)
        base = bar & ~_BAR_FLAGS
        if not bar & 1:
            self.window = None
        elif size and not bar & _BAR_RESERVED and base % size == 0 and 0 < base < _BASE_LIMIT:
            self.window = (base, size)


def _access(touches: Touches, address: Numbers, row: int) -> _Access:
    """Return register, data and direction of an access to 00:00.0."""
    size = int(touches.size[row])
    data = int(touches.value[row]) & (1 << 8 * size) - 1
    return int(address[row]), data.to_bytes(size, "little"), bool(touches.write[row])
