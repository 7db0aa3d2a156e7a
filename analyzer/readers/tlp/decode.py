"""Decode TLP headers in bulk: configuration requests, completions, and what else uses their tags.

Layout: :mod:`schemas.tlp`. Every step looks at all TLPs of a batch at once; the result is one small record
per TLP that matters for matching (:mod:`analyzer.readers.tlp.matching`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from schemas import tlp as layout
from schemas import tlp_containers as containers
from schemas.bulk import dtype_of, gather

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.readers.tlp.frames import Frames, Places
    from analyzer.readers.tlp.packet_files import Packets
    from analyzer.readers.tlp.tally import TlpTally

    Mask = NDArray[np.bool_]

#: What an event is: a config read or write, another request that is answered by a completion, a completion.
READ, WRITE, OTHER, COMPLETION = range(4)

#: One TLP that uses a tag. ``order`` is the number of its packet, ``where`` the byte of the packet's record;
#: ``key`` is requester ID and tag; ``link`` is the interface. ``function`` is bus << 8 | devfn, ``register``
#: the byte offset of the doubleword; ``data`` counts where ``has_data``; ``status`` is that of a completion,
#: which has the byte count and address of config completions if it is ``plain``.
#: ``done`` belongs to the matching: the access of this request was given out.
EVENT: np.dtype[Any] = np.dtype(
    [
        ("order", "i8"),
        ("where", "i8"),
        ("time_ns", "i8"),
        ("timed", "?"),
        ("kind", "u1"),
        ("key", "u4"),
        ("link", "u2"),
        ("sequence", "i8"),
        ("type1", "?"),
        ("function", "u2"),
        ("register", "u2"),
        ("enables", "u1"),
        ("poisoned", "?"),
        ("has_data", "?"),
        ("data", "u4"),
        ("status", "u1"),
        ("plain", "?"),
        ("done", "?"),
    ]
)
Events = np.ndarray[Any, np.dtype[Any]]

_REQUEST, _COMPLETION, _DATA = (
    dtype_of(part) for part in (layout.CONFIG_REQUEST, layout.COMPLETION, layout.DATA)
)
_CONFIG = (*layout.CONFIG_READS, *layout.CONFIG_WRITES)
#: Completions of locked reads do not belong to config requests.
_COMPLETIONS = (layout.CPL, layout.CPL_D)
_NO_EVENT = 255
_LCRC = np.dtype([("f0", "<u4")])
_SEQUENCE_SIZE = 2


@functools.cache
def _kinds() -> NDArray[np.uint8]:
    """The kind of event by byte 0 of a TLP."""
    kinds = np.full(256, _NO_EVENT, np.uint8)
    kinds[list(layout.OTHER_NON_POSTED)] = OTHER
    kinds[list(layout.CONFIG_READS)] = READ
    kinds[list(layout.CONFIG_WRITES)] = WRITE
    kinds[list(_COMPLETIONS)] = COMPLETION
    return kinds


def decode(packets: Packets, frames: Frames, tally: TlpTally) -> Events:
    """Return the events among the TLPs of a batch, in order; count those that cannot be used."""
    start, prefixed = _after_prefixes(packets, frames, tally)
    first = np.where(start < frames.end, packets.data[np.minimum(start, frames.end)], 0)
    empty = start >= frames.end
    tally.packet("too short for a TLP", empty & ~prefixed)
    kind = np.where(empty | prefixed, _NO_EVENT, _kinds()[first])
    _account(first[~empty & ~prefixed], tally)
    tcfg = ~empty & ((first == layout.TCFG_RD) | (first == layout.TCFG_WR))
    tally.add("tcfg", packets.where[frames.packet[tcfg]])
    chosen = np.flatnonzero(kind != _NO_EVENT)
    headers = _headers(packets, frames.pick(chosen), start[chosen], kind[chosen], tally)
    events = _events(_regular(_intact(headers, tally), tally))
    tally.config_requests += int((events["kind"] <= WRITE).sum())
    return events


def _after_prefixes(packets: Packets, frames: Frames, tally: TlpTally) -> tuple[Places, Mask]:
    """Where each header starts, and which TLPs have nothing but prefixes."""
    start = frames.start
    for _ in range(layout.MAX_PREFIXES + 1):
        inside = start < frames.end
        prefixed = inside & (packets.data[np.where(inside, start, 0)] & layout.PREFIX_MASK == layout.PREFIX)
        if not prefixed.any():
            break
        start = np.where(prefixed, start + layout.PREFIX_SIZE, start)
    tally.add("prefixes", packets.where[frames.packet[prefixed]])
    return start, prefixed


def _account(first: NDArray[np.uint8], tally: TlpTally) -> None:
    """Count the TLPs of other kinds by name."""
    counts = np.bincount(first, minlength=256)
    for code in np.flatnonzero(counts).tolist():
        if code not in _CONFIG and code not in _COMPLETIONS:
            tally.tlps[layout.NAMES.get(code, f"type {code:#04x}")] += int(counts[code])


class _Headers(NamedTuple):
    """Headers of TLPs that may be events, one entry per TLP; ``start`` is after any prefixes."""

    packets: Packets
    frames: Frames
    start: Places
    kind: NDArray[np.uint8]
    request: NDArray[Any]
    answer: NDArray[Any]

    @property
    def config(self) -> Mask:
        """Config requests."""
        return np.asarray(self.kind <= WRITE)

    @property
    def completion(self) -> Mask:
        """Completions."""
        return np.asarray(self.kind == COMPLETION)

    @property
    def carries(self) -> Mask:
        """TLPs with data."""
        return np.asarray(self.request["fmt_type"] & layout.FMT_DATA > 0)

    @property
    def where(self) -> Places:
        """Byte of each packet's record in the file."""
        return self.packets.where[self.frames.packet]

    @property
    def cut(self) -> Mask:
        """TLPs in packets that the recorder cut."""
        return np.asarray(self.packets.cut[self.frames.packet])

    def pick(self, rows: NDArray[Any]) -> _Headers:
        """Return the headers that a mask or index array selects."""
        picked = (array[rows] for array in (self.start, self.kind, self.request, self.answer))
        return _Headers(self.packets, self.frames.pick(rows), *picked)


