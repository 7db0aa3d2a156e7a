"""The words of ``lspci -v`` to ``-vvv``, and the bits of registers that they stand for.

Registers, their names and those of their bits are the ones of :mod:`schemas.registers`, which are lspci's own
words. Here is what lspci adds: titles of capabilities, words of other versions, numbers in a sentence.

Sources: pciutils ``lspci.c``, ``ls-caps.c`` and ``ls-ecaps.c`` of 3.1, 3.5, 3.6, 3.9 and 3.13. Between them
the layout of lines changed, the words hardly did: a word counts wherever it stands in the lines of its
register (``ARIFwd+`` after ``DevCtl2:``).
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from schemas import config_header, pcie_capability
from schemas.registers import BASE_IDS, REGISTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.registers import Register


class Bits(NamedTuple):
    """Bits of a register that a line shows: its offset, its value, the mask of those bits."""

    offset: int
    value: int
    mask: int


#: Titles of standard capabilities, by how they begin, with their IDs (PCI Code and ID Assignment 2).
_STANDARD: Final = {
    "Null": 0x00, "Power Management": 0x01, "AGP version": 0x02, "Vital Product Data": 0x03, "Slot ID": 0x04,
    "MSI:": 0x05, "Message Signalled Interrupts": 0x05, "CompactPCI hot-swap": 0x06,
    "PCI-X bridge device": 0x07, "PCI-X non-bridge device": 0x07, "HyperTransport": 0x08,
    "Vendor Specific Information": 0x09, "Debug port": 0x0A, "CompactPCI central resource control": 0x0B,
    "Hot-plug capable": 0x0C, "Subsystem:": 0x0D, "AGP3": 0x0E, "Secure device": 0x0F, "Express": 0x10,
    "MSI-X:": 0x11, "SATA HBA": 0x12, "PCI Advanced Features": 0x13, "Enhanced Allocation": 0x14,
}  # fmt: skip
#: The same of extended capabilities (ID Assignment 3).
_EXTENDED: Final = {
    "Null": 0x00, "Advanced Error Reporting": 0x01, "Virtual Channel": 0x02, "Device Serial Number": 0x03,
    "Power Budgeting": 0x04, "Root Complex Link": 0x05, "Root Complex Internal Link": 0x06,
    "Root Complex Event Collector": 0x07, "Multi-Function Virtual Channel": 0x08,
    "Root Complex Register Block": 0x0A, "RCRB": 0x0A, "Vendor Specific Information": 0x0B,
    "Access Control Services": 0x0D, "Alternative Routing-ID Interpretation": 0x0E,
    "Address Translation Service": 0x0F, "Single Root I/O Virtualization": 0x10,
    "Multi-Root I/O Virtualization": 0x11, "Multicast": 0x12, "Page Request Interface": 0x13,
    "Physical Resizable BAR": 0x15, "Resizable BAR": 0x15, "Dynamic Power Allocation": 0x16,
    "Transaction Processing Hints": 0x17, "Latency Tolerance Reporting": 0x18,
    "Secondary PCI Express": 0x19, "Protocol Multiplexing": 0x1A, "Process Address Space ID": 0x1B,
    "LN Requester": 0x1C, "Downstream Port Containment": 0x1D, "L1 PM Substates": 0x1E,
    "Precision Time Measurement": 0x1F, "PCI Express over M_PHY": 0x20, "FRS Queueing": 0x21,
    "Readiness Time Reporting": 0x22, "Designated Vendor-Specific": 0x23, "Virtual Resizable BAR": 0x24,
    "VF Resizable BAR": 0x24, "Data Link Feature": 0x25, "Physical Layer 16.0 GT/s": 0x26,
    "Lane Margining at the Receiver": 0x27, "Hierarchy ID": 0x28,
    "Native PCIe Enclosure Management": 0x29, "Physical Layer 32.0 GT/s": 0x2A,
    "Alternate Protocol": 0x2B, "System Firmware Intermediary": 0x2C, "Shadow Functions": 0x2D,
    "Data Object Exchange": 0x2E, "Device 3": 0x2F, "Integrity & Data Encryption": 0x30,
    "Physical Layer 64.0 GT/s": 0x31, "Flit Logging": 0x32, "Flit Performance Measurement": 0x33,
    "Flit Error Injection": 0x34,
}  # fmt: skip
#: Capabilities whose ID is shown because lspci has no title for them.
_UNTITLED: Final = re.compile(r"(?:(?:Extended )?Capability ID (?:0x)?|#)([0-9a-f]{1,4})\b")
#: Port types as versions before 3.2 call them, beside those of :mod:`schemas.pcie_capability`.
_OLD_TYPES: Final = {"PCI/PCI-X Bridge": pcie_capability.TYPE_PCIE_TO_PCI}
_EXPRESS: Final = re.compile(
    r"Express (?:\(v(\d+)\) )?(.+?)(?: \(Slot([+-])\))?(?:, (?:MSI|IntMsgNum) .*)?\s*$"
)

#: A flag as lspci prints it: a word with ``+`` or ``-`` after it.
_FLAG: Final = re.compile(r"([<>]?[A-Za-z0-9][\w/-]*?)([+-])(?!\w)")
#: Words of other versions of lspci, by register, and the field of the schema that they stand for.
_OTHER_WORDS: Final = {
    "DevCtl": {
        "Correctable": "CorrErr", "Non-Fatal": "NonFatalErr", "Fatal": "FatalErr", "Unsupported": "UnsupReq",
        "BrConfRtry": "BrConfRtry/FLReset", "FLReset": "BrConfRtry/FLReset",
    },
    "DevSta": {"UncorrErr": "NonFatalErr", "UnsuppReq": "UnsupReq"},
    "LnkCtl": {"LnkDisable": "Disabled"},
    "CESta": {"NonFatalErr": "AdvNonFatalErr"},
    "CEMsk": {"NonFatalErr": "AdvNonFatalErr"},
}  # fmt: skip
#: Fields that are no flags, by register: the field, and a pattern for its number or one of its words.
_NUMBERS: Final = {
    "ARICap": (("Next Function", r"Next Function: (\d{1,3})\b"),),
    "DevCap": (("MaxPayload", r"MaxPayload (\d{3,4} bytes)"),),
    "DevCtl": (
        ("MaxPayload", r"MaxPayload (\d{3,4} bytes)"),
        ("MaxReadReq", r"MaxReadReq (\d{3,4} bytes)"),
    ),
    "STATUS": (("DEVSEL", r"DEVSEL=(fast|medium|slow)"),),
    "Status": (("PowerState", r"Status: (D[0-3])\b"),),
}
#: Registers that lspci prints as a number, in lines of their own, and the base of that number.
_PLAIN: Final = {
    "Initial VFs": 10, "Total VFs": 10, "Number of VFs": 10, "VF offset": 10, "stride": 10, "Device ID": 16,
}  # fmt: skip
#: Labels inside the lines of a register: they begin no other register.
INSIDE: Final = frozenset({"AtomicOpsCap", "AtomicOpsCtl", "Control", "Changed"})
#: Where lines of a header stand, by their label.
HEADER: Final = {
    "Control": ("HEADER0", config_header.COMMAND),
    "Status": ("HEADER0", config_header.STATUS),
    "Secondary status": ("HEADER1", config_header.SEC_STATUS),
    "BridgeCtl": ("HEADER1", config_header.BRIDGE_CONTROL),
}
#: Labels of capabilities that have no registers in the schemas, and their (extended) IDs: they show whose
#: lines follow.
_OTHER_LABELS: Final = {
    "ATSCap": 0x0F, "ATSCtl": 0x0F, "PRICtl": 0x13, "PRISta": 0x13, "PASIDCap": 0x1B, "PASIDCtl": 0x1B,
    "L1SubCap": 0x1E, "L1SubCtl1": 0x1E, "L1SubCtl2": 0x1E, "PTMCap": 0x1F, "PTMControl": 0x1F,
}  # fmt: skip


def _owners() -> dict[str, set[tuple[bool, int]]]:
    """Label -> the capabilities (extended, ID) that have a line with it."""
    found = {label: {(True, number)} for label, number in _OTHER_LABELS.items()}
    for base, place in BASE_IDS.items():
        for register in REGISTERS[base].values():
            if register.layout is not None and register.offset >= 2:
                found.setdefault(register.name, set()).add(place)
    return found


#: Label -> the capabilities (extended, ID) that it belongs to. ``Flags`` and ``Status`` are in many.
OWNERS: Final = {label: owners for label, owners in _owners().items() if label not in {"Flags", "Status"}}


def capability_id(title: str, *, extended: bool) -> int | None:
    """ID of the capability with that title, None if it is none that is known."""
    untitled = _UNTITLED.match(title)
    if untitled is not None:
        return int(untitled[1], 16)
    titles = _EXTENDED if extended else _STANDARD
    return next((number for start, number in titles.items() if title.startswith(start)), None)


def express(title: str) -> Bits:
    """What the title of a PCI Express capability shows of its flags register.

    The version is in it from ``-vv`` on.
    """
    found = _EXPRESS.match(title)
    value = mask = 0
    if found is not None:
        version, kind, slot = found.groups()
        if version is not None and int(version) <= pcie_capability.FLAGS_VERSION:
            value, mask = int(version), pcie_capability.FLAGS_VERSION
        number = pcie_capability.TYPE_NUMBERS.get(kind, _OLD_TYPES.get(kind))
        if number is not None:
            value |= number << pcie_capability.FLAGS_TYPE_SHIFT
            mask |= pcie_capability.FLAGS_TYPE
        if slot is not None:
            value |= pcie_capability.FLAGS_SLOT if slot == "+" else 0
            mask |= pcie_capability.FLAGS_SLOT
    return Bits(pcie_capability.FLAGS, value, mask)


def of_register(register: Register, text: str) -> Bits:
    """What the lines of a register show of it.

    Args:
        register: one with bit fields.
        text: its lines, from the label on, with blanks between them.
    """
    places = _places(register)
    others = _OTHER_WORDS.get(register.name, {})
    value = mask = 0
    for prefix, part in _parts(text):
        for word, sign in _FLAG.findall(part):
            place = places.get(prefix + others.get(word, word))
            if place is not None and place.high == place.low:
                mask |= 1 << place.low
                value |= (sign == "+") << place.low
    for name, pattern in _NUMBERS.get(register.name, ()):
        found = re.search(pattern, text)
        place = places[name]
        number = None if found is None else place.words.get(found[1])
        if found is not None and number is None and found[1].isdigit():
            number = int(found[1])
        if number is not None and number < 1 << place.high - place.low + 1:
            mask |= (1 << place.high + 1) - (1 << place.low)
            value |= number << place.low
    return Bits(register.offset, value, mask)


def numbers(base: str, text: str) -> Iterator[Bits]:
    """Registers of a capability that a line shows as numbers: ``Number of VFs: 2``."""
    for register in REGISTERS[base].values():
        radix = _PLAIN.get(register.name)
        if radix is None or register.layout is not None:
            continue
        found = re.search(rf"\b{register.name}: ([0-9a-f]{{1,5}})\b", text)
        if found is not None and (radix == 16 or found[1].isdigit()):
            number = int(found[1], radix)
            if number < 1 << 8 * register.size:
                yield Bits(register.offset, number, (1 << 8 * register.size) - 1)


class _FieldPlace(NamedTuple):
    high: int
    low: int
    words: dict[str, int]


@cache
def _places(register: Register) -> dict[str, _FieldPlace]:
    """The fields of a register by name: their bits, and the codes of their words."""
    found: dict[str, _FieldPlace] = {}
    low = 0
    for part in reversed(register.layout.subcon.subcon.subcons):
        high = low + part.sizeof() - 1
        if part.name is not None:
            words = getattr(part.subcon, "encmapping", {})
            found[part.name] = _FieldPlace(high, low, {str(word): int(code) for word, code in words.items()})
        low = high + 1
    return found


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """The text with what its words begin with in the schema: ``Changed:`` stands before several."""
    before, _, changed = text.partition("Changed:")
    yield "", before
    if changed:
        yield "Changed ", changed
