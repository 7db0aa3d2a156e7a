"""Trace events that say what happened to a link or a device, turned into text as the kernel would print it.

Sources: Linux ``include/trace/events/pci.h`` (``pci_hp_event``, ``pcie_link_event``; since 2026) and
``include/ras/ras_event.h`` (``aer_event``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from analyzer import bdf
from analyzer.capture import Event

if TYPE_CHECKING:
    from analyzer.readers.trace.dat_parts import EventFormat, Field

#: Kind of ``analyzer.capture.Event`` by event.
EVIDENCE_EVENTS = {
    ("pci", "pci_hp_event"): "hotplug",
    ("pci", "pcie_link_event"): "link",
    ("ras", "aer_event"): "aer",
}
KINDS = {name: kind for (_, name), kind in EVIDENCE_EVENTS.items()}
#: enum pci_hotplug_event (include/uapi/linux/pci.h), and the words of pciehp's own messages for them.
_HOTPLUG = ("LINK_UP", "LINK_DOWN", "CARD_PRESENT", "CARD_NOT_PRESENT")
_HOTPLUG_WORDS = ("Link Up", "Link Down", "Card present", "Card not present")
_HOTPLUG_EVENT = re.compile(r"\bevent:(\w+)")
#: LNKSTA_FLAGS of pcie_link_event.
_LINK_STATUS = ((0x0800, "LT"), (0x2000, "DLLLA"), (0x4000, "LBMS"), (0x8000, "LABS"))
#: aer_event: severity (include/linux/aer.h), and the bits of the two status registers that it may be about.
_AER_SEVERITY = {0: "Uncorrected, non-fatal", 1: "Fatal", 2: "Corrected", 3: "Unknown"}
_AER_CORRECTED = 2
_UNCORRECTED = {
    4: "Data Link Protocol Error", 5: "Surprise Down Error", 12: "Poisoned TLP",
    13: "Flow Control Protocol Error",
    14: "Completion Timeout", 15: "Completer Abort", 16: "Unexpected Completion", 17: "Receiver Overflow",
    18: "Malformed TLP", 19: "ECRC Error", 20: "Unsupported Request Error", 21: "ACS Violation",
    22: "Uncorrectable Internal Error", 23: "MC Blocked TLP", 24: "AtomicOp Egress Blocked",
    25: "TLP Prefix Blocked Error",
}  # fmt: skip
_CORRECTED = {
    0: "Receiver Error", 6: "Bad TLP", 7: "Bad DLLP", 8: "RELAY_NUM Rollover", 12: "Replay Timer Timeout",
    13: "Advisory Non-Fatal Error", 14: "Corrected Internal Error", 15: "Header Log Overflow",
}  # fmt: skip
_BDF = re.compile(r"\b(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b", re.IGNORECASE)
_LONGEST = 500


def event_of(name: str, text: str, seq: int, time_ns: int | None) -> Event:
    """Return the event that a record of the trace event ``name`` is.

    Args:
        name: one of ``KINDS``.
        text: what the record says, its device first, as the kernel prints it.
        seq: number of the access after it.
        time_ns: when it was.
    """
    match = _BDF.search(text)
    try:
        function = bdf.parse(match[0]) if match else None
    except ValueError:
        function = None
    place = None if function is None else (function >> 16, function >> 8 & 0xFF, function & 0xFF)
    said = _HOTPLUG_EVENT.search(text)
    words = f" ({_HOTPLUG_WORDS[_HOTPLUG.index(said[1])]})" if said and said[1] in _HOTPLUG else ""
    return Event(KINDS[name], seq, place, f"{name}: {text.strip()}"[:_LONGEST] + words, time_ns)


def describe(event: EventFormat, payload: bytes, order: Literal["little", "big"]) -> str:
    """Return the name of the event and what a record of it says, with a newline between them."""
    values = {
        name: _value(part, payload, order)
        for name, part in event.fields.items()
        if not name.startswith("common_") and part.offset + part.size <= len(payload)
    }
    number = {name: value for name, value in values.items() if isinstance(value, int)}
    device = str(values.get("port_name", values.get("dev_name", "")))
    if event.name == "pci_hp_event":
        code = number.get("event", -1)
        what = _HOTPLUG[code] if 0 <= code < len(_HOTPLUG) else f"{code}"
        text = f"slot:{values.get('slot', '')}, event:{what}"
    elif event.name == "aer_event":
        text = _aer(number)
    else:
        flags = number.pop("link_status", None)
        words = [f"{name}:{value}" for name, value in number.items()]
        if flags is not None:
            named = "|".join(name for bit, name in _LINK_STATUS if flags & bit) or f"{flags:#x}"
            words.append(f"status:{named}")
        text = ", ".join(words)
    return f"{event.name}\n{device} {text}"


def _aer(number: dict[str, int]) -> str:
    severity, status = number.get("severity", 3), number.get("status", 0)
    bits = _CORRECTED if severity == _AER_CORRECTED else _UNCORRECTED
    names = ", ".join(name for bit, name in bits.items() if status >> bit & 1) or f"{status:#x}"
    return f"PCIe Bus Error: severity={_AER_SEVERITY.get(severity, str(severity))}, {names}"


def _value(part: Field, payload: bytes, order: Literal["little", "big"]) -> int | str | None:
    data = payload[part.offset : part.offset + part.size]
    if part.is_string and part.size == 4:
        place = int.from_bytes(data, order)
        start, length = place & 0xFFFF, place >> 16
        if part.type.startswith("__rel_loc"):
            start += part.offset + part.size
        return payload[start : start + length].split(b"\0", 1)[0].decode("utf-8", "replace")
    if part.size in (1, 2, 4, 8):
        return int.from_bytes(data, order, signed=part.signed)
    return None