def _headers(
    packets: Packets, frames: Frames, start: Places, kind: NDArray[np.uint8], tally: TlpTally
) -> _Headers:
    """Return the headers that are there as a whole."""
    whole = start + layout.HEADER_SIZE <= frames.end
    at = np.where(whole, start, 0)
    request, answer = gather(packets.data, _REQUEST, at), gather(packets.data, _COMPLETION, at)
    headers = _Headers(packets, frames, start, kind, request, answer)
    _tally_short(headers, ~whole & (headers.config | headers.completion), tally)
    return headers.pick(whole)


def _tally_short(headers: _Headers, short: Mask, tally: TlpTally) -> None:
    tally.add("cut", headers.where[short & headers.cut])
    tally.add("short", headers.where[short & ~headers.cut])


def _intact(headers: _Headers, tally: TlpTally) -> _Headers:
    """Leave out what never reached its receiver or is not whole, and completions of no config request."""
    words = headers.request["length"]
    # A completion of more than one doubleword is one of a memory read.
    headers = headers.pick(~(headers.completion & headers.carries & (words & layout.LENGTH != 1)))
    words, like_config = headers.request["length"], headers.kind != OTHER
    framed = np.flatnonzero(like_config & headers.frames.framed)
    good = np.ones(len(headers.kind), bool)
    if len(framed):
        size = layout.HEADER_SIZE + np.where(headers.carries, layout.DWORD, 0)
        size += np.where(words & layout.TD > 0, layout.ECRC_SIZE, 0)
        good[framed] = _received(headers.pick(framed), (headers.start + size)[framed], tally)
    missing = good & like_config & headers.carries
    missing &= headers.start + layout.HEADER_SIZE + layout.DWORD > headers.frames.end
    _tally_short(headers, missing, tally)
    return headers.pick(good & ~missing)


def _regular(headers: _Headers, tally: TlpTally) -> _Headers:
    """Leave out what non-flit mode does not allow."""
    config, words, flags = headers.config, headers.request["length"], headers.request["attributes"]
    flit = config & (flags & layout.TH > 0)
    tally.add("flit", headers.where[flit])
    malformed = words & layout.LENGTH != 1
    malformed |= (flags & layout.TC > 0) | (words & layout.AT > 0)
    malformed |= headers.request["enables"] & layout.LAST_BE > 0
    malformed &= config & ~flit
    status = headers.answer["status"] >> layout.STATUS_SHIFT
    malformed |= headers.completion & ~np.isin(status, _STATUSES)
    tally.add("malformed", headers.where[malformed])
    return headers.pick(~flit & ~malformed)


