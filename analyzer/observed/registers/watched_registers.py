"""What each function shows of every watched register in one boot; of many functions at once.

A watched register lies in one dword of configuration space. For each function and each of these dwords two
values are put together byte by byte (an access may show a byte of it): what the kernel read first, before it
wrote the byte itself; and what it last read or wrote. A read of all ones is no data, a write to a function
that does not answer reaches nothing, and what a status register holds is what reads show. The declarations
are :mod:`schemas.state_watch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analyzer.observed.batches import Accesses
from analyzer.observed.registers.first_reads import NONE, bytes_needed
from schemas.config_header import EXTENDED_CONFIG_SIZE
from schemas.pcie_capability import DEVCTL
from schemas.state_watch import WATCHED, WATCHED_BASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Table = NDArray[np.int64]

#: The dwords that hold watched registers: base, and offset in it.
DWORDS: Final = tuple(dict.fromkeys((one.register.base, one.register.offset & ~3) for one in WATCHED))
_COUNT: Final = len(DWORDS)
_PLACES: Final = {dword: place for place, dword in enumerate(DWORDS)}
#: For each watched state the dword that it is in, and its bits there.
DWORD_OF: Final = np.array([_PLACES[one.register.base, one.register.offset & ~3] for one in WATCHED])
BITS_OF: Final = np.array([one.mask << 8 * (one.register.offset & 3) for one in WATCHED], np.int64)
#: Initiate Function Level Reset, in the dword of an endpoint's Device Control.
_FLR: Final = 1 << 15
#: No word before this offset can read all ones where a function answers (vendor ID, Command, class, header).
_NEVER_ONES: Final = 0x10
_FLR_DWORD: Final = _PLACES["CAP_EXP", DEVCTL]


def _sizes() -> NDArray[np.int64]:
    """For each dword and byte the bytes of the watched register that begins there, else 1."""
    found = np.ones((_COUNT, 4), np.int64)
    for one in WATCHED:
        place = _PLACES[one.register.base, one.register.offset & ~3]
        found[place, one.register.offset & 3] = one.register.size
    return found.reshape(-1)


def _bytes_shown() -> NDArray[np.int64]:
    """For each dword the bytes of watched registers that a read shows, and those that a write does."""
    found = np.zeros((_COUNT, 2), np.int64)
    for one in WATCHED:
        place = _PLACES[one.register.base, one.register.offset & ~3]
        bits = (1 << 8 * one.register.size) - 1 << 8 * (one.register.offset & 3)
        found[place, 0] |= bits
        if not one.is_status:
            found[place, 1] |= bits
    return found.reshape(-1)


_SIZES: Final = _sizes()
#: Of each dword the bits that a kernel clears at its shutdown.
_AT_SHUTDOWN: Final = np.zeros(_COUNT, np.int64)
for _place, _bits, _state in zip(DWORD_OF, BITS_OF, WATCHED, strict=True):
    if _state.at_shutdown:
        _AT_SHUTDOWN[_place] |= _bits
_SHOWN: Final = _bytes_shown()
#: For each dword how many of its bytes have a watched bit at them or after them.
_LANES: Final = [-(-int(shown).bit_length() // 8) for shown in _SHOWN.reshape(_COUNT, 2)[:, 0]]


def _shows() -> NDArray[np.bool_]:
    """Whether an access shows a watched bit: by dword, first byte in it, width (0: unknown), direction."""
    found = np.zeros((_COUNT, 4, 8, 2), np.bool_)
    for lane in range(4):
        for width in range(5):
            mask = (1 << 8 * (width or 4)) - 1 << 8 * lane & 0xFFFFFFFF
            found[:, lane, width] = (_SHOWN.reshape(_COUNT, 2) & mask) != 0
    return found.reshape(-1)


_SHOWS: Final = _shows()


class ShownBits(NamedTuple):
    """One value of every dword; arrays have a row for each function and a column for each of :data:`DWORDS`.

    Attributes:
        values: the bits that are known, the others 0.
        known: which bits those are.
        rows: row of the access that shows the last of its bytes; :data:`NONE` where none does.
    """

    values: Table
    known: Table
    rows: Table

    def of(self, rows: NDArray[np.int64]) -> ShownBits:
        """Those of some functions."""
        return ShownBits._make(column[rows] for column in self)


class WatchedRegisters(NamedTuple):
    """What functions show of the watched registers in one boot, up to the kernel's own last access.

    Attributes:
        first: first reads, of bytes that the kernel had not written.
        last: what each byte held last: read or written.
        cleared: of the dwords that a kernel clears at its shutdown the bits that a write of its own cleared
            last: not those that a read showed clear first, which something else cleared.
        written: rows of the last write to each dword; :data:`NONE` where there is none.
        reset: rows of the last function level reset that the kernel initiated, one for each function.
    """

    first: ShownBits
    last: ShownBits
    cleared: Table
    written: Table
    reset: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64]) -> WatchedRegisters:
        """Those of some functions."""
        return WatchedRegisters(self.first.of(rows), self.last.of(rows), *(table[rows] for table in self[2:]))


def joined(parts: Sequence[WatchedRegisters]) -> WatchedRegisters:
    """One block of functions after the other."""
    nothing = np.empty((0, _COUNT), np.int64)

    def shown(each: Iterable[ShownBits]) -> ShownBits:
        return ShownBits._make(
            map(np.concatenate, zip(ShownBits(nothing, nothing, nothing), *each, strict=True))
        )

    return WatchedRegisters(
        shown(part.first for part in parts),
        shown(part.last for part in parts),
        np.concatenate([nothing, *(part.cleared for part in parts)]),
        np.concatenate([nothing, *(part.written for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.reset for part in parts)]),
    )


def of_runs(
    accesses: Accesses,
    run: NDArray[np.int64],
    ends: NDArray[np.int64],
    header: NDArray[np.int64],
    start_of: Callable[[bool, int], NDArray[np.int64]],
) -> WatchedRegisters:
    """Work out several runs.

    Args:
        accesses: the runs one after the other.
        run: which run each access is of.
        ends: row of the kernel's own last access, for each run.
        header: header layout of each run's function, :data:`NONE` where it is not known.
        start_of: offsets of a capability (extended or not, its ID) of each run, :data:`NONE` without it.
    """
    runs = len(header)
    accesses = accesses._replace(failed=accesses.failed | _unanswered(accesses, run))
    accesses, run = _within_dwords(accesses, run)
    places, dword = _watched(accesses, run, ends, _table(header, start_of))
    offsets = accesses.offsets[places].astype(np.int64)
    lane, width = offsets & 3, accesses.widths[places].astype(np.int64)
    values, writes = accesses.values[places], accesses.writes[places]
    unsized = np.flatnonzero(width == 0)
    if unsized.size:  # what the value certainly has, and all of the register that begins there
        at = dword[unsized] * 4 + lane[unsized]
        width[unsized] = np.maximum(bytes_needed(values[unsized]), _SIZES[at])
    known = (1 << 8 * np.minimum(width, 4)) - 1
    live = np.where(writes, ~accesses.failed[places], ~accesses.absent[places] & (values != known))
    if accesses.known is not None:
        known &= accesses.known[places]
    known = known << 8 * lane & _SHOWN[2 * dword + writes]
    chosen = np.flatnonzero(live & (known != 0))
    places, dword, lane, writes = places[chosen], dword[chosen], lane[chosen], writes[chosen]
    known = known[chosen]
    values = values[chosen] << 8 * lane & known
    keys = run[places] * _COUNT + dword
    return _put_together(accesses.rows[places], values, known, writes, keys, dword, runs, header)


def _unanswered(accesses: Accesses, run: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Accesses of a function that does not answer: from a read of its header that shows it to another read.

    No word of the first 16 bytes can be all ones where a function answers. A function above 7 is silent like
    that while the outgoing kernel runs with ARI Forwarding off; its registers keep what they hold.
    """
    begins: NDArray[np.bool_] = np.zeros(len(run), np.bool_)
    headers = np.flatnonzero((accesses.offsets < _NEVER_ONES) & ~accesses.writes & ~accesses.live)
    dead, wide = _silent(accesses, headers)
    begins[headers[dead & wide]] = True
    if not begins.any():
        return begins
    of_such: NDArray[np.bool_] = np.zeros(int(run[-1]) + 1, np.bool_)
    of_such[run[begins]] = True
    its = np.flatnonzero(of_such[run])
    begins, run, reads = begins[its], run[its], ~accesses.writes[its]
    events = np.where(begins | (reads & ~_silent(accesses, its)[0]), np.arange(its.size), NONE)
    last = np.maximum.accumulate(events)
    found: NDArray[np.bool_] = np.zeros(len(accesses.rows), np.bool_)
    found[its] = (last != NONE) & begins[last] & (run[last] == run)
    return found


