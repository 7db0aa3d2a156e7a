"""Where one kernel (or firmware) ends and the next begins, from the accesses alone or from explicit marks.

The rules and their proof on 39 real captures are in docs/replay.md (boots). In short: a kernel's scan of the
root bus begins with the pair "vendor dword, header type" on the first root-bus function (the *anchor*); bus
numbers written outside a bridge visit of Linux are firmware's; a kernel going down ends on an access to a
Command register, and the next access is the new kernel's first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from analyzer.errors import LimitExceededError
from analyzer.observed import shutdown
from schemas.config_header import (
    BRIDGE_CONTROL,
    HEADER_TYPE,
    HEADER_TYPE_LAYOUT,
    PRIMARY_BUS,
    SEC_STATUS,
    SUBORDINATE_BUS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analyzer.capture import Boundary
    from analyzer.observed.index import AccessIndex

#: Kernels and firmware runs of one capture: each costs about a millisecond and two KiB at least.
MAX_BOOTS = 10_000

Transition = Literal["start", "kexec", "reboot"]
MarkedKind = Literal["live-update", "plain", "crash"]


@dataclass
class BootSpan:
    """One kernel's or firmware's rows: ``first`` to ``last`` inclusive.

    Attributes:
        kind: ``firmware``, ``kernel`` or ``unknown`` (accesses, but nothing shows whose).
        entered_by: how it came to run: ``start`` of the capture, ``kexec`` or ``reboot`` (through firmware).
        scan: row of the anchor's vendor read that began its enumeration, or None if it is not in the capture.
        kexec_kind: kind of the kexec that entered it, where an explicit mark says so.
        orderly: the kernel before it went down through the shutdown path (None: unknown).
        end: row of its own last access; what follows up to ``last`` was written from outside in the blackout.
    """

    index: int
    kind: Literal["firmware", "kernel", "unknown"]
    first: int
    last: int
    entered_by: Transition
    scan: int | None = None
    kexec_kind: MarkedKind | None = None
    release: str | None = None
    orderly: bool | None = None
    marked: bool = False
    end: int = -1

    def __post_init__(self) -> None:
        if self.end < 0:
            self.end = self.last


@dataclass
class _Cut:
    """Where a boot begins; ``end`` is the last own access of the one before, where it went down orderly."""

    row: int
    kind: Literal["firmware", "kernel", "unknown"]
    entered_by: Transition
    scan: int | None = None
    kexec_kind: MarkedKind | None = None
    release: str | None = None
    orderly: bool | None = None
    marked: bool = field(default=False)
    end: int | None = None


def header_types(index: AccessIndex) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows that show a function's header type, and whether it is type 1."""
    rows = index.header_types
    value = index.value[rows]
    value = np.where(index.offset[rows] == HEADER_TYPE, value, value >> 16)
    return rows, (value & HEADER_TYPE_LAYOUT) == 1


def firmware_writes(index: AccessIndex) -> NDArray[np.int64]:
    """Rows of bus-number writes outside a Linux bridge visit: only firmware makes those.

    Linux (pci_scan_bridge_extend, 7.3) writes the dword at 0x18 and the byte at 0x1A only between the triple
    "read 0x18, read 0x3E, write 0x3E" and its closing "write 0x1E, write 0x3E" (6.1: the latter alone).
    The same offsets of an endpoint are BARs; an address may be an endpoint's in one boot and a bridge's in
    another.
    """
    typed, is_bridge = header_types(index)
    bridges = np.unique(index.function[typed[is_bridge]])
    writes = index.bus_number_writes
    writes = writes[np.isin(index.function[writes], bridges)]
    found: list[int] = []
    for function in np.unique(index.function[writes]).tolist():
        rows = index.rows_of(function)
        offsets = index.offset[rows]
        keep = (offsets >= PRIMARY_BUS) & (offsets <= SUBORDINATE_BUS)
        keep |= (offsets == SEC_STATUS) | (offsets == BRIDGE_CONTROL)
        own = index.function[typed] == function
        outside = np.array(_outside_visits(index, rows[keep]), np.int64)
        found.extend(outside[_type_1_at(outside, typed[own], is_bridge[own])].tolist())
    return np.array(sorted(found), np.int64)


