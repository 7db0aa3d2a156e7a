"""Error status of PCI Express: registers that say which errors a function saw until somebody cleared them.

An error sets a bit, writing 1 clears it (RW1C), and the bits of the AER capability are sticky: no hot reset
clears them. They accompany a cause and are never one: no PCI Express error clears a single bit of another
register. Sources: PCI Express Base Specification 7.8.4 (AER),
7.5.3.5 (Device Status), 7.5.1.3.7 (Secondary Status), 6.2 (error signalling); Linux 7.3
``drivers/pci/pcie/aer.c``.
"""

from __future__ import annotations

from typing import Final, Literal

from schemas import config_header, extended_capabilities, pcie_capability
from schemas.inherited_state import InheritedState
from schemas.registers import REGISTERS, UESTA, Register

ErrorSeverity = Literal["fatal", "non-fatal", "correctable"]

_AER = REGISTERS["ECAP_AER"]
_READ_AND_CLEARED = "a kernel with native AER reads and then clears it when it scans the function"
_NOTHING = "nothing: evidence that accompanies a cause"

ROOT_ERRORS = InheritedState(
    name="Root Error Status",
    register=_AER[extended_capabilities.AER_ROOT_STATUS],
    mask=0x0000_007F,
    word="RootSta",
    on_bridge=True,
    rule=f"{_READ_AND_CLEARED} (root ports and event collectors), and at shutdown",
    dependents=_NOTHING,
    kernel="Linux 7.3 drivers/pci/pcie/aer.c pci_aer_raw_clear_status(), aer_enable_rootport()",
    specification="PCI Express 7.8.4.10, Root Error Status",
)
CORRECTABLE_ERRORS = InheritedState(
    name="Correctable Error Status",
    register=_AER[extended_capabilities.AER_COR_STATUS],
    mask=0x0000_F1C1,
    word="CESta",
    rule=_READ_AND_CLEARED,
    dependents=_NOTHING,
    kernel="Linux 7.3 drivers/pci/pcie/aer.c pci_aer_raw_clear_status()",
    specification="PCI Express 7.8.4.5, Correctable Error Status",
)
UNCORRECTABLE_ERRORS = InheritedState(
    name="Uncorrectable Error Status",
    register=UESTA,
    mask=0xFFFF_F030,
    word="UESta",
    rule=_READ_AND_CLEARED,
    dependents=_NOTHING,
    kernel="Linux 7.3 drivers/pci/pcie/aer.c pci_aer_raw_clear_status()",
    specification="PCI Express 7.8.4.2, Uncorrectable Error Status",
)
DEVICE_ERRORS = InheritedState(
    name="Device Status",
    register=REGISTERS["CAP_EXP"][pcie_capability.DEVSTA],
    mask=0x000F,
    word="DevSta",
    rule="no kernel reads it at scan: dumps show it",
    dependents=_NOTHING,
    kernel="Linux 7.3 drivers/pci/pcie/aer.c aer_enable_rootport()",
    specification="PCI Express 7.5.3.5, Device Status",
)
SECONDARY_ERRORS = InheritedState(
    name="Secondary Status",
    register=REGISTERS["HEADER1"][config_header.SEC_STATUS],
    mask=0xF900,
    word="SecSta",
    on_bridge=True,
    rule="a bridge visit of the scan clears it and does not read it: dumps show it",
    dependents=_NOTHING,
    kernel="Linux 7.3 drivers/pci/probe.c pci_scan_bridge_extend()",
    specification="PCI Express 7.5.1.3.7, Secondary Status",
)

#: What a kernel with native AER reads at its scan, in its order.
READ_AT_SCAN: Final = (ROOT_ERRORS, CORRECTABLE_ERRORS, UNCORRECTABLE_ERRORS)
#: What only a dump shows.
IN_DUMPS: Final = (DEVICE_ERRORS, SECONDARY_ERRORS)
ERROR_STATUS_REGISTERS: Final = (*READ_AT_SCAN, *IN_DUMPS)

