"""The type 0 and type 1 configuration headers: offsets, layouts and bit fields.

Sources: PCI Express Base Specification 7.5.1; names of registers as ``setpci --dumpregs`` writes them, names
of bits as ``lspci -vv`` does (pciutils). Linux has the same numbers in ``include/uapi/linux/pci_regs.h``.
"""

from __future__ import annotations

import construct as cs

from schemas.bits import choice, flag, number, register

# Both header types.
VENDOR_ID = 0x00
DEVICE_ID = 0x02
COMMAND = 0x04
STATUS = 0x06
REVISION = 0x08
CLASS_DEVICE = 0x0A
CACHE_LINE_SIZE = 0x0C
HEADER_TYPE = 0x0E
BASE_ADDRESS_0 = 0x10
CAPABILITIES = 0x34
INTERRUPT_LINE = 0x3C

# Type 0 only.
ROM_ADDRESS = 0x30

# Type 1 only.
PRIMARY_BUS = 0x18
SECONDARY_BUS = 0x19
SUBORDINATE_BUS = 0x1A
SEC_STATUS = 0x1E
BRIDGE_CONTROL = 0x3E

#: Class code (the word at ``CLASS_DEVICE``) of a host bridge.
CLASS_BRIDGE_HOST = 0x0600

HEADER_SIZE = 64
#: Bytes of config space of a conventional function and of a PCI Express one.
CONFIG_SIZE, EXTENDED_CONFIG_SIZE = 256, 4096

COMMAND_MASTER = 1 << 2
COMMAND_INTX_DISABLE = 1 << 10
STATUS_CAP_LIST = 1 << 4
HEADER_TYPE_MULTIFUNCTION = 1 << 7
HEADER_TYPE_LAYOUT = 0x7F
HEADER_TYPE_CARDBUS = 2
#: Layouts that Linux sets up (7.3 ``pci_setup_device``); it ignores a function with any other.
HEADER_TYPES = (0, 1, HEADER_TYPE_CARDBUS)
#: The layout of a header type byte that reads all ones.
HEADER_TYPE_ONES = 0x7F
#: Secondary Bus Reset: acts while it is set (QEMU: on its 0 to 1 edge).
BRIDGE_CONTROL_SBR = 1 << 6
#: Bits that are no reserved ones.
BRIDGE_CONTROL_BITS = 0x0FFF

#: Vendor dwords that the kernel takes as "no function here" (``pci_bus_generic_read_dev_vendor_id``, 7.3).
ABSENT_VENDOR_DWORDS = (0xFFFFFFFF, 0x00000000, 0x0000FFFF, 0xFFFF0000)
#: Low half of the vendor dword while the function answers Request Retry Status.
RRS_VENDOR = 0x0001

_DEVSEL = {0: "fast", 1: "medium", 2: "slow"}

Control = register(
    2,
    flag("I/O", 0), flag("Mem", 1), flag("BusMaster", 2), flag("SpecCycle", 3), flag("MemWINV", 4),
    flag("VGASnoop", 5), flag("ParErr", 6), flag("Stepping", 7), flag("SERR", 8), flag("FastB2B", 9),
    flag("DisINTx", 10),
)  # fmt: skip

Status = register(
    2,
    flag("ImmReady", 0), flag("INTx", 3), flag("Cap", 4), flag("66MHz", 5), flag("UDF", 6),
    flag("FastB2B", 7), flag("ParErr", 8), choice("DEVSEL", 10, 9, _DEVSEL), flag(">TAbort", 11),
    flag("<TAbort", 12), flag("<MAbort", 13), flag(">SERR", 14), flag("<PERR", 15),
)  # fmt: skip

SecondaryStatus = register(
    2,
    flag("66MHz", 5), flag("FastB2B", 7), flag("ParErr", 8), choice("DEVSEL", 10, 9, _DEVSEL),
    flag(">TAbort", 11), flag("<TAbort", 12), flag("<MAbort", 13), flag("<SERR", 14), flag("<PERR", 15),
)  # fmt: skip

