"""Whether a text is a kernel log at all: one line that only a kernel writes is enough."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from analyzer.errors import UnsupportedFormatError
from analyzer.kernel_logs import log_facts, log_lines

if TYPE_CHECKING:
    from analyzer.kernel_logs.log_lines import KernelMessage

#: Lines that are looked at: a log with so many before its first message is none.
_MOST_LINES = 100_000
#: Facts that other programs than a kernel write.
_OF_OTHERS = frozenset({"firmware", "journal-boot"})
#: syslog and journald name the kernel as the sender; ``dmesg -r`` and a console put facility 0 in front.
_SENT_BY_KERNEL = re.compile(rb"(?:^|[\s\]])kernel(?:\[\d{1,10}\])?: |^<[0-7]>\S")
#: ``dev_printk`` of a PCI function: ``<driver> <dddd:bb:dd.f>: ``.
_OF_A_FUNCTION = re.compile(r"(?:^| )[a-z][\w.-]{0,40} [0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]: ")
#: How messages begin that a kernel prints while it boots, as ``dmesg -t`` shows them (Linux 6.1 to 7.3).
_BOOT_MESSAGES = (
    "ACPI: ", "AMD-Vi: ", "BIOS-e820: ", "BIOS-provided physical RAM map:", "CPU: ", "DMAR: ", "DMI: ",
    "EXT4-fs ", "Freeing unused ", "IOMMU: ", "KERNEL supported cpus:", "KHO: ", "Kernel panic - ",
    "Memory: ", "NET: Registered ", "NX (Execute Disable) protection: ", "PCI host bridge to bus ", "PCI: ",
    "PM: ", "Run /", "SMBIOS ", "Zone ranges:", "clocksource: ", "e820: ", "efi: ", "iommu: ", "kexec: ",
    "liveupdate: ", "luo: ", "pci_bus ", "pcieport ", "printk: ", "random: crng ", "rcu: ", "smp: ",
    "smpboot: ", "tsc: ", "usb ", "vfio-pci ", "x86/",
)  # fmt: skip


def refuse_other_text(data: bytes, path: str) -> None:
    """Refuse what is no kernel log; the error quotes nothing of it.

    Args:
        data: the whole text, decompressed.
        path: its file.

    Raises:
        UnsupportedFormatError: no line of it is a kernel message.
    """
    found = itertools.islice(log_lines.LINE.finditer(data), _MOST_LINES)
    if any(is_kernel_line(match[0]) for match in found):
        return
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    what = f"{'binary data' if bytes(1) in data else 'text'} of {lines} line{'s' * (lines != 1)}"
    raise UnsupportedFormatError(
        f"expected a kernel log, found {what}, none of them a kernel message",
        path=path,
        advice="save it with dmesg, journalctl -k, or from the serial console",
    )


def is_kernel_line(line: bytes) -> bool:
    """Whether a physical line holds a kernel message.

    That is one with printk's time, with the kernel as its sender, about a PCI function, that
    :mod:`analyzer.kernel_logs.log_facts` knows, or with one of the usual beginnings.
    """
    line = line[: log_lines.MAX_LINE]
    return bool(_SENT_BY_KERNEL.search(line)) or any(map(_is_kernel_message, log_lines.messages(line)))


def _is_kernel_message(message: KernelMessage) -> bool:
    if message.time_us is not None or message.text.startswith(_BOOT_MESSAGES):
        return True
    if _OF_A_FUNCTION.search(message.text):
        return True
    fact = log_facts.read(message.text)
    return fact is not None and fact.kind not in _OF_OTHERS
