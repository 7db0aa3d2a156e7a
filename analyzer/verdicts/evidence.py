"""Evidence: the accesses that prove a statement, as a report can show them and a hex dump can find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.results import Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.capture import SourceFile
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.registers.samples import Sample

_SUFFIX = {1: "b", 2: "w", 4: "l"}


class EvidenceBuilder:
    """Makes evidence out of rows of one capture."""

    def __init__(self, index: AccessIndex, files: Sequence[SourceFile]) -> None:
        self._index = index
        self._files = files

    def access(self, row: int, register: str, note: str, *, capability: int = 0, size: int = 0) -> Evidence:
        """Evidence for one access.

        Args:
            row: its row.
            register: a register's own name (``BRIDGE_CONTROL``), or a capability's (``CAP_EXP``), to which
            the
                offset behind ``capability`` is added as setpci writes it (``CAP_EXP+28.w``).
            note: what the access proves.
            capability: offset of that capability.
            size: natural size of the register in bytes, where the capture does not record the width.
        """
        index = self._index
        width = int(index.width[row]) or size
        if capability:
            register = f"{register}+{int(index.offset[row]) - capability:02x}.{_SUFFIX.get(width, 'w')}"
        number = int(index.file[row])
        return Evidence(
            access=int(index.seq[row]),
            file=self._files[number].path if number < len(self._files) else "",
            offset_bytes=int(index.where[row]),
            time_ns=index.time_at(row),
            op="write" if index.is_write[row] else "read",
            bdf=bdf.text(int(index.function[row])),
            register=register,
            value=f"0x{int(index.value[row]):0{2 * width if width else 1}x}",
            note=note,
        )

    def pcie(self, sample: Sample, capability: int, note: str) -> Evidence:
        """Evidence for one access to a word of the PCI Express capability."""
        return self.access(sample.row, "CAP_EXP", note, capability=capability, size=2)

    def number(self, row: int | None) -> int | None:
        """The access number of a row, as the user knows it."""
        return None if row is None else int(self._index.seq[row])


def log_line(text: str, source: str, access: int | None = None, time_ns: int | None = None) -> Evidence:
    """Evidence from a kernel log line or an event beside the accesses."""
    return Evidence(access, source, None, time_ns, None, None, None, None, text)
