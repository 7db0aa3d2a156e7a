"""What lies around a TLP in a packet capture: network headers, NetTLP's, a bus analyser's, the link's frame.

Sources: libpcap ``pcap-linktype(7)``; IEEE 802.1Q, RFC 791, RFC 768; NetTLP ``libtlp`` (``include/libtlp.h``,
``lib/libtlp.c``) and its adapter; agilent-pcie-analyzer-re ``pad2pcapng`` and ``proto_pcie_capture.c``; PCI
Express Base Specification 6.0, 4.2.2 (8b/10b symbols and framing), 3.6.2 (sequence number, LCRC).
"""

from __future__ import annotations

import construct as cs

# Link types (tcpdump.org LINKTYPE_*).
ETHERNET, LINUX_SLL, LINUX_SLL2 = 1, 113, 276
#: LINKTYPE_USER11, which pad2pcapng took for its records.
AGILENT = 158

#: By link type: bytes in front of the network header, and where in them its type is.
LINK_HEADERS = {ETHERNET: (14, 12), LINUX_SLL: (16, 14), LINUX_SLL2: (20, 0)}
IPV4 = 0x0800
#: 802.1Q and 802.1ad tags, and what was used in their place: 4 bytes each in front of the type.
VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
VLAN_SIZE, MAX_VLANS = 4, 3
IPV4_SIZE, UDP, UDP_SIZE = 20, 17, 8
#: In the fragment word of an IPv4 header: "more fragments" and offset, offset alone.
FRAGMENT, FRAGMENT_OFFSET = 0x3FFF, 0x1FFF

#: UDP payload of NetTLP: this, then one TLP without LCRC. The clock ticks every 4 or 8 ns.
NETTLP = cs.Struct("sequence" / cs.Int16ub, "timestamp" / cs.Int32ub)
#: Ports: for requests of libtlp (one per tag), of the adapter (by the low bits of the tag), of version 0.14.
NETTLP_PORTS = (range(0x3000, 0x3100), range(0x4000, 0x4010), range(14198, 14199))
#: Requests and replies of NetTLP's own configuration protocol use the same ports, and name no function.
NETTLP_CONFIG_SIZE = 6

#: A record of pad2pcapng: this, the frame, then metadata of the analyser.
AGILENT_RECORD = cs.Struct(
    "record" / cs.Int32ul,
    "timestamp_ns" / cs.Int64ul,
    "lfsr" / cs.Int16ul,
    "metadata" / cs.Int16ul,
    "flags" / cs.Int32ul,
)
#: In ``metadata``: bytes of the frame, 0 = up to the end of the record.
AGILENT_FRAME_LENGTH = 0x7FFF

#: A TLP on a link with 8b/10b coding: STP, this, the TLP, its LCRC (little-endian), END, or EDB if its sender
#: took it back.
FRAME_HEAD = cs.Struct("start" / cs.Int8ub, "sequence" / cs.Int16ub)
STP, SDP, COM, END, EDB = 0xFB, 0x5C, 0xBC, 0xFD, 0xFE
SEQUENCE = 0x0FFF
LCRC_SIZE = 4
