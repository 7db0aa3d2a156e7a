"""What else a kexec may cost: registers whose last value before it is compared with the first read after it.

One value per state and header type. They are watched, not judged for ARI: no verdict on a bridge follows from
them. To watch another register is to declare it here. Rules cite Linux 7.3 and the Live Update series, bits
the PCI Express Base Specification.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from schemas import address_translation, config_header, extended_capabilities, pcie_capability
from schemas.inherited_state import ACS_CONTROL, InheritedState
from schemas.registers import BASE_IDS, DEVCTL, DEVCTL2, LNKSTA, REGISTERS, SRIOV_CTRL, Register

StateSeverity = Literal["alarm", "warning", "note"]
#: Where a value comes from: what every scan reads, what a scan reads if firmware or a driver had it on, what
#: only a dump (lspci, sysfs) shows.
Source = Literal["scan", "driver", "dump"]

#: Base -> whether its list is the extended one, and the capability's ID; of every watched register.
WATCHED_BASES: Final = BASE_IDS | address_translation.IDS


@dataclass(frozen=True, kw_only=True, eq=False)
class WatchedState(InheritedState):
    """Some bits of one register that are compared across a kexec.

    Attributes:
        code: of its finding.
        short: in one line about several functions (``ACS``).
        severity: of a loss on a preserved function.
        source: what shows it.
        at_shutdown: the outgoing kernel clears it on its way down (``pci_device_shutdown``, drivers): its
            last value is known only where the shutdown is in the capture.
        kept_by_kernel: the incoming kernel must not change it; else a write of its own is its rule.
        is_status: read-only, set by hardware.
        is_number: its bits are one number, which has its reset value as a whole or not at all.
        also_after_reset: another value, in place, that hardware has after a conventional reset.
    """

    code: str
    short: str
    severity: StateSeverity
    source: Source = "scan"
    at_shutdown: bool = False
    kept_by_kernel: bool = False
    is_status: bool = False
    is_number: bool = False
    also_after_reset: int | None = None

    @property
    def reset_bits(self) -> int:
        """The bits after a conventional reset, in place."""
        return self.reset_value * (self.mask & -self.mask)

    @property
    def resets(self) -> tuple[int, int]:
        """What the bits may be after a conventional reset, in place; twice the same where it is one value."""
        also = self.also_after_reset
        return self.reset_bits, self.reset_bits if also is None else also

    def is_reset(self, value: int, known: int) -> bool:
        """Whether the known bits of a value, in place, are those after a conventional reset."""
        return any(not (value ^ reset) & known for reset in self.resets)

    def field_of(self, bits: int) -> str:
        """Words of lspci for the fields that have those of its bits, lowest first."""
        return _fields(self, bits)


@lru_cache(maxsize=1024)
def _fields(state: WatchedState, bits: int) -> str:
    layout = state.register.layout
    if layout is None or state.is_flag:
        return state.word
    shown, none = (layout.parse(value.to_bytes(state.register.size, "little")) for value in (bits, 0))
    names = [name for name in none if not name.startswith("_") and shown[name] != none[name]]
    return " ".join(reversed(names)) or state.word


def _header(*offsets: tuple[str, int]) -> tuple[Register, ...]:
    return tuple(REGISTERS[base][offset] for base, offset in offsets)


_PROBE = "Linux 7.3 drivers/pci/probe.c"

ACS = WatchedState(
    code="STATE003", short="ACS", severity="alarm", name=ACS_CONTROL.name, register=ACS_CONTROL.register,
    mask=ACS_CONTROL.mask, word=ACS_CONTROL.word, rule=ACS_CONTROL.rule, dependents=ACS_CONTROL.dependents,
    kernel=ACS_CONTROL.kernel, specification=ACS_CONTROL.specification, kept_by_kernel=True,
)  # fmt: skip
MAX_PAYLOAD = WatchedState(
    code="STATE005", short="MPS", severity="warning", name="Max Payload Size", register=DEVCTL, mask=0x00E0,
    word="MaxPayload", rule="set to that of the port above where the two differ; no Live Update guard",
    dependents="DMA: a packet larger than the receiver's setting is a Malformed TLP",
    kernel=f"{_PROBE} pci_configure_mps()", specification="PCI Express 7.5.3.4, Device Control",
    kept_by_kernel=True, is_number=True,
)  # fmt: skip
VIRTUAL_FUNCTIONS = WatchedState(
    code="STATE006", short="SR-IOV", severity="warning", name="SR-IOV Control", register=SRIOV_CTRL,
    mask=extended_capabilities.SRIOV_CTRL_VFE
    | extended_capabilities.SRIOV_CTRL_MSE
    | extended_capabilities.SRIOV_CTRL_ARI,
    word="IOVCtl", rule="the incoming kernel clears VF Enable if it is set, and waits one second",
    dependents="every virtual function of the device",
    kernel="Linux 7.3 drivers/pci/iov.c sriov_init()",
    specification="PCI Express 9.3.3.3, SR-IOV Control",
)  # fmt: skip
NUM_VFS = WatchedState(
    code="STATE006", short="NumVFs", severity="warning", name="NumVFs",
    register=REGISTERS["ECAP_SRIOV"][extended_capabilities.SRIOV_NUM_VF], mask=0xFFFF, word="NumVFs",
    rule="no kernel reads it at scan; the scan writes 0", dependents="every virtual function of the device",
    kernel="Linux 7.3 drivers/pci/iov.c sriov_init(), compute_max_vf_buses()",
    specification="PCI Express 9.3.3.7, NumVFs", source="dump",
)  # fmt: skip
ATS = WatchedState(
    code="STATE007", short="ATS", severity="warning", name="ATS Control",
    register=address_translation.ATS_CONTROL, mask=address_translation.ATS_BITS, word="ATSCtl",
    rule="written with Enable 0 when the IOMMU prepares the device; no kernel reads it at scan",
    dependents="the device's cached translations; DMA by translated addresses",
    kernel="Linux 7.3 drivers/pci/ats.c pci_prepare_ats()",
    specification="PCI Express 10.5.1.3, ATS Control", source="dump",
)  # fmt: skip
_MSI_RULE = "cleared at scan if it is set; interrupts are not preserved"
MSI = WatchedState(
    code="STATE008", short="MSI", severity="note", name="MSI Enable",
    register=address_translation.MSI_CONTROL, mask=address_translation.MSI_ENABLE, word="MSI Enable",
    rule=_MSI_RULE, dependents="interrupts of the device, which its driver sets up again",
    kernel="Linux 7.3 drivers/pci/msi/pcidev_msi.c pci_msi_init()",
    specification="PCI Express 7.7.1.2, MSI Message Control", at_shutdown=True,
)  # fmt: skip
MSIX = WatchedState(
    code="STATE008", short="MSI-X", severity="note", name="MSI-X Enable",
    register=address_translation.MSIX_CONTROL, mask=address_translation.MSIX_ENABLE, word="MSI-X Enable",
    rule=_MSI_RULE, dependents="interrupts of the device, which its driver sets up again",
    kernel="Linux 7.3 drivers/pci/msi/pcidev_msi.c pci_msix_init()",
    specification="PCI Express 7.7.2.2, MSI-X Message Control", at_shutdown=True,
)  # fmt: skip
_ADDRESS_RULE = "read, sized with ones and written back; a preserved device keeps its addresses"
_ADDRESS_USERS = "memory and I/O accesses to the device, DMA between devices"
#: Address bits; below them type bits that are read-only.
_BAR_BITS = 0xFFFFFFF0
BARS = tuple(
    WatchedState(
        short="BAR", severity="alarm", name=f"BAR {(register.offset - config_header.BASE_ADDRESS_0) // 4}",
        register=register, mask=_BAR_BITS, word=register.name,
        specification="PCI Express 7.5.1.2.1, Base Address Registers", code="STATE009", rule=_ADDRESS_RULE,
        dependents=_ADDRESS_USERS, kernel=f"{_PROBE} __pci_size_bars(), __pci_read_base()", is_number=True,
    )
    for register in _header(
        *(("HEADER0", config_header.BASE_ADDRESS_0 + 4 * bar) for bar in range(6)),
        *(("HEADER1", config_header.BASE_ADDRESS_0 + 4 * bar) for bar in range(2)),
    )
)  # fmt: skip
_WINDOW_BITS = {0x1C: 0xF0, 0x1D: 0xF0, 0x20: 0xFFF0, 0x22: 0xFFF0, 0x24: 0xFFF0, 0x26: 0xFFF0}
#: Bases of windows. No section gives their value after a reset: 0, or above a limit of 0, which closes the
#: window (QEMU 7.2 hw/pci/pci_bridge.c pci_bridge_disable_base_limit(), of its root ports).
_WINDOW_BASES = frozenset({0x1C, 0x20, 0x24})
WINDOWS = tuple(
    WatchedState(
        short="bridge window", severity="warning", name=f"bridge window ({register.name})", register=register,
        mask=_WINDOW_BITS.get(register.offset, (1 << 8 * register.size) - 1), word=register.name,
        specification="PCI Express 7.5.1.3, Type 1 Configuration Space Header", on_bridge=True,
        code="STATE009", rule=_ADDRESS_RULE, dependents=_ADDRESS_USERS,
        kernel=f"{_PROBE} pci_read_bridge_windows()", is_number=True,
        also_after_reset=_WINDOW_BITS[register.offset] if register.offset in _WINDOW_BASES else None,
    )
    for register in _header(
        *(("HEADER1", offset) for offset in (0x1C, 0x1D, 0x20, 0x22, 0x24, 0x26, 0x28, 0x2C, 0x30, 0x32))
    )
)  # fmt: skip
DEVICE_CONTROL_2 = WatchedState(
    code="STATE010", short="DEVCTL2", severity="warning", name="Device Control 2 without ARI Forwarding",
    register=DEVCTL2, mask=0xF7FF & ~pcie_capability.DEVCTL2_ARI, word="DevCtl2",
    rule="left alone at scan but LTR Mechanism Enable",
    dependents="AtomicOps, ID-based ordering, completion timeouts, LTR, 10-bit tags, OBFF, TLP prefixes",
    kernel="Linux 7.3 drivers/pci/pcie/aspm.c pci_configure_ltr()",
    specification="PCI Express 7.5.3.16, Device Control 2",
)  # fmt: skip
_COMMAND = REGISTERS["HEADER0"][config_header.COMMAND], REGISTERS["HEADER1"][config_header.COMMAND]
BUS_MASTERS = tuple(
    WatchedState(
        code="STATE011", short="Bus Master", severity="alarm", name="Bus Master", register=register,
        mask=config_header.COMMAND_MASTER, word="BusMaster",
        rule="cleared at shutdown, but of preserved bridges (patch 'Do not clear Bus Master')",
        dependents="DMA of the device, or of everything below the bridge",
        kernel="Linux 7.3 drivers/pci/pci-driver.c pci_device_shutdown()",
        specification="PCI Express 7.5.1.1.3, Command", at_shutdown=True, kept_by_kernel=True,
    )
    for register in _COMMAND
)  # fmt: skip
DECODING = tuple(
    WatchedState(
        code="STATE011", short="Memory or I/O Enable", severity="warning", name="Memory and I/O Space Enable",
        register=register, mask=0x0003, word="Mem I/O",
        rule="off while the scan sizes BARs, else left alone; VFIO's freeze clears it",
        dependents="accesses to the device, or to everything below the bridge",
        kernel=f"{_PROBE} __pci_size_bars()", specification="PCI Express 7.5.1.1.3, Command",
        at_shutdown=True,
    )
    for register in _COMMAND
)  # fmt: skip
_IOMMU_RULE = "nothing at init; the IOMMU driver enables it"
PASID = WatchedState(
    code="STATE012", short="PASID", severity="warning", name="PASID Control",
    register=address_translation.PASID_CONTROL, mask=address_translation.PASID_BITS, word="PASIDCtl",
    rule=_IOMMU_RULE, dependents="DMA in process address spaces",
    kernel="Linux 7.3 drivers/pci/ats.c pci_pasid_init(), pci_enable_pasid()",
    specification="PCI Express 7.8.9.3, PASID Control", source="dump",
)  # fmt: skip
PRI = WatchedState(
    code="STATE012", short="PRI", severity="warning", name="Page Request Control",
    register=address_translation.PRI_CONTROL, mask=address_translation.PRI_ENABLE, word="PRI Enable",
    rule=_IOMMU_RULE, dependents="page requests of the device",
    kernel="Linux 7.3 drivers/pci/ats.c pci_pri_init(), pci_enable_pri()",
    specification="PCI Express 10.5.2.2, Page Request Control", source="dump",
)  # fmt: skip
DPC = WatchedState(
    code="STATE013", short="DPC", severity="warning", name="DPC Control",
    register=REGISTERS["ECAP_DPC"][extended_capabilities.DPC_CTRL], mask=0x00BF, word="DpcCtl",
    rule="the port driver disables its trigger and interrupt at shutdown and enables them when it binds",
    dependents="containment of errors below the port", at_shutdown=True, source="driver", on_bridge=True,
    kernel="Linux 7.3 drivers/pci/pcie/dpc.c dpc_disable(), dpc_enable()",
    specification="PCI Express 7.9.14.3, DPC Control",
)  # fmt: skip
LINK_SPEED = WatchedState(
    code="STATE014", short="link speed", severity="note", name="Current Link Speed", register=LNKSTA,
    mask=0x000F, word="Speed", rule="the link is left alone; a reset trains it again",
    dependents="bandwidth", kernel=f"{_PROBE} pcie_update_link_speed()",
    specification="PCI Express 7.5.3.8, Link Status", is_status=True,
)  # fmt: skip
LINK_WIDTH = replace(
    LINK_SPEED, short="link width", severity="warning", name="Negotiated Link Width", mask=0x03F0,
    word="Width",
)  # fmt: skip
REQUESTS = WatchedState(
    code="STATE015", short="DEVCTL", severity="note",
    name="Max Read Request Size, Extended Tag, Relaxed Ordering, No Snoop", register=DEVCTL, mask=0x7910,
    word="DevCtl", reset_value=0x281, rule="Extended Tag is set, or cleared, on the live device at scan",
    dependents="throughput, and completions of requests under way with extended tags",
    kernel=f"{_PROBE} pci_configure_extended_tags(), pci_configure_relaxed_ordering()",
    specification="PCI Express 7.5.3.4, Device Control",
)  # fmt: skip

#: Every state of the watch, in the order of reports. ARI Forwarding, bus numbers and error status, which
#: are compared in the same way, have verdicts of their own.
WATCHED: Final = (
    ACS, *BUS_MASTERS, *BARS, *WINDOWS, *DECODING, MAX_PAYLOAD, VIRTUAL_FUNCTIONS, NUM_VFS, ATS, PASID,
    PRI, DPC, DEVICE_CONTROL_2, REQUESTS, LINK_WIDTH, LINK_SPEED, MSI, MSIX,
)  # fmt: skip
