"""The memory of a host for tests: /proc/kcore as an ELF core file, and what Live Update handed over in it."""

from __future__ import annotations

import struct
from pathlib import Path

from schemas.elf_core import MAGIC, ElfHeader, ProgramHeader

#: Where the pages lie, and how far above the kernel sees them.
FLBS, SER, VARIABLE, DIRECT = 0x1000_3000, 0x1000_4000, 0xFFFF_FFFF_8200_0040, 0xFFFF_8880_0000_0000


def core(pieces: dict[int, tuple[int, bytes]]) -> bytes:
    """A core file: virtual address -> physical address and bytes of a segment."""
    head, size = ElfHeader.sizeof(), ProgramHeader.sizeof()
    place = head + size * len(pieces)
    table, body = b"", b""
    for virtual, (physical, data) in pieces.items():
        fields = {"type": 1, "flags": 7, "offset": place + len(body), "vaddr": virtual, "paddr": physical}
        table += ProgramHeader.build({**fields, "filesz": len(data), "memsz": len(data), "align": 4096})
        body += data
    header = ElfHeader.build(
        {
            "ident": MAGIC.ljust(16, b"\0"), "type": 4, "machine": 62, "version": 1, "entry": 0,
            "phoff": head, "shoff": 0, "flags": 0, "ehsize": head, "phentsize": size,
            "phnum": len(pieces), "shentsize": 0, "shnum": 0, "shstrndx": 0,
        }
    )  # fmt: skip
    return header + table + body


def flbs(*entries: tuple[str, int]) -> bytes:
    """The list of FLBs: name and physical address of the data of each."""
    return struct.pack("<QQ", 1, len(entries)) + b"".join(
        struct.pack("<48sQQ", name.encode(), data, 1) for name, data in entries
    )


def handed(
    root: str,
    dump: bytes,
    *,
    name: str = "pci",
    first_block: int = 0x1_2340_0000,
    active: int = 1,
    variable: bool = True,
) -> None:
    """Put a preserved set into a host's memory: pci_ser, and KHO blocks from ``first_block`` downwards."""
    header = {"pci": 16, "pci-v2": 12}.get(name, len(dump))
    listed = flbs(("memfd", 0x5000), (name, SER))
    pieces = {DIRECT + SER: (SER, dump[:header]), DIRECT + FLBS: (FLBS, listed)}
    for number, at in enumerate(range(header, len(dump), 4096)):
        place = first_block - 3 * 4096 * number  # as tests/preserved_dumps.py has them
        pieces[DIRECT + place] = (place, dump[at : at + 4096])
    pieces[VARIABLE] = (0x0200_0040, struct.pack("<QQB", DIRECT + FLBS, DIRECT + FLBS + 16, active))
    proc = Path(root, "proc")
    (proc / "kcore").write_bytes(core(pieces))
    lines = [f"{VARIABLE - 0x40:016x} D jiffies\n", f"{VARIABLE:016x} d luo_flb_global\n"]
    (proc / "kallsyms").write_text("".join(lines[: 2 if variable else 1]))
    blobs = Path(root, "sys/kernel/debug/kho/in/sub_fdts")
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / "LUO").write_bytes(struct.pack("<8sQQQ", b"luo-v5", 3, 0, FLBS))
