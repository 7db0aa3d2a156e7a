"""A capture in memory: its access table and everything else that its files said."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from analyzer.capture.uses import FunctionUse, PlacedUse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

__all__ = [
    "ENUMERATION_ONLY", "LACKING", "LACKS_FUNCTIONS", "OUT_OF_ORDER", "Boundary", "BoundaryName", "Capture",
    "Event", "FunctionUse", "LogLine", "LoggedScan", "Notes", "PlacedUse", "PreservedDump", "Problem",
    "SourceFile",
]  # fmt: skip

#: Kind of the problem of joined pieces that contradict the order in which they were given.
OUT_OF_ORDER: Final = "order"
#: Kind of a problem that leaves open which functions the machine had.
LACKS_FUNCTIONS: Final = "lacks-functions"
#: Kind of the problem of a kernel log in place of accesses: it shows nothing of ARI Forwarding.
ENUMERATION_ONLY: Final = "enumeration-only"
#: As LACKS_FUNCTIONS, of parts that could not be read, and of functions shown twice.
LACKING: Final = frozenset({LACKS_FUNCTIONS, "repeated", "unreadable"})

#: What ``analyze collect --before`` and ``--after`` call themselves.
_COLLECTED: Final = re.compile(r"aritrace \S+ collect --(before|after)")

BoundaryName = Literal["boot", "kexec", "live-update", "plain", "crash"]


@dataclass(frozen=True)
class SourceFile:
    """One file of a capture. ``sha256`` is of the bytes on disk (compressed, if they are)."""

    path: str
    format: str
    sha256: str


@dataclass(frozen=True)
class Problem:
    """Something wrong with an input that did not stop the analysis (JSON ``errors``).

    ``kind`` is a stable word: ``truncated``, ``damaged``, ``dropped``, ``foreign``, ``unsupported``, ...
    """

    kind: str
    file: str
    offset_bytes: int | None
    message: str


@dataclass(frozen=True)
class Boundary:
    """An explicit mark in the capture: ``seq`` is the first access after it.

    ``kind``: ``boot`` (firmware ran: not a kexec), ``kexec`` (a kexec of unknown purpose), ``live-update``,
    ``plain`` or ``crash`` (a kexec of that kind).
    """

    seq: int
    kind: BoundaryName
    release: str | None = None


@dataclass(frozen=True)
class LogLine:
    """A kernel log line and the access it came before (None: the log has no place in the access order)."""

    text: str
    seq: int | None = None
    time_ns: int | None = None


@dataclass(frozen=True)
class PreservedDump:
    """Raw kernel data of a preserved set, kept as found (schemas/pci_ser.py decodes it).

    ``name`` is the FLB name ("pci", "pci-v2", ...) or an empty string. ``kexec`` is the 0-based number of the
    kexec it was handed over at, or None for all of them.
    """

    data: bytes
    name: str = ""
    kexec: int | None = None


@dataclass(frozen=True)
class Event:
    """A link, hot-plug or error event between the accesses (``link``, ``hotplug``, ``aer``, ``dpc``)."""

    kind: str
    seq: int
    bdf: tuple[int, int, int] | None
    text: str
    time_ns: int | None = None


@dataclass(frozen=True)
class LoggedScan:
    """A scan of PCI of which a kernel log shows the result, in place of its accesses.

    Its accesses are reads that the messages prove. A log shows neither capabilities nor the multi-function
    bit, so nothing of ARI Forwarding.

    Attributes:
        path: the log.
        first, end: numbers of its accesses, the end exclusive.
        lines: its kernel's lines in the notes' log, from 0, the end exclusive.
        roots: root buses (``domain << 8 | bus``) whose scan it announces.
        port_types: device/port type by function key, where the log names it.
        conventional: functions that the log calls conventional PCI.
        missing: what it does not show of its scan; if empty, what it does not list was not found.
        later: functions that it lists after that scan only -> line, from 1.
        unknown_headers: functions that the kernel ignored for their header type -> line, from 1; ``ignored``
            has the type in place of the line.
        after_firmware: firmware ran before this kernel.
    """

    path: str
    first: int
    end: int
    lines: tuple[int, int]
    roots: frozenset[int]
    port_types: Mapping[int, int] = field(default_factory=dict)
    conventional: frozenset[int] = frozenset()
    missing: tuple[str, ...] = ()
    later: Mapping[int, int] = field(default_factory=dict)
    unknown_headers: Mapping[int, int] = field(default_factory=dict)
    ignored: Mapping[int, int] = field(default_factory=dict)
    after_firmware: bool = False


@dataclass
class Notes:
    """What a reader learns besides the accesses; each reader fills what its format holds.

    ``seq`` values in here count the accesses of the same file from 0. ``clock`` names what ``time_ns`` counts
    (``monotonic``, ``realtime``, ``boot``, ``tai``, ``local``, ``mixed`` in joined pieces; None: unknown).
    ``releases`` are kernel releases that the file names without a place in the order. ``source_format`` is
    what a converted file was before. ``scans`` are those that kernel logs show in place of accesses.
    ``uses`` say what functions are used as. ``dropped`` is what the recorder lost, by its own count or by
    gaps in its records; ``missing_dwords`` what a snapshot must have shown and does not, as a text that lacks
    rows.
    """

    path: str
    host: str | None = None
    tool: str | None = None
    truncated: bool = False
    dropped: int = 0
    missing_dwords: int = 0
    foreign_lines: int = 0
    problems: list[Problem] = field(default_factory=list)
    boundaries: list[Boundary] = field(default_factory=list)
    log: list[LogLine] = field(default_factory=list)
    preserved: list[PreservedDump] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    clock: str | None = None
    created_ns: int | None = None
    releases: list[str] = field(default_factory=list)
    source_format: str | None = None
    scans: list[LoggedScan] = field(default_factory=list)
    uses: list[PlacedUse] = field(default_factory=list)

    @property
    def collected(self) -> Literal["before", "after"] | None:
        """Of a file of ``analyze collect``: on which side of the kexec it was made, where that was said."""
        match = _COLLECTED.fullmatch(self.tool or "")
        return None if match is None else "before" if match[1] == "before" else "after"

    @property
    def whole(self) -> bool:
        """Whether nothing between its first access and its last is known to be missing or out of order."""
        return (
            self.whole_order
            and not self.dropped
            and not self.missing_dwords
            and not self.may_lack_functions
            and not self.scans
        )

    @property
    def whole_order(self) -> bool:
        """Whether nothing contradicts the order of its pieces."""
        return all(problem.kind != OUT_OF_ORDER for problem in self.problems)

    @property
    def may_lack_functions(self) -> bool:
        """Whether functions may be missing from it that the machine had."""
        return any(problem.kind in LACKING for problem in self.problems)

    def problem(self, kind: str, message: str, offset: int | None = None) -> None:
        """Record a problem of this file."""
        self.problems.append(Problem(kind, self.path, offset, message))


@dataclass
class Capture:
    """One capture as somebody recorded it: one file, or several that were joined.

    ``accesses`` has the columns of :data:`analyzer.capture.accesses.SCHEMA` with ``capture`` 0, sorted by
    ``seq``. ``thinned`` reads of a very long capture were left out of it (:mod:`analyzer.capture.thinning`).
    ``joined`` are the paths of the captures that it was joined from.
    """

    path: str
    files: list[SourceFile]
    format: str
    accesses: pl.DataFrame
    notes: Notes
    thinned: int = 0
    joined: Sequence[str] = ()

    @property
    def pieces(self) -> Sequence[str]:
        """Paths of the captures that were joined, or its own."""
        return self.joined or (self.path,)

    @property
    def recorded(self) -> int:
        """How many accesses were recorded."""
        return self.accesses.height + self.thinned
