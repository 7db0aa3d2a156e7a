"""The PCI Express capability (ID 0x10).

Sources: PCI Express Base Specification 7.5.3 (6.0); the same offsets are in Linux
``include/uapi/linux/pci_regs.h`` (``PCI_EXP_*``). Offsets count from the capability and are written as
``setpci CAP_EXP+28.w``; register and bit names are the words of ``lspci -vv`` (``CTO``, the Completion
Timeout, is the one word that is shorter than lspci's).
"""

from __future__ import annotations

from schemas.bits import choice, flag, number, register
from schemas.config_header import CapabilityHeader

CAP_ID = 0x10

FLAGS = 0x02
DEVCAP = 0x04
DEVCTL = 0x08
DEVSTA = 0x0A
LNKCAP = 0x0C
LNKCTL = 0x10
LNKSTA = 0x12
SLTCAP = 0x14
SLTCTL = 0x18
SLTSTA = 0x1A
RTCTL = 0x1C
RTCAP = 0x1E
RTSTA = 0x20
DEVCAP2 = 0x24
DEVCTL2 = 0x28
DEVSTA2 = 0x2A
LNKCAP2 = 0x2C
LNKCTL2 = 0x30
LNKSTA2 = 0x32
SLTCAP2 = 0x34
SLTCTL2 = 0x38
SLTSTA2 = 0x3A

#: Bytes of a version 1 capability of a root port, and of version 2.
SIZE_V1, SIZE_V2 = 0x24, 0x3C

FLAGS_VERSION = 0x000F
FLAGS_TYPE, FLAGS_TYPE_SHIFT = 0x00F0, 4
#: Version and type: what every reader of the register asks for.
FLAGS_LOW = FLAGS_VERSION | FLAGS_TYPE
FLAGS_SLOT = 1 << 8
#: Error reporting enables, bits 3:0: the kernel (native AER) sets them, a port reset clears them.
DEVCTL_ERROR_REPORTING = 0x000F
LNKCAP_DLLLARC = 1 << 20
LNKCTL_LINK_DISABLE = 1 << 4
LNKCTL_RETRAIN = 1 << 5
LNKSTA_DLLLA = 1 << 13
SLTSTA_PRESENCE = 1 << 6
SLTSTA_DLL_CHANGED = 1 << 8
RTCTL_RRS_VISIBLE = 1 << 4
RTCAP_RRS_VISIBLE = 1 << 0
#: ARI Forwarding Supported: root ports and switch downstream ports.
DEVCAP2_ARI = 1 << 5
DEVCAP2_LTR = 1 << 11
#: ARI Forwarding Enable: clear after a conventional reset, hard-wired 0 where DEVCAP2_ARI is 0.
DEVCTL2_ARI = 1 << 5
DEVCTL2_LTR = 1 << 10

# Device/port types, FLAGS bits 7:4.
TYPE_ENDPOINT = 0
TYPE_LEGACY_ENDPOINT = 1
TYPE_ROOT_PORT = 4
TYPE_UPSTREAM = 5
TYPE_DOWNSTREAM = 6
TYPE_PCIE_TO_PCI = 7
TYPE_PCI_TO_PCIE = 8
TYPE_RC_ENDPOINT = 9
TYPE_RC_EVENT_COLLECTOR = 10

#: Bridges in reports; one without this capability is ``pci``.
PORT_TYPES = {
    TYPE_ROOT_PORT: "root-port",
    TYPE_UPSTREAM: "switch-upstream",
    TYPE_DOWNSTREAM: "switch-downstream",
    TYPE_PCIE_TO_PCI: "pcie-to-pci",
    TYPE_PCI_TO_PCIE: "pci-to-pcie",
}
#: Below these a bus holds one device number: the kernel's ``pcie_downstream_port`` (only_one_child, 7.3).
DOWNSTREAM_TYPES = frozenset({TYPE_ROOT_PORT, TYPE_DOWNSTREAM, TYPE_PCI_TO_PCIE})
#: PCI Express on both sides: below any other bridge the kernel reads no extended configuration space, unless
#: it does PCI-X mode 2 (``pci_bridge_child_ext_cfg_accessible``, 7.3).
EXTENDED_BELOW = frozenset({TYPE_ROOT_PORT, TYPE_UPSTREAM, TYPE_DOWNSTREAM})

