"""Where the TLP lies in each packet: inside UDP of NetTLP, in a link's frame of a bus analyser, or bare.

Bulk: every step looks at all packets of a batch at once. Packets that hold no TLP are counted by what they
are; those of the right kind that cannot be used are counted as problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analyzer.readers.columns import Columns
from schemas import tlp_containers as layout
from schemas.bulk import dtype_of, gather

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.readers.tlp.packet_files import Packets
    from analyzer.readers.tlp.tally import TlpTally

    Places = NDArray[np.int64]

#: For TLPs without a number of their own.
NO_SEQUENCE = -1
_AGILENT, _FRAME_HEAD = dtype_of(layout.AGILENT_RECORD), dtype_of(layout.FRAME_HEAD)
_NETTLP = dtype_of(layout.NETTLP)


@dataclass(frozen=True)
class Frames(Columns):
    """TLPs of a batch; one entry per TLP, in order.

    ``packet`` is the index of its packet, ``start`` and ``end`` bound it in the batch's data. Two sightings
    of one TLP have the same ``sequence`` (of the link; sequence and timestamp of NetTLP), unless that is
    ``NO_SEQUENCE``. After a ``framed`` TLP stand LCRC and end symbol.
    """

    packet: Places
    start: Places
    end: Places
    sequence: NDArray[np.int64]
    framed: NDArray[np.bool_]


def find(packets: Packets, raw_link_type: int | None, tally: TlpTally) -> Frames:
    """Return where the TLPs of a batch are.

    Args:
        packets: the batch.
        raw_link_type: link type whose packets are bare TLPs, or None.
        tally: counts the packets without one.
    """
    found = []
    for link_type in np.unique(packets.link_type).tolist():
        index = np.flatnonzero(packets.link_type == link_type)
        if link_type == raw_link_type:
            found.append(_bare(packets, index))
        elif link_type == layout.AGILENT:
            found.append(_analyser(packets, index, tally))
        elif link_type in layout.LINK_HEADERS:
            found.append(_network(packets, index, link_type, tally))
        else:
            tally.packet(f"of link type {link_type}", np.ones(len(index), bool))
    if len(found) == 1:
        return found[0]
    none = np.empty(0, np.int64)
    found.append(Frames(none, none, none, none, none.astype(bool)))
    together = Frames.concat(found)
    return together.pick(np.argsort(together.packet, kind="stable"))


def _bare(packets: Packets, index: Places) -> Frames:
    none = np.full(len(index), NO_SEQUENCE, np.int64)
    return Frames(index, packets.start[index], packets.end[index], none, np.zeros(len(index), bool))


def _analyser(packets: Packets, index: Places, tally: TlpTally) -> Frames:
    """Records of pad2pcapng: a header of the analyser, then what was on the link from a start symbol on."""
    start, end = packets.start[index], packets.end[index]
    head = gather(packets.data, _AGILENT, start)
    frame = start + _AGILENT.itemsize
    length = (head["metadata"] & layout.AGILENT_FRAME_LENGTH).astype(np.int64)
    end = np.where(length > 0, np.minimum(end, frame + length), end)
    whole = end > frame
    first = packets.data[np.where(whole, frame, 0)]
    chosen = whole & (first == layout.STP)
    for symbol, name in ((layout.SDP, "DLLPs"), (layout.COM, "ordered sets")):
        tally.packet(name, whole & (first == symbol))
    tally.packet("records without a frame", ~whole)
    tally.packet("other symbols", whole & ~np.isin(first, (layout.STP, layout.SDP, layout.COM)))
    frame = frame[chosen]
    sequence = gather(packets.data, _FRAME_HEAD, frame)["sequence"] & layout.SEQUENCE
    return Frames(
        index[chosen],
        frame + _FRAME_HEAD.itemsize,
        end[chosen],
        sequence.astype(np.int64),
        np.ones(len(frame), bool),
    )


def _network(packets: Packets, index: Places, link_type: int, tally: TlpTally) -> Frames:
    """NetTLP: Ethernet or what Linux makes of it, any VLAN tags, IPv4, UDP."""
    data, end = packets.data, packets.end[index]
    size, kind_at = layout.LINK_HEADERS[link_type]
    place = packets.start[index] + size
    kind = _word(data, packets.start[index] + kind_at, end)
    for _ in range(layout.MAX_VLANS):
        tagged = np.isin(kind, layout.VLAN_TAGS)
        if not tagged.any():
            break
        kind = np.where(tagged, _word(data, place + 2, end), kind)
        place = np.where(tagged, place + layout.VLAN_SIZE, place)
    first = _octet(data, place, end)
    internet = (kind == layout.IPV4) & (first >> 4 == 4) & ((first & 15) * 4 >= layout.IPV4_SIZE)
    internet &= _octet(data, place + 9, end) == layout.UDP
    # After the length that the IP header says, a short Ethernet frame is padded.
    said = _word(data, place + 2, end)
    end = np.where(said > 0, np.minimum(end, place + said), end)
    fragment = internet & (_word(data, place + 6, end) & layout.FRAGMENT > 0)
    further = fragment & (_word(data, place + 6, end) & layout.FRAGMENT_OFFSET > 0)
    udp = place + (first & 15) * 4
    port = _word(data, udp + 2, end)
    ours = np.zeros(len(index), bool)
    for ports in layout.NETTLP_PORTS:
        ours |= (port >= ports.start) & (port < ports.stop)
    # Only the first fragment has the ports.
    tally.add("fragment", packets.where[index[ours & fragment & ~further]])
    ours &= internet & ~fragment
    tally.packet("not UDP of NetTLP", ~ours)
    said = _word(data, udp + 4, end)
    payload = udp + layout.UDP_SIZE
    control = ours & (said == layout.UDP_SIZE + layout.NETTLP_CONFIG_SIZE)
    tally.packet("NetTLP's configuration protocol", control)
    chosen = ours & ~control
    end = np.where(said >= layout.UDP_SIZE, np.minimum(end, udp + said), end)
    index, payload, end = index[chosen], payload[chosen], end[chosen]
    start = payload + _NETTLP.itemsize
    head = gather(data, _NETTLP, np.where(start <= end, payload, 0))
    sequence = head["sequence"].astype(np.int64) << 32 | head["timestamp"]
    # Software that makes TLPs leaves both 0.
    sequence[(sequence == 0) | (start > end)] = NO_SEQUENCE
    return Frames(index, start, np.maximum(end, start), sequence, np.zeros(len(index), bool))


def _octet(data: NDArray[np.uint8], places: Places, end: Places) -> NDArray[np.int64]:
    """The byte at each place, 0 where the packet is over."""
    inside = places < end
    return np.where(inside, data[np.where(inside, places, 0)], 0).astype(np.int64)


def _word(data: NDArray[np.uint8], places: Places, end: Places) -> NDArray[np.int64]:
    """The big-endian word at each place, 0 where the packet is over."""
    inside = places + 1 < end
    at = np.where(inside, places, 0)
    return np.where(inside, data[at].astype(np.int64) << 8 | data[at + 1], 0)
