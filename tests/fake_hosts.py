"""A host's files below a directory: sysfs, /proc and /dev/kmsg, with the config space of a real machine."""

from __future__ import annotations

from pathlib import Path

from analyzer import bdf
from analyzer.questions import snapshot

#: A real kexec, at which 8 functions were stranded: the machine's config space before and after it is what
#: the kernels' accesses show, 00 where they show nothing.
CAPTURE = str(Path(__file__).parents[1] / "traces" / "hidden-after-secondary-bus-reset.bin")
BEFORE, AFTER = 1, 2
RELEASE = "6.12.95+deb13-amd64"
BANNER = f"Linux version {RELEASE} (debian-kernel@lists.debian.org) #1 SMP"
BOOTS = ("20dd942d-255a-45ba-955e-3956c814e4df", "30dd942d-255a-45ba-955e-3956c814e4df")


def functions(boot: int, capture: str = CAPTURE) -> dict[str, bytes]:
    """Address and config space of each function at the end of a boot of a capture."""
    taken = snapshot.take(capture, boot)
    return {bdf.text(space.function): space.data.tobytes() for space in taken.functions}


def lspci(spaces: dict[str, bytes]) -> str:
    """What ``lspci -D -xxxx`` prints of it, less the names."""
    lines = []
    for name, data in spaces.items():
        lines.append(f"{name} Device")
        lines += [f"{at:02x}: {data[at : at + 16].hex(' ')}" for at in range(0, len(data), 16)]
        lines.append("")
    return "\n".join(lines) + "\n"


def host(root: Path, spaces: dict[str, bytes], *, boot: int = 0, kmsg: str | None = None) -> str:
    """Write a host's files below a directory, and return its name."""
    for name, data in spaces.items():
        folder = root / "sys/devices/pci0000:00" / name
        folder.mkdir(parents=True)
        (folder / "config").write_bytes(data)
        link = root / "sys/bus/pci/devices" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../../devices/pci0000:00/{name}")
    for name, text in {
        "proc/version": BANNER,
        "proc/cmdline": "root=/dev/vda1 pci=noaer",
        "proc/sys/kernel/osrelease": RELEASE,
        "proc/sys/kernel/hostname": "host17",
        "proc/sys/kernel/random/boot_id": BOOTS[boot],
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    if kmsg is not None:
        (root / "dev").mkdir()
        (root / "dev/kmsg").write_text(kmsg)
    return str(root)


def give(root: str, function: str, driver: str, *, group: int, vfio: int | None = None) -> None:
    """Bind a function of a host to a driver, as sysfs shows it."""
    device = Path(root, "sys/devices/pci0000:00", function)
    (device / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
    (device / "iommu_group").symlink_to(f"../../../kernel/iommu_groups/{group}")
    if vfio is not None:
        (device / "vfio-dev" / f"vfio{vfio}").mkdir(parents=True)


def process(root: str, number: int, cmdline: list[str], files: list[str]) -> None:
    """A process of a host with its command line and the files that it has open."""
    folder = Path(root, "proc", str(number))
    (folder / "fd").mkdir(parents=True)
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in cmdline))
    for place, name in enumerate(files):
        (folder / "fd" / str(place)).symlink_to(name)