#: Device/port types as lspci words them.
TYPE_WORDS = {
    TYPE_ENDPOINT: "Endpoint",
    TYPE_LEGACY_ENDPOINT: "Legacy Endpoint",
    TYPE_ROOT_PORT: "Root Port",
    TYPE_UPSTREAM: "Upstream Port",
    TYPE_DOWNSTREAM: "Downstream Port",
    TYPE_PCIE_TO_PCI: "PCI-Express to PCI/PCI-X Bridge",
    TYPE_PCI_TO_PCIE: "PCI/PCI-X to PCI-Express Bridge",
    TYPE_RC_ENDPOINT: "Root Complex Integrated Endpoint",
    TYPE_RC_EVENT_COLLECTOR: "Root Complex Event Collector",
}
#: The same, by word.
TYPE_NUMBERS = {word: number for number, word in TYPE_WORDS.items()}
_PAYLOAD = {code: f"{128 << code} bytes" for code in range(6)}
_SPEED = {1: "2.5GT/s", 2: "5GT/s", 3: "8GT/s", 4: "16GT/s", 5: "32GT/s", 6: "64GT/s"}
_WIDTH = {lanes: f"x{lanes}" for lanes in (1, 2, 4, 8, 12, 16, 32)}
_L0S = {
    0: "<64ns", 1: "<128ns", 2: "<256ns", 3: "<512ns", 4: "<1us", 5: "<2us", 6: "<4us", 7: "unlimited",
}  # fmt: skip
_L1 = {0: "<1us", 1: "<2us", 2: "<4us", 3: "<8us", 4: "<16us", 5: "<32us", 6: "<64us", 7: "unlimited"}
_INDICATOR = {0: "Unknown", 1: "On", 2: "Blink", 3: "Off"}
_TIMEOUT_RANGE = {
    0: "Not Supported", 1: "Range A", 2: "Range B", 3: "Range AB", 6: "Range BC", 7: "Range ABC",
    14: "Range BCD", 15: "Range ABCD",
}  # fmt: skip
_TIMEOUT = {
    0: "50us to 50ms", 1: "50us to 100us", 2: "1ms to 10ms", 5: "16ms to 55ms", 6: "65ms to 210ms",
    9: "260ms to 900ms", 10: "1s to 3.5s", 13: "4s to 13s", 14: "17s to 64s",
}  # fmt: skip

Flags = register(
    2, number("Version", 3, 0), choice("Type", 7, 4, TYPE_WORDS), flag("Slot", 8), number("IntMsgNum", 13, 9)
)

DevCap = register(
    4,
    choice("MaxPayload", 2, 0, _PAYLOAD), number("PhantFunc", 4, 3), flag("ExtTag", 5),
    choice("Latency L0s", 8, 6, _L0S), choice("Latency L1", 11, 9, _L1), flag("AttnBtn", 12),
    flag("AttnInd", 13), flag("PwrInd", 14), flag("RBE", 15), number("SlotPowerLimit", 25, 18),
    number("SlotPowerScale", 27, 26), flag("FLReset", 28),
)  # fmt: skip

# Bit 15 is Bridge Configuration Retry Enable in a PCIe-to-PCI bridge and Initiate FLR in an endpoint.
DevCtl = register(
    2,
    flag("CorrErr", 0), flag("NonFatalErr", 1), flag("FatalErr", 2), flag("UnsupReq", 3), flag("RlxdOrd", 4),
    choice("MaxPayload", 7, 5, _PAYLOAD), flag("ExtTag", 8), flag("PhantFunc", 9), flag("AuxPwr", 10),
    flag("NoSnoop", 11), choice("MaxReadReq", 14, 12, _PAYLOAD), flag("BrConfRtry/FLReset", 15),
)  # fmt: skip

DevSta = register(
    2,
    flag("CorrErr", 0), flag("NonFatalErr", 1), flag("FatalErr", 2), flag("UnsupReq", 3), flag("AuxPwr", 4),
    flag("TransPend", 5),
)  # fmt: skip

