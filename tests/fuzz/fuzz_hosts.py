"""Targets of what a host shows of itself: its files, its kernel's log and memory, archives of its sysfs."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import fake_hosts
import fuzz_parts
import fuzz_seeds as seeds
import kernel_memories
import preserved_dumps
from fuzz_oracle import allowed, analysed, opened, room

from analyzer.converting import collection, handed_over
from analyzer.converting.kernel_memory import KernelMemoryError
from analyzer.kernel_logs import kernel_log
from analyzer.options import Options
from analyzer.readers.kmsg import read_kernel_messages

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT, FUNCTION = "0000:00:03.0", "0000:03:00.0"
_LUO = "sys/kernel/debug/kho/in/sub_fdts/LUO"
_FILES = (
    "dev/kmsg", "proc/kallsyms", "proc/kcore", _LUO, "proc/cmdline", "proc/version",
    "proc/sys/kernel/hostname", "proc/sys/kernel/osrelease", "proc/sys/kernel/random/boot_id",
    "proc/900/cmdline", f"sys/devices/pci0000:00/{FUNCTION}/uevent",
    f"sys/devices/pci0000:00/{PORT}/config", f"sys/devices/pci0000:00/{FUNCTION}/config",
)  # fmt: skip
#: Texts of links, and names of folder entries: one on each line.
_NAMES = ("driver", "iommu_group", "fd", "net", "vfio-dev", "nvme", "block")
_MOMENTS = (None, "before", "after")
_KMSG = (
    b"5,0,0,-;Linux version 7.3.4 (x@y) #1\n6,1,0,-;Command line: root=/dev/vda1\n"
    b"6,2,1234567,-;PCI: Using ACPI\\x0a\\xff\n SUBSYSTEM=acpi\n DEVICE=+acpi:x\n"
    b"6,7,1234568,c;pci 0000:03:00.0: was preserved\n4,9,99000000,-,caller=T1;x\n"
)


def collect(data: bytes) -> None:
    """A host whose files are anything, collected, and what was written analysed."""
    choice = data[0] if data else 0
    root = room() / "host"
    try:
        _write_host(root, data[1:])
        path = root / "x.bin"
        moment = _MOMENTS[choice % 3]
        collected = collection.collect(
            str(path), Options(), moment=moment, redact=choice >= 128, root=str(root)
        )
        assert collected.size == path.stat().st_size
        assert all(thing.what and thing.matters and thing.advice for thing in collected.missing)
        capture = opened(path.read_bytes(), "x.bin")
        if choice % 4 == 0:  # that takes longer than all else
            analysed(capture, Options())
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _write_host(root: Path, data: bytes) -> None:
    parts = fuzz_parts.split(data, len(_FILES) + len(_NAMES))
    for name, part in zip(_FILES, parts, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if part:
            (root / name).write_bytes(part)
    devices = root / "sys/devices/pci0000:00"
    for name in (PORT, FUNCTION):
        link = root / "sys/bus/pci/devices" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../../devices/pci0000:00/{name}")
    for name, part in zip(_NAMES, parts[len(_FILES) :], strict=True):
        lines = part.split(b"\n")
        if name in ("driver", "iommu_group"):
            fuzz_parts.link(devices / FUNCTION / name, lines[0])
            continue
        folder = (root / "proc/900" if name == "fd" else devices / FUNCTION) / name
        folder.mkdir()
        for number, line in enumerate(lines[:300]):
            if name == "fd":
                fuzz_parts.link(folder / str(number), line)
            elif found := fuzz_parts.entry(line):
                (folder / found).mkdir(exist_ok=True)


def host_seeds() -> list[bytes]:
    """A host after a Live Update, and one before it."""
    spaces = fake_hosts.functions(fake_hosts.BEFORE)
    names = b"../../../bus/pci/drivers/vfio-pci", b"../../../kernel/iommu_groups/17"
    files = b"/dev/null\nsocket:[4711]\n/dev/vfio/devices/vfio3\n/dev/vfio/17", b"eth0\neth1", b"vfio3"
    qemu = b"/usr/bin/qemu\0-name\0guest=web,,1,debug-threads=on\0"
    found = []
    for memory in _memories():
        texts = (
            b"root=/dev/vda1 pci=noaer\n", f"{fake_hosts.BANNER}\n".encode(), b"host17\n",
            f"{fake_hosts.RELEASE}\n".encode(), f"{fake_hosts.BOOTS[0]}\n".encode(), qemu,
            b"DRIVER=vfio-pci\nPCI_ID=8086:1572\n", spaces["0000:02:00.0"][:512], spaces[FUNCTION][:512],
        )  # fmt: skip
        found.append(
            fuzz_parts.joined(_KMSG[: 120 if found else None], *memory, *texts, *names, *files, b"", b"")
        )
    return [b"\x14" + found[0], b"\2" + found[1], b"\1" + found[2], b"\x80" + found[0]]


def kernel_memory(data: bytes) -> None:
    """Symbols, memory and debugfs of a kernel; what is found must decode, else the reason is said."""
    parts = fuzz_parts.split(data, 3)
    proc = room() / "proc"
    proc.mkdir(exist_ok=True)
    for name, part in zip(("kallsyms", "kcore", "LUO"), parts, strict=True):
        (proc / name).write_bytes(part)
    try:
        found = handed_over.read(proc, proc / "LUO", range(1 << 16))
    except KernelMemoryError as error:
        said = str(error)
        assert said
        return
    assert found.dump is None or found.dump.data


def _memories() -> Iterator[list[bytes]]:
    """Symbols, memory and debugfs of kernels with each form of a preserved set."""
    entries = [*preserved_dumps.ENTRIES, (0, 0x0300, 1)]
    for name, dump, variable in (
        ("pci", preserved_dumps.h8(entries, per_block=3), True),
        ("pci", preserved_dumps.h8(entries), False),
        ("pci-v2", preserved_dumps.h7(entries), True),
        ("pci-v3", preserved_dumps.array(entries, slots=16), True),
    ):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "proc").mkdir()
            kernel_memories.handed(folder, dump, name=name, variable=variable)
            yield [(Path(folder) / part).read_bytes() for part in ("proc/kallsyms", "proc/kcore", _LUO)]


def memory_seeds() -> list[bytes]:
    return [fuzz_parts.joined(*parts) for parts in _memories()]


def kernel_messages(data: bytes) -> None:
    """Records of /dev/kmsg."""
    path = room() / "kmsg"
    path.write_bytes(data)
    found = read_kernel_messages(str(path))
    assert found.lost >= 0
    assert all("\n" not in line for line in found.lines)
    kernel_log.parse_lines(found.lines)


def message_seeds() -> list[bytes]:
    lines = [line for piece in seeds.text("console*") for line in piece.split(b"\n")[:30]]
    records = b"".join(b"6,%d,%d,-;%s\n" % (number, number * 999, line) for number, line in enumerate(lines))
    return [_KMSG, records[:4000]]


def sysfs_archive(data: bytes) -> None:
    """An archive of sysfs with links and folders, which say what functions are used as."""
    capture = opened(data, "x.tar")
    for one in capture.notes.uses:
        assert one.use.is_known
        assert one.use.text
    allowed(lambda _: analysed(capture, Options()), b"")


def archive_seeds() -> list[bytes]:
    """Derived: what tar makes of the devices of sysfs, in both of its forms."""
    return [_archive(form) for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]


def _archive(form: int) -> bytes:
    config = fake_hosts.functions(fake_hosts.BEFORE)[FUNCTION][:256]
    files = {"config": config, "uevent": b"DRIVER=ixgbe\nPCI_CLASS=20000\n"}
    links = {"driver": "../" * 40 + "bus/pci/drivers/ixgbe", "iommu_group": "../../../kernel/iommu_groups/17"}
    folders = ("net/eth0", "virtio1/block/vda", "vfio-dev/vfio3", "nvme/nvme3/nvme3c3n1")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for function in (FUNCTION, "0000:03:00.1"):
            for name, content in files.items():
                member = tarfile.TarInfo(f"devices/{function}/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            for name, target in links.items():
                member = tarfile.TarInfo(f"devices/{function}/{name}")
                member.type, member.linkname = tarfile.SYMTYPE, target
                archive.addfile(member)
            for name in folders:
                member = tarfile.TarInfo(f"devices/{function}/{name}")
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
    return stream.getvalue()


def several_guests(data: bytes) -> None:
    """A host's recording of several guests, each of them opened."""
    from analyzer.readers import each_machine, open_capture

    path = room() / "host.txt"
    path.write_bytes(data)
    each_machine(str(path), Options(), lambda options: open_capture(str(path), options))


