"""ELF core files, as ``/proc/kcore`` is one: which part of the file shows which memory.

Sources: System V ABI, "ELF Header" and "Program Header" (64 bits, little-endian); Linux 7.3
``fs/proc/kcore.c``: a segment of RAM has its physical address in ``p_paddr``, one of vmalloc space all ones.
"""

from __future__ import annotations

import construct as cs

#: Class 64 bits, little-endian, version 1.
MAGIC = b"\x7fELF\x02\x01\x01"
PT_LOAD = 1

ElfHeader = cs.Struct(
    "ident" / cs.Bytes(16),
    "type" / cs.Int16ul,
    "machine" / cs.Int16ul,
    "version" / cs.Int32ul,
    "entry" / cs.Int64ul,
    "phoff" / cs.Int64ul,
    "shoff" / cs.Int64ul,
    "flags" / cs.Int32ul,
    "ehsize" / cs.Int16ul,
    "phentsize" / cs.Int16ul,
    "phnum" / cs.Int16ul,
    "shentsize" / cs.Int16ul,
    "shnum" / cs.Int16ul,
    "shstrndx" / cs.Int16ul,
)
ProgramHeader = cs.Struct(
    "type" / cs.Int32ul,
    "flags" / cs.Int32ul,
    "offset" / cs.Int64ul,
    "vaddr" / cs.Int64ul,
    "paddr" / cs.Int64ul,
    "filesz" / cs.Int64ul,
    "memsz" / cs.Int64ul,
    "align" / cs.Int64ul,
)