#: The register that decides whether an uncorrectable error is fatal (1) or not.
SEVERITY: Final[Register] = _AER[extended_capabilities.AER_UNCOR_SEVERITY]
#: Its default (PCI Express 7.8.4.4): DLP, SDES, FCP, RxOF, MalfTLP, UncorrIntErr.
DEFAULT_SEVERITY: Final = 0x0046_2030
#: Status register -> the register whose bits keep the same error from being signalled.
MASKS: Final[dict[Register, Register]] = {
    UESTA: _AER[extended_capabilities.AER_UNCOR_MASK],
    CORRECTABLE_ERRORS.register: _AER[extended_capabilities.AER_COR_MASK],
}
#: lspci's words of bits that have their severity in their name, by register.
SEVERITY_BY_WORD: Final[dict[Register, dict[str, ErrorSeverity]]] = {
    ROOT_ERRORS.register: {
        "CERcvd": "correctable", "MultCERcvd": "correctable", "FirstFatal": "fatal",
        "NonFatalMsg": "non-fatal", "FatalMsg": "fatal",
    },
    DEVICE_ERRORS.register: {
        "CorrErr": "correctable", "NonFatalErr": "non-fatal", "FatalErr": "fatal", "UnsupReq": "non-fatal",
    },
}  # fmt: skip

#: Errors in plain English, by status register and lspci's word.
NAMES: Final[dict[Register, dict[str, str]]] = {
    UESTA: {
        "DLP": "Data Link Protocol Error",
        "SDES": "Surprise Down Error",
        "TLP": "Poisoned TLP Received",
        "FCP": "Flow Control Protocol Error",
        "CmpltTO": "Completion Timeout",
        "CmpltAbrt": "Completer Abort",
        "UnxCmplt": "Unexpected Completion",
        "RxOF": "Receiver Overflow",
        "MalfTLP": "Malformed TLP",
        "ECRC": "ECRC Error",
        "UnsupReq": "Unsupported Request",
        "ACSViol": "ACS Violation",
        "UncorrIntErr": "Uncorrectable Internal Error",
        "BlockedTLP": "Multicast Blocked TLP",
        "AtomicOpBlocked": "AtomicOp Egress Blocked",
        "TLPBlockedErr": "TLP Prefix Blocked",
        "PoisonTLPBlocked": "Poisoned TLP Egress Blocked",
    },
    CORRECTABLE_ERRORS.register: {
        "RxErr": "Receiver Error",
        "BadTLP": "Bad TLP",
        "BadDLLP": "Bad DLLP",
        "Rollover": "Replay Number Rollover",
        "Timeout": "Replay Timer Timeout",
        "AdvNonFatalErr": "Advisory Non-Fatal Error",
        "CorrIntErr": "Corrected Internal Error",
        "HeaderOF": "Header Log Overflow",
    },
    ROOT_ERRORS.register: {
        "CERcvd": "ERR_COR Received",
        "MultCERcvd": "Multiple ERR_COR Received",
        "UERcvd": "ERR_FATAL or ERR_NONFATAL Received",
        "MultUERcvd": "Multiple ERR_FATAL or ERR_NONFATAL Received",
        "FirstFatal": "First Uncorrectable Error Received",
        "NonFatalMsg": "Non-Fatal Error Message Received",
        "FatalMsg": "Fatal Error Message Received",
    },
    DEVICE_ERRORS.register: {
        "CorrErr": "Correctable Error Detected",
        "NonFatalErr": "Non-Fatal Error Detected",
        "FatalErr": "Fatal Error Detected",
        "UnsupReq": "Unsupported Request Detected",
    },
    SECONDARY_ERRORS.register: {
        "ParErr": "Master Data Parity Error",
        ">TAbort": "Signaled Target Abort",
        "<TAbort": "Received Target Abort",
        "<MAbort": "Received Master Abort",
        "<SERR": "Received System Error",
        "<PERR": "Detected Parity Error",
    },
}
