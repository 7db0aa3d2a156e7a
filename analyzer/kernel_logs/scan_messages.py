"""One kernel's scan of PCI, as its own messages show it: functions, bus numbers, and what is missing.

Source: Linux 6.1 to 7.3 drivers/pci/probe.c and setup-bus.c. ``PCI host bridge to bus`` comes before the
scan of a root bus; ``[vvvv:dddd] type tt class 0xcccccc`` for each function; ``PCI bridge to [bus ..]`` for
each bridge, the last of them with the numbers in use; ``bridge configuration invalid`` where the numbers as
found were not used; ``pci_bus ...: resource N`` of the root bus once the scan is over and resources are
assigned (pci_bus_dump_resources). No message states an ARI value or the multi-function bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.kernel_logs import log_facts, log_lines
from schemas import pcie_capability
from schemas.config_header import HEADER_TYPE_LAYOUT, HEADER_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.kernel_logs.log_lines import KernelMessage

_FUNCTION = re.compile(r"(?:^|\s)pci ([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]): +(.*)")
_HOST_BRIDGE = re.compile(r"PCI host bridge to bus ([0-9a-f]{4,8}):([0-9a-f]{2})$")
_SCANNED = re.compile(r"pci_bus ([0-9a-f]{4,8}):([0-9a-f]{2}): resource \d")
_BUSES = re.compile(r"PCI bridge to \[bus ([0-9a-f]{2})(?:-([0-9a-f]{2}))?\]")
_INVALID = re.compile(r"bridge configuration invalid \(\[bus ([0-9a-f]{2})-([0-9a-f]{2})\]\)")
#: printk, journald and its rate limit count the messages that they lose.
_LOST = re.compile(r"printk messages dropped|Missed \d{1,9} kernel messages|Suppressed \d{1,9} messages")
#: Cheap first look.
_INTERESTING = re.compile(r"pci|PCI host bridge|messages")
#: What Linux calls device/port types since 6.11 (pci_type_str); None: conventional PCI.
_KINDS: dict[str, int | None] = {
    "PCIe Endpoint": pcie_capability.TYPE_ENDPOINT,
    "PCIe Legacy Endpoint": pcie_capability.TYPE_LEGACY_ENDPOINT,
    "PCIe Root Port": pcie_capability.TYPE_ROOT_PORT,
    "PCIe Switch Upstream Port": pcie_capability.TYPE_UPSTREAM,
    "PCIe Switch Downstream Port": pcie_capability.TYPE_DOWNSTREAM,
    "PCIe to PCI/PCI-X bridge": pcie_capability.TYPE_PCIE_TO_PCI,
    "PCI/PCI-X to PCIe bridge": pcie_capability.TYPE_PCI_TO_PCIE,
    "PCIe Root Complex Integrated Endpoint": pcie_capability.TYPE_RC_ENDPOINT,
    "PCIe Root Complex Event Collector": pcie_capability.TYPE_RC_EVENT_COLLECTOR,
    "conventional PCI endpoint": None,
    "conventional PCI bridge": None,
}


@dataclass
class ListedFunction:
    """A function by its line.

    Attributes:
        key: see :mod:`analyzer.bdf`.
        vendor_device: vendor and device ID.
        header_type: layout of the header, without the multi-function bit.
        class_code: three bytes.
        kind: what Linux calls it, or an empty string (before 6.11).
        line: number of its line in the log, from 1.
        where: place of that line in the stream.
        found: secondary and subordinate bus that the kernel found and did not use, or None.
        buses: secondary and subordinate bus as the kernel left them, or None if no line shows them.
    """

    key: int
    vendor_device: tuple[int, int]
    header_type: int
    class_code: int
    kind: str
    line: int
    where: int
    found: tuple[int, int] | None = None
    buses: tuple[int, int] | None = None

    @property
    def known(self) -> bool:
        """Whether the kernel goes on with a function of this header layout."""
        return self.header_type & HEADER_TYPE_LAYOUT in HEADER_TYPES

    @property
    def port_type(self) -> int | None:
        """Device/port type, None where the log does not name it."""
        return _KINDS.get(self.kind)

    @property
    def is_conventional(self) -> bool:
        """It has no PCI Express capability."""
        return self.kind in _KINDS and self.port_type is None


@dataclass
class ScanMessages:
    """What one kernel's messages show of its scan; lines are given one after the other.

    Attributes:
        functions: those of the first scan of each root bus, by key.
        later: functions that are listed after that scan: plugged in, virtual, or found by a rescan.
        roots: root buses (``domain << 8 | bus``) -> line that announces their scan.
        scanned: root buses whose scan is over -> printk's time of the line that shows it (None: no time).
    """

    functions: dict[int, ListedFunction] = field(default_factory=dict)
    later: dict[int, ListedFunction] = field(default_factory=dict)
    roots: dict[int, int] = field(default_factory=dict)
    scanned: dict[int, int | None] = field(default_factory=dict)
    _unannounced: dict[int, int] = field(default_factory=dict)
    _mentioned: dict[int, int] = field(default_factory=dict)
    _dropped: int | None = None
    _begin_us: int | None = None

    def line(self, line: bytes, number: int, where: int) -> None:
        """Take one physical line."""
        for message in log_lines.messages(line):
            if self._begin_us is None:
                self._begin_us = message.time_us
            if _INTERESTING.search(message.text):
                self._message(message, number, where)

    def _message(self, message: KernelMessage, number: int, where: int) -> None:
        about = _FUNCTION.search(message.text)
        if about is not None:
            self._of_function(bdf.parse(about[1]), about[2], message, number, where)
            return
        begins, ends = _HOST_BRIDGE.search(message.text), _SCANNED.search(message.text)
        if begins is not None:
            self.roots.setdefault(_bus(begins), number)
        elif ends is not None:
            self.scanned.setdefault(_bus(ends), message.time_us)
        elif self._dropped is None and _LOST.search(message.text):
            self._dropped = number

    def _of_function(self, key: int, text: str, message: KernelMessage, number: int, where: int) -> None:
        root = self.root_of(key)
        if root is None:
            self._unannounced.setdefault(key, number)
        listed = log_facts.enumerated(text)
        if self._is_over(root, message):
            if listed is not None and key not in self.functions:
                self.later.setdefault(key, _function(key, listed, number, where))
            return
        if listed is not None:
            self.functions.setdefault(key, _function(key, listed, number, where))
            return
        self._mentioned.setdefault(key, number)
        bridge = self.functions.get(key)
        if bridge is None:
            return
        if (invalid := _INVALID.match(text)) is not None:
            bridge.found, bridge.buses = (int(invalid[1], 16), int(invalid[2], 16)), None
        elif (buses := _BUSES.match(text)) is not None:
            bridge.buses = int(buses[1], 16), int(buses[2] or buses[1], 16)

    def _is_over(self, root: int | None, message: KernelMessage) -> bool:
        """Whether the scan of a root bus is over; a dump of the log may repeat earlier messages."""
        if root is None or root not in self.scanned:
            return False
        end = self.scanned[root]
        return end is None or message.time_us is None or message.time_us > end

    def root_of(self, key: int) -> int | None:
        """The root bus that a function is below: the last one announced up to its bus, in its domain."""
        bus = key >> 8
        return max((root for root in self.roots if root >> 8 == bus >> 8 and root <= bus), default=None)

    def unknown_headers(self) -> dict[int, int]:
        """Functions that answered with a header that the kernel does not know, and the line that says so."""
        return {key: one.line for key, one in self.functions.items() if not one.known}

    def missing(self) -> Iterator[str]:
        """What the log does not show, so that a function that it does not list may have been found."""
        since = "" if self._begin_us is None else f"; the log begins at {self._begin_us / 1e6:.6f} s"
        if self._unannounced:
            key, number = min(self._unannounced.items(), key=lambda item: item[1])
            yield (
                f"the beginning of the scan (no 'PCI host bridge to bus' line before {bdf.text(key)} in line"
                f" {number}{since})"
            )
        open_ends = sorted(root for root in self.roots if root not in self.scanned)
        if open_ends or not (self.roots or self.scanned):
            names = ", ".join(f"{root >> 8:04x}:{root & 0xFF:02x}" for root in open_ends[:4])
            yield f"the end of the scan (no 'pci_bus {names or '0000:00'}: resource' line after it)"
        if self._dropped is not None:
            yield f"messages that were lost (line {self._dropped} counts them)"
        for key, number in self._mentioned.items():
            if key not in self.functions and key not in self.later:
                yield f"the '[vvvv:dddd] type' line of {bdf.text(key)}, which line {number} names"


def _bus(match: re.Match[str]) -> int:
    return int(match[1], 16) << 8 | int(match[2], 16)


def _function(key: int, listed: tuple[str, int, int, str], line: int, where: int) -> ListedFunction:
    ids, header_type, class_code, kind = listed
    vendor, device = (int(part, 16) for part in ids.split(":"))
    return ListedFunction(key, (vendor, device), header_type, class_code, kind, line, where)