HeaderType = register(
    1,
    choice("Layout", 6, 0, {0: "endpoint", 1: "PCI bridge", 2: "CardBus bridge"}),
    flag("MultiFunction", 7),
)

BridgeCtl = register(
    2,
    flag("Parity", 0), flag("SERR", 1), flag("NoISA", 2), flag("VGA", 3), flag("VGA16", 4), flag("MAbort", 5),
    flag(">Reset", 6), flag("FastB2B", 7), flag("PriDiscTmr", 8), flag("SecDiscTmr", 9),
    flag("DiscTmrStat", 10), flag("DiscTmrSERREn", 11),
)  # fmt: skip

Bist = register(1, number("Code", 3, 0), flag("Start", 6), flag("Capable", 7))

_COMMON_TOP = (
    "VENDOR_ID" / cs.Int16ul,
    "DEVICE_ID" / cs.Int16ul,
    "COMMAND" / Control,
    "STATUS" / Status,
    "REVISION" / cs.Int8ul,
    "CLASS_PROG" / cs.Int8ul,
    "CLASS_DEVICE" / cs.Int16ul,
    "CACHE_LINE_SIZE" / cs.Int8ul,
    "LATENCY_TIMER" / cs.Int8ul,
    "HEADER_TYPE" / HeaderType,
    "BIST" / Bist,
    "BASE_ADDRESS_0" / cs.Int32ul,
    "BASE_ADDRESS_1" / cs.Int32ul,
)

Type0Header = cs.Struct(
    *_COMMON_TOP,
    "BASE_ADDRESS_2" / cs.Int32ul,
    "BASE_ADDRESS_3" / cs.Int32ul,
    "BASE_ADDRESS_4" / cs.Int32ul,
    "BASE_ADDRESS_5" / cs.Int32ul,
    "CARDBUS_CIS" / cs.Int32ul,
    "SUBSYSTEM_VENDOR_ID" / cs.Int16ul,
    "SUBSYSTEM_ID" / cs.Int16ul,
    "ROM_ADDRESS" / cs.Int32ul,
    "CAPABILITIES" / cs.Int8ul,
    cs.Padding(7),
    "INTERRUPT_LINE" / cs.Int8ul,
    "INTERRUPT_PIN" / cs.Int8ul,
    "MIN_GNT" / cs.Int8ul,
    "MAX_LAT" / cs.Int8ul,
)

Type1Header = cs.Struct(
    *_COMMON_TOP,
    "PRIMARY_BUS" / cs.Int8ul,
    "SECONDARY_BUS" / cs.Int8ul,
    "SUBORDINATE_BUS" / cs.Int8ul,
    "SEC_LATENCY_TIMER" / cs.Int8ul,
    "IO_BASE" / cs.Int8ul,
    "IO_LIMIT" / cs.Int8ul,
    "SEC_STATUS" / SecondaryStatus,
    "MEMORY_BASE" / cs.Int16ul,
    "MEMORY_LIMIT" / cs.Int16ul,
    "PREF_MEMORY_BASE" / cs.Int16ul,
    "PREF_MEMORY_LIMIT" / cs.Int16ul,
    "PREF_BASE_UPPER32" / cs.Int32ul,
    "PREF_LIMIT_UPPER32" / cs.Int32ul,
    "IO_BASE_UPPER16" / cs.Int16ul,
    "IO_LIMIT_UPPER16" / cs.Int16ul,
    "CAPABILITIES" / cs.Int8ul,
    cs.Padding(3),
    "BRIDGE_ROM_ADDRESS" / cs.Int32ul,
    "INTERRUPT_LINE" / cs.Int8ul,
    "INTERRUPT_PIN" / cs.Int8ul,
    "BRIDGE_CONTROL" / BridgeCtl,
)

#: Head of each entry of the capability list: offset 0 of every standard capability.
CapabilityHeader = register(2, number("ID", 7, 0), number("Next", 15, 8))
