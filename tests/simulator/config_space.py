"""One function's 4096 bytes of config space: values, which bits can be written, which survive a reset.

The rules are those of PCI Express Base Specification 7.4 (register attributes): RO bits ignore writes, RW
bits take them, RW1C bits are cleared by a one, and the sticky variants of both keep their value through every
reset but a power cycle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SIZE = 4096


class ConfigSpace:
    """Registers of one function.

    Attributes:
        data: current values.
        writable: bits that take a write (RW).
        clearable: bits that a written one clears (RW1C).
        sticky: bits that keep their value through a conventional reset.
        defaults: values behind a power cycle; set by :meth:`freeze`.
    """

    __slots__ = ("clearable", "data", "defaults", "sticky", "writable")

    def __init__(self) -> None:
        self.data = bytearray(SIZE)
        self.writable = bytearray(SIZE)
        self.clearable = bytearray(SIZE)
        self.sticky = bytearray(SIZE)
        self.defaults = b""

    def define(
        self,
        offset: int,
        size: int,
        value: int = 0,
        *,
        writable: int = 0,
        clearable: int = 0,
        sticky: bool = False,
    ) -> None:
        """Give a register its reset value and its attributes (masks of bits)."""
        end = offset + size
        self.data[offset:end] = value.to_bytes(size, "little")
        self.writable[offset:end] = writable.to_bytes(size, "little")
        self.clearable[offset:end] = clearable.to_bytes(size, "little")
        if sticky:
            self.sticky[offset:end] = (writable | clearable).to_bytes(size, "little")

    def freeze(self) -> None:
        """Take the current values as the ones behind a power cycle."""
        self.defaults = bytes(self.data)

    def get(self, offset: int, size: int) -> int:
        """Value of a register, whoever may or may not read it."""
        return int.from_bytes(self.data[offset : offset + size], "little")

    def put(self, offset: int, size: int, value: int) -> None:
        """Change a register behind everybody's back, read-only bits included."""
        self.data[offset : offset + size] = value.to_bytes(size, "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Write as a config request does: attributes decide what sticks."""
        end = offset + size
        old = int.from_bytes(self.data[offset:end], "little")
        mask = int.from_bytes(self.writable[offset:end], "little")
        new = (old & ~mask) | (value & mask)
        clear = int.from_bytes(self.clearable[offset:end], "little")
        if clear:
            new &= ~(value & clear)
        self.data[offset:end] = new.to_bytes(size, "little")

    def reset(self, *, power: bool = False) -> None:
        """Return to the defaults; sticky bits only where the power went too."""
        if power:
            self.data[:] = self.defaults
            return
        kept = int.from_bytes(self.sticky, "little")
        value = int.from_bytes(self.defaults, "little") & ~kept | int.from_bytes(self.data, "little") & kept
        self.data[:] = value.to_bytes(SIZE, "little")

    def restore(self, registers: Iterable[tuple[int, int]]) -> None:
        """Return only some registers (offset, size) to their defaults."""
        for offset, size in registers:
            self.data[offset : offset + size] = self.defaults[offset : offset + size]
