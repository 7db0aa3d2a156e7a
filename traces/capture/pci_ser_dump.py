"""Dump the kernel's preserved set of PCI devices (struct pci_ser, its KHO blocks) for ``analyze --flb``.

    drgn pci_ser_dump.py -o host7.flb         the set that this kernel was handed
    drgn pci_ser_dump.py --out -o host7.flb   the set that it is going to hand over
    drgn pci_ser_dump.py --luo ADDRESS -o F   from the physical address of struct luo_ser ("luo-v5")
    drgn pci_ser_dump.py --flbs ADDRESS -o F  from the physical address of the list of FLBs
    drgn pci_ser_dump.py --pci-ser ADDRESS --name pci -o F

The way there: KHO's device tree (CONFIG_KEXEC_HANDOVER_DEBUGFS) -> node LUO -> struct luo_ser -> list of
FLBs -> the one named "pci" or "pci-v...". Linux 7.3 frees struct luo_ser early in its boot and keeps the
list, whose address is then in the kernel's variable luo_flb_global (needs debug symbols). It fills the list
for the next kernel only at the kexec itself: with --out there is nothing before.

Layouts are those of the Live Update PCI series v6 to v9 (kernel sources: include/linux/kho/abi/pci.h,
block.h, luo.h); older ones are refused: name the devices with --preserved. Needs drgn and root; reads
memory, changes nothing.
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
from pathlib import Path

DEBUGFS = "/sys/kernel/debug/kho"
LUO_MAGIC = b"luo-v5\0\0"
#: FLB name -> layout; "pci-v2" was used for several, of which H7 has a page's address where others have
#: counts.
LAYOUTS = {"pci": "H8", "pci-v3": "H6", "pci-v2": "H7"}
MAX_BLOCKS, MAX_FLBS, MAX_SLOTS = 10_000, 63, 1 << 20


class DumpError(Exception):
    """What was expected in memory is not there; the text says what and where."""


class GoneError(DumpError):
    """There is no struct luo_ser where the device tree says; the kernel may have freed it."""


def device_tree(data):
    """Yield path and value of each property of a flattened device tree (its specification 0.4, chapter 5)."""
    if len(data) < 40 or data[:4] != b"\xd0\x0d\xfe\xed":
        raise DumpError("expected a flattened device tree, found something else")
    structure, strings = struct.unpack_from(">II", data, 8)
    path, at = [], structure
    while at + 4 <= len(data):
        token = struct.unpack_from(">I", data, at)[0]
        at += 4
        if token == 1:
            end = data.index(b"\0", at)
            path.append(data[at:end].decode("ascii", "replace"))
            at = (end + 4) & ~3
        elif token == 2 and path:
            path.pop()
        elif token == 3:
            size, name = struct.unpack_from(">II", data, at)
            start = strings + name
            label = data[start : data.index(b"\0", start)].decode("ascii", "replace")
            yield "/".join([*path, label]), data[at + 8 : at + 8 + size]
            at = (at + 8 + size + 3) & ~3
        elif token != 4:
            return


def luo_address(tree):
    """Physical address of struct luo_ser in KHO's device tree."""
    for path, value in device_tree(tree):
        if path.endswith("/LUO/preserved-data") and len(value) == 8:
            return struct.unpack("<Q", value)[0]  # KHO writes numbers of the machine, not of device trees
    raise DumpError(
        "KHO's device tree has no LUO/preserved-data: no Live Update, or a kernel of another format"
    )


