"""Read TLP captures in pcap and pcapng: NetTLP, bare TLPs, and records of Agilent/Keysight bus analysers.

The way of a packet: ``packet_files`` (container, by scapy), ``frames`` (where its TLP is), ``decode`` (header
fields), ``matching`` (request and completion), ``accesses`` (the access).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.errors import UnsupportedFormatError, UsageError
from analyzer.readers.tlp import accesses as tlp_accesses
from analyzer.readers.tlp import frames as tlp_frames
from analyzer.readers.tlp.decode import EVENT, decode
from analyzer.readers.tlp.matching import Matcher
from analyzer.readers.tlp.packet_files import PacketFile
from analyzer.readers.tlp.tally import TlpTally
from schemas import tlp_containers as layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the config accesses of a TLP capture in frames of ``accesses.READER_SCHEMA``.

    A read stands where its completion is, a write where its request is; ``where`` is the byte of that
    packet's record, ``time_ns`` the recorder's clock, ``domain`` 0.

    Raises:
        DamagedInputError: the file's header is cut or makes no sense.
        UnsupportedFormatError: no packet has a link type that holds TLPs, or all config requests are of flit
            mode.
        UsageError: ``options.linktype_raw_tlp`` is no link type.
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
        events = decode(packets, tlp_frames.find(packets, raw, tally), tally)
        frame = tlp_accesses.frame(matcher.match(events, last=False), tally)
        if frame.height:
            yield frame
    frame = tlp_accesses.frame(matcher.match(np.empty(0, EVENT), last=True), tally)
    if frame.height:
        yield frame
    _check_usable(file, raw, tally, notes)
    if file.link_types - {layout.AGILENT}:
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
    usable = {*layout.LINK_HEADERS, layout.AGILENT, raw}
    if file.link_types and not file.link_types & usable:
        found = ", ".join(str(kind) for kind in sorted(file.link_types))
        raise UnsupportedFormatError(
            f"expected packets of NetTLP (Ethernet, link type 1) or of a bus analyser (158), found link type"
            f" {found}",
            path=notes.path,
            advice=f"if each packet is one bare TLP, say so: --linktype-raw-tlp {min(file.link_types)}",
        )
