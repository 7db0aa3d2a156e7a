"""Register blocks of the simulated hardware: headers and capabilities with their reset values and attributes.

Values of the ``qemu`` flavour are those that QEMU 10.0's pcie-root-port, x3130-upstream, xio3130-downstream
and nvme models show; the ``silicon`` flavour implements every register that PCI Express 7.5 to 7.8 makes RW.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas import extended_capabilities as ext
from schemas import pcie_capability as exp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.config_space import ConfigSpace

MSI, SSVID, PM, MSIX, PCIE = 0x05, 0x0D, 0x01, 0x11, exp.CAP_ID
AER, ACS, ARI, SRIOV, DPC = ext.AER_ID, ext.ACS_ID, ext.ARI_ID, ext.SRIOV_ID, ext.DPC_ID
SERIAL_NUMBER = 0x0003

_BRIDGE_CONTROL_BITS = 0x0FFF
_PORTS = frozenset({exp.TYPE_ROOT_PORT, exp.TYPE_UPSTREAM, exp.TYPE_DOWNSTREAM})


@dataclass(frozen=True)
class Sriov:
    """Virtual functions of a physical function.

    Attributes:
        total: TotalVFs and InitialVFs.
        offset, stride: First VF Offset and VF Stride.
        offset_without_ari: First VF Offset while ARI Capable Hierarchy is 0 (None: the same).
    """

    total: int
    offset: int = 1
    stride: int = 1
    offset_without_ari: int | None = None


@dataclass(frozen=True)
class Port:
    """What the PCI Express capability of a function says.

    Attributes:
        type: device/port type (flags bits 7:4).
        version: capability version; 1 has no DEVCAP2 and DEVCTL2.
        ari_forwarding: DEVCAP2 bit 5.
        ltr: DEVCAP2 bit 11.
        slot: a slot is implemented (downstream ports).
        silicon: implement every RW bit and report the link as hardware does; else as QEMU's models.
    """

    type: int
    version: int = 2
    ari_forwarding: bool = False
    ltr: bool = False
    slot: int | None = None
    silicon: bool = False


def header(
    config: ConfigSpace, vendor_device: int, class_code: int, header_type: int, *, interrupt_pin: int = 0
) -> None:
    """Registers that both header types have. ``vendor_device`` and ``class_code`` as the dwords read."""
    config.define(0x00, 4, vendor_device)
    config.define(0x04, 2, 0, writable=0x0547)
    config.define(0x06, 2, 0, clearable=0xF900)
    config.define(0x08, 4, class_code)
    config.define(0x0C, 2, 0, writable=0x00FF)
    config.define(0x0E, 1, header_type)
    config.define(0x3C, 1, 0, writable=0xFF)
    config.define(0x3D, 1, interrupt_pin)


def type_0(config: ConfigSpace, bars: Mapping[int, tuple[int, int]], subsystem: int = 0x11001AF4) -> None:
    """Type 0 header: ``bars`` is BAR number -> (size, low type bits); a 64-bit BAR takes the next one too."""
    config.define(0x2C, 4, subsystem)
    _bars(config, 0x10, bars)


def type_1(config: ConfigSpace, bars: Mapping[int, tuple[int, int]], *, io: int = 0xF0) -> None:
    """Type 1 header: bus numbers, windows and Bridge Control reset to 0 (PCIe 7.5.1.3)."""
    _bars(config, 0x10, bars)
    config.define(0x18, 3, 0, writable=0xFFFFFF)
    config.define(0x1C, 2, 0, writable=io << 8 | io)
    config.define(0x1E, 2, 0, clearable=0xF900)
    config.define(0x20, 4, 0, writable=0xFFF0FFF0)
    config.define(0x24, 4, 0x00010001, writable=0xFFF0FFF0)
    config.define(0x28, 8, 0, writable=0xFFFFFFFFFFFFFFFF)
    config.define(0x30, 4, 0, writable=0xFFFFFFFF if io & 1 else 0)
    config.define(0x3E, 2, 0, writable=_BRIDGE_CONTROL_BITS)


def _bars(config: ConfigSpace, base: int, bars: Mapping[int, tuple[int, int]]) -> None:
    for number, (size, flags) in bars.items():
        config.define(base + 4 * number, 4, flags, writable=~(size - 1) & 0xFFFFFFF0)
        if flags & 4:
            config.define(base + 4 * number + 4, 4, 0, writable=0xFFFFFFFF)


def standard(config: ConfigSpace, where: Mapping[int, int], port: Port | None, msix: int = 0) -> None:
    """Chain the standard capabilities (ID -> offset, in list order) and fill them in."""
    if where:
        config.put(0x06, 2, config.get(0x06, 2) | 1 << 4)
        config.define(0x34, 1, next(iter(where.values())))
    offsets = [*where.values(), 0]
    for (identity, offset), following in zip(where.items(), offsets[1:], strict=True):
        config.define(offset, 2, following << 8 | identity)
        if identity == PCIE and port is not None:
            _pcie(config, offset, port)
        elif identity == MSI:
            config.define(offset + 2, 2, 0x0080, writable=0x0071)
            config.define(offset + 4, 10, 0, writable=0xFFFFFFFFFFFFFFFFFFFF)
        elif identity == MSIX:
            config.define(offset + 2, 2, msix, writable=0xC000)
            config.define(offset + 4, 8, 0x0000300000002000)
        elif identity == PM:
            config.define(offset + 2, 2, 0x0003)
            config.define(offset + 4, 2, 0x0008, writable=0x0103)
        elif identity == SSVID:
            config.define(offset + 4, 4, 0)


def _pcie(config: ConfigSpace, at: int, port: Port) -> None:
    is_port = port.type in _PORTS
    root = port.type == exp.TYPE_ROOT_PORT
    slot = port.slot is not None
    config.define(at + exp.FLAGS, 2, int(slot) << 8 | port.type << 4 | port.version)
    devcap = 0x8020 if root else 0x10008020
    config.define(at + exp.DEVCAP, 4, devcap)
    endpoint_default = 0x2810 if port.silicon and not is_port else 0
    writable = 0x7FFF if port.silicon else 0x00EF if is_port else 0x000F
    config.define(at + exp.DEVCTL, 2, endpoint_default, writable=writable | (0x8000 if devcap >> 28 else 0))
    config.define(at + exp.DEVSTA, 2, 0, clearable=0x000F)
    _link(config, at, port)
    if slot:
        config.define(at + exp.SLTCAP, 4, (port.slot or 0) << 19 | 0x0002007B)
        config.define(at + exp.SLTCTL, 2, 0x03C0, writable=0x1FFF)
        config.define(at + exp.SLTSTA, 2, exp.SLTSTA_PRESENCE, clearable=0x011F)
    if root:
        config.define(at + exp.RTCTL, 2, 0, writable=0x001F if port.silicon else 0x000F)
        config.define(at + exp.RTCAP, 2, int(port.silicon))
        config.define(at + exp.RTSTA, 4, 0, clearable=0x00010000)
    if port.version > 1:
        devcap2 = 0x00300000 | port.ari_forwarding << 5 | port.ltr << 11
        config.define(at + exp.DEVCAP2, 4, devcap2)
        plain = 0x9BDF if port.silicon else 0x8000 if is_port else 0
        writable = plain | port.ari_forwarding << 5 | port.ltr << 10
        config.define(at + exp.DEVCTL2, 2, 0, writable=writable)


def _link(config: ConfigSpace, at: int, port: Port) -> None:
    speeds = {exp.TYPE_ROOT_PORT: 0x00300604, exp.TYPE_DOWNSTREAM: 0x0400}
    lnkcap = speeds.get(port.type, 0x0411)
    lnksta = 0x0011
    downstream = port.type in exp.DOWNSTREAM_TYPES
    if port.silicon:
        lnkcap = 0x0040D083 | (exp.LNKCAP_DLLLARC if downstream else 0)
        lnksta = 0x1083 | (exp.LNKSTA_DLLLA if downstream else 0)
    config.define(at + exp.LNKCAP, 4, lnkcap)
    # QEMU takes neither Retrain Link nor the bandwidth interrupts; Link Disable works everywhere.
    config.define(at + exp.LNKCTL, 2, 0, writable=0x0FDB if port.silicon else 0x0010 if downstream else 0)
    config.define(at + exp.LNKSTA, 2, lnksta, clearable=0xC000)
    if port.version > 1:
        fast = port.silicon or port.type == exp.TYPE_ROOT_PORT
        config.define(at + exp.LNKCAP2, 4, 0x1E if fast else 0)
        config.define(at + exp.LNKCTL2, 2, 4 if fast else 0, writable=0xFFFF if fast else 0, sticky=True)


def extended(config: ConfigSpace, where: Mapping[int, int], port: Port) -> None:
    """Chain the extended capabilities (ID -> offset, in list order) and fill in what has no parameters."""
    offsets = [*where.values(), 0]
    for (identity, offset), following in zip(where.items(), offsets[1:], strict=True):
        version = 2 if identity == AER else 1
        config.define(offset, 4, following << 20 | version << 16 | identity)
        if identity == AER:
            _aer(config, offset, root=port.type == exp.TYPE_ROOT_PORT)
        elif identity == ACS:
            config.define(offset + ext.ACS_CAP, 2, 0x005F)
            config.define(offset + ext.ACS_CTRL, 2, 0, writable=0x005F)
        elif identity == DPC:
            config.define(offset + ext.DPC_CAP, 2, 0x10E0)
            config.define(offset + ext.DPC_CTRL, 2, 0, writable=0x00BF)
            config.define(offset + ext.DPC_STATUS, 2, 0, clearable=0x0009)
        elif identity == SERIAL_NUMBER:
            config.define(offset + 4, 8, 0x0011_22FF_FF33_4455)


def _aer(config: ConfigSpace, at: int, *, root: bool) -> None:
    bits = 0x07FFF030
    config.define(at + ext.AER_UNCOR_STATUS, 4, 0, clearable=bits, sticky=True)
    config.define(at + ext.AER_UNCOR_MASK, 4, 0x02400000, writable=bits, sticky=True)
    config.define(at + ext.AER_UNCOR_SEVERITY, 4, 0x00462030, writable=bits, sticky=True)
    config.define(at + ext.AER_COR_STATUS, 4, 0, clearable=0xF1C1, sticky=True)
    config.define(at + ext.AER_COR_MASK, 4, 0xE000, writable=0xF1C1, sticky=True)
    config.define(at + ext.AER_CAP, 4, 0x2A0, writable=0x140, sticky=True)
    if root:
        config.define(at + ext.AER_ROOT_COMMAND, 4, 0, writable=0x7)
        config.define(at + ext.AER_ROOT_STATUS, 4, 0, clearable=0x7F, sticky=True)


def ari(config: ConfigSpace, at: int, next_function: int) -> None:
    """ARI capability with its Next Function Number."""
    config.define(at + ext.ARI_CAP, 2, next_function << ext.ARI_CAP_NFN_SHIFT)
    config.define(at + ext.ARI_CTRL, 2, 0)


def sriov(config: ConfigSpace, at: int, vfs: Sriov, *, lowest: bool = True) -> None:
    """SR-IOV capability; ARI Capable Hierarchy is RW in the lowest-numbered physical function only."""
    config.define(at + ext.SRIOV_CTRL, 2, 0, writable=0x000B | lowest << 4)
    config.define(at + ext.SRIOV_INITIAL_VF, 2, vfs.total)
    config.define(at + ext.SRIOV_TOTAL_VF, 2, vfs.total)
    config.define(at + ext.SRIOV_NUM_VF, 2, 0, writable=0xFFFF)
    plain = vfs.offset if vfs.offset_without_ari is None else vfs.offset_without_ari
    config.define(at + ext.SRIOV_VF_OFFSET, 2, plain)
    config.define(at + ext.SRIOV_VF_STRIDE, 2, vfs.stride)
    config.define(at + ext.SRIOV_VF_DID, 2, config.get(2, 2))
    config.define(at + ext.SRIOV_SUP_PGSIZE, 4, 0x553)
    config.define(at + ext.SRIOV_SYS_PGSIZE, 4, 1, writable=0xFFFFFFFF)
    config.define(at + ext.SRIOV_BAR, 4, 4, writable=0xFFFFC000)
    config.define(at + ext.SRIOV_BAR + 4, 4, 0, writable=0xFFFFFFFF)
