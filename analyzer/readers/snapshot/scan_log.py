"""Read a plain kernel log as a piece of ``--join``: the scan of PCI that each kernel in it made.

It holds no config access. A function's line proves its IDs, class and header layout, a bridge's lines prove
its bus numbers (the primary one is the bus that the kernel scans it on): these become reads, and nothing else
does. What such a log does not show is in :class:`analyzer.capture.LoggedScan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.capture import ENUMERATION_ONLY, Boundary, LoggedScan, LogLine, accesses
from analyzer.errors import LimitExceededError, UnsupportedFormatError
from analyzer.kernel_logs import kernel_log
from analyzer.kernel_logs.scan_messages import ScanMessages
from analyzer.readers import text_blocks
from analyzer.readers.snapshot.config_bytes import MAX_FUNCTIONS
from analyzer.readers.snapshot.earlydump import MAX_BYTES, MAX_LINES
from schemas.config_header import CLASS_DEVICE, HEADER_TYPE, PRIMARY_BUS, SECONDARY_BUS, SUBORDINATE_BUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from analyzer.capture import Notes
    from analyzer.kernel_logs.kernel_log import KernelRun
    from analyzer.kernel_logs.scan_messages import ListedFunction
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

_BLOCK: Final = 1 << 20
_CLASS: Final = CLASS_DEVICE - 1  # the programming interface is part of what Linux prints
_TAKE: Final = "dmesg > FILE, as root, soon after boot (on a console, quiet and loglevel= hide these lines)"


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the reads that a log proves, in frames of ``accesses.READER_SCHEMA``.

    ``where`` is the start of the function's line; times are null.

    Raises:
        UnsupportedFormatError: it is not a piece of several, or lists no function.
        LimitExceededError: more kernels or functions than a log can sensibly hold.
    """
    places = _lines(stream, notes)
    runs = _runs(notes)
    rows = 0
    listed = 0
    scans = []
    for run, first, end in _ranges(runs, len(places)):
        scan = ScanMessages()
        for number in range(first, end):
            scan.line(notes.log[number].text.encode(), number + 1, places[number])
        listed += len(scan.functions)
        if scan.functions:
            scans.append((run, scan, (first, end)))
    _refuse(notes, options, len(places), listed)
    notes.problem(
        ENUMERATION_ONLY,
        f"this kernel log shows {_count(listed, 'function')} that a kernel enumerated, and bus numbers;"
        " whether ARI Forwarding was on is not in it",
    )
    for run, scan, lines in scans:
        if len(scan.functions) > MAX_FUNCTIONS:
            raise LimitExceededError(
                f"expected at most {MAX_FUNCTIONS} functions in a scan, found {len(scan.functions)}",
                path=notes.path,
            )
        frame = _frame([function for function in scan.functions.values() if function.known])
        _mark(run, rows, notes)
        notes.scans.append(_logged(scan, run, (rows, rows + frame.height), lines, notes))
        rows += frame.height
        yield frame


def _lines(stream: ByteStream, notes: Notes) -> list[int]:
    """Keep the lines of the log, up to the limits of a log in a capture; returns their places."""
    places: list[int] = []
    for line, where in text_blocks.log_lines(stream, notes, _BLOCK, MAX_LINES, MAX_BYTES):
        notes.log.append(LogLine(line.decode("utf-8", "replace").rstrip("\r")))
        places.append(where)
    return places


def _runs(notes: Notes) -> tuple[KernelRun, ...]:
    try:
        return kernel_log.parse_lines(line.text for line in notes.log).runs
    except LimitExceededError as error:
        error.path = notes.path
        raise


def _ranges(runs: Sequence[KernelRun], lines: int) -> Iterator[tuple[KernelRun | None, int, int]]:
    """The kernels of a log with their lines, from 0, the end exclusive."""
    starts = [0, *(run.first_line - 1 for run in runs[1:]), lines]
    for number in range(max(len(runs), 1)):
        yield (runs[number] if runs else None), starts[number], starts[number + 1]