LnkCap = register(
    4,
    choice("Speed", 3, 0, _SPEED), choice("Width", 9, 4, _WIDTH),
    choice("ASPM", 11, 10, {0: "not supported", 1: "L0s", 2: "L1", 3: "L0s L1"}),
    choice("Exit Latency L0s", 14, 12, _L0S), choice("Exit Latency L1", 17, 15, _L1), flag("ClockPM", 18),
    flag("Surprise", 19), flag("LLActRep", 20), flag("BwNot", 21), flag("ASPMOptComp", 22),
    number("Port", 31, 24),
)  # fmt: skip

LnkCtl = register(
    2,
    choice("ASPM", 1, 0, {0: "Disabled", 1: "L0s Enabled", 2: "L1 Enabled", 3: "L0s L1 Enabled"}),
    choice("RCB", 3, 3, {0: "64 bytes", 1: "128 bytes"}), flag("Disabled", 4), flag("Retrain", 5),
    flag("CommClk", 6), flag("ExtSynch", 7), flag("ClockPM", 8), flag("AutWidDis", 9), flag("BWInt", 10),
    flag("AutBWInt", 11),
)  # fmt: skip

LnkSta = register(
    2,
    choice("Speed", 3, 0, _SPEED), choice("Width", 9, 4, _WIDTH), flag("TrErr", 10), flag("Train", 11),
    flag("SlotClk", 12), flag("DLActive", 13), flag("BWMgmt", 14), flag("ABWMgmt", 15),
)  # fmt: skip

SltCap = register(
    4,
    flag("AttnBtn", 0), flag("PwrCtrl", 1), flag("MRL", 2), flag("AttnInd", 3), flag("PwrInd", 4),
    flag("Surprise", 5), flag("HotPlug", 6), number("PowerLimit", 14, 7), number("PowerScale", 16, 15),
    flag("Interlock", 17), flag("NoCompl", 18), number("Slot", 31, 19),
)  # fmt: skip

SltCtl = register(
    2,
    flag("AttnBtn", 0), flag("PwrFlt", 1), flag("MRL", 2), flag("PresDet", 3), flag("CmdCplt", 4),
    flag("HPIrq", 5), choice("AttnInd", 7, 6, _INDICATOR), choice("PwrInd", 9, 8, _INDICATOR),
    flag("Power", 10), flag("Interlock", 11), flag("LinkChg", 12),
)  # fmt: skip

# lspci prints the events under "Changed:" and the states under "Status:"; the states carry a prefix here.
SltSta = register(
    2,
    flag("AttnBtn", 0), flag("PowerFlt", 1), flag("Changed MRL", 2), flag("Changed PresDet", 3),
    flag("CmdCplt", 4), flag("MRL", 5), flag("PresDet", 6), flag("Interlock", 7),
    flag("Changed LinkState", 8),
)  # fmt: skip

RootCtl = register(
    2,
    flag("ErrCorrectable", 0), flag("ErrNon-Fatal", 1), flag("ErrFatal", 2), flag("PMEIntEna", 3),
    flag("CRSVisible", 4),
)  # fmt: skip
RootCap = register(2, flag("CRSVisible", 0))
RootSta = register(4, number("PME ReqID", 15, 0), flag("PMEStatus", 16), flag("PMEPending", 17))

DevCap2 = register(
    4,
    choice("CTO", 3, 0, _TIMEOUT_RANGE), flag("TimeoutDis", 4), flag("ARIFwd", 5), flag("Routing", 6),
    flag("32bit", 7), flag("64bit", 8), flag("128bitCAS", 9), flag("NROPrPrP", 10), flag("LTR", 11),
    flag("TPHComp", 12), flag("ExtTPHComp", 13),
    choice("LN System CLS", 15, 14, {0: "Not Supported", 1: "64byte cachelines", 2: "128byte cachelines"}),
    flag("10BitTagComp", 16), flag("10BitTagReq", 17),
    choice("OBFF", 19, 18, {0: "Not Supported", 1: "Via message", 2: "Via WAKE#", 3: "Via message/WAKE#"}),
    flag("ExtFmt", 20), flag("EETLPPrefix", 21), number("MaxEETLPPrefixes", 23, 22),
    choice(
        "EmergencyPowerReduction", 25, 24,
        {0: "Not Supported", 1: "Device Specific", 2: "Form Factor Dev Specific or Device Specific"},
    ),
    flag("EmergencyPowerReductionInit", 26), flag("FRS", 31),
)  # fmt: skip

