"""One kernel's scan of PCI out of its messages: functions, bus numbers, and what is missing, text by text."""

from __future__ import annotations

import pytest

from analyzer.kernel_logs.scan_messages import ListedFunction, ScanMessages

BEGIN = "PCI host bridge to bus 0000:00"
END = "pci_bus 0000:00: resource 4 [io  0x0000-0x0cf7 window]"
PORT = "pci 0000:00:03.0: [8086:a048] type 01 class 0x060400 PCIe Root Port"
ENDPOINT = "pci 0000:00:1f.2: [1af4:1001] type 00 class 0x020000"
OTHER = "pci 0000:00:1f.3: [1af4:1002] type 00 class 0x030000"
LOST = "** 12 printk messages dropped **"
NO_BEGIN = "the beginning of the scan (no 'PCI host bridge to bus' line before 0000:00:1f.3 in line {})"
NO_END = "the end of the scan (no 'pci_bus 0000:00: resource' line after it)"


def scanned(*lines: str) -> ScanMessages:
    """Line n begins at place 100 n."""
    scan = ScanMessages()
    for number, line in enumerate(lines, 1):
        scan.line(line.encode(), number, 100 * number)
    return scan


def test_functions_and_buses() -> None:
    scan = scanned(
        BEGIN, PORT, ENDPOINT, "pci 0000:00:03.0: PCI bridge to [bus 1a-2b]", f"[    1.500000] {END}"
    )
    assert scan.functions == {
        0x18: ListedFunction(
            0x18, (0x8086, 0xA048), 1, 0x060400, "PCIe Root Port", 2, 200, None, (0x1A, 0x2B)
        ),
        0xFA: ListedFunction(0xFA, (0x1AF4, 0x1001), 0, 0x020000, "", 3, 300),
    }
    assert (scan.roots, scan.scanned, scan.later) == ({0: 1}, {0: 1_500_000}, {})
    assert list(scan.missing()) == []


@pytest.mark.parametrize(
    ("messages", "found", "buses"),
    [
        ([], None, None),
        (["PCI bridge to [bus 1a]"], None, (0x1A, 0x1A)),
        (["PCI bridge to [bus 1a-2b]", "PCI bridge to [bus 2c-ff]"], None, (0x2C, 0xFF)),
        # As found and not used: no numbers until a line shows others.
        (
            ["PCI bridge to [bus 1a]", "bridge configuration invalid ([bus 2b-1a]), reconfiguring"],
            (0x2B, 0x1A),
            None,
        ),
        (
            ["bridge configuration invalid ([bus 2b-1a]), reconfiguring", "PCI bridge to [bus 1b]"],
            (0x2B, 0x1A),
            (0x1B, 0x1B),
        ),
        (["PCI bridge to bus 1a"], None, None),
    ],
)
def test_bus_numbers_of_a_bridge(
    messages: list[str], found: tuple[int, int] | None, buses: tuple[int, int] | None
) -> None:
    scan = scanned(BEGIN, PORT, *(f"pci 0000:00:03.0: {message}" for message in messages))
    assert (scan.functions[0x18].found, scan.functions[0x18].buses) == (found, buses)


@pytest.mark.parametrize(
    ("end", "line", "is_later"),
    [
        (f"[    1.500000] {END}", f"[    1.500001] {ENDPOINT}", True),
        # The console repeats what was said before the end.
        (f"[    1.500000] {END}", f"[    1.500000] {ENDPOINT}", False),
        (f"[    1.500000] {END}", f"[    1.200000] {ENDPOINT}", False),
        # Without a time the order of the lines counts.
        (END, ENDPOINT, True),
        (END, f"[    1.500001] {ENDPOINT}", True),
        (f"[    1.500000] {END}", ENDPOINT, True),
    ],
)
def test_functions_after_the_end_of_the_scan(end: str, line: str, is_later: bool) -> None:
    scan = scanned(BEGIN, end, line)
    listed = {0xFA: ListedFunction(0xFA, (0x1AF4, 0x1001), 0, 0x020000, "", 3, 300)}
    assert (scan.functions, scan.later) == (({}, listed) if is_later else (listed, {}))


def test_messages_after_the_scan_are_not_of_it() -> None:
    scan = scanned(
        BEGIN,
        PORT,
        END,
        "pci 0000:00:03.0: PCI bridge to [bus 01]",
        "pci 0000:00:1f.2: BAR 0: assigned",
        PORT,
    )
    assert scan.functions[0x18].buses is None
    assert (list(scan.functions), scan.later, list(scan.missing())) == ([0x18], {}, [])


@pytest.mark.parametrize(
    ("address", "root"),
    [
        ("0000:00:03.0", 0x0000),
        ("0000:3f:1f.7", 0x0000),
        ("0000:40:00.0", 0x0040),
        ("0000:7f:00.0", 0x0040),
        ("0000:ff:00.0", 0x0081),
        ("0001:00:00.0", None),  # before the first root bus of its domain
        ("0001:20:00.0", 0x0120),
        ("10a1f:e3:00.0", 0x10A1FE0),
        ("0002:40:00.0", None),
    ],
)
def test_root_buses(address: str, root: int | None) -> None:
    """Domain and bus, as ``domain << 8 | bus``."""
    names = ("0000:81", "0000:00", "0000:40", "0001:20", "10a1f:e0")
    scan = scanned(*(f"PCI host bridge to bus {name}" for name in names))
    assert scan.roots == {0x81: 1, 0x00: 2, 0x40: 3, 0x120: 4, 0x10A1FE0: 5}
    domain, bus, rest = address.split(":")
    key = int(domain, 16) << 16 | int(bus, 16) << 8 | int(rest[:2], 16) << 3 | int(rest[3])
    assert scan.root_of(key) == root


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ([], [NO_END]),
        (["usb 1: a message"], [NO_END]),
        ([BEGIN], [NO_END]),
        ([END], []),
        # The first line that names a function, not the lowest function.
        (
            [OTHER, ENDPOINT, END],
            [NO_BEGIN.format(1)],
        ),
        (
            ["[    2.250001] usb 1: a message", f"[    3.000000] {OTHER}", END],
            [NO_BEGIN.format("2; the log begins at 2.250001 s")],
        ),
        # Not more than four root buses by name.
        (
            [*(f"PCI host bridge to bus {name}" for name in ("10a1f:e0", "0000:81", "0000:40", "0000:2f")),
             "PCI host bridge to bus 0000:00", "PCI host bridge to bus 0000:20", END],
            ["the end of the scan (no 'pci_bus 0000:20, 0000:2f, 0000:40, 0000:81: resource' line after it)"],
        ),
        (
            ["PCI host bridge to bus 10a1f:e0"],
            ["the end of the scan (no 'pci_bus 10a1f:e0: resource' line after it)"],
        ),
        # Lost messages: the first line that counts some.
        (
            [BEGIN, LOST, LOST, "pci: a message", END],
            ["messages that were lost (line 2 counts them)"],
        ),
        (
            ["systemd-journald: Missed 25 kernel messages", BEGIN, END],
            ["messages that were lost (line 1 counts them)"],
        ),
        # A function with messages and without the line that lists it.
        (
            [BEGIN, "pci 0000:00:03.0: PME# supported", "pci 0000:00:03.0: PCI bridge to [bus 01]", END],
            ["the '[vvvv:dddd] type' line of 0000:00:03.0, which line 2 names"],
        ),
        ([BEGIN, "pci 0000:00:03.0: PME# supported", END, PORT], []),
    ],
)  # fmt: skip
def test_what_is_missing(lines: list[str], missing: list[str]) -> None:
    assert list(scanned(*lines).missing()) == missing