def _refuse(notes: Notes, options: Options, lines: int, listed: int) -> None:
    what = f"a kernel log of {_count(lines, 'line')}, of which {listed} list a function"
    if not options.join:
        raise UnsupportedFormatError(
            f"expected config accesses, found {what}",
            path=notes.path,
            advice="give it with --dmesg together with a capture, or, as what a kernel enumerated, with"
            f" --join: analyze --join BEFORE {notes.path}",
        )
    if not listed:
        raise UnsupportedFormatError(
            f"expected lines such as 'pci 0000:00:00.0: [8086:29c0] type 00 class 0x060000', found {what}",
            path=notes.path,
            advice=f"take it with {_TAKE}",
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _mark(run: KernelRun | None, seq: int, notes: Notes) -> None:
    """Put a boundary in front of a kernel that is not the first."""
    if not seq or run is None:
        return
    if run.entered_by in ("kexec", "crash"):
        notes.boundaries.append(Boundary(seq, run.entered_by, run.release))
        return
    notes.boundaries.append(Boundary(seq, "boot", run.release))
    if run.entered_by is None:
        notes.problem(
            "no-boundary",
            f"the log does not say how the kernel of its line {run.first_line} was started, and a reboot is"
            " assumed; if by kexec, make two files of it",
        )


def _logged(
    scan: ScanMessages, run: KernelRun | None, rows: tuple[int, int], lines: tuple[int, int], notes: Notes
) -> LoggedScan:
    missing = list(scan.missing())
    if len(missing) > _MOST_MISSING:
        missing[_MOST_MISSING:] = [f"and {len(missing) - _MOST_MISSING} more"]
    kinds = {key: one.port_type for key, one in scan.functions.items() if one.port_type is not None}
    return LoggedScan(
        path=notes.path,
        first=rows[0],
        end=rows[1],
        lines=lines,
        roots=frozenset(scan.roots),
        port_types=kinds,
        conventional=frozenset(key for key, one in scan.functions.items() if one.is_conventional),
        missing=tuple(missing),
        later={key: one.line for key, one in scan.later.items()},
        unknown_headers=scan.unknown_headers(),
        ignored={key: one.header_type for key, one in scan.functions.items() if not one.known},
        after_firmware=run is not None and run.entered_by == "firmware",
    )


#: Reasons of doubt that are named before the rest is counted.
_MOST_MISSING: Final = 8


def _frame(functions: Sequence[ListedFunction]) -> pl.DataFrame:
    rows: list[tuple[int, int, int, int, int]] = []
    for one in functions:
        vendor, device = one.vendor_device
        reads = [(0, 4, device << 16 | vendor)]
        reads.extend((_CLASS + byte, 1, one.class_code >> 8 * byte & 0xFF) for byte in range(3))
        reads.append((HEADER_TYPE, 1, one.header_type))
        reads.extend(_bus_numbers(one))
        rows.extend((one.key, *access, one.where) for access in reads)
    key, offset, width, value, where = np.array(rows, np.int64).reshape(-1, 5).T
    return accesses.from_columns(
        {
            **accesses.address_columns(key),
            "offset": offset,
            "width": width,
            "op": np.full(len(rows), accesses.READ),
            "value": value,
            "where": where,
        },
        len(rows),
    )


def _bus_numbers(bridge: ListedFunction) -> Iterator[tuple[int, int, int]]:
    """Bus numbers as the kernel found them, if it did not use them, then those in use.

    Numbers that only their primary bus makes unusable are left out: no message shows that one.
    """
    bus = bridge.key >> 8 & 0xFF
    found, used = bridge.found, bridge.buses
    if found is not None and bus < found[0] <= found[1]:
        found = None
    for numbers in (found, used):
        if numbers is not None:
            yield PRIMARY_BUS, 1, bus
            yield SECONDARY_BUS, 1, numbers[0]
            yield SUBORDINATE_BUS, 1, numbers[1]
