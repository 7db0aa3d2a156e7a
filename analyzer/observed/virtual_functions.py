"""Virtual functions, by the SR-IOV capability of their physical function (PCIe 9.3.3).

A scan does not find them: they answer all ones at their vendor ID (9.3.4.1.1), and the kernel adds them when
VF Enable is set. No Live Update series preserves one (v8 and later: "Cannot preserve Virtual Functions"), and
the incoming kernel clears VF Enable while it sets the physical function up (Linux 7.3 sriov_init).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed.registers.samples import assembled
from schemas import extended_capabilities as ext
from schemas.pcie_capability import DOWNSTREAM_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology

KERNEL_RULE = (
    "No Live Update series preserves virtual functions, and the incoming kernel clears VF Enable of their "
    "physical function while it enumerates"
)


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
    found = (_of(function, topology) for _, function in sorted(topology.functions.items()))
    return [one for one in found if one is not None]


def keys(topology: Topology) -> dict[int, int]:
    """Key of each virtual function -> key of its physical function."""
    return {key: function.function for function in topology.functions.values() for key in _keys(function)}


def among(topology: Topology, keys: Iterable[int]) -> dict[int, VirtualFunction]:
    """Those of ``keys`` that are virtual functions by registers in the input.

    A key whose vendor was read is none: a virtual function has all ones there.
    """
    known = topology.functions
    asked = [key for key in keys if key not in known or known[key].vendor_device is None]
    found: dict[int, VirtualFunction] = {}
    for function in known.values() if asked else ():
        registers = _registers(function)
        if registers is None:
            continue
        offset, stride, count = registers
        for key in asked:
            number = _number(key, function.function, offset, stride, count)
            if number is not None:
                found.setdefault(key, VirtualFunction(function, number, offset, stride, count))
    return found


def bridges_above(topology: Topology, keys: Iterable[int]) -> dict[int, str | None]:
    """Those of ``keys`` that are virtual functions, each with the bridge above its physical function."""
    found: dict[int, str | None] = {}
    for key, virtual in among(topology, keys).items():
        above = topology.parent(virtual.physical.function)
        found[key] = None if above is None else bdf.text(above.function)
    return found


def _number(key: int, physical: int, offset: int, stride: int, count: int) -> int | None:
    """Which virtual function of ``physical`` a key is, from 1; None if it is none of them."""
    place = key - physical - offset
    if key >> 16 != physical >> 16 or key == physical or place < 0:
        return None
    number, rest = divmod(place, stride) if stride else (0, place)
    return number + 1 if rest == 0 and number < count else None


def _registers(function: Function) -> tuple[int, int, int] | None:
    """First VF Offset, VF Stride and NumVFs of a function whose VF Enable was last shown set."""
    at = function.capabilities.extended.get(ext.SRIOV_ID)
    enabled = [bit for sample in function.sriov_control if (bit := sample.bit(0)) is not None]
    if at is None or not enabled or not enabled[-1]:
        return None
    values = []
    for offset in (ext.SRIOV_VF_OFFSET, ext.SRIOV_VF_STRIDE, ext.SRIOV_NUM_VF):
        value, known = assembled(function.view.samples(at + offset, 2))
        if known != 0xFFFF:
            return None
        values.append(value)
    return values[0], values[1], values[2]


def _keys(function: Function) -> Iterator[int]:
    registers = _registers(function)
    if registers is None:
        return
    offset, stride, count = registers
    for number in range(min(count, 0x10000)):
        routing = (function.function & 0xFFFF) + offset + stride * number
        if routing > 0xFFFF:
            return
        yield function.function & ~0xFFFF | routing


def _of(function: Function, topology: Topology) -> VirtualFunctions | None:
    registers = _registers(function)
    if registers is None:
        return None
    above = topology.parent(function.function)
    its = list(_keys(function))
    gated = above is not None and above.pcie_type in DOWNSTREAM_TYPES
    return VirtualFunctions(
        bdf.text(function.function),
        *registers,
        functions=[bdf.text(key) for key in its],
        need_ari=[bdf.text(key) for key in its if gated and key >> 8 == function.bus and key & 0xFF > 7],
        bridge=None if above is None else bdf.text(above.function),
        bridge_key=None if above is None else above.function,
    )