def _events(headers: _Headers) -> Events:
    """Return what matching needs of the headers."""
    packets, packet, request = headers.packets, headers.frames.packet, headers.request
    completion, config_data = headers.completion, headers.carries & (headers.kind != OTHER)
    events = np.zeros(len(packet), EVENT)
    events["order"] = packets.number[packet]
    events["where"] = packets.where[packet]
    events["time_ns"] = packets.time_ns[packet]
    events["timed"] = packets.timed[packet]
    events["kind"] = headers.kind
    events["key"] = _keys(request, headers.answer, completion)
    events["link"] = packets.interface[packet]
    events["sequence"] = headers.frames.sequence
    events["type1"] = np.isin(request["fmt_type"], (layout.CFG_RD1, layout.CFG_WR1))
    events["function"] = request["bus"].astype(np.uint16) << 8 | request["devfn"]
    events["register"] = request["register"] & layout.REGISTER
    events["enables"] = request["enables"] & layout.FIRST_BE
    events["poisoned"] = request["length"] & layout.EP > 0
    events["has_data"] = config_data
    data = gather(packets.data, _DATA, np.where(config_data, headers.start + layout.HEADER_SIZE, 0))
    events["data"] = np.where(config_data, data["data"], 0)
    counts = headers.answer["status"] & layout.BYTE_COUNT
    lower = headers.answer["lower_address"] & layout.LOWER_ADDRESS
    events["plain"] = completion & (counts == layout.CONFIG_BYTE_COUNT) & (lower == 0)
    events["status"] = np.where(completion, headers.answer["status"] >> layout.STATUS_SHIFT, 0)
    return events


_STATUSES = (
    layout.SUCCESSFUL,
    layout.UNSUPPORTED_REQUEST,
    layout.REQUEST_RETRY,
    layout.COMPLETER_ABORT,
)


def _keys(request: NDArray[Any], answer: NDArray[Any], completion: Mask) -> NDArray[np.uint32]:
    """Requester ID and tag: what a completion has in common with its request."""
    requester = np.where(completion, answer["requester_id"], request["requester_id"]).astype(np.uint32)
    low = np.where(completion, answer["tag"], request["tag"]).astype(np.uint32)
    flags = request["attributes"].astype(np.uint32)
    high = (flags & layout.T9) >> 7 << 9 | (flags & layout.T8) >> 3 << 8
    return np.asarray(requester << layout.TAG_BITS | high | low, np.uint32)


def _received(headers: _Headers, ends: Places, tally: TlpTally) -> Mask:
    """Which TLPs came over their link as their sender meant them: the LCRC is right, and END follows it.

    A frame that the recorder cut cannot be checked and is taken as it is. ``ends`` is where each TLP ends.
    """
    data, where, frames = headers.packets.data, headers.where, headers.frames
    last = ends + containers.LCRC_SIZE
    whole = last < frames.end
    tally.add("short", where[~whole & ~headers.cut])
    symbol = data[np.where(whole, last, 0)]
    nullified = whole & (symbol == containers.EDB)
    tally.add("nullified", where[nullified])
    framing = whole & ~nullified & (symbol != containers.END)
    tally.add("framing", where[framing])
    good = whole & ~nullified & ~framing
    covered = np.where(good, frames.start - _SEQUENCE_SIZE, 0)
    stored = gather(data, _LCRC, np.where(good, ends, 0))["f0"]
    wrong = good & (_crc(data, covered, np.where(good, ends, 0)) != stored)
    tally.add("lcrc", where[wrong])
    return np.asarray((good & ~wrong) | (~whole & headers.cut))


@functools.cache
def _crc_table() -> NDArray[np.uint32]:
    """CRC-32 of each byte, polynomial 0x04C11DB7 from its other end (PCI Express Base 6.0, 3.6.2.2)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0xEDB88320), table >> 1)
    return table


def _crc(data: NDArray[np.uint8], start: Places, end: Places) -> NDArray[np.uint32]:
    """CRC-32 (as of zlib) of each of ``data[start:end]``."""
    table = _crc_table()
    crc = np.full(len(start), 0xFFFFFFFF, np.uint32)
    length = end - start
    for position in range(int(length.max(initial=0))):
        inside = position < length
        octets = data[np.where(inside, start + position, 0)]
        crc = np.where(inside, table[(crc ^ octets) & 0xFF] ^ crc >> 8, crc)
    return ~crc
