"""What a function is used as: driver, IOMMU group, VFIO device, interfaces, block devices, virtual machine.

Inputs say it in pieces: sysfs by links and directories, a kernel log by its messages. Nothing is inferred:
what no input names is None, which is never the same as "none".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Names and values of what is known, as native files hold them (docs/format.md).
Fact = tuple[str, str]

_GROUP: Final = re.compile(r"[0-9]{1,9}")
#: Who may say it.
SYSFS, KERNEL_LOG, PROC = "sysfs", "kernel log", "/proc"
_SOURCES: Final = (SYSFS, KERNEL_LOG, PROC)
_SINGLE: Final = ("driver", "vfio", "vm")
_SEVERAL: Final = ("net", "block")
#: Interfaces and block devices of one function that are kept: a network card has some hundred at most.
MAX_NAMES: Final = 256
#: Bytes of a name: file names on Linux have no more.
MAX_NAME: Final = 255


@dataclass(frozen=True)
class FunctionUse:
    """What a function was used as, where an input says it; None: not known.

    Attributes:
        driver: that was bound to it.
        iommu_group: number of its IOMMU group.
        vfio: its VFIO character device (``vfio3`` of ``/dev/vfio/devices/vfio3``).
        net: its network interfaces.
        block: its block devices; of NVMe the controller (``nvme3``) and its namespaces (``nvme3n1``).
        vm: the virtual machine that had it open.
        source: who says so: ``sysfs``, ``kernel log``, ``/proc``, or several of them with commas between.
    """

    driver: str | None = None
    iommu_group: int | None = None
    vfio: str | None = None
    net: list[str] | None = None
    block: list[str] | None = None
    vm: str | None = None
    source: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether an input says anything."""
        return any(getattr(self, item.name) is not None for item in fields(self) if item.name != "source")

    @property
    def is_vfio(self) -> bool | None:
        """Whether a VFIO driver had it, so that user space could: a virtual machine; None: not known.

        In-tree variant drivers have ``vfio`` in their names (``mlx5_vfio_pci``, ``nvgrace-gpu-vfio-pci``).
        """
        if self.vfio is not None:
            return True
        return None if self.driver is None else "vfio" in self.driver

    @property
    def text(self) -> str:
        """In words: ``vfio-pci, IOMMU group 17, virtual machine web1``; empty if nothing is known."""
        group = None if self.iommu_group is None else f"IOMMU group {self.iommu_group}"
        vm = None if self.vm is None else f"virtual machine {self.vm}"
        parts = [self.driver, group, self.vfio, *(self.net or ()), *(self.block or ()), vm]
        return ", ".join(part for part in parts if part is not None)

    def facts(self) -> Iterator[Fact]:
        """Name and value of each thing that is known."""
        for name in _SINGLE:
            value = getattr(self, name)
            if value is not None:
                yield name, value
        if self.iommu_group is not None:
            yield "iommu_group", str(self.iommu_group)
        for name in _SEVERAL:
            yield from ((name, value) for value in getattr(self, name) or ())
        if self.source is not None:
            yield "source", self.source


@dataclass(frozen=True)
class PlacedUse:
    """A use, of which function (key of :mod:`analyzer.bdf`), and the access that it was read before."""

    function: int
    seq: int
    use: FunctionUse


def of_facts(facts: Iterable[Fact], source: str | None = None) -> FunctionUse:
    """Put a use together; names that are not known, empty values and too long ones are left out.

    Args:
        facts: names and values.
        source: who says so, unless a fact does.
    """
    single: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    group = None
    for name, value in facts:
        if not value or len(value) > MAX_NAME:
            continue
        if name in _SINGLE:
            single[name] = value
        elif name == "source" and set(value.split(", ")) <= set(_SOURCES):
            source = value
        elif name == "iommu_group" and _GROUP.fullmatch(value):
            group = int(value)
        elif name in _SEVERAL:
            names = several.setdefault(name, [])
            if value not in names and len(names) < MAX_NAMES:
                names.append(value)
    return FunctionUse(
        driver=single.get("driver"),
        iommu_group=group,
        vfio=single.get("vfio"),
        net=several.get("net"),
        block=several.get("block"),
        vm=single.get("vm"),
        source=source,
    )


def merged(better: FunctionUse | None, other: FunctionUse | None) -> FunctionUse | None:
    """One use of two that speak of the same function and kernel: what ``better`` does not say is ``other``'s.

    Names of interfaces and block devices belong to a driver: those of another one are not taken.
    """
    if better is None or other is None:
        return better or other
    same_driver = better.driver is None or other.driver is None or better.driver == other.driver
    changes = {
        item.name: value
        for item in fields(FunctionUse)
        if item.name != "source"
        and getattr(better, item.name) is None
        and (value := getattr(other, item.name)) is not None
        and (same_driver or item.name not in (*_SEVERAL, "vfio", "vm"))
    }
    if not changes:
        return better
    sources = dict.fromkeys(
        part for one in (better, other) for part in (one.source or "").split(", ") if part
    )
    return replace(better, **changes, source=", ".join(sources) or None)


def merged_maps(
    better: Mapping[int, FunctionUse], other: Mapping[int, FunctionUse]
) -> dict[int, FunctionUse]:
    """The same for every function of two sources."""
    return {
        key: use for key in better.keys() | other.keys() if (use := merged(better.get(key), other.get(key)))
    }
