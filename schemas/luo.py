"""What the Live Update Orchestrator hands over: its state, sessions with their files, and FLBs.

Sources: ``include/linux/kho/abi/luo.h`` and ``kexec_metadata.h`` of Linux 7.3 (``LUO_ABI_COMPATIBLE``
"luo-v5"); all packed, little-endian. Addresses are physical. Sessions and files stand in KHO blocks
(schemas/kho_block.py), their entries after the head; ``LuoFlbHeader`` is followed by ``count`` entries.
"""

from __future__ import annotations

import construct as cs

COMPATIBLE = "luo-v5"

#: ``struct luo_ser``, the blob that KHO's device tree calls "LUO". ``flbs`` points to a ``LuoFlbHeader``.
LuoSer = cs.Struct(
    "compatible" / cs.PaddedString(8, "ascii"),
    "liveupdate_num" / cs.Int64ul,
    "sessions" / cs.Int64ul,
    "flbs" / cs.Int64ul,
)
#: ``struct luo_session_ser``: ``files`` points to a KHO block of ``LuoFile``, 0 if there is none.
LuoSession = cs.Struct("name" / cs.PaddedString(64, "utf8"), "files" / cs.Int64ul, "count" / cs.Int64ul)
#: ``struct luo_file_ser``: ``compatible`` names its handler, whose own data is at ``data``.
LuoFile = cs.Struct("compatible" / cs.PaddedString(48, "ascii"), "data" / cs.Int64ul, "token" / cs.Int64ul)
LuoFlbHeader = cs.Struct("pgcnt" / cs.Int64ul, "count" / cs.Int64ul)
#: ``struct luo_flb_ser``: ``count`` files depend on it; ``data`` is its owner's, an address or not.
LuoFlb = cs.Struct("name" / cs.PaddedString(48, "ascii"), "data" / cs.Int64ul, "count" / cs.Int64ul)
MAX_FLBS = 63
#: Start of the kernel's variable ``luo_flb_global`` (``kernel/liveupdate/luo_flb.c``): the list that this
#: kernel was handed (virtual address), and whether there is one.
LuoFlbGlobal = cs.Struct("header_ser" / cs.Int64ul, "ser" / cs.Int64ul, "active" / cs.Int8ul)

#: ``struct kho_kexec_metadata``, the blob that KHO's device tree calls "kexec-metadata".
KexecMetadata = cs.Struct(
    "version" / cs.Int32ul, "previous_release" / cs.PaddedString(65, "utf8"), "kexec_count" / cs.Int32ul
)
