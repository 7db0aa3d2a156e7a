"""Virtual functions, by the SR-IOV capability of their physical function (PCIe 9.3.3).

A scan does not find them: they answer all ones at their vendor ID (9.3.4.1.1), and the kernel adds them when
VF Enable is set. No Live Update series preserves one (v8 and later: "Cannot preserve Virtual Functions"), and
the incoming kernel clears VF Enable while it sets the physical function up (Linux 7.3 sriov_init).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.samples import assembled
from schemas import extended_capabilities as ext
from schemas.pcie_capability import DOWNSTREAM_TYPES
from schemas.registers import SRIOV_CTRL, SRIOV_TOTAL_VF, VF_PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology

KERNEL_RULE = (
    "No Live Update series preserves virtual functions, and the incoming kernel clears VF Enable of their "
    "physical function while it enumerates"
)


@dataclass(frozen=True)
class Placement:
    """Where the virtual functions of a physical one are (PCIe 9.2.1.2).

    Attributes:
        physical: key of the physical function.
        count: NumVFs.
        offset: First VF Offset, from the physical function to the first virtual one.
        stride: VF Stride, from each virtual function to the next.
    """

    physical: int
    count: int
    offset: int
    stride: int

    def key(self, number: int) -> int:
        """Key of virtual function ``number`` (from 1): a routing ID has 16 bits.

        Linux 7.3 pci_iov_virtfn_bus and pci_iov_virtfn_devfn.
        """
        return self.physical >> 16 << 16 | (self.physical + self.offset + (number - 1) * self.stride) & 0xFFFF

    def all_keys(self) -> Iterator[int]:
        """Key of each, up to the last routing ID."""
        for number in range(1, min(self.count, 0x10000) + 1):
            if (self.physical & 0xFFFF) + self.offset + (number - 1) * self.stride > 0xFFFF:
                return
            yield self.key(number)

    def number(self, key: int) -> int | None:
        """Which of them a key is, from 1; None if it is none of them."""
        place = key - self.physical - self.offset
        if key >> 16 != self.physical >> 16 or key == self.physical or place < 0:
            return None
        number, rest = divmod(place, self.stride) if self.stride else (0, place)  # one alone needs no stride
        return number + 1 if rest == 0 and number < self.count else None


@dataclass(frozen=True)
class VirtualFunctions:
    """The virtual functions of one physical function whose VF Enable is set.

    Attributes:
        physical: BDF of the physical function.
        offset, stride, count: First VF Offset, VF Stride, NumVFs.
        functions: BDFs of the virtual functions, in order.
        need_ari: those on the physical function's own bus, below a port that passes device 0 only without ARI
            Forwarding.
        bridge: BDF of the bridge above, None on a root bus or where it is not in the input.
        bridge_key: its key.
    """

    physical: str
    offset: int
    stride: int
    count: int
    functions: list[str]
    need_ari: list[str]
    bridge: str | None
    bridge_key: int | None


@dataclass(frozen=True)
class VirtualFunction:
    """One virtual function by the registers of its physical function.

    Attributes:
        physical: the physical function.
        number: which of its virtual functions, from 1 as in the specification.
        offset, stride, count: First VF Offset, VF Stride, NumVFs.
    """

    physical: Function
    number: int
    offset: int
    stride: int
    count: int


def of_topology(topology: Topology) -> list[VirtualFunctions]:
    """Every set of virtual functions whose registers are in the input, by physical function."""
    found = (_of(topology.functions[key], topology) for key in physical_functions(topology))
    return [one for one in found if one is not None]


def physical_functions(topology: Topology) -> list[int]:
    """Keys of the functions with an SR-IOV capability, ascending."""
    functions = topology.functions
    its = functions.table.offsets(ext.SRIOV_ID, extended=True)[functions.rows] != NONE
    return sorted(functions.table.facts["function"][functions.rows][its].tolist())


def keys(topology: Topology) -> dict[int, int]:
    """Key of each virtual function -> key of its physical function."""
    placements = filter(None, (placement_of(topology.functions[key]) for key in physical_functions(topology)))
    return {key: placement.physical for placement in placements for key in placement.all_keys()}


def among(topology: Topology, keys: Iterable[int]) -> dict[int, VirtualFunction]:
    """Those of ``keys`` that are virtual functions by registers in the input.

    A key whose vendor was read is none: a virtual function has all ones there.
    """
    known = topology.functions
    asked = [key for key in keys if key not in known or known[key].vendor_device is None]
    found: dict[int, VirtualFunction] = {}
    for function in map(known.__getitem__, physical_functions(topology) if asked else ()):
        placement = placement_of(function)
        if placement is None:
            continue
        for key in asked:
            number = placement.number(key)
            if number is not None:
                found.setdefault(
                    key,
                    VirtualFunction(function, number, placement.offset, placement.stride, placement.count),
                )
    return found


def bridges_above(topology: Topology, keys: Iterable[int]) -> dict[int, str | None]:
    """Those of ``keys`` that are virtual functions, each with the bridge above its physical function."""
    found: dict[int, str | None] = {}
    for key, virtual in among(topology, keys).items():
        above = topology.parent(virtual.physical.function)
        found[key] = None if above is None else bdf.text(above.function)
    return found


def placement_of(function: Function) -> Placement | None:
    """Where the virtual functions of a function are whose VF Enable was last shown set."""
    if function.start_of(SRIOV_CTRL.base) is None:
        return None
    enabled = [sample.field(ext.SRIOV_CTRL_VFE) for sample in function.accesses_to(SRIOV_CTRL)]
    if not next((bit for bit in reversed(enabled) if bit is not None), None):
        return None
    values = []
    for register in VF_PLACES:
        value, known = assembled(function.accesses_to(register))
        if known != 0xFFFF:
            return None
        values.append(value)
    return Placement(function.function, *values)


def if_enabled(function: Function) -> Placement | None:
    """Where all virtual functions of a function would be, whether or not VF Enable is set.

    ``count`` is TotalVFs. First VF Offset and VF Stride may change with NumVFs and with ARI Capable Hierarchy
    (PCIe 9.3.3.9): these are the last that the input shows.
    """
    if function.start_of(SRIOV_CTRL.base) is None:
        return None
    values = []
    for register in (SRIOV_TOTAL_VF, *VF_PLACES[1:]):
        value, known = assembled(function.accesses_to(register))
        if known != 0xFFFF:
            return None
        values.append(value)
    return Placement(function.function, *values) if values[1] else None


def buses_reserved(function: Function) -> int:
    """How many buses above its own one a physical function's virtual functions may need, as far as is shown.

    Linux 7.3 compute_max_vf_buses writes every NumVFs from TotalVFs down to 1 while it sets the function up,
    and reads First VF Offset and VF Stride after each; pci_iov_bus_range keeps the buses that they reach. A
    First VF Offset of 0, or a VF Stride of 0 with more than one, makes it no physical function.
    """
    if function.start_of(SRIOV_CTRL.base) is None:
        return 0
    number = offset = highest = 0
    for _, place, value in sorted(_numbering(function)):
        if place == 0:
            number = value
        elif place == 1:
            offset = value
        elif number:
            if not offset or (number > 1 and not value):
                return 0
            highest = max(highest, (function.devfn + offset + (number - 1) * value) >> 8)
    return highest


def _numbering(function: Function) -> Iterator[tuple[int, int, int]]:
    """Row, place in :data:`VF_PLACES`, value of each write of NumVFs and of each read of the other two."""
    for place, register in enumerate(VF_PLACES):
        for sample in function.accesses_to(register):
            value = sample.field(0xFFFF)
            if value is not None and sample.write == (place == 0):
                yield sample.row, place, value


def _of(function: Function, topology: Topology) -> VirtualFunctions | None:
    placement = placement_of(function)
    if placement is None:
        return None
    above = topology.parent(function.function)
    its = list(placement.all_keys())
    gated = above is not None and above.pcie_type in DOWNSTREAM_TYPES
    return VirtualFunctions(
        physical=bdf.text(function.function),
        offset=placement.offset,
        stride=placement.stride,
        count=placement.count,
        functions=[bdf.text(key) for key in its],
        need_ari=[bdf.text(key) for key in its if gated and key >> 8 == function.bus and key & 0xFF > 7],
        bridge=None if above is None else bdf.text(above.function),
        bridge_key=None if above is None else above.function,
    )