def _silent(accesses: Accesses, chosen: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of some accesses have all ones for a value, or none; and which are of more than a byte."""
    values, widths = accesses.values[chosen], accesses.widths[chosen]
    width = np.where(widths == 0, np.where(values > 0xFFFF, 4, 2), widths).astype(np.int64)
    silent = accesses.absent[chosen] | accesses.failed[chosen] | (values == (1 << 8 * width) - 1)
    return np.asarray(silent, np.bool_), np.asarray(width > 1, np.bool_)


def _within_dwords(accesses: Accesses, run: NDArray[np.int64]) -> tuple[Accesses, NDArray[np.int64]]:
    """The same with each access that crosses into the next dword as two (QEMU logs have some)."""
    lane = accesses.offsets & 3
    crossing = np.flatnonzero(lane + accesses.widths > 4)
    if not crossing.size:
        return accesses, run
    order = np.sort(np.concatenate([np.arange(len(run)), crossing]))
    second = np.flatnonzero(order[1:] == order[:-1]) + 1
    split = Accesses._make(None if column is None else column[order] for column in accesses)
    inside = 4 - lane[order[second]]
    split.widths[second - 1] = inside
    split.widths[second] -= inside.astype(np.uint8)
    for column in (split.values, split.known):
        if column is not None:
            column[second - 1] &= (1 << 8 * inside.astype(np.int64)) - 1
            column[second] >>= 8 * inside.astype(np.int64)
    split.offsets[second] += inside
    return split, run[order]


def _table(
    header: NDArray[np.int64], start_of: Callable[[bool, int], NDArray[np.int64]]
) -> NDArray[np.uint8]:
    """For each run and byte of configuration space the watched dword, from 1, that an access there may show.

    0 where no watched bit is at the byte or after it in its dword, and beyond configuration space.
    """
    table = np.zeros((len(header), EXTENDED_CONFIG_SIZE + 1), np.uint8)
    layouts = {f"HEADER{layout}": np.where(header == layout, 0, NONE) for layout in (0, 1)}
    for place, (base, offset) in enumerate(DWORDS):
        starts = layouts.get(base)
        if starts is None:
            starts = layouts[base] = start_of(*WATCHED_BASES[base])
        its = np.flatnonzero((starts != NONE) & (starts + offset < EXTENDED_CONFIG_SIZE))
        for lane in range(_LANES[place]):
            table[its, (starts[its] + offset & ~3) + lane] = place + 1
    return table


def _watched(
    accesses: Accesses, run: NDArray[np.int64], ends: NDArray[np.int64], table: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the kernel's own accesses to watched bits, and which dword each is to."""
    at = run * table.shape[1]
    at += np.minimum(accesses.offsets, EXTENDED_CONFIG_SIZE)
    dword = table.reshape(-1).take(at)
    # Most are polls of a status that shares its dword with a watched register: they miss it.
    places = np.flatnonzero(dword > 0)
    kind = (dword[places] - 1).astype(np.int32) * 4 + (accesses.offsets[places] & 3)
    kind = (kind * 8 + np.minimum(accesses.widths[places], 4)) * 2 + accesses.writes[places]
    places = places[_SHOWS[kind] & (accesses.rows[places] <= ends[run[places]])]
    return places, dword[places].astype(np.int64) - 1


def _put_together(
    rows: NDArray[np.int64],
    values: NDArray[np.int64],
    known: NDArray[np.int64],
    writes: NDArray[np.bool_],
    keys: NDArray[np.int64],
    dword: NDArray[np.int64],
    runs: int,
    header: NDArray[np.int64],
) -> WatchedRegisters:
    cells = runs * _COUNT
    written = np.full(cells, NONE, np.int64)
    written[keys[writes]] = rows[writes]
    reset = np.full(runs, NONE, np.int64)
    at = np.flatnonzero(writes & (dword == _FLR_DWORD) & (values & _FLR != 0))
    owner = keys[at] // _COUNT
    at, owner = at[header[owner] == 0], owner[header[owner] == 0]
    reset[owner] = rows[at]

    first, last = (np.zeros((3, cells), np.int64) for _ in range(2))
    for one in (first, last):
        one[2] = NONE
    # Of equal places the last assignment stays: the latest access, or in reverse order the earliest.
    for byte in range(4):
        bits = 0xFF << 8 * byte
        its = np.flatnonzero(known & bits)
        if not its.size:
            continue
        for found, chosen in ((first, its[::-1]), (last, its)):
            position = np.full(cells, NONE, np.int64)
            position[keys[chosen]] = chosen
            shows = position[position != NONE]
            if found is first:
                shows = shows[~writes[shows]]
            _add(found, keys, shows, bits, (values, known, rows))

    def shown(found: NDArray[np.int64]) -> ShownBits:
        return ShownBits._make(found.reshape(3, runs, _COUNT))

    return WatchedRegisters(
        shown(first),
        shown(last),
        _cleared(values, known, writes, keys, dword, cells).reshape(runs, _COUNT),
        written.reshape(runs, _COUNT),
        reset,
    )


def _cleared(
    values: NDArray[np.int64],
    known: NDArray[np.int64],
    writes: NDArray[np.bool_],
    keys: NDArray[np.int64],
    dword: NDArray[np.int64],
    cells: int,
) -> NDArray[np.int64]:
    """Bits of each cell that were on at one access and off at the next, which was a write, the last time."""
    found = np.zeros(cells, np.int64)
    at = np.flatnonzero(_AT_SHUTDOWN[dword])
    at = at[np.argsort(keys[at], kind="stable")]
    before, after = at[:-1], at[1:]
    gone = values[before] & ~values[after] & known[after] & _AT_SHUTDOWN[dword[after]]
    gone[keys[before] != keys[after]] = 0
    bits = int(np.bitwise_or.reduce(gone, initial=0))
    for bit in (1 << place for place in range(32) if bits >> place & 1):
        its = after[gone & bit != 0]
        if its.size:
            by_write = np.zeros(cells, np.bool_)
            by_write[keys[its]] = writes[its]  # of equal places the last assignment stays
            found[by_write] |= bit
    return found


def _add(
    found: NDArray[np.int64],
    keys: NDArray[np.int64],
    chosen: NDArray[np.int64],
    bits: int,
    columns: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
) -> None:
    """Add what one byte of each dword shows; ``chosen``: positions, at most one for each key."""
    values, known, rows = columns
    at = keys[chosen]
    found[0, at] |= values[chosen] & bits
    found[1, at] |= known[chosen] & bits
    found[2, at] = np.maximum(found[2, at], rows[chosen])
