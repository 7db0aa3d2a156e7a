"""Kernel logs of the machine of :mod:`small_dumps`: its scan of PCI, as Linux 6.12 prints it."""

from __future__ import annotations

from small_dumps import EIGHTH, FIRST, PORT

#: Device lines of the machine by function.
_OF = {
    PORT: ("[8086:a048] type 01 class 0x060400 PCIe Root Port", "PCI bridge to [bus 01]"),
    FIRST: ("[1af4:1001] type 00 class 0x020000 PCIe Endpoint", "BAR 0 [mem 0xfe000000-0xfe003fff 64bit]"),
    EIGHTH: ("[1af4:1001] type 00 class 0x020000 PCIe Endpoint", "BAR 0 [mem 0xfe004000-0xfe007fff 64bit]"),
}
BEGIN = "PCI host bridge to bus 0000:00"
END = "pci_bus 0000:00: resource 4 [io  0x0000-0x0cf7 window]"
KEXEC = "kexec_core: Starting new kernel"
FIRMWARE = "SeaBIOS (version 1.16.2-1)"


def log(
    *functions: str,
    port: tuple[str, ...] | None = None,
    begin: bool = True,
    end: bool = True,
    before: tuple[str, ...] = (),
    more: tuple[str, ...] = (),
    release: str = "6.12.1",
    timed: bool = True,
) -> str:
    """The log of one kernel.

    Args:
        functions: those that it lists (all if none is named).
        port: messages of the root port after its scan, instead of its bus numbers.
        begin, end: whether the lines before and after the scan are there.
        before, more: further messages before and after the scan.
        release: of the kernel.
        timed: with printk's times.
    """
    lines = [f"Linux version {release} (x@y) #1", "Command line: root=/dev/vda", *before]
    lines += [BEGIN] * begin
    for function in functions or _OF:
        lines += [f"pci 0000:{function}: {text}" for text in _OF[function]]
    lines += [f"pci 0000:{PORT}: {text}" for text in (port or ("PCI bridge to [bus 01]",))]
    lines += [END] * end
    lines += more
    times = (f"[{number / 1000:12.6f}] " for number in range(len(lines)))
    return "".join(f"{next(times) if timed else ''}{line}\n" for line in lines)