class Memory:
    """Physical memory as the kernel sees it.

    Args:
        read: returns so many bytes from a physical address.
        page: bytes of a page.
    """

    def __init__(self, read, page):
        self.read = read
        self.page = page

    def numbers(self, address, layout):
        """Unpack a structure at a physical address."""
        return struct.unpack(layout, self.read(address, struct.calcsize(layout)))

    def find_pci(self, luo):
        """Name and address of the PCI core's FLB data, from the address of struct luo_ser."""
        magic, _, _, flbs = self.numbers(luo, "<8sQQQ")
        if magic != LUO_MAGIC:
            raise GoneError(
                f"expected struct luo_ser with {LUO_MAGIC!r} at {luo:#x}, found {magic!r}: freed, or of "
                "another version"
            )
        return self.find_pci_among(flbs)

    def find_pci_among(self, flbs):
        """The same, from the address of the list of FLBs."""
        _, count = self.numbers(flbs, "<QQ")
        if not 0 < count <= MAX_FLBS:
            raise DumpError(f"expected 1 to {MAX_FLBS} FLBs at {flbs:#x}, found {count}")
        found = []
        for number in range(count):
            name, data, _ = self.numbers(flbs + 16 + 64 * number, "<48sQQ")
            text = name.split(b"\0")[0].decode("ascii", "replace")
            if (text == "pci" or text.startswith("pci-v")) and data:
                return text, data
            found.append(text)
        raise DumpError(f"no FLB of the PCI core with data among: {', '.join(found)}")

    def pci_ser(self, address, name):
        """The header and what belongs to it, as ``analyze --flb`` wants it: blocks in chain order."""
        layout = LAYOUTS.get(name)
        if layout is None:
            raise DumpError(f"FLB {name!r} has a layout that aritrace does not decode; use --preserved")
        if layout == "H6":
            slots, _ = self.numbers(address, "<II")
            if not 0 < slots <= MAX_SLOTS:
                raise DumpError(f"expected up to {MAX_SLOTS} slots at {address:#x}, found {slots}")
            return self.read(address, 8 + 8 * slots)
        header = "<IIQ" if layout == "H8" else "<IQ"
        *_, first = self.numbers(address, header)
        if first % self.page:
            raise DumpError(f"expected the address of a page in the header at {address:#x}, found {first:#x}")
        return self.read(address, struct.calcsize(header)) + b"".join(self.blocks(first))

    def blocks(self, address):
        """Yield the pages of a chain of KHO blocks."""
        seen = set()
        while address:
            if address in seen or len(seen) == MAX_BLOCKS:
                raise DumpError(f"the chain of KHO blocks has a cycle or no end, at {address:#x}")
            seen.add(address)
            page = self.read(address, self.page)
            following, count = struct.unpack_from("<QQ", page)
            if not 0 < count <= (self.page - 16) // 8 or following % self.page:
                raise DumpError(
                    f"expected a KHO block at {address:#x}, found {count} entries, next {following:#x}"
                )
            yield page
            address = following


def arguments(given=None):
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", required=True, help="file to write; must not exist")
    parser.add_argument("--out", action="store_true", help="the outgoing set instead of the incoming one")
    parser.add_argument("--luo", type=lambda text: int(text, 0), help="physical address of struct luo_ser")
    parser.add_argument("--flbs", type=lambda text: int(text, 0), help="physical address of the list of FLBs")
    parser.add_argument(
        "--pci-ser", type=lambda text: int(text, 0), help="physical address of struct pci_ser"
    )
    parser.add_argument("--name", help="FLB name that --pci-ser belongs to: " + ", ".join(LAYOUTS))
    parser.add_argument("--debugfs", default=DEBUGFS, help="KHO's debugfs directory (default %(default)s)")
    options = parser.parse_args(given)
    if options.pci_ser is not None and options.name is None:
        parser.error("--pci-ser needs --name")
    return options


def find(program, memory, options):
    """Name and address of the PCI core's FLB data, as the command line says."""
    if options.flbs is not None:
        return memory.find_pci_among(options.flbs)
    luo = options.luo
    if luo is None:
        tree = Path(options.debugfs) / ("out" if options.out else "in") / "fdt"
        luo = luo_address(tree.read_bytes())
    try:
        return memory.find_pci(luo)
    except GoneError:
        if options.out or options.luo is not None:
            raise
        virtual = kept_list(program)
    kept = Memory(lambda address, size: program.read(address, size, False), memory.page)
    return kept.find_pci_among(virtual)


def kept_list(program):
    """Virtual address of the list of FLBs that this kernel was handed, from its own variable."""
    try:
        return int(program["luo_flb_global"].incoming.header_ser)
    except (LookupError, AttributeError) as error:
        raise DumpError(
            "struct luo_ser is freed, as Linux 7.3 does early in its boot; the variable luo_flb_global has "
            "the list of FLBs, but there are no debug symbols of it: install them, or give --flbs"
        ) from error


def main(program, given=None):
    """Find the set in the memory of ``program`` (drgn's), write it, tell its name."""
    options = arguments(given)
    memory = Memory(lambda address, size: program.read(address, size, True), int(program["PAGE_SIZE"]))
    try:
        name, address = options.name, options.pci_ser
        if address is None:
            name, address = find(program, memory, options)
        data = memory.pci_ser(address, name)
    except (DumpError, OSError, ValueError, struct.error) as error:
        raise SystemExit(f"pci_ser_dump.py: {error}") from error
    file = os.open(options.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(data)
    sys.stderr.write(
        f"pci_ser_dump.py: {len(data)} bytes; analyze --flb {options.output} --flb-name {name} ...\n"
    )


if "prog" in globals():  # drgn puts the running kernel there
    main(globals()["prog"])
