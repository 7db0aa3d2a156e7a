"""State that must survive a Live Update kexec: registers that the incoming kernel inherits as they are.

One value per register. What the analyzer works out for each (its state over time, the cause of a loss, the
window, the evidence, the lane of a drawing) takes such a value; to watch another register is to declare it
here. Rules cite the Live Update series and Linux 7.3, bits the PCI Express Base Specification.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas import config_header, extended_capabilities, pcie_capability
from schemas.registers import DEVCTL2, REGISTERS, Register


@dataclass(frozen=True, kw_only=True, eq=False)
class InheritedState:
    """Some bits of one register that a Live Update must not change.

    Attributes:
        name: as engineers call it (``ARI Forwarding``).
        register: where it is: the capability (``CAP_EXP``) or header, the offset, the size in bytes, lspci's
            line (``DevCtl2``), setpci's name (``CAP_EXP+28.w``). Where writing 1 clears the bits (RW1C), as
            in error status registers, the register does not hold what was written: only reads show it.
        mask: its bits in the register; bits that change by themselves are not among them.
        word: lspci's word for it (``ARIFwd``).
        on_bridge: it belongs to the bridge above what depends on it; else to a function itself.
        reset_value: its field (shifted down) after a conventional reset.
        rule: what the kernels do with it at a Live Update.
        dependents: what depends on it, and is lost with it.
        kernel: the kernel function that has the rule.
        specification: the section that defines it.
    """

    name: str
    register: Register
    mask: int
    word: str
    rule: str
    dependents: str
    kernel: str
    specification: str
    on_bridge: bool = False
    reset_value: int = 0

    def __post_init__(self) -> None:
        """Refuse bits that the register does not have."""
        if not 0 < self.mask < 1 << 8 * self.register.size:
            raise ValueError(f"{self.name}: mask {self.mask:#x} does not fit {self.register.setpci}")

    @property
    def is_flag(self) -> bool:
        """A single bit: on or off."""
        return self.mask.bit_count() == 1

    @property
    def is_error_status(self) -> bool:
        """Only reads show it, because writes clear it."""
        return self.register.cleared_by_ones

    @property
    def bits(self) -> str:
        """Where it is in the register: ``bit 5``, ``bits 7:5``."""
        high, low = self.mask.bit_length() - 1, (self.mask & -self.mask).bit_length() - 1
        return f"bit {low}" if high == low else f"bits {high}:{low}"

    def text(self, field: int | None) -> str:
        """A value of its field as lspci prints flags: ``ARIFwd+``, ``ARIFwd-``, ``ARIFwd?``."""
        if field is None:
            return f"{self.word}?"
        return f"{self.word}{'+' if field else '-'}" if self.is_flag else f"{self.word} {field:#x}"

    def plain(self, field: int) -> str:
        """A value of its field in a sentence: ``on``, ``off``, or the number."""
        return ("on" if field else "off") if self.is_flag else f"{field:#x}"


ARI_FORWARDING = InheritedState(
    name="ARI Forwarding",
    register=DEVCTL2,
    mask=pcie_capability.DEVCTL2_ARI,
    word="ARIFwd",
    on_bridge=True,
    rule="an incoming preserved bridge keeps what its first read returns; a stock kernel writes the bit",
    dependents="configuration requests to functions 8 and up of the bus below",
    kernel="Linux 7.3 drivers/pci/pci.c pci_configure_ari()",
    specification="PCI Express 7.5.3.16, Device Control 2; 6.13, ARI",
)
ACS_CONTROL = InheritedState(
    name="ACS Control",
    register=REGISTERS["ECAP_ACS"][extended_capabilities.ACS_CTRL],
    mask=0x7F,
    word="ACSCtl",
    rule=(
        "v9 keeps what its first read returns, v4 to v8 write that value back; a stock kernel sets its own "
        "bits again"
    ),
    dependents="isolation between the functions of one IOMMU group and the next",
    kernel="Linux 7.3 drivers/pci/pci.c pci_enable_acs()",
    specification="PCI Express 7.7.11.3, ACS Control",
)
BUS_MASTER = InheritedState(
    name="Bus Master",
    register=REGISTERS["HEADER1"][config_header.COMMAND],
    mask=config_header.COMMAND_MASTER,
    word="BusMaster",
    on_bridge=True,
    rule="the outgoing kernel leaves it on for preserved bridges (patch 'Do not clear Bus Master')",
    dependents="DMA of everything below the bridge",
    kernel="Linux 7.3 drivers/pci/pci-driver.c pci_device_shutdown()",
    specification="PCI Express 7.5.1.1.3, Command",
)
ARI_CAPABLE_HIERARCHY = InheritedState(
    name="ARI Capable Hierarchy",
    register=REGISTERS["ECAP_SRIOV"][extended_capabilities.SRIOV_CTRL],
    mask=extended_capabilities.SRIOV_CTRL_ARI,
    word="ARIHierarchy",
    rule="the incoming kernel writes it from ARI Forwarding of the bus",
    dependents="First VF Offset and VF Stride, so the routing IDs of virtual functions",
    kernel="Linux 7.3 drivers/pci/iov.c sriov_init()",
    specification="PCI Express 9.3.3.3.5, ARI Capable Hierarchy",
)

#: Every state that is watched.
INHERITED = (ARI_FORWARDING, ACS_CONTROL, BUS_MASTER, ARI_CAPABLE_HIERARCHY)