def guest_seeds() -> list[bytes]:
    """Derived: the accesses of two guests' kernels, as KVM's events and as QEMU's log show them."""
    steps = ((0x80000000, 0xCFC, 4, 0x29C08086), (0x8000000C, 0xCFE, 1, 0), (0x80001000, 0xCFC, 4, 0xC1B36))
    lines = ["cpus=8"]
    for guest, (name, pid) in enumerate((("CPU 0/KVM", 4242), ("CPU 0/KVM", 5555), ("CPU 1/KVM", 4243))):
        for number, (address, port, size, value) in enumerate(steps):
            time = 100 + 30 * guest + number / 100_000
            head = f"  {name}-{pid} [003]  {time:.6f}: kvm_pio: pio_"
            lines.append(f"{head}write at 0xcf8 size 4 count 1 val {address:#x} ")
            lines.append(f"{head}read at {port:#x} size {size} count 1 val {value:#x} ")
    logged = [
        f"{pid}@1758513244.{number:06d}:pci_cfg_read nvme 03:00.0 @{at:#x} -> {value:#x}"
        for pid in (4242, 5555)
        for number, (at, value) in enumerate(((0, 0x101B36), (0xE, 0), (0x34, 0x40)))
    ]
    return [("\n".join(text) + "\n").encode() for text in (lines, logged)]
