# ruff: noqa: E101 - lspci indents so
"""What ``lspci -vvv`` prints of the machine of small_dumps.py: pciutils 3.9 on its dumps, shortened.

Lines that no question depends on are left out of the middle of functions, never titles of capabilities.
"""

from __future__ import annotations

PORT = """\
00:03.0 PCI bridge: Intel Corporation Device a048 (rev 01) (prog-if 00 [Normal decode])
	Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx+
	Status: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-
	Latency: 0
	Bus: primary=00, secondary=01, subordinate=01, sec-latency=0
	I/O behind bridge: 0000-0fff [size=4K] [16-bit]
	Memory behind bridge: 00000000-000fffff [size=1M] [32-bit]
	Prefetchable memory behind bridge: 00000000-000fffff [size=1M] [32-bit]
	Secondary status: 66MHz- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- <SERR- <PERR-
	BridgeCtl: Parity- SERR+ NoISA- VGA- VGA16- MAbort- >Reset- FastB2B-
		PriDiscTmr- SecDiscTmr- DiscTmrStat- DiscTmrSERREn-
	Capabilities: [40] Express (v2) Root Port (Slot-), MSI 00
		DevCap:	MaxPayload 128 bytes, PhantFunc 0
			ExtTag- RBE-
		DevCtl:	CorrErr- NonFatalErr- FatalErr- UnsupReq-
			RlxdOrd- ExtTag- PhantFunc- AuxPwr- NoSnoop-
			MaxPayload 128 bytes, MaxReadReq 128 bytes
		DevSta:	CorrErr- NonFatalErr- FatalErr- UnsupReq- AuxPwr- TransPend-
		RootSta: PME ReqID 0000, PMEStatus- PMEPending-
		DevCap2: Completion Timeout: Not Supported, TimeoutDis- NROPrPrP- LTR-
			 10BitTagComp- 10BitTagReq- OBFF Not Supported, ExtFmt- EETLPPrefix-
			 EmergencyPowerReduction Not Supported, EmergencyPowerReductionInit-
			 FRS- LN System CLS Not Supported, TPHComp- ExtTPHComp- ARIFwd+
			 AtomicOpsCap: Routing- 32bit- 64bit- 128bitCAS-
		DevCtl2: Completion Timeout: 50us to 50ms, TimeoutDis- LTR- 10BitTagReq- OBFF Disabled, ARIFwd+
			 AtomicOpsCtl: ReqEn- EgressBlck-
		LnkSta2: Current De-emphasis Level: -6dB, EqualizationComplete- EqualizationPhase1-
			 EqualizationPhase2- EqualizationPhase3- LinkEqualizationRequest-
			 Retimer- 2Retimers- CrosslinkRes: unsupported
"""
_ENDPOINT = """\
01:0{} Ethernet controller: Red Hat, Inc. Virtio block device (rev 01)
	Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx+
	Status: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-
	Latency: 0
	Capabilities: [40] Express (v2) Endpoint, MSI 00
		DevCap:	MaxPayload 128 bytes, PhantFunc 0, Latency L0s <64ns, L1 <1us
			ExtTag- AttnBtn- AttnInd- PwrInd- RBE- FLReset- SlotPowerLimit 0W
		DevCtl:	CorrErr- NonFatalErr- FatalErr- UnsupReq-
			RlxdOrd- ExtTag- PhantFunc- AuxPwr- NoSnoop-
			MaxPayload 128 bytes, MaxReadReq 128 bytes
		DevCtl2: Completion Timeout: 50us to 50ms, TimeoutDis- LTR- 10BitTagReq- OBFF Disabled,
			 AtomicOpsCtl: ReqEn-
	Capabilities: [100 v1] Alternative Routing-ID Interpretation (ARI)
		ARICap:	MFVC- ACS-, Next Function: {}
		ARICtl:	MFVC- ACS-, Function Group: 0
"""
FIRST = _ENDPOINT.format("0.0", 8)
EIGHTH = _ENDPOINT.format("1.0", 0)
#: The SR-IOV capability of 01:00.0 with 01:01.0 as its only virtual function.
SRIOV = """\
	Capabilities: [140 v1] Single Root I/O Virtualization (SR-IOV)
		IOVCap:	Migration- 10BitTagReq- Interrupt Message Number: 000
		IOVCtl:	Enable+ Migration- Interrupt- MSE+ ARIHierarchy+ 10BitTagReq-
		IOVSta:	Migration-
		Initial VFs: 1, Total VFs: 1, Number of VFs: 1, Function Dependency Link: 00
		VF offset: 8, stride: 1, Device ID: 10ca
		Supported Page Size: 00000553, System Page Size: 00000001
"""


def text(*functions: str) -> str:
    """The text of some functions, each with the empty line after it."""
    return "".join(function + "\n" for function in functions)


CHAIN = text(PORT, FIRST, EIGHTH)
OFF = PORT.replace("OBFF Disabled, ARIFwd+", "OBFF Disabled, ARIFwd-")
#: 01:01.0 is virtual.
VIRTUAL = text(PORT, FIRST.replace("Next Function: 8", "Next Function: 0") + SRIOV, EIGHTH)
#: 01:00.0 does not answer.
SILENT = """\
01:00.0 Ethernet controller: Red Hat, Inc. Virtio block device (rev ff) (prog-if ff)
	!!! Unknown header type 7f
	Kernel driver in use: virtio-pci
"""
