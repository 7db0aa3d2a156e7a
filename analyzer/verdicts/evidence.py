"""Evidence: the accesses that prove a statement, as reports show them and ``analyze dump`` finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.results import Evidence
from schemas.registers import setpci_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.capture import SourceFile
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.registers.functions import Function
    from schemas.registers import Register


class EvidenceBuilder:
    """Makes evidence out of rows of one capture."""

    def __init__(self, index: AccessIndex, files: Sequence[SourceFile]) -> None:
        self._index = index
        self._files = files

    def access(self, row: int, register: Register, note: str, function: Function) -> Evidence:
        """Evidence for one access; without a value where the input shows only some bits of it.

        Args:
            row: its row.
            register: what it reads or writes. A register of a header stands by its name
                (``BRIDGE_CONTROL``), one of a capability by the place that was accessed, as setpci writes it
                (``CAP_EXP+28.w``). Its size counts where the capture does not record the width.
            note: what the access proves.
            function: has the capability.
        """
        index = self._index
        width = int(index.width[row]) or register.size
        name, start = register.setpci, function.start_of(register.base)
        if start:
            name = setpci_name(register.base, int(index.offset[row]) - start, width)
        number = int(index.file[row])
        return Evidence(
            access=int(index.seq[row]),
            file=self._files[number].path if number < len(self._files) else "",
            offset_bytes=int(index.where[row]),
            time_ns=index.time_at(row),
            op="write" if index.is_write[row] else "read",
            bdf=bdf.text(int(index.function[row])),
            register=name,
            value=f"0x{int(index.value[row]):0{2 * width}x}" if index.is_whole(row) else None,
            note=note,
        )

    def number(self, row: int | None) -> int | None:
        """The access number of a row, as the user knows it."""
        return None if row is None else int(self._index.seq[row])

    def time_ns(self, row: int) -> int | None:
        """The time of a row, None where the capture has none."""
        return self._index.time_at(row)


def log_line(text: str, source: str, access: int | None = None, time_ns: int | None = None) -> Evidence:
    """Evidence from a kernel log line or an event that is no access."""
    return Evidence(access, source, None, time_ns, None, None, None, None, text)
