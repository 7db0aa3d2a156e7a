"""Captures written by hand, for tests of programs that use the library.

A :class:`TraceBuilder` makes a capture or an access table from calls, lines of text, or both::

    >>> trace = TraceBuilder("r 00:03.0 68.w 0020  # DevCtl2: ARI Forwarding is on")
    >>> trace.boundary("kexec")
    >>> trace.write("00:03.0", 0x68, 2, 0x0000)
    >>> trace.table().select("seq", "op", "offset", "width", "value").rows()
    [(0, 'read', 104, 2, 32), (1, 'write', 104, 2, 0)]

Each line of text is one of these; ``#`` starts a comment, except in a line of the kernel log:

===================================  =============================================================
``r FUNCTION OFFSET.WIDTH VALUE``    a read: ``r 00:03.0 68.w 0020``
``w FUNCTION OFFSET.WIDTH VALUE``    a write
``@NS r ...``, ``@NS w ...``         the same with its time in ns
``boundary KIND [RELEASE]``          another kernel, or firmware, runs from the next access on
``log TEXT``                         a line of the kernel log, printed before the next access
===================================  =============================================================

FUNCTION is ``[dddd:]bb:dd.f``; OFFSET and VALUE are hexadecimal. WIDTH is ``b``, ``w`` or ``l`` as setpci
writes it (1, 2, 4 bytes), ``?`` where the recorder did not note it. The VALUE of a read may be ``gone`` (no
response: Unsupported Request) or ``error`` (the accessor returned an error to the kernel); both read as all
ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

import polars as pl

from analyzer import bdf
from analyzer.capture import Boundary, BoundaryName, Capture, LogLine, Notes, SourceFile, accesses
from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NoAnswer", "TraceBuilder", "table"]

#: Reads without a value: no response, or the accessor returned an error.
NoAnswer = Literal["gone", "error"]

_WIDTHS: Final = {"b": 1, "w": 2, "l": 4, "?": 0}
_STATUS: Final = {"gone": "unsupported", "error": "abort"}
_LAST_OFFSET: Final = 0xFFF
_LAST_CPU: Final = 0xFFFF
_LAST_TIME: Final = (1 << 63) - 1
#: Bytes that an access takes in the imagined file: ``where`` of the next one is so much higher.
_RECORD: Final = 16


class TraceBuilder:
    """A capture that grows access by access.

    Args:
        text: lines to begin with (see the module).
        path: name of the imagined file; reports show it.

    Raises:
        UsageError: a line, or an argument of a method, that no recorder can write.
    """

    def __init__(self, text: str = "", *, path: str = "built") -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []
        self._boundaries: list[Boundary] = []
        self._log: list[LogLine] = []
        self.lines(text)

    def read(
        self,
        function: str,
        offset: int,
        width: int,
        value: int | NoAnswer,
        *,
        time_ns: int | None = None,
        cpu: int | None = None,
    ) -> None:
        """Add a read.

        Args:
            function: address, ``[dddd:]bb:dd.f``.
            offset: of the register, 0 to 0xfff.
            width: 1, 2 or 4 bytes; 0: the recorder did not note it.
            value: what was read, or why nothing was: ``gone``, ``error``.
            time_ns: None: the recorder did not note it.
            cpu: None: the recorder did not note it.
        """
        self._add("read", function, offset, width, value, time_ns, cpu)

    def write(
        self,
        function: str,
        offset: int,
        width: int,
        value: int,
        *,
        time_ns: int | None = None,
        cpu: int | None = None,
    ) -> None:
        """Add a write; arguments as for :meth:`read`."""
        self._add("write", function, offset, width, value, time_ns, cpu)

    def boundary(self, kind: BoundaryName, release: str | None = None) -> None:
        """Mark that another kernel, or firmware, runs from the next access on.

        Args:
            kind: as in :class:`analyzer.capture.Boundary`: ``boot`` (firmware ran), ``kexec`` (of unknown
                purpose), ``live-update``, ``plain``, ``crash``.
            release: of the kernel that starts there.
        """
        if kind not in get_args(BoundaryName):
            kinds = ", ".join(get_args(BoundaryName))
            raise UsageError(f"expected one of {kinds} as boundary, found {kind!r}")
        self._boundaries.append(Boundary(len(self._rows), kind, release))

    def log(self, text: str) -> None:
        """Add a line of the kernel log, printed before the next access."""
        self._log.append(LogLine(text, len(self._rows)))

    def lines(self, text: str) -> None:
        """Add what lines of text say (see the module); empty ones are skipped."""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                self._line(line)
            except UsageError as error:
                raise UsageError(f"line {number}: {error.message}") from None

    def table(self) -> pl.DataFrame:
        """What was added so far (:data:`analyzer.capture.accesses.SCHEMA`), ``capture`` and ``file`` 0."""
        frame = pl.DataFrame(self._rows, schema=accesses.READER_SCHEMA)
        return frame.with_columns(
            capture=pl.lit(0, pl.UInt32),
            file=pl.lit(0, pl.UInt16),
            seq=pl.int_range(frame.height, dtype=pl.UInt64),
        ).select(list(accesses.SCHEMA))

    def capture(self) -> Capture:
        """What was added so far, as :func:`analyzer.analyze_capture` takes it."""
        notes = Notes(self.path, tool="analyzer.testing")
        notes.boundaries = list(self._boundaries)
        notes.log = list(self._log)
        return Capture(self.path, [SourceFile(self.path, "built", "")], "built", self.table(), notes)

    def _line(self, line: str) -> None:
        first, _, rest = line.strip().partition(" ")
        if first == "log":
            self.log(rest)
            return
        words = line.partition("#")[0].split()
        if not words:
            return
        if words[0] == "boundary" and len(words) in (2, 3):
            self.boundary(cast("BoundaryName", words[1]), *words[2:])
            return
        time = _number(words.pop(0)[1:], 10, "time in ns") if words[0].startswith("@") else None
        add: dict[str, Callable[..., None]] = {"r": self.read, "w": self.write}
        if len(words) != 4 or words[0] not in add:
            raise UsageError(f"expected r, w, boundary or log with its words, found {line.strip()!r}")
        op, function, register, value = words
        offset, _, width = register.partition(".")
        if width not in _WIDTHS:
            raise UsageError(f"expected a register such as 68.w (b, w, l or ?), found {register!r}")
        add[op](
            function,
            _number(offset, 16, "offset"),
            _WIDTHS[width],
            value if value in _STATUS else _number(value, 16, "value"),
            time_ns=time,
        )

    def _add(
        self,
        op: str,
        function: str,
        offset: int,
        width: int,
        value: int | str,
        time_ns: int | None,
        cpu: int | None,
    ) -> None:
        try:
            key = bdf.parse(function)
        except ValueError as error:
            raise UsageError(str(error)) from None
        _check("an offset", offset, _LAST_OFFSET)
        if width not in _WIDTHS.values():
            raise UsageError(f"expected a width of 1, 2 or 4 bytes (0: not recorded), found {width}")
        ones = (1 << 8 * (width or 4)) - 1
        status = "ok"
        if isinstance(value, str):
            if op != "read" or value not in _STATUS:
                raise UsageError(f"expected a value that a {op} can have, found {value!r}")
            status = _STATUS[value]
        else:
            _check("a value", value, ones)
        _check("a time in ns", time_ns or 0, _LAST_TIME)
        _check("a CPU number", cpu or 0, _LAST_CPU)
        self._rows.append(
            {
                "time_ns": time_ns,
                "domain": key >> 16,
                "bus": key >> 8 & 0xFF,
                "devfn": key & 0xFF,
                "offset": offset,
                "width": width,
                "op": op,
                "value": ones if isinstance(value, str) else value,
                "status": status,
                "absent": value == "gone",
                "cpu": cpu,
                "where": len(self._rows) * _RECORD,
            }
        )


def table(text: str) -> pl.DataFrame:
    """Make an access table from lines of text: ``TraceBuilder(text).table()``."""
    return TraceBuilder(text).table()


def _check(name: str, value: int, last: int) -> None:
    if not 0 <= value <= last:
        raise UsageError(f"expected {name} of 0 to {last:#x}, found {value:#x}")


def _number(text: str, base: int, name: str) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise UsageError(f"expected a number as {name}, found {text!r}") from None