def _type_1_at(
    rows: NDArray[np.int64], typed: NDArray[np.int64], is_bridge: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether the function was a bridge at each of ``rows``: by its last header-type read, else the next."""
    last = np.searchsorted(typed, rows) - 1
    return np.asarray(is_bridge[np.maximum(last, 0)], np.bool_)


def _outside_visits(index: AccessIndex, rows: NDArray[np.int64]) -> list[int]:
    """Bus-number writes of one bridge that no open visit covers."""
    outside: list[int] = []
    open_visit = False
    before: list[tuple[int, bool]] = []
    for row, offset, write in zip(
        rows.tolist(), index.offset[rows].tolist(), index.is_write[rows].tolist(), strict=True
    ):
        if (
            offset == BRIDGE_CONTROL
            and write
            and before[-2:] == [(PRIMARY_BUS, False), (BRIDGE_CONTROL, False)]
        ):
            open_visit = True
        elif write and (offset == SEC_STATUS or (offset == BRIDGE_CONTROL and open_visit)):
            open_visit = False
        elif write and offset != BRIDGE_CONTROL and not open_visit:
            outside.append(row)
        before.append((offset, write))
    return outside


def anchor_rows(index: AccessIndex, enumerations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows at which a kernel's enumeration begins: the pairs of the first function on a root bus.

    A rescan or driver never re-enumerates that function, so a second pair of it is a second kernel. The root
    bus of a domain is the lowest that the capture shows. Where that function has died, the scan begins with
    the read of its vendor ID that nobody answers.
    """
    functions = index.function[enumerations]
    buses = index.buses
    roots = buses[np.r_[True, buses[1:] >> 8 != buses[:-1] >> 8]] if buses.size else buses
    candidates = functions[np.isin(functions >> 8, roots)]
    if not candidates.size:
        return np.empty(0, np.int64)
    anchor = int(candidates.min())
    pairs = enumerations[functions == anchor]
    return np.asarray(np.union1d(pairs, _silent_anchors(index, anchor, enumerations)), np.int64)


def _silent_anchors(index: AccessIndex, anchor: int, enumerations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows at which a scan finds the anchor's slot empty and goes on to the next one.

    No kernel reads the vendor ID of a function that it has, but to dump it: then registers of the same
    function follow. After it the scan must find again what a kernel before it had found on that bus.
    """
    rows = index.vendor_reads
    own = rows[(index.function[rows] == anchor) & ~index.present_id[rows]]
    own = own[own + 1 < index.rows]
    own = own[(index.function[own + 1] == anchor + 8) & (index.offset[own + 1] == 0)]
    on_bus = enumerations[index.function[enumerations] >> 8 == anchor >> 8]
    place = np.searchsorted(on_bus, own)
    own, place = own[place < on_bus.size], place[place < on_bus.size]
    _, first, which = np.unique(index.function[on_bus], return_index=True, return_inverse=True)
    return np.asarray(own[on_bus[first[which[place]]] < own], np.int64)


def split(
    index: AccessIndex,
    enumerations: NDArray[np.int64],
    marks: Sequence[Boundary] = (),
    path: str | None = None,
) -> list[BootSpan]:
    """Cut one capture into boots.

    Args:
        index: the capture.
        enumerations: rows as :func:`analyzer.observed.index.enumerations` gives them.
        marks: explicit boundaries (boundary records, junctions of joined files, ``--kexec-at``); between two
            scans a mark wins over recognition.
        path: of the capture, for errors.

    Returns:
        boots in order, covering every row; empty for an empty capture.

    Raises:
        LimitExceededError: more than :data:`MAX_BOOTS`.
    """
    if not index.rows:
        return []
    anchors = anchor_rows(index, enumerations).tolist()
    firmware = firmware_writes(index)
    command = index.commands
    cuts = [_Cut(0, "unknown", "start")]
    rows = np.searchsorted(index.seq, sorted(mark.seq for mark in marks)).tolist()
    _refuse_more(len({*rows} - {0, index.rows}) + 1, path)
    previous = -1
    for anchor in anchors:
        marked = [row for row in rows if previous < row <= anchor]
        if not marked:
            cuts.extend(_recognise(index, previous, anchor, firmware, command))
        previous = anchor
    cuts.extend(_recognise_tail(previous, firmware, command) if not [r for r in rows if r > previous] else [])
    cuts.extend(_marked(index, marks, anchors, command))
    _refuse_more(len({cut.row for cut in cuts}), path)
    return _spans(index, cuts, anchors)


def _refuse_more(count: int, path: str | None) -> None:
    if count > MAX_BOOTS:
        raise LimitExceededError(
            f"expected at most {MAX_BOOTS} boots in a capture, found {count}",
            path=path,
            advice="cut the capture around one kexec",
        )


def _recognise(
    index: AccessIndex,
    previous: int,
    anchor: int,
    firmware: NDArray[np.int64],
    command: NDArray[np.int64],
) -> list[_Cut]:
    """Boundaries between the scan that began at ``previous`` (-1: none) and the one at ``anchor``."""
    inside = firmware[(firmware > previous) & (firmware < anchor)]
    if inside.size:
        first_write = int(inside[0])
        earlier = command[(command > previous) & (command < first_write)]
        cuts = []
        if previous >= 0:
            cuts.append(_Cut(int(earlier[-1]) + 1 if earlier.size else first_write, "firmware", "reboot"))
        else:
            cuts.append(_Cut(0, "firmware", "start"))
        cuts.append(_Cut(_after_last_write(index, int(inside[-1]), anchor), "kernel", "reboot"))
        return cuts
    earlier = command[(command > previous) & (command < anchor)]
    if previous < 0 and not earlier.size:
        return []  # nothing but early sweeps before the first scan: the capture starts with this kernel
    earlier = shutdown.without_others(index, earlier)
    end = int(earlier[-1]) if earlier.size else -1
    orderly = shutdown.is_orderly(index, earlier, anchor)
    quiet = orderly and not index.is_write[end + 1 : anchor].any()
    row = end + 1 if quiet else _after_last_write(index, max(previous, 0), anchor)
    return [_Cut(row, "kernel", "kexec", orderly=orderly, end=end if orderly else None)]


def _after_last_write(index: AccessIndex, low: int, anchor: int) -> int:
    """First row of the kernel whose scan begins at ``anchor``: it reads before it writes.

    Of the rows after the last write, the one after the longest silence.
    """
    writes = np.flatnonzero(index.is_write[low:anchor])
    start = low + int(writes[-1]) if writes.size else low
    times = index.time_ns[start : anchor + 1]
    if times.size < 2 or (times < 0).any():
        return min(start + 1, anchor)
    return start + 1 + int(np.argmax(np.diff(times)))


def _recognise_tail(previous: int, firmware: NDArray[np.int64], command: NDArray[np.int64]) -> list[_Cut]:
    """Firmware after the last scan (a reboot whose kernel the capture no longer shows)."""
    inside = firmware[firmware > previous]
    if not inside.size:
        return []
    if previous < 0:
        return [_Cut(0, "firmware", "start")]
    earlier = command[(command > previous) & (command < inside[0])]
    return [_Cut(int(earlier[-1]) + 1 if earlier.size else int(inside[0]), "firmware", "reboot")]


def _marked(
    index: AccessIndex, marks: Sequence[Boundary], anchors: list[int], command: NDArray[np.int64]
) -> list[_Cut]:
    cuts = []
    for mark in marks:
        row = int(np.searchsorted(index.seq, mark.seq))
        if row >= index.rows:
            continue
        kind = None if mark.kind == "boot" or mark.kind == "kexec" else mark.kind  # noqa: PLR1714 (narrows the type)
        entered: Transition = "reboot" if mark.kind == "boot" else "kexec"
        cut = _Cut(row, "kernel", "start" if row == 0 else entered, None, kind, mark.release, marked=True)
        anchor = next((scan for scan in anchors if scan >= row), None)
        before = shutdown.without_others(index, command[: np.searchsorted(command, row)])
        if anchor is not None and before.size and entered == "kexec":
            cut.orderly = shutdown.is_orderly(index, before, anchor)
            cut.end = int(before[-1]) if cut.orderly else None
        cuts.append(cut)
    return cuts


def _spans(index: AccessIndex, cuts: list[_Cut], anchors: list[int]) -> list[BootSpan]:
    by_row: dict[int, _Cut] = {}
    for cut in sorted(cuts, key=lambda cut: (cut.row, cut.marked)):
        by_row[cut.row] = cut  # an explicit mark replaces what was recognised at the same row
    ordered = [by_row[row] for row in sorted(by_row)]
    spans: list[BootSpan] = []
    for number, cut in enumerate(ordered):
        last = (ordered[number + 1].row if number + 1 < len(ordered) else index.rows) - 1
        scan = next((row for row in anchors if cut.row <= row <= last), None)
        kind = "kernel" if scan is not None or cut.kind == "kernel" else cut.kind
        follows = ordered[number + 1] if number + 1 < len(ordered) else None
        if kind == "unknown" and follows is not None and follows.entered_by == "kexec":
            kind = "kernel"  # only a kernel can kexec
        spans.append(
            BootSpan(
                number,
                kind,
                cut.row,
                last,
                cut.entered_by,
                scan,
                cut.kexec_kind,
                cut.release,
                cut.orderly,
                cut.marked,
                follows.end if follows is not None and follows.end is not None else last,
            )
        )
    return spans


def blackout(index: AccessIndex, outgoing: BootSpan, incoming: BootSpan) -> int | None:
    """Time between the outgoing kernel's own last access and the incoming one's first, in ns.

    None where one of them has no time, or the clock jumped back across the kexec.
    """
    last, first = index.time_at(outgoing.end), index.time_at(incoming.first)
    return None if last is None or first is None or first < last else first - last
