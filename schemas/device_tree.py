"""Flattened device tree: the form in which KHO lists what it hands over.

Source: Devicetree Specification 0.4, chapter 5; big-endian. Values of KHO's own properties are numbers of the
machine.
"""

from __future__ import annotations

import construct as cs

MAGIC = b"\xd0\x0d\xfe\xed"

DeviceTreeHeader = cs.Struct(
    "magic" / cs.Const(MAGIC),
    "totalsize" / cs.Int32ub,
    "off_dt_struct" / cs.Int32ub,
    "off_dt_strings" / cs.Int32ub,
    "off_mem_rsvmap" / cs.Int32ub,
    "version" / cs.Int32ub,
    "last_comp_version" / cs.Int32ub,
    "boot_cpuid_phys" / cs.Int32ub,
    "size_dt_strings" / cs.Int32ub,
    "size_dt_struct" / cs.Int32ub,
)
BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9
#: After the token ``PROP``: bytes of the value, and where its name is in the strings block.
Property = cs.Struct("len" / cs.Int32ub, "nameoff" / cs.Int32ub)
