"""What a TLP capture holds besides usable accesses: counted as it is read, written into the notes at the end.

Where config accesses are known to have happened and cannot be used they count as dropped, so that no verdict
rests on a history that looks complete.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from analyzer.readers.tallies import Count, report_kinds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from analyzer.capture import Notes


class ProblemKind(NamedTuple):
    """A kind of problem: its stable word, whether accesses were lost by it, and what to say of ``{}``."""

    kind: str
    loses: bool
    message: str


#: By name; in the order in which they are reported.
REASONS = {
    "interface": ProblemKind(
        "damaged",
        True,
        "{} [packet is of an interface|packets are of interfaces] that the file does not describe",
    ),
    "dropped": ProblemKind("dropped", True, "the recorder lost {} [packet|packets], by its own count"),
    "fragment": ProblemKind(
        "unsupported",
        True,
        "{} [packet is a fragment of an IPv4 packet|packets are fragments of IPv4 packets]: fragments"
        " are not reassembled",
    ),
    "cut": ProblemKind(
        "cut",
        True,
        "{} config [TLP was|TLPs were] cut by the recorder before the value; record whole packets (tcpdump"
        " -s 0)",
    ),
    "short": ProblemKind("damaged", True, "{} config [TLP is|TLPs are] shorter than the header or data says"),
    "prefixes": ProblemKind(
        "damaged", True, "{} [TLP has|TLPs have] more prefixes than there are kinds of prefixes"
    ),
    "malformed": ProblemKind(
        "damaged",
        True,
        "{} config [TLP breaks|TLPs break] the rules of PCI Express (Length, TC, AT, Last DW BE,"
        " status) and [is|are] left out",
    ),
    "framing": ProblemKind(
        "damaged",
        True,
        "{} [frame with a config TLP does|frames with config TLPs do] not end with END or EDB",
    ),
    "lcrc": ProblemKind(
        "damaged",
        False,
        "{} config [TLP has|TLPs have] a wrong LCRC; a link discards such TLPs and sends them again",
    ),
    "nullified": ProblemKind(
        "nullified", False, "{} config [TLP was|TLPs were] nullified by the sender (EDB)"
    ),
    "flit": ProblemKind("unsupported", True, "{} config [request is|requests are] of flit mode and left out"),
    "tcfg": ProblemKind(
        "unsupported",
        False,
        "{} [TLP is|TLPs are] of the types TCfgRd and TCfgWr (the latter now a memory write) and not used",
    ),
    "poisoned": ProblemKind(
        "poisoned", True, "{} config [read was|reads were] answered with poisoned data, which is left out"
    ),
    "poisoned write": ProblemKind("poisoned", False, "{} config [write|writes] carried poisoned data"),
    "no bytes": ProblemKind(
        "no-bytes", False, "{} config [request enables|requests enable] no byte and [accesses|access] nothing"
    ),
    "mismatch": ProblemKind(
        "damaged",
        True,
        "{} config [request has|requests have] a completion that does not fit (with or without data)",
    ),
    "reused": ProblemKind(
        "lost-completion",
        False,
        "{} config [request has|requests have] no completion in the capture: the tag was used again"
        " before one came",
    ),
    "lost": ProblemKind(
        "lost-completion", False, "{} config [request has|requests have] no completion in the capture"
    ),
    "lost read": ProblemKind(
        "dropped",
        True,
        "{} config [read|reads] without completion [is|are] left out: what would have been returned is"
        " unknown",
    ),
    "open": ProblemKind(
        "lost-completion", False, "the capture ends before the completions of {} config [request|requests]"
    ),
    "early": ProblemKind(
        "stray-completion",
        False,
        "{} [completion has|completions have] no request in the capture; the requester made no config"
        " request before",
    ),
    "stray": ProblemKind(
        "stray-completion",
        True,
        "{} [completion|completions] for requesters of config requests [has|have] no request: accesses"
        " are missing",
    ),
    "repeated": ProblemKind(
        "repeated",
        False,
        "{} config [TLP was|TLPs were] seen again on another link, or repeated by the link, and"
        " [counts|count] once",
    ),
}


class TlpTally:
    """The account of one file.

    Attributes:
        packets: packets that hold no TLP, by what they are.
        tlps: TLPs of other kinds, by name.
        config_requests: config requests that could be used.
        flit: where the first request of flit mode is.
    """

    def __init__(self) -> None:
        self.packets: Counter[str] = Counter()
        self.tlps: Counter[str] = Counter()
        self.config_requests = 0
        self._counts = {name: Count() for name in REASONS}

    def packet(self, kind: str, which: NDArray[np.bool_]) -> None:
        """Count the packets of a mask that hold no TLP, and say what they are."""
        if number := int(which.sum()):
            self.packets[kind] += number

    def add(self, reason: str, places: NDArray[np.int64]) -> None:
        """Count records at these bytes of the file."""
        if len(places):
            self.count(reason, len(places), int(places.min()))

    def count(self, reason: str, number: int, first: int | None) -> None:
        """Count ``number`` records, the first of them at byte ``first``."""
        if number:
            count = self._counts[reason]
            count.number += number
            if first is not None:
                count.first = first if count.first is None else min(first, count.first)

    def first(self, reason: str) -> int | None:
        """Byte of the first record that was counted for ``reason``, or None."""
        return self._counts[reason].first

    def close(self, notes: Notes) -> None:
        """Write the account into ``notes``."""
        for name, reason in REASONS.items():
            count = self._counts[name]
            count.report(notes, reason.kind, reason.message, loses=reason.loses)
        report_kinds(notes, "packets without a TLP", self.packets)
        report_kinds(notes, "TLPs of other kinds", self.tlps)
