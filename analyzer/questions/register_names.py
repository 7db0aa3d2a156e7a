"""Where the registers of each function are, learned while its accesses go by.

For captures of any length, read from front to back: of each function only the bytes of its configuration
space as they were last read are kept. Capability lists are followed as Linux does (7.3
``__pci_find_next_cap``, ``pci_find_next_ext_capability``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analyzer.capture import accesses
from analyzer.errors import UsageError
from analyzer.observed.registers.capability_lists import EXTENDED_LIMIT, STANDARD_LIMIT
from schemas.config_header import CAPABILITIES, EXTENDED_CONFIG_SIZE, HEADER_SIZE, HEADER_TYPE
from schemas.registers import BASE_IDS, CAPABILITY_BASES, EXTENDED_BASES, REGISTERS, setpci_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from schemas.registers import Register

#: Functions of which bytes are kept (9 KiB each); registers of further ones have numbers for names.
MOST_FUNCTIONS: Final = 4096
_ROOM: Final = EXTENDED_CONFIG_SIZE + 4
_EXTENDED: Final = 0x100
_HEADERS: Final = ("HEADER0", "HEADER1")
_ENDS: Final = {
    base: max(register.offset + register.size for register in registers.values())
    for base, registers in REGISTERS.items()
}
_WIDTHS: Final = {"b": 1, "w": 2, "l": 4}
_OFFSET: Final = re.compile(r"(?:0x)?([0-9a-f]{1,3})(?:\.([bwl]))?", re.IGNORECASE)
_IN_CAPABILITY: Final = re.compile(r"([A-Z_]+)(?:\+([0-9a-f]{1,3}))?(?:\.([bwl]))?", re.IGNORECASE)
_NAMED: Final = re.compile(r"(\w+)(?:\.([bwl]))?")


class RegisterPlace(NamedTuple):
    """What an offset is: ``offset`` of ``base`` (a key of ``schemas.registers.REGISTERS``)."""

    base: str
    offset: int

    def name(self, width: int) -> str:
        """As setpci writes it."""
        return setpci_name(self.base, self.offset, width)


@dataclass(frozen=True)
class RegisterRange:
    """Registers that a user asks for.

    Attributes:
        text: as the user wrote it.
        base: what the range counts from; empty: from 0, in every function.
        start, end: in bytes, the end exclusive.
    """

    text: str
    base: str
    start: int
    end: int


def parse_register(text: str) -> RegisterRange:
    """Return the range of ``CAP_EXP+28.w``, ``CAP_EXP``, ``BRIDGE_CONTROL``, ``3e.w`` or ``DevCtl2``.

    Raises:
        UsageError: there is no such register.
    """
    match = _IN_CAPABILITY.fullmatch(text)
    base = match[1].upper() if match is not None else ""
    if match is not None and base in BASE_IDS:
        if match[2] is None:
            return RegisterRange(text, base, 0, _ENDS[base])
        start = int(match[2], 16)
        known = REGISTERS[base].get(start)
        return RegisterRange(text, base, start, start + _size(match[3], known.size if known else 1))
    named = _NAMED.fullmatch(text)
    if named is not None and (places := _named(named[1])):
        return _by_name(text, places, named[2])
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--register: expected a register such as CAP_EXP+28.w, BRIDGE_CONTROL or 3e.w, found {text!r}",
            advice=f"known capabilities: {', '.join(BASE_IDS)}",
        )
    start = int(match[1], 16)
    return RegisterRange(text, "", start, start + _size(match[2], 1))


def _by_name(text: str, places: Sequence[Register], letter: str | None) -> RegisterRange:
    first = places[0]
    in_both = {(register.base, register.offset) for register in places} == {
        (base, first.offset) for base in _HEADERS
    }
    if len(places) > 1 and not in_both:
        where = ", ".join(register.setpci for register in places)
        raise UsageError(f"--register: {text!r} is the name of several registers", advice=f"write {where}")
    # What both headers have is at the same place in both.
    base = "" if in_both else first.base
    return RegisterRange(text, base, first.offset, first.offset + _size(letter, first.size))


def _named(name: str) -> list[Register]:
    return [
        register
        for registers in REGISTERS.values()
        for register in registers.values()
        if register.name.lower() == name.lower()
    ]


def _size(letter: str | None, otherwise: int) -> int:
    return _WIDTHS[letter.lower()] if letter else otherwise


class RegisterNames:
    """Names of registers by function, as far as its reads so far show its capability lists.

    Attributes:
        overflow: there were more functions than ``MOST_FUNCTIONS``.
    """

    def __init__(self) -> None:
        self.overflow = False
        self._bytes: dict[int, NDArray[np.int16]] = {}
        self._starts: dict[int, list[tuple[int, str]]] = {}

    def learn(self, keys: NDArray[np.int64], frame: pl.DataFrame) -> None:
        """Take the reads of a frame (``accesses.SCHEMA``); ``keys``: the function of each row."""
        width = frame["width"].to_numpy()
        offset = frame["offset"].to_numpy().astype(np.int64)
        value = frame["value"].to_numpy()
        # Where the width is not recorded, as much as the alignment permits.
        width = np.where(width == 0, np.where(offset % 4 == 0, 4, np.where(offset % 2 == 0, 2, 1)), width)
        ones = (np.uint64(1) << (np.uint64(8) * width.astype(np.uint64))) - np.uint64(1)
        useful = (frame["op"].to_physical().to_numpy() == accesses.READ) & ~frame["absent"].to_numpy()
        useful &= frame["status"].to_physical().to_numpy() == accesses.OK
        useful &= value != ones
        rows = np.flatnonzero(useful)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        cuts = np.flatnonzero(np.diff(keys[rows], prepend=-1))
        for mine in np.split(rows, cuts[1:]):
            if mine.size:
                self._put(int(keys[mine[0]]), offset[mine], width[mine], value[mine])

    def _put(
        self, key: int, offset: NDArray[np.int64], width: NDArray[np.int64], value: NDArray[np.uint32]
    ) -> None:
        data = self._bytes.get(key)
        if data is None:
            if len(self._bytes) == MOST_FUNCTIONS:
                self.overflow = True
                return
            data = self._bytes[key] = np.full(_ROOM, -1, np.int16)
        for byte in range(4):
            has = width > byte
            data[offset[has] + byte] = value[has] >> np.uint32(8 * byte) & np.uint32(0xFF)
        self._starts.pop(key, None)

    def place(self, key: int, offset: int) -> RegisterPlace:
        """What an offset of a function is."""
        if offset < HEADER_SIZE:
            return RegisterPlace(self._header(key) or "HEADER0", offset)
        for start, base in reversed(self._lists(key)):
            if start <= offset < start + _ENDS[base]:
                return RegisterPlace(base, offset - start)
        return RegisterPlace("HEADER0", offset)

    def matching(
        self,
        wanted: RegisterRange,
        keys: NDArray[np.int64],
        offset: NDArray[np.int64],
        width: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Which accesses touch the registers of a range."""
        functions, which = np.unique(keys, return_inverse=True)
        starts = np.array([self._start(int(key), wanted.base) for key in functions], np.int64)[which]
        end = offset + np.maximum(width, 1)
        return (starts >= 0) & (offset < starts + wanted.end) & (end > starts + wanted.start)

    def unknown(self, wanted: RegisterRange, keys: NDArray[np.int64]) -> set[int]:
        """Functions that answered, and of which the place of a range is not known (and may be there)."""
        if wanted.base not in BASE_IDS:
            return set()
        return {
            key
            for key in np.unique(keys).tolist()
            if key in self._bytes and self._start(key, wanted.base) < 0 and not self._ended(key, wanted.base)
        }

    def _start(self, key: int, base: str) -> int:
        """Where a base begins in a function, -1 if it is not known to be there."""
        if not base:
            return 0
        if base.startswith("HEADER"):
            return 0 if self._header(key) in (base, None) else -1
        return next((start for start, name in self._lists(key) if name == base), -1)

    def _byte(self, key: int, offset: int) -> int | None:
        data = self._bytes.get(key)
        value = -1 if data is None else int(data[offset])
        return None if value < 0 else value

    def _header(self, key: int) -> str | None:
        layout = self._byte(key, HEADER_TYPE)
        return None if layout is None else {0: "HEADER0", 1: "HEADER1"}.get(layout & 0x7F)

    def _lists(self, key: int) -> list[tuple[int, str]]:
        found = self._starts.get(key)
        if found is None:
            walks = (*self._standard(key), *self._extended(key))
            found = sorted((start, base) for start, base in walks if base)
            self._starts[key] = found
        return found

    def _ended(self, key: int, base: str) -> bool:
        """Whether the list that a base would be in was followed to its end."""
        standard = list(self._standard(key))
        whole = all(start >= 0 for start, _ in standard)
        if not BASE_IDS[base][0]:
            return whole
        conventional = whole and all(name != "CAP_EXP" for _, name in standard)
        return conventional or all(start >= 0 for start, _ in self._extended(key))

    def _standard(self, key: int) -> Iterator[tuple[int, str]]:
        """Offset and base (empty: another) of each capability; place -1 where the reads do not go on."""
        at = self._byte(key, CAPABILITIES)
        for _ in range(STANDARD_LIMIT):
            if at is None:
                yield -1, ""
                return
            at &= 0xFC
            if at < HEADER_SIZE:
                return
            identity = self._byte(key, at)
            if identity is None:
                yield -1, ""
                return
            if identity == 0xFF:
                return
            yield at, CAPABILITY_BASES.get(identity, "")
            at = self._byte(key, at + 1)

    def _extended(self, key: int) -> Iterator[tuple[int, str]]:
        at = _EXTENDED
        for _ in range(EXTENDED_LIMIT):
            parts = [self._byte(key, at + number) for number in range(4)]
            if None in parts:
                yield -1, ""
                return
            header = int.from_bytes(bytes(part for part in parts if part is not None), "little")
            if not header:
                return
            yield at, EXTENDED_BASES.get(header & 0xFFFF, "")
            at = header >> 20 & 0xFFC
            if at < _EXTENDED:
                return
