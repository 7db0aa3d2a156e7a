"""Encode the parts of a native file: access records, other records with their heap, the file header.

Pure functions; :mod:`analyzer.converting.native` puts the parts into chunks.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analyzer.errors import LimitExceededError
from analyzer.escaping import encodable
from schemas.bulk import dtype_of
from schemas.native import (
    ACCESS,
    ALIGNMENT,
    FILE_HEADER,
    FILE_HEADER_START,
    MAGIC,
    MAX_RAW,
    MAX_SNAPSHOT,
    STATUS_SHIFT,
    VERSION,
    AccessFlag,
    BoundaryKind,
    Clock,
    HeaderFlag,
    ProblemFlag,
    RecordFlag,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from analyzer.capture import Boundary, Event, LogLine, PlacedUse, PreservedDump, Problem

#: A record's fields by name, and its parts of the heap joined.
Row = tuple[dict[str, int], bytes]

#: Names of the clocks that the file header can state.
CLOCKS: Final = {clock.name.lower(): clock for clock in Clock if clock != Clock.UNKNOWN}
_BOUNDARY_KINDS: Final = {kind.name.lower().replace("_", "-"): kind for kind in BoundaryKind}
_ACCESS_DTYPE: Final = dtype_of(ACCESS)


def access_records(frame: pl.DataFrame) -> NDArray[np.void]:
    """Return the rows of an access table as records of the layout ``schemas.native.ACCESS``.

    Args:
        frame: has the columns of ``accesses.READER_SCHEMA`` (``where`` is not needed), with those types.

    Raises:
        ValueError: an offset above 4095 or a width other than 0, 1, 2, 4.
    """
    if (frame["offset"] > 4095).any() or not frame["width"].is_in([0, 1, 2, 4]).all():
        raise ValueError("an access table holds offsets up to 4095 and widths 0, 1, 2 or 4")
    records = np.zeros(frame.height, _ACCESS_DTYPE)
    for name in ("domain", "bus", "devfn", "offset", "width", "value"):
        records[name] = frame[name].to_numpy()
    records["time_ns"] = frame["time_ns"].fill_null(0).to_numpy()
    records["cpu"] = frame["cpu"].fill_null(0).to_numpy()
    flags = frame["op"].to_physical().to_numpy().astype(np.uint8)
    flags |= frame["status"].to_physical().to_numpy().astype(np.uint8) << np.uint8(STATUS_SHIFT)
    for bit, column in (
        (AccessFlag.ABSENT, frame["absent"]),
        (AccessFlag.TIME_NULL, frame["time_ns"].is_null()),
        (AccessFlag.CPU_NULL, frame["cpu"].is_null()),
    ):
        flags |= column.to_numpy().astype(np.uint8) * np.uint8(bit)
    records["flags"] = flags
    return records


def boundary_row(mark: Boundary) -> Row:
    """Encode a boundary.

    Raises:
        ValueError: a kind that ``capture.Boundary`` does not know.
    """
    if mark.kind not in _BOUNDARY_KINDS:
        raise ValueError(f"expected a kind of {', '.join(_BOUNDARY_KINDS)}, found {mark.kind!r}")
    release = encode_text(mark.release or "", 0xFFFF, "kernel release")
    fields = {"access": mark.seq, "kind": int(_BOUNDARY_KINDS[mark.kind]), "release_length": len(release)}
    return fields, release


def preserved_row(dump: PreservedDump) -> Row:
    """Encode a raw dump of a preserved set."""
    name = encode_text(dump.name, 0xFFFF, "FLB name")
    kexec = -1 if dump.kexec is None else dump.kexec
    return {"data_length": len(dump.data), "kexec": kexec, "name_length": len(name)}, name + dump.data


def log_row(line: LogLine) -> Row:
    """Encode a kernel log line."""
    text = encode_text(line.text, MAX_RAW, "log line")
    fields = {
        "time_ns": line.time_ns or 0,
        "access": line.seq or 0,
        "text_length": len(text),
        "flags": _known(line.time_ns, RecordFlag.TIME_KNOWN) | _known(line.seq, RecordFlag.PLACE_KNOWN),
    }
    return fields, text


def event_row(event: Event) -> Row:
    """Encode a link, hot-plug or error event."""
    kind, text = encode_text(event.kind, 0xFF, "event kind"), encode_text(event.text, MAX_RAW, "event text")
    domain, bus, devfn = event.bdf or (0, 0, 0)
    fields = {
        "time_ns": event.time_ns or 0,
        "access": event.seq,
        "domain": domain,
        "bus": bus,
        "devfn": devfn,
        "flags": _known(event.time_ns, RecordFlag.TIME_KNOWN) | _known(event.bdf, RecordFlag.PLACE_KNOWN),
        "kind_length": len(kind),
        "text_length": len(text),
    }
    return fields, kind + text


def snapshot_row(domain: int, bus: int, devfn: int, data: bytes, time_ns: int | None) -> Row:
    """Encode the content of a config space.

    Raises:
        ValueError: not 4 to 4096 bytes in whole dwords.
    """
    if not data or len(data) % 4 or len(data) > MAX_SNAPSHOT:
        raise ValueError(f"expected 4 to {MAX_SNAPSHOT} bytes in whole dwords, found {len(data)}")
    fields = {
        "time_ns": time_ns or 0,
        "domain": domain,
        "data_length": len(data),
        "bus": bus,
        "devfn": devfn,
        "flags": _known(time_ns, RecordFlag.TIME_KNOWN),
    }
    return fields, data


def use_rows(placed: PlacedUse) -> Iterator[Row]:
    """Encode what a function is used as, a record for each thing that is known."""
    domain, busfn = placed.function >> 16, placed.function & 0xFFFF
    for name, value in placed.use.facts():
        said = encode_text(name, 0xFF, "name of a use"), encode_text(value, 0xFF, f"text of {name}")
        fields = {
            "access": placed.seq,
            "domain": domain,
            "bus": busfn >> 8,
            "devfn": busfn & 0xFF,
            "name_length": len(said[0]),
            "value_length": len(said[1]),
        }
        yield fields, said[0] + said[1]


def problem_row(problem: Problem) -> Row:
    """Encode a problem of the source of a conversion."""
    kind = encode_text(problem.kind, 0xFF, "problem kind")
    file, message = (
        encode_text(problem.file, 0xFFFF, "path"),
        encode_text(problem.message, MAX_RAW, "message"),
    )
    fields = {
        "offset": problem.offset_bytes or 0,
        "message_length": len(message),
        "file_length": len(file),
        "kind_length": len(kind),
        "flags": _known(problem.offset_bytes, ProblemFlag.OFFSET_KNOWN),
    }
    return fields, kind + file + message


def file_header(
    host: str | None,
    tool: str | None,
    source_format: str | None,
    releases: Sequence[str],
    clock: str | None,
    created_ns: int | None,
) -> bytes:
    """Encode the file header; arguments as for ``NativeWriter``.

    Raises:
        LimitExceededError: the texts do not fit.
        ValueError: unknown ``clock`` name.
    """
    if clock is not None and clock not in CLOCKS:
        raise ValueError(f"expected a clock of {', '.join(CLOCKS)}, found {clock!r}")
    texts = [
        encode_text(host or "", 0xFFFF, "host name"),
        encode_text(tool or "", 0xFFFF, "tool name"),
        encode_text(source_format or "", 0xFFFF, "format name"),
        *(encode_text(release, 0xFFFF, "kernel release") for release in releases),
    ]
    used = FILE_HEADER_START.sizeof() + sum(2 + len(text) for text in texts) + 4
    padding = -used % ALIGNMENT
    fields: dict[str, Any] = {
        "magic": MAGIC,
        "version": VERSION,
        "header_size": fit(used + padding, 0xFFF8, "bytes of file header"),
        "flags": _known(created_ns, HeaderFlag.CREATED_KNOWN),
        "clock": CLOCKS[clock] if clock else Clock.UNKNOWN,
        "release_count": fit(len(releases), 0xFF, "kernel releases"),
        "created_ns": created_ns or 0,
        "host": texts[0],
        "tool": texts[1],
        "source_format": texts[2],
        "releases": texts[3:],
        "padding": bytes(padding),
        "header_crc": 0,
    }
    data: bytes = FILE_HEADER.build(fields)[:-4]
    return data + zlib.crc32(data).to_bytes(4, "little")


def encode_text(text: str, limit: int, what: str) -> bytes:
    r"""Encode as UTF-8; a byte of a name that is not UTF-8 becomes ``\xNN``.

    Raises:
        LimitExceededError: more than ``limit`` bytes.
    """
    data = encodable(text).encode()
    fit(len(data), limit, f"bytes of {what}")
    return data


def fit(number: int, limit: int, what: str) -> int:
    """Return ``number``.

    Raises:
        LimitExceededError: it is more than ``limit``.
    """
    if number > limit:
        raise LimitExceededError(f"the native format holds at most {limit} {what}, found {number}")
    return number


def _known(value: object, bit: int) -> int:
    return 0 if value is None else int(bit)
