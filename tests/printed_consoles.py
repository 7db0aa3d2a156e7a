"""Recordings of kprobes as a kernel with tp_printk prints them on its console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.readers import open_capture

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "Linux version 6.12.95 (x@y) #1 SMP"
KEXEC = "kexec_core: Starting new kernel"


def said(row: dict) -> str:
    """One access as the documented probes print it."""
    fields = (
        f"seg={row['domain']} bus={row['bus']} devfn={row['devfn']} reg={row['offset']} len={row['width']}"
    )
    if row["op"] == "write":
        return f"wr_conf1: (pci_conf1_write+0x0/0x110) {fields} val={row['value']:#x}"
    return f"rd_conf1: (pci_read+0x25/0x40 <- pci_conf1_read) {fields} val={row['value']:#x} rc=0"


def printed(path: Path, prefix: str = "[{:5d}.{:06d}] ") -> list[str]:
    """A recording as tp_printk would have put it on a console."""
    table = open_capture(str(path)).accesses
    first = int(table["time_ns"][0])
    lines = []
    for row in table.iter_rows(named=True):
        time = 300_000 + (row["time_ns"] - first) // 1000
        lines.append(prefix.format(time // 10**6, time % 10**6) + said(row))
    return lines


def console(*parts: list[str]) -> str:
    lines = ["SeaBIOS (version 1.16)", f"[    0.000000] {VERSION}", *parts[0]]
    for part in parts[1:]:
        lines += [f"[  999.000000] {KEXEC}", f"[    0.000000] {VERSION}", *part]
    return "".join(f"{line}\r\n" for line in lines)
