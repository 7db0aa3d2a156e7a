"""Extended capabilities that matter to ARI and its loss: ARI, SR-IOV, ACS, and the heads of AER and DPC.

Sources: PCI Express Base Specification 7.6.3 (header), 7.8.8 (ARI), 9.3.3 (SR-IOV), 7.7.11 (ACS),
7.8.4 (AER), 7.9.14 (DPC); Linux ``include/uapi/linux/pci_regs.h`` has the same numbers. Offsets count from
the capability and are written as ``setpci ECAP_ARI+04.w``; register and bit names are the words of
``lspci -vv``.
"""

from __future__ import annotations

from schemas.bits import choice, flag, number, register

AER_ID = 0x0001
ACS_ID = 0x000D
ARI_ID = 0x000E
SRIOV_ID = 0x0010
DPC_ID = 0x001D

ARI_CAP = 0x04
ARI_CTRL = 0x06
ARI_CAP_NFN_SHIFT = 8

SRIOV_CAP = 0x04
SRIOV_CTRL = 0x08
SRIOV_STATUS = 0x0A
SRIOV_INITIAL_VF = 0x0C
SRIOV_TOTAL_VF = 0x0E
SRIOV_NUM_VF = 0x10
SRIOV_FUNC_LINK = 0x12
SRIOV_VF_OFFSET = 0x14
SRIOV_VF_STRIDE = 0x16
SRIOV_VF_DID = 0x1A
SRIOV_SUP_PGSIZE = 0x1C
SRIOV_SYS_PGSIZE = 0x20
SRIOV_BAR = 0x24
SRIOV_VFM = 0x3C
SRIOV_CTRL_VFE = 1 << 0
SRIOV_CTRL_MSE = 1 << 3
#: ARI Capable Hierarchy: RW in the lowest-numbered physical function only.
SRIOV_CTRL_ARI = 1 << 4

ACS_CAP = 0x04
ACS_CTRL = 0x06
ACS_EGRESS = 0x08

AER_UNCOR_STATUS = 0x04
AER_UNCOR_MASK = 0x08
AER_UNCOR_SEVERITY = 0x0C
AER_COR_STATUS = 0x10
AER_COR_MASK = 0x14
AER_CAP = 0x18
AER_HEADER_LOG = 0x1C
AER_ROOT_COMMAND = 0x2C
AER_ROOT_STATUS = 0x30
AER_COR_SOURCE = 0x34
AER_UNCOR_SOURCE = 0x36
AER_UNC_SURPRISE_DOWN = 1 << 5

DPC_CAP = 0x04
DPC_CTRL = 0x06
DPC_STATUS = 0x08
DPC_SOURCE = 0x0A
DPC_STATUS_TRIGGER = 1 << 0

ExtendedHeader = register(4, number("ID", 15, 0), number("Ver", 19, 16), number("Next", 31, 20))

AriCap = register(2, flag("MFVC", 0), flag("ACS", 1), number("Next Function", 15, 8))
AriCtl = register(2, flag("MFVC", 0), flag("ACS", 1), number("Function Group", 6, 4))

IovCap = register(
    4,
    flag("Migration", 0), flag("ARIHierarchyPreserved", 1), flag("10BitTagReq", 2),
    number("IntMsgNum", 31, 21),
)  # fmt: skip
IovCtl = register(
    2,
    flag("Enable", 0), flag("Migration", 1), flag("Interrupt", 2), flag("MSE", 3), flag("ARIHierarchy", 4),
    flag("10BitTagReq", 5),
)  # fmt: skip
IovSta = register(2, flag("Migration", 0))

_ACS = (
    flag("SrcValid", 0), flag("TransBlk", 1), flag("ReqRedir", 2), flag("CmpltRedir", 3),
    flag("UpstreamFwd", 4), flag("EgressCtrl", 5), flag("DirectTrans", 6), flag("Enhanced", 7),
)  # fmt: skip
AcsCap = register(2, *_ACS, number("EgressVectorSize", 15, 8))
# Bits 7 up of the control register belong to the enhanced capability: one enable and two 2-bit fields.
AcsCtl = register(
    2, *_ACS[:7], flag("IOReqBlk", 7), number("DSPMemTargetCtl", 9, 8), number("USPMemTargetCtl", 11, 10),
    flag("UnclaimedReqRedir", 12),
)  # fmt: skip