DevCtl2 = register(
    2,
    choice("CTO", 3, 0, _TIMEOUT), flag("TimeoutDis", 4), flag("ARIFwd", 5), flag("ReqEn", 6),
    flag("EgressBlck", 7), flag("IDOReq", 8), flag("IDOCompl", 9), flag("LTR", 10),
    flag("EmergencyPowerReductionReq", 11), flag("10BitTagReq", 12),
    choice("OBFF", 14, 13, {0: "Disabled", 1: "Via message A", 2: "Via message B", 3: "Via WAKE#"}),
    flag("EETLPPrefixBlk", 15),
)  # fmt: skip

LnkCap2 = register(
    4,
    flag("2.5GT/s", 1), flag("5GT/s", 2), flag("8GT/s", 3), flag("16GT/s", 4), flag("32GT/s", 5),
    flag("64GT/s", 6), flag("Crosslink", 8), flag("Retimer", 23), flag("2Retimers", 24), flag("DRS", 31),
)  # fmt: skip

LnkCtl2 = register(
    2,
    choice("Target Link Speed", 3, 0, _SPEED), flag("EnterCompliance", 4), flag("SpeedDis", 5),
    choice("Selectable De-emphasis", 6, 6, {0: "-6dB", 1: "-3.5dB"}), number("Transmit Margin", 9, 7),
    flag("EnterModifiedCompliance", 10), flag("ComplianceSOS", 11),
    number("Compliance Preset/De-emphasis", 15, 12),
)  # fmt: skip

LnkSta2 = register(
    2,
    choice("Current De-emphasis Level", 0, 0, {0: "-6dB", 1: "-3.5dB"}), flag("EqualizationComplete", 1),
    flag("EqualizationPhase1", 2), flag("EqualizationPhase2", 3), flag("EqualizationPhase3", 4),
    flag("LinkEqualizationRequest", 5), flag("Retimer", 6), flag("2Retimers", 7),
    number("CrosslinkRes", 9, 8), number("DownstreamComp", 14, 12), flag("DRS", 15),
)  # fmt: skip

#: (offset, name, bytes, bit fields or None)
REGISTERS = (
    (0x00, "ID", 2, CapabilityHeader),
    (FLAGS, "Express", 2, Flags),
    (DEVCAP, "DevCap", 4, DevCap),
    (DEVCTL, "DevCtl", 2, DevCtl),
    (DEVSTA, "DevSta", 2, DevSta),
    (LNKCAP, "LnkCap", 4, LnkCap),
    (LNKCTL, "LnkCtl", 2, LnkCtl),
    (LNKSTA, "LnkSta", 2, LnkSta),
    (SLTCAP, "SltCap", 4, SltCap),
    (SLTCTL, "SltCtl", 2, SltCtl),
    (SLTSTA, "SltSta", 2, SltSta),
    (RTCTL, "RootCtl", 2, RootCtl),
    (RTCAP, "RootCap", 2, RootCap),
    (RTSTA, "RootSta", 4, RootSta),
    (DEVCAP2, "DevCap2", 4, DevCap2),
    (DEVCTL2, "DevCtl2", 2, DevCtl2),
    (DEVSTA2, "DevSta2", 2, None),
    (LNKCAP2, "LnkCap2", 4, LnkCap2),
    (LNKCTL2, "LnkCtl2", 2, LnkCtl2),
    (LNKSTA2, "LnkSta2", 2, LnkSta2),
    (SLTCAP2, "SltCap2", 4, None),
    (SLTCTL2, "SltCtl2", 2, None),
    (SLTSTA2, "SltSta2", 2, None),
)
