"""How the lines of one ftrace event say what it recorded: patterns for its fields, chosen by its first lines.

Three ways to print an event: as its format says (``pio_read at 0xcfc size 4``), field by field (``port=0xcfc
size=4``, which ``trace-cmd report -R`` does for all of them), and, of probes, the place in parentheses and
then the fields.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from analyzer.capture.accesses import READ, WRITE
from analyzer.readers.config_events import ROLES
from analyzer.readers.trace import rows
from analyzer.readers.trace.evidence import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.readers.config_events import FieldNames
    from analyzer.readers.trace.rows import TraceRows

_NAME = re.compile(r"(?:^|[\s(])(\w{1,64})=")
#: A return probe prints where it was and where it returned to: (func <- caller).
_RETURNS = re.compile(r"^\([^)]{0,200}<-|^__probe_func=")
_ENTRY = re.compile(r"^\([^)<]{0,200}\)|^__probe_ip=")
#: TP_printk of kvm_pio and kvm_mmio (arch/x86/kvm/trace.h, include/trace/events/kvm.h).
_PIO = {
    "op": r"^pio_(read|write) at ",
    "address": r" at (0x[0-9a-f]+) ",
    "width": r" size (\d) ",
    "count": r" count (\d+) ",
    "value": r" val (0x[0-9a-f]+)\b",
}
_MMIO = {
    "op": r"^mmio (read|write|unsatisfied-read) ",
    "width": r" len (\d) ",
    "address": r" gpa (0x[0-9a-f]+) ",
    "value": r" val (0x[0-9a-f]+)\b",
}
#: The same events field by field, and what their numbers for the direction mean.
_PIO_FIELDS = {
    "op": r"(?:^| )rw=([01])\b",
    "address": r" port=(0x[0-9a-f]+|\d+)\b",
    "width": r" size=(\d)\b",
    "count": r" count=(\d+)\b",
    "value": r" val=(-?(?:0x[0-9a-f]+|\d+))\b",
}
_MMIO_FIELDS = {
    "op": r"(?:^| )type=([012])\b",
    "width": r" len=(\d)\b",
    "address": r" gpa=(0x[0-9a-f]+|\d+)\b",
    "value": r" val=(-?(?:0x[0-9a-f]+|\d+))\b",
}
_FIELDS_START: Final = ("rw=", "type=")
_PIO_WORDS: Final = {"0": "read", "1": "write"}
_MMIO_WORDS: Final = {"0": "unsatisfied-read", "1": "read", "2": "write"}
CONFIG_PORT: Final = r" (?:at |port=)(?:0xcf[89a-f]|332[0-7]) "
_PRINTS = ("print", "tracing_mark_write", "bprint", "bputs")
#: A number in a line that may be cut: the next field or the end of the line has to follow.
_VALUE = r"(-?(?:0x[0-9a-f]+|\d+))(?:[\s),]|$)"


class EventText:
    """How the lines of one event are made.

    Attributes:
        kind: as in :mod:`analyzer.readers.trace.rows`.
        op: of config events; None if it is not known.
        returns: a config event that a return probe recorded.
        enters: one that was recorded where a function is entered, or in its middle.
        columns: by name, an expression whose group is its value; none for text.
        words: what the numbers in the column ``op`` mean, where it has numbers.
    """

    def __init__(
        self,
        kind: int,
        name: str,
        number: int,
        columns: Mapping[str, str] | None = None,
        op: int | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.number = number
        self.columns = columns or {}
        self.op = op
        self.words: Mapping[str, str] = {}
        self.returns = self.enters = False

    @classmethod
    def of(cls, group: str, name: str, said: str, names: FieldNames, number: int) -> EventText | None:
        """Return what an event is by its first line, None if it has nothing to do with config space."""
        if name in ("kvm_pio", "kvm_mmio") and group in ("", "kvm"):
            return cls._of_kvm(name, number, by_field=said.startswith(_FIELDS_START))
        if name in _PRINTS and group in ("", "ftrace"):
            return cls(rows.PRINT, name, number)
        if name in KINDS:
            return cls(rows.EVIDENCE, name, number)
        present = _NAME.findall(said)
        matched = names.match(present)
        if matched is None:
            return None
        returns = _RETURNS.match(said) is not None
        op = names.direction(group, name, returns=returns, has_status="status" in matched)
        columns = {role: rf"(?:^|[\s(]){re.escape(field)}={_VALUE}" for role, field in matched.items()}
        found = cls(rows.CONFIG, name, number, columns, op)
        found.returns = returns
        found.enters = _ENTRY.match(said) is not None
        return found

    @classmethod
    def _of_kvm(cls, name: str, number: int, *, by_field: bool) -> EventText:
        port = name == "kvm_pio"
        kind = rows.PORT if port else rows.MEMORY
        if not by_field:
            return cls(kind, name, number, _PIO if port else _MMIO)
        found = cls(kind, name, number, _PIO_FIELDS if port else _MMIO_FIELDS)
        found.words = _PIO_WORDS if port else _MMIO_WORDS
        return found

    def take_apart(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Return the lines with a column for each of ``columns``, null where a line lacks it."""
        table = lines.with_columns(
            pl.col("said").str.extract(pattern).alias(name) for name, pattern in self.columns.items()
        ).with_columns(_number(name) for name in self.columns if name != "op")
        if self.words:
            table = table.with_columns(pl.col("op").replace_strict(self.words, default=None))
        return table

    def rows(self, table: pl.DataFrame) -> TraceRows:
        """Return the rows of lines that the pattern took apart."""
        if self.kind != rows.CONFIG:
            return self.made(
                table,
                op=np.where((table["op"] == "write").to_numpy(), WRITE, READ),
                address=table["address"].to_numpy(),
                width=table["width"].to_numpy(),
                value=table["value"].to_numpy().astype(np.uint64),
            )
        zero = np.zeros(table.height, np.int64)
        columns = {role: table[role].to_numpy() if role in self.columns else zero for role in ROLES}
        return self.made(
            table,
            op=self.op,
            domain=columns["domain"],
            bus=columns["bus"],
            devfn=columns["devfn"],
            address=columns["offset"],
            width=columns["width"],
            value=columns["value"].astype(np.uint64),
            failed=columns["status"] != 0,
        )

    def made(self, table: pl.DataFrame, **columns: Any) -> TraceRows:
        """Return rows with these columns and what every line says."""
        return rows.make(
            table.height,
            time=table["time_ns"].fill_null(0).to_numpy(),
            cpu=table["cpu"].to_numpy(),
            agent=table["pid"].to_numpy(),
            where=table["where"].to_numpy(),
            kind=self.kind,
            event=self.number,
            **columns,
        )


def _number(name: str) -> pl.Expr:
    """Return numbers written in decimal, or in hexadecimal with 0x; null where they do not fit 64 bits.

    Those of 64 bits without sign are their two's complement.
    """
    text = pl.col(name)
    digits = text.str.strip_prefix("0x")
    unsigned = pl.coalesce(
        pl.when(text.str.starts_with("0x")).then(
            digits.str.to_integer(base=16, dtype=pl.UInt64, strict=False)
        ),
        text.cast(pl.UInt64, strict=False),
    )
    return pl.coalesce(text.cast(pl.Int64, strict=False), unsigned.reinterpret(signed=True)).alias(name)