_UNCORRECTABLE = (
    flag("DLP", 4), flag("SDES", 5), flag("TLP", 12), flag("FCP", 13), flag("CmpltTO", 14),
    flag("CmpltAbrt", 15), flag("UnxCmplt", 16), flag("RxOF", 17), flag("MalfTLP", 18), flag("ECRC", 19),
    flag("UnsupReq", 20), flag("ACSViol", 21), flag("UncorrIntErr", 22), flag("BlockedTLP", 23),
    flag("AtomicOpBlocked", 24), flag("TLPBlockedErr", 25), flag("PoisonTLPBlocked", 26),
)  # fmt: skip
Uncorrectable = register(4, *_UNCORRECTABLE)
Correctable = register(
    4,
    flag("RxErr", 0), flag("BadTLP", 6), flag("BadDLLP", 7), flag("Rollover", 8), flag("Timeout", 12),
    flag("AdvNonFatalErr", 13), flag("CorrIntErr", 14), flag("HeaderOF", 15),
)  # fmt: skip
AerCap = register(
    4,
    number("First Error Pointer", 4, 0), flag("ECRCGenCap", 5), flag("ECRCGenEn", 6), flag("ECRCChkCap", 7),
    flag("ECRCChkEn", 8), flag("MultHdrRecCap", 9), flag("MultHdrRecEn", 10), flag("TLPPfxPres", 11),
    flag("HdrLogCap", 12),
)  # fmt: skip
RootCmd = register(4, flag("CERptEn", 0), flag("NFERptEn", 1), flag("FERptEn", 2))
RootSta = register(
    4,
    flag("CERcvd", 0), flag("MultCERcvd", 1), flag("UERcvd", 2), flag("MultUERcvd", 3), flag("FirstFatal", 4),
    flag("NonFatalMsg", 5), flag("FatalMsg", 6), number("IntMsgNum", 31, 27),
)  # fmt: skip

DpcCap = register(
    2,
    number("IntMsgNum", 4, 0), flag("RPExt", 5), flag("PoisonedTLP", 6), flag("SwTrigger", 7),
    number("RP PIO Log", 11, 8), flag("DL_ActiveErr", 12),
)  # fmt: skip
DpcCtl = register(
    2,
    choice("Trigger", 1, 0, {0: "Disabled", 1: "FATAL", 2: "NONFATAL or FATAL"}), flag("Cmpl", 2),
    flag("INT", 3), flag("ErrCor", 4), flag("PoisonedTLP", 5), flag("SwTrigger", 6), flag("DL_ActiveErr", 7),
)  # fmt: skip
DpcSta = register(
    2,
    flag("Trigger", 0),
    choice("Reason", 2, 1, {0: "unmasked uncorrectable", 1: "ERR_NONFATAL", 2: "ERR_FATAL", 3: "extended"}),
    flag("INT", 3), flag("RPBusy", 4),
    choice("TriggerExt", 6, 5, {0: "RP PIO error", 1: "software trigger"}), number("RP PIO ErrPtr", 12, 8),
)  # fmt: skip

_HEADER = (0x00, "ExtCap", 4, ExtendedHeader)

#: (offset, name, bytes, bit fields or None), by the name that setpci has for the capability
REGISTERS = {
    "ECAP_ARI": (
        _HEADER,
        (ARI_CAP, "ARICap", 2, AriCap),
        (ARI_CTRL, "ARICtl", 2, AriCtl),
    ),
    "ECAP_SRIOV": (
        _HEADER,
        (SRIOV_CAP, "IOVCap", 4, IovCap),
        (SRIOV_CTRL, "IOVCtl", 2, IovCtl),
        (SRIOV_STATUS, "IOVSta", 2, IovSta),
        (SRIOV_INITIAL_VF, "Initial VFs", 2, None),
        (SRIOV_TOTAL_VF, "Total VFs", 2, None),
        (SRIOV_NUM_VF, "Number of VFs", 2, None),
        (SRIOV_FUNC_LINK, "Function Dependency Link", 1, None),
        (SRIOV_VF_OFFSET, "VF offset", 2, None),
        (SRIOV_VF_STRIDE, "stride", 2, None),
        (SRIOV_VF_DID, "Device ID", 2, None),
        (SRIOV_SUP_PGSIZE, "Supported Page Size", 4, None),
        (SRIOV_SYS_PGSIZE, "System Page Size", 4, None),
        *((SRIOV_BAR + 4 * bar, f"VF Region {bar}", 4, None) for bar in range(6)),
        (SRIOV_VFM, "VF Migration", 4, None),
    ),
    "ECAP_ACS": (
        _HEADER,
        (ACS_CAP, "ACSCap", 2, AcsCap),
        (ACS_CTRL, "ACSCtl", 2, AcsCtl),
        (ACS_EGRESS, "ACSEgress", 4, None),
    ),
    "ECAP_AER": (
        _HEADER,
        (AER_UNCOR_STATUS, "UESta", 4, Uncorrectable),
        (AER_UNCOR_MASK, "UEMsk", 4, Uncorrectable),
        (AER_UNCOR_SEVERITY, "UESvrt", 4, Uncorrectable),
        (AER_COR_STATUS, "CESta", 4, Correctable),
        (AER_COR_MASK, "CEMsk", 4, Correctable),
        (AER_CAP, "AERCap", 4, AerCap),
        *((AER_HEADER_LOG + 4 * dword, f"HeaderLog {dword}", 4, None) for dword in range(4)),
        (AER_ROOT_COMMAND, "RootCmd", 4, RootCmd),
        (AER_ROOT_STATUS, "RootSta", 4, RootSta),
        (AER_COR_SOURCE, "ErrorSrc ERR_COR", 2, None),
        (AER_UNCOR_SOURCE, "ErrorSrc ERR_FATAL/NONFATAL", 2, None),
    ),
    "ECAP_DPC": (
        _HEADER,
        (DPC_CAP, "DpcCap", 2, DpcCap),
        (DPC_CTRL, "DpcCtl", 2, DpcCtl),
        (DPC_STATUS, "DpcSta", 2, DpcSta),
        (DPC_SOURCE, "Source", 2, None),
    ),
}
