"""Read TLP captures in pcap and pcapng: NetTLP, bare TLPs, and records of Agilent/Keysight bus analysers.

The way of a packet: ``packet_files`` (container, by scapy), ``frames`` (where its TLP is), ``decode`` (header
fields), ``matching`` (request and completion), and here the access: byte enables to offset and width,
completion status to a value.

What the CPU sees, by PCI Express Base Specification 6.0, 2.3.2 (completion handling) and 2.3.1 (RRS Software
Visibility): data of a successful completion, all ones for an Unsupported Request or a Completer Abort. For
Request Retry Status it is vendor 0x0001 with the rest all ones, where the vendor ID is read; elsewhere the
root complex asks again, and this read has no value but all ones.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analyzer.capture import accesses
from analyzer.errors import UnsupportedFormatError, UsageError
from analyzer.readers.tlp.decode import EVENT, READ, WRITE, decode
from analyzer.readers.tlp.frames import find
from analyzer.readers.tlp.matching import Matcher
from analyzer.readers.tlp.packet_files import PacketFile
from analyzer.readers.tlp.tally import TlpTally
from schemas import tlp as layout
from schemas import tlp_containers as containers
from schemas.config_header import RRS_VENDOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.tlp.matching import Transactions
    from analyzer.readers.unwrap import ByteStream

_STATUS = {
    layout.SUCCESSFUL: accesses.OK,
    layout.UNSUPPORTED_REQUEST: accesses.UNSUPPORTED,
    layout.REQUEST_RETRY: accesses.RETRY,
    layout.COMPLETER_ABORT: accesses.ABORT,
}
_ONES = 0xFFFFFFFF
_VENDOR_BYTES = 0b0011


@functools.cache
def _status_codes() -> NDArray[np.uint8]:
    """Status of an access by completion status."""
    codes = np.full(8, accesses.UNKNOWN, np.uint8)
    codes[list(_STATUS)] = list(_STATUS.values())
    return codes


@functools.cache
def _lanes() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """First byte and width of the (at most two) accesses by byte enables; width 0: there is none."""
    table = np.zeros((2, 16, 2), np.uint8)
    for enables, found in enumerate(layout.ACCESSES_OF_ENABLES):
        for number, access in enumerate(found):
            table[number, enables] = access
    return table[..., 0], table[..., 1]


def _frame(found: Transactions, tally: TlpTally) -> pl.DataFrame:
    """Return the accesses of matched transactions as a reader's frame; count those that say nothing.

    A read without completion is left out: what it would have returned is unknown. A write is an access
    with or without one. The domain is 0, because TLPs do not say it.
    """
    if not len(found.answered):
        return accesses.empty()
    found = _usable(found, tally)
    request, completion, answered = found
    status = np.where(answered, _status_codes()[completion["status"]], accesses.UNKNOWN).astype(np.uint8)
    read = request["kind"] == READ
    # A completer must not use poisoned data (2.7.2.2); if it says that it did, what it holds is unknown.
    status[~read & request["poisoned"] & (status == accesses.OK)] = accesses.UNKNOWN
    vendor = (request["register"] == 0) & (request["enables"] & _VENDOR_BYTES == _VENDOR_BYTES)
    retry = np.where(vendor, np.uint32(0xFFFF0000 | RRS_VENDOR), np.uint32(_ONES))
    word = np.where(status == accesses.OK, completion["data"], np.uint32(_ONES))
    word = np.where(status == accesses.RETRY, retry, word)
    word = np.where(read, word, request["data"])

    first, width = (table[:, request["enables"]] for table in _lanes())
    # Row by row: the second access of a request follows its first.
    lane, row = np.nonzero(width.T)[::-1]
    byte, width = first[lane, row], width[lane, row]
    mask = (np.uint64(1) << (np.uint64(8) * width)) - np.uint64(1)
    value = word[row].astype(np.uint64) >> (np.uint64(8) * byte) & mask
    source = np.where(read & answered, np.int8(1), np.int8(0))
    where, time, timed = (
        np.where(source, completion[name], request[name])[row] for name in ("where", "time_ns", "timed")
    )
    return accesses.from_columns(
        {
            "time_ns": _time(time, timed),
            "bus": (request["function"] >> 8)[row],
            "devfn": (request["function"] & 0xFF)[row],
            "offset": (request["register"][row] + byte).astype(np.uint16),
            "width": width,
            "op": request["kind"][row],
            "value": value.astype(np.uint32),
            "status": status[row],
            "absent": (status == accesses.UNSUPPORTED)[row],
            "where": where.astype(np.uint64),
        },
        len(row),
    )


def _time(time: NDArray[np.int64], timed: NDArray[np.bool_]) -> pl.Series:
    if timed.all():
        return pl.Series(time)
    return pl.DataFrame({"time": time, "timed": timed}).select(pl.when("timed").then("time")).to_series()


def _usable(found: Transactions, tally: TlpTally) -> Transactions:
    """Leave out what is not an access, or one of which nothing is known."""
    request, completion, answered = found
    where, read = request["where"], request["kind"] == READ
    nothing = request["enables"] == 0
    tally.add("no bytes", where[nothing])
    tally.add("poisoned write", where[~read & request["poisoned"]])
    good = ~nothing & (answered | ~read)
    # Data comes with a successful read and with nothing else.
    success = completion["status"] == layout.SUCCESSFUL
    mismatch = good & answered & (completion["has_data"] != (read & success))
    tally.add("mismatch", where[mismatch])
    poisoned = good & answered & ~mismatch & read & completion["poisoned"]
    tally.add("poisoned", where[poisoned])
    return found.pick(good & ~(mismatch & read) & ~poisoned)


assert (READ, WRITE) == (accesses.READ, accesses.WRITE)  # noqa: S101 codes that the frame takes over


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the config accesses of a TLP capture in frames of ``accesses.READER_SCHEMA``.

    A read stands where its completion is, a write where its request is; ``where`` is the byte of that
    packet's record, ``time_ns`` the recorder's clock, ``domain`` 0.

    Raises:
        DamagedInputError: the file's header is cut or makes no sense.
        UnsupportedFormatError: no packet has a link type that holds TLPs, or all config requests are of flit
            mode.
        UsageError: ``options.linktype_raw_tlp`` is not a link type.
    """
    raw = options.linktype_raw_tlp
    if raw is not None and not 0 <= raw <= 0xFFFF:
        raise UsageError(
            f"expected a link type from 0 to 65535 for --linktype-raw-tlp, found {raw}",
            advice="capinfos or file(1) names the one of a capture",
        )
    tally = TlpTally()
    file = PacketFile(stream)
    matcher = Matcher(tally)
    for packets in file.batches():
        events = decode(packets, find(packets, raw, tally), tally)
        frame = _frame(matcher.match(events, last=False), tally)
        if frame.height:
            yield frame
    frame = _frame(matcher.match(np.empty(0, EVENT), last=True), tally)
    if frame.height:
        yield frame
    _check_usable(file, raw, tally, notes)
    if file.link_types - {containers.AGILENT}:
        notes.clock = "realtime"  # a bus analyser counts from its own start
    if file.damage is not None:
        notes.truncated = True
        where, kind, message = file.damage
        notes.problem(kind, message, where)
    tally.count("interface", *file.lost)
    tally.count("dropped", file.dropped, None)
    tally.close(notes)


def _check_usable(file: PacketFile, raw: int | None, tally: TlpTally, notes: Notes) -> None:
    """Refuse a file that holds TLPs in a form that is not read."""
    if not tally.config_requests and tally.first("flit") is not None:
        raise UnsupportedFormatError(
            "expected TLPs of non-flit mode, found configuration requests of flit mode only",
            path=notes.path,
            offset=tally.first("flit"),
            advice="record below 64 GT/s, or in the kernel or hypervisor",
        )
    usable = {*containers.LINK_HEADERS, containers.AGILENT, raw}
    if file.link_types and not file.link_types & usable:
        found = ", ".join(str(kind) for kind in sorted(file.link_types))
        raise UnsupportedFormatError(
            f"expected packets of NetTLP (Ethernet, link type 1) or of a bus analyser (158), found link type"
            f" {found}",
            path=notes.path,
            advice=f"if each packet is one bare TLP, say so: --linktype-raw-tlp {min(file.link_types)}",
        )
