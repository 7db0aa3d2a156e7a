"""What chunks of a native file say besides the accesses: boundaries, preserved set, log, events, problems.

Positions become rows only at the end, when it is known which accesses were lost to damage. Boundaries are in
the notes from the moment they are read, with the row that is expected then: who thins a capture needs them.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analyzer import bdf
from analyzer.capture import Boundary, Event, LogLine, PlacedUse, PreservedDump, Problem, uses
from analyzer.plurals import count
from analyzer.readers.formats import SNAPSHOTS
from schemas.bulk import dtype_of
from schemas.native import (
    MAX_ACCESSES,
    RECORDS,
    BoundaryKind,
    ChunkType,
    ProblemFlag,
    RecordFlag,
    TrailerFlag,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.capture import BoundaryName
    from analyzer.readers.native.chunks import Chunk
    from analyzer.readers.native.ledger import Ledger

#: Limits of one file, far above what a kernel logs in a boot; chunks beyond them are named and left out.
MAX_RECORDS: Final = 1_000_000
MAX_BYTES: Final = 64 << 20

_DTYPES: Final = {kind: dtype_of(record) for kind, (record, _) in RECORDS.items()}
_MAX_OFFSET: Final = (1 << 63) - 1
#: As plain numbers: the arithmetic of flag classes costs a microsecond, for each log line.
_TIME_KNOWN: Final = int(RecordFlag.TIME_KNOWN)
_PLACE_KNOWN: Final = int(RecordFlag.PLACE_KNOWN)
_BOUNDARY_KINDS: Final[dict[int, BoundaryName]] = {
    BoundaryKind.BOOT: "boot",
    BoundaryKind.KEXEC: "kexec",
    BoundaryKind.LIVE_UPDATE: "live-update",
    BoundaryKind.PLAIN: "plain",
    BoundaryKind.CRASH: "crash",
}


class ContentError(Exception):
    """Records of an intact chunk contradict each other or the format; the text says how."""


def split(kind: ChunkType, count: int, payload: bytes) -> tuple[NDArray[np.void], list[bytes]]:
    """Split a raw payload into its records and the parts of its heap.

    Args:
        kind: type of the chunk.
        count: its number of records; they fit into ``payload`` (checked by the framing).
        payload: decompressed payload.

    Returns:
        ``count`` records of the type's dtype, and the heap parts: record by record, in the order of the
        length fields in ``schemas.native.RECORDS``.

    Raises:
        ContentError: the lengths do not add up to the heap.
    """
    dtype = _DTYPES[kind]
    lengths = RECORDS[kind][1]
    records = np.frombuffer(payload, dtype, count)
    heap = memoryview(payload)[count * dtype.itemsize :]
    if not lengths:
        if len(heap):
            raise ContentError(f"expected nothing after the records, found {len(heap)} bytes")
        return records, []
    ends = np.cumsum(np.stack([records[name].astype(np.int64) for name in lengths], axis=1).ravel())
    total = int(ends[-1]) if count else 0
    if total != len(heap):
        raise ContentError(f"expected {total} bytes after the records, found {len(heap)}")
    starts = [0, *ends.tolist()]
    return records, [bytes(heap[a:b]) for a, b in itertools.pairwise(starts)]


def text(data: bytes) -> str:
    """Decode UTF-8; what a dying machine garbled stays visible as U+FFFD."""
    return data.decode("utf-8", "replace")


class SideRecords:
    """Collects everything but accesses from the chunks of one file.

    Attributes:
        complete: the trailer was read.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.complete = False
        self._ledger = ledger
        self._boundaries: list[int] = []  # their positions, in the order of the notes
        self._log: list[tuple[str, int | None, int | None]] = []
        self._events: list[tuple[str, int, tuple[int, int, int] | None, str, int | None]] = []
        self._uses: dict[tuple[int, int], list[uses.Fact]] = {}  # function, access -> what is known
        self._records = 0
        self._bytes = 0
        self._left_out = 0
        self._decoders = {
            ChunkType.BOUNDARIES: self._add_boundaries,
            ChunkType.PRESERVED: self._add_preserved,
            ChunkType.LOG: self._add_log,
            ChunkType.EVENTS: self._add_events,
            ChunkType.PROBLEMS: self._add_problems,
            ChunkType.TRAILER: self._add_trailer,
            ChunkType.USES: self._add_uses,
        }

    def add(self, chunk: Chunk) -> None:
        """Take the records of an intact chunk; a chunk that contradicts itself is left out as a whole."""
        kind = ChunkType(chunk.head.type)
        self._records += chunk.head.count
        self._bytes += len(chunk.payload)
        if kind != ChunkType.TRAILER and (self._records > MAX_RECORDS or self._bytes > MAX_BYTES):
            self._left_out += 1
            return
        try:
            records, parts = split(kind, chunk.head.count, chunk.payload)
            self._decoders[kind](records, parts)
        except ContentError as error:
            message = f"chunk {chunk.head.number} ({kind.name.lower()}): {error}"
            self._ledger.problem("damaged", message, chunk.offset)

    def finish(self) -> None:
        """Put what was collected into the notes, with positions as rows."""
        notes, row_of = self._ledger.notes, self._ledger.row_of
        notes.boundaries[:] = [
            Boundary(row_of(access), mark.kind, mark.release)
            for access, mark in zip(self._boundaries, notes.boundaries, strict=True)
        ]
        notes.log.extend(
            LogLine(line, None if access is None else row_of(access), time)
            for line, access, time in self._log
        )
        notes.events.extend(
            Event(kind, row_of(access), bdf, line, time) for kind, access, bdf, line, time in self._events
        )
        for (function, access), facts in self._uses.items():
            use = uses.of_facts(facts)
            if use.is_known:
                notes.uses.append(PlacedUse(function, row_of(access), use))
        if self._left_out:
            limits = f"{MAX_RECORDS} records or {MAX_BYTES} bytes besides the accesses"
            self._ledger.problem(
                "too-large", f"{count(self._left_out, 'chunk')} left out: more than {limits}", None
            )

    def _add_boundaries(self, records: NDArray[np.void], parts: list[bytes]) -> None:
        found = []
        for (access, kind, _, length, _), release in zip(records.tolist(), parts, strict=True):
            if kind not in _BOUNDARY_KINDS:
                raise ContentError(f"expected a boundary of kind 1 to {max(_BOUNDARY_KINDS)}, found {kind}")
            row = self._ledger.expected_row(access)
            found.append(Boundary(row, _BOUNDARY_KINDS[kind], text(release) if length else None))
        self._ledger.notes.boundaries.extend(found)
        self._boundaries.extend(records["access"].tolist())

    def _add_preserved(self, records: NDArray[np.void], parts: list[bytes]) -> None:
        found = []
        for number, kexec in enumerate(records["kexec"].tolist()):
            if kexec < -1:
                raise ContentError(f"expected a kexec number or -1, found {kexec}")
            name, data = parts[2 * number : 2 * number + 2]
            found.append(PreservedDump(data, text(name), None if kexec == -1 else kexec))
        self._ledger.notes.preserved.extend(found)

    def _add_log(self, records: NDArray[np.void], parts: list[bytes]) -> None:
        for (time, access, _, flags, _), line in zip(records.tolist(), parts, strict=True):
            self._log.append(
                (
                    text(line),
                    access if flags & _PLACE_KNOWN else None,
                    time if flags & _TIME_KNOWN else None,
                )
            )

    def _add_events(self, records: NDArray[np.void], parts: list[bytes]) -> None:
        for number, record in enumerate(records.tolist()):
            time, access, domain, bus, devfn, flags = record[:6]
            kind, line = parts[2 * number : 2 * number + 2]
            bdf = (domain, bus, devfn) if flags & _PLACE_KNOWN else None
            self._events.append((text(kind), access, bdf, text(line), time if flags & _TIME_KNOWN else None))

    def _add_uses(self, records: NDArray[np.void], parts: list[bytes]) -> None:
        for number, (access, domain, bus, devfn, _, _) in enumerate(records.tolist()):
            name, value = parts[2 * number : 2 * number + 2]
            known = self._uses.setdefault((bdf.key(domain, bus, devfn), access), [])
            known.append((text(name), text(value)))

    def _add_problems(self, records: NDArray[np.void], parts: list[bytes]) -> None:
        found = []
        for number, (offset, flags) in enumerate(
            zip(records["offset"].tolist(), records["flags"].tolist(), strict=True)
        ):
            known = bool(flags & ProblemFlag.OFFSET_KNOWN)
            if known and offset > _MAX_OFFSET:
                raise ContentError(f"expected a byte offset below 2**63, found {offset:#x}")
            kind, file, message = (text(part) for part in parts[3 * number : 3 * number + 3])
            found.append(Problem(kind, file, offset if known else None, message))
        self._ledger.notes.problems.extend(found)

    def _add_trailer(self, records: NDArray[np.void], _parts: list[bytes]) -> None:
        if len(records) != 1:
            raise ContentError(f"expected one record, found {len(records)}")
        trailer: dict[str, Any] = dict(zip(records.dtype.names or (), records[0].tolist(), strict=True))
        if trailer["accesses"] > MAX_ACCESSES or trailer["dropped"] > MAX_ACCESSES:
            raise ContentError(
                f"expected counts up to 2**48, found {trailer['accesses']}, {trailer['dropped']}"
            )
        if trailer["accesses"] < self._ledger.due:
            raise ContentError(f"expected {self._ledger.due} accesses, found {trailer['accesses']}")
        self._ledger.skip_to(trailer["accesses"], None)
        if self._ledger.notes.source_format in SNAPSHOTS:
            self._ledger.notes.missing_dwords += trailer["dropped"]
        else:
            self._ledger.notes.dropped += trailer["dropped"]
        if trailer["flags"] & TrailerFlag.SOURCE_TRUNCATED:
            self._ledger.notes.truncated = True
        self.complete = True
