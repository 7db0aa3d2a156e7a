"""The packets that evidence of a TLP capture rests on, in words: for ``analyze explain -vv``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.options import Options
from analyzer.readers.formats import PCAP, PCAPNG
from analyzer.readers.sniff import identify
from analyzer.readers.tlp.packet_files import PacketFile
from analyzer.readers.unwrap import open_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.questions.explain.explanation import Explanation

#: Packets that are described; each takes scapy about a millisecond.
_MOST = 500


def of_explanation(explanation: Explanation, options: Options | None = None) -> dict[int, str]:
    """Return what the packets of an explanation say, by the byte of their record; empty for other formats.

    Raises:
        AritraceError: the capture cannot be read again.
    """
    chosen = options or Options()
    if explanation.path == "-" or chosen.join or chosen.seed is not None:
        return {}  # it can be read only once, or the place of a record does not say of which file
    places = [entry.offset_bytes for entry in explanation.timeline if entry.kind != "context"]
    places += [item.offset_bytes for kexec in explanation.kexecs for item in kexec.evidence]
    return describe(explanation.path, {place for place in places if place is not None}, options)


def describe(path: str, places: Iterable[int], options: Options | None = None) -> dict[int, str]:
    """Return the TLP of each packet whose record begins at one of ``places``, in words.

    Raises:
        AritraceError: the capture cannot be read.
    """
    wanted = np.array(sorted(places)[:_MOST], np.int64)
    found: dict[int, str] = {}
    with open_stream(path) as stream:
        if not len(wanted) or identify(stream, options) not in (PCAP, PCAPNG):
            return found
        from analyzer.readers.tlp import layers

        raw = (options or Options()).linktype_raw_tlp
        for packets in PacketFile(stream).batches():
            for row in np.flatnonzero(np.isin(packets.where, wanted)).tolist():
                data = packets.data[packets.start[row] : packets.end[row]].tobytes()
                found[int(packets.where[row])] = layers.describe(data, int(packets.link_type[row]), raw)
            if packets.where[-1] >= wanted[-1]:
                break
    return found
