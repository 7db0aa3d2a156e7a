# ruff: noqa: E101 - lspci indents so
"""The text of lspci without hex: which bits of which registers it shows, and which it does not."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import lspci_texts as texts
import pytest

from analyzer import analysis
from analyzer.capture import LACKS_FUNCTIONS, Notes, accesses
from analyzer.options import Options
from analyzer.questions.atrisk import atrisk
from analyzer.readers import open_capture
from analyzer.readers.snapshot import lspci_lines, lspci_text
from analyzer.readers.unwrap import ByteStream
from schemas.registers import REGISTERS

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.observed.registers.functions import Function

PORT, FIRST, EIGHTH = 0x0018, 0x0100, 0x0108
EXP, ARI = 0x40, 0x100


def read(text: str) -> tuple[dict[int, dict[int, tuple[int, int]]], Notes]:
    """Key -> offset -> value and mask of known bits; and the notes."""
    notes = Notes("x")
    frames = list(lspci_text.read(ByteStream("x", io.BytesIO(text.encode())), notes, Options()))
    found: dict[int, dict[int, tuple[int, int]]] = {}
    for frame in frames:
        assert dict(frame.schema) == {**accesses.READER_SCHEMA, accesses.KNOWN: frame.schema[accesses.KNOWN]}
        for bus, devfn, offset, value, known in frame.select(
            "bus", "devfn", "offset", "value", accesses.KNOWN
        ).rows():
            assert value & ~known == 0
            found.setdefault(bus << 8 | devfn, {})[offset] = value, known
    return found, notes


def kinds(notes: Notes) -> list[str]:
    return [problem.kind for problem in notes.problems]


def functions(text: str, folder: Path) -> dict[int, Function]:
    path = folder / "text"
    path.write_text(text)
    (topology,) = analysis.study(open_capture(str(path))).topologies
    return topology.functions


def verdict(text: str, folder: Path) -> str:
    path = folder / "text"
    path.write_text(text)
    return atrisk(str(path)).verdict


# --- lines ---


@pytest.mark.parametrize(
    ("base", "offset", "lines", "value", "mask"),
    [
        ("HEADER0", 0x04, "Control: I/O- Mem+ BusMaster+ SpecCycle-", 0x0006, 0x000F),
        ("HEADER0", 0x06, "Status: Cap+ 66MHz- DEVSEL=fast >TAbort- <TAbort+ INTx-", 0x1010, 0x1E38),
        ("HEADER1", 0x3E, "BridgeCtl: Parity- SERR+ NoISA- VGA- MAbort- >Reset+ FastB2B-", 0x42, 0xEF),
        ("CAP_EXP", 0x08, "DevCtl: CorrErr+ UnsupReq- MaxPayload 256 bytes, MaxReadReq 512 bytes",
         0x2021, 0x70E9),
        ("CAP_EXP", 0x08, "DevCtl: Report errors: Correctable+ Non-Fatal- Fatal+ Unsupported-", 5, 0xF),
        ("CAP_EXP", 0x0A, "DevSta: CorrErr- UncorrErr+ FatalErr- UnsuppReq+ AuxPwr- TransPend-", 0x0A, 0x3F),
        ("CAP_EXP", 0x1A, "SltSta: Status: MRL- PresDet+ Changed: MRL- PresDet- LinkState+", 0x140, 0x16C),
        ("CAP_PM", 0x04, "Status: D3 NoSoftRst- PME-Enable+ DSel=0 DScale=0 PME-", 0x103, 0x810B),
        ("ECAP_ARI", 0x04, "ARICap: MFVC- ACS+, Next Function: 17", 0x1102, 0xFF03),
        ("ECAP_ARI", 0x04, "ARICap: MFVC- ACS+, Next Function: 300", 0x2, 0x3),
        ("ECAP_ACS", 0x06,
         "ACSCtl: SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-",
         0x1D, 0x7F),
        ("ECAP_SRIOV", 0x08, "IOVCtl: Enable+ Migration- Interrupt- MSE+ ARIHierarchy+", 0x19, 0x1F),
        ("ECAP_AER", 0x04, "UESta: DLP- SDES+ TLP-", 0x20, 0x1030),
    ],
)  # fmt: skip
def test_the_words_of_a_register(base, offset, lines, value, mask):
    shown = lspci_lines.of_register(REGISTERS[base][offset], lines)
    assert (hex(shown.value), hex(shown.mask)) == (hex(value), hex(mask))


#: Derived from pciutils' source and from texts of these versions in public mails: the lines of DevCap2 and
#: DevCtl2 of a root port.
LAYOUTS = {
    "3.1": """\
		DevCap2: Completion Timeout: Range ABCD, TimeoutDis+ ARIFwd+
		DevCtl2: Completion Timeout: 50us to 50ms, TimeoutDis- ARIFwd+
""",
    "3.5": """\
		DevCap2: Completion Timeout: Range ABCD, TimeoutDis+, LTR+, OBFF Not Supported ARIFwd+
		DevCtl2: Completion Timeout: 50us to 50ms, TimeoutDis-, LTR+, OBFF Disabled ARIFwd+
""",
    "3.6": """\
		DevCap2: Completion Timeout: Range ABCD, TimeoutDis+, LTR+, OBFF Not Supported ARIFwd+
			 AtomicOpsCap: Routing- 32bit- 64bit- 128bitCAS-
		DevCtl2: Completion Timeout: 50us to 50ms, TimeoutDis-, LTR+, OBFF Disabled ARIFwd+
			 AtomicOpsCtl: ReqEn- EgressBlck-
""",
    "3.7": """\
		DevCap2: Completion Timeout: Not Supported, TimeoutDis+, NROPrPrP-, LTR+
			 10BitTagComp-, 10BitTagReq-, OBFF Not Supported, ExtFmt+, EETLPPrefix-
			 EmergencyPowerReduction Not Supported, EmergencyPowerReductionInit-
			 FRS-, LN System CLS Not Supported, TPHComp-, ExtTPHComp-, ARIFwd+
			 AtomicOpsCap: Routing- 32bit- 64bit- 128bitCAS-
		DevCtl2: Completion Timeout: 50us to 50ms, TimeoutDis-, LTR-, OBFF Disabled, ARIFwd+
			 AtomicOpsCtl: ReqEn- EgressBlck-
""",
    "3.13": """\
		DevCap2: Completion Timeout: Range ABC, TimeoutDis+ NROPrPrP- LTR+
			 10BitTagComp- 10BitTagReq- OBFF Not Supported, ExtFmt- EETLPPrefix-
			 EmergencyPowerReduction Not Supported, EmergencyPowerReductionInit-
			 FRS- LN System CLS Not Supported, TPHComp- ExtTPHComp- ARIFwd+
			 AtomicOpsCap: Routing- 32bit- 64bit- 128bitCAS-
		DevCtl2: Completion Timeout: 50us to 50ms, TimeoutDis- ARIFwd+
			 AtomicOpsCtl: ReqEn- EgressBlck-
			 IDOReq- IDOCompl- LTR+ EmergencyPowerReductionReq-
			 10BitTagReq- OBFF Disabled, EETLPPrefixBlk-
""",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bit", "+-")
def test_layouts_of_other_versions(layout, bit, tmp_path):
    """Derived: no program of these versions is here."""
    lines = LAYOUTS[layout]
    before, _, control = lines.partition("DevCtl2:")
    lines = f"{before}DevCtl2:{control.replace('ARIFwd+', f'ARIFwd{bit}')}"
    start, end = texts.PORT.index("\t\tDevCap2"), texts.PORT.index("\t\tLnkSta2")
    text = texts.text(texts.PORT[:start] + lines + texts.PORT[end:], texts.FIRST, texts.EIGHTH)
    found, _ = read(text)
    assert found[PORT][EXP + 0x24][1] & 0x20
    assert found[PORT][EXP + 0x28][0] & 0x20 == (0x20 if bit == "+" else 0)
    assert found[PORT][EXP + 0x28][1] & 0x20
    assert verdict(text, tmp_path) == ("at-risk" if bit == "+" else "already-lost")


@pytest.mark.parametrize(
    ("title", "value", "mask"),
    [
        ("Express (v2) Root Port (Slot+), MSI 00", 0x142, 0x1FF),
        ("Express (v2) Downstream Port (Slot-), IntMsgNum 0", 0x062, 0x1FF),
        ("Express (v2) Upstream Port, MSI 00", 0x052, 0xFF),
        ("Express (v1) Legacy Endpoint, MSI 00", 0x011, 0xFF),
        ("Express (v2) Root Complex Integrated Endpoint, MSI 00", 0x092, 0xFF),
        ("Express (v2) Root Complex Event Collector, MSI 00", 0x0A2, 0xFF),
        ("Express (v1) PCI-Express to PCI/PCI-X Bridge, MSI 00", 0x071, 0xFF),
        ("Express (v1) PCI/PCI-X Bridge, MSI 00", 0x071, 0xFF),
        ("Express Endpoint, MSI 00", 0x000, 0xF0),
        ("Express (v2) Unknown type 11, MSI 00", 0x002, 0x0F),
    ],
)
def test_the_title_of_an_express_capability(title, value, mask):
    shown = lspci_lines.express(title)
    assert (hex(shown.value), hex(shown.mask)) == (hex(value), hex(mask))


@pytest.mark.parametrize(
    ("title", "extended", "number"),
    [
        ("Power Management version 3", False, 0x01),
        ("MSI-X: Enable+ Count=65 Masked-", False, 0x11),
        ("Subsystem: Device 0000:0000", False, 0x0D),
        ("Capability ID 0x42 [0000]", False, 0x42),
        ("Nothing of the kind", False, None),
        ("Alternative Routing-ID Interpretation (ARI)", True, 0x0E),
        ("Virtual Channel <?>", True, 0x02),
        ("Extended Capability ID 0x34", True, 0x34),
        ("#1f", True, 0x1F),
        ("Root Complex Link", True, 0x05),
        ("Root Complex Internal Link <?>", True, 0x06),
        ("A later one", True, None),
    ],
)
def test_titles_of_capabilities(title, extended, number):
    assert lspci_lines.capability_id(title, extended=extended) == number


# --- functions ---


@pytest.mark.parametrize(
    ("first", "known"),
    [
        ("PCI bridge: Intel Corporation Device a048 (rev 01)",
         {0x00: (0, 0), 0x08: (0x06040001, 0xFFFF00FF)}),
        ("0604: 8086:a048 (rev 01)", {0x00: (0xA0488086, 0xFFFFFFFF), 0x08: (0x06040001, 0xFFFF00FF)}),
        ("PCI bridge [0604]: Intel X [AHCI mode] [8086:a048] (rev 02) (prog-if 00 [Normal decode])",
         {0x00: (0xA0488086, 0xFFFFFFFF), 0x08: (0x06040002, 0xFFFF00FF)}),
        ("Host bridge: Device 1234:5678", {0x00: (0x56781234, 0xFFFFFFFF), 0x08: (0x06000000, 0xFFFF0000)}),
        ("Ethernet controller: Device ffff:ffff", {0x00: (0xFFFFFFFF, 0xFFFFFFFF), 0x08: (0, 0)}),
    ],
)  # fmt: skip
def test_the_first_line(first, known):
    found, _ = read(f"00:03.0 {first}\n\n")
    assert {offset: found[PORT][offset] for offset in known} == known


def test_what_a_port_shows(tmp_path):
    found, notes = read(texts.CHAIN)
    assert not notes.problems
    port = found[PORT]
    assert port[0x0C] == (0x10000, 0x7F0000)  # type 1, whether it is multi-function is not shown
    assert port[0x18] == (0x010100, 0xFFFFFF)
    assert port[0x34] == (0x40, 0xFC)
    assert port[EXP] == (0x420010, 0x01FFFCFF)
    assert port[0x100] == (0, 0xFFFFFFFF)  # others show extended capabilities: it has none
    assert found[FIRST][ARI] == (0x0001000E, 0xFFCFFFFF)
    assert found[FIRST][ARI + 4] == (0x0800, 0x03FF03)
    its = functions(texts.CHAIN, tmp_path)[PORT]
    assert (its.vendor_device, its.is_bridge, its.multifunction) == (None, True, None)
    assert (its.pcie_type, its.ari_supported, its.has_ari) == (4, True, False)


def test_every_dword_of_a_header_was_read():
    found, _ = read("00:03.0 0604: 8086:a048\n")
    assert list(found[PORT]) == list(range(0, 64, 4))
    assert all(known == 0 for offset, (_, known) in found[PORT].items() if offset not in (0, 8))


def test_a_function_that_reads_all_ones():
    found, _ = read(texts.text(texts.PORT, texts.SILENT))
    assert set(found[FIRST].values()) == {(0xFFFFFFFF, 0xFFFFFFFF)}
    assert list(found[FIRST]) == list(range(0, 64, 4))


def test_a_virtual_function_has_no_vendor_id(tmp_path):
    found, _ = read(texts.VIRTUAL)
    assert found[EIGHTH][0] == (0xFFFFFFFF, 0xFFFFFFFF)
    assert found[FIRST][0x154] == (0x10008, 0xFFFFFFFF)
    assert found[FIRST][0x150][0] & 0xFFFF == 1
    path = tmp_path / "text"
    path.write_text(texts.VIRTUAL)
    answer = atrisk(str(path))
    assert [(one.physical, one.functions, one.need_ari) for one in answer.virtual_functions] == [
        ("0000:01:00.0", ["0000:01:01.0"], ["0000:01:01.0"])
    ]
    assert answer.verdict == "at-risk"


@pytest.mark.parametrize(
    ("first", "second", "known"),
    [
        ("01:00.0", "01:00.1", False),  # found by the chain, or because 01:00.0 is multi-function
        ("00:1f.0", "00:1f.3", True),  # no bridge forwards on a root bus
    ],
)
def test_several_functions_of_a_device(first, second, known):
    text = texts.text(texts.PORT, *(texts.FIRST.replace("01:00.0", name) for name in (first, second)))
    found, _ = read(text)
    its = next(dwords for key, dwords in found.items() if key != PORT)
    assert bool(its[0x0C][1] & 0x800000) is known
    assert its[0x0C][0] & 0x800000 == (0x800000 if known else 0)


def test_several_functions_of_a_device_without_ari():
    head, _, _ = texts.FIRST.partition("\tCapabilities: [100")
    text = texts.text(texts.PORT, head, head.replace("01:00.0", "01:00.2"), texts.EIGHTH)
    found, _ = read(text)
    assert found[FIRST][0x0C] == (0x800000, 0xFF0000)


def test_a_function_that_may_be_virtual_proves_nothing():
    head, _, _ = texts.FIRST.partition("\tCapabilities: [100")
    virtual = head.replace("01:00.0", "01:00.2").replace("I/O+ Mem+", "I/O- Mem-")
    found, _ = read(texts.text(texts.PORT, head, virtual, texts.EIGHTH))
    assert found[FIRST][0x0C] == (0, 0x7F0000)


def test_arifwd_of_an_upstream_port_is_0(tmp_path):
    lines = [line for line in texts.PORT.splitlines(keepends=True) if "ARIFwd" not in line]
    upstream = "".join(lines).replace("Root Port (Slot-)", "Upstream Port")
    its = functions(texts.text(upstream, texts.FIRST), tmp_path)[PORT]
    assert (its.pcie_type, its.ari_supported) == (5, False)


# --- what is not shown ---

DENIED = "\tCapabilities: <access denied>\n"
TERSE = """\
00:03.0 PCI bridge: Intel Corporation Device a048 (rev 01) (prog-if 00 [Normal decode])
	Flags: bus master, fast devsel, latency 0, IRQ 24
	Bus: primary=00, secondary=01, subordinate=01, sec-latency=0
	Capabilities: [40] Express Root Port (Slot-), MSI 00
"""


def head(function: str) -> str:
    """The lines before the first capability."""
    return function.partition("\tCapabilities")[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("00:03.0 PCI bridge: X (rev 01)\n01:00.0 Ethernet controller: Y\n",
         "without details (no -v): 2 of 2 functions"),
        (texts.text(*(head(one) + DENIED for one in (texts.PORT, texts.FIRST))),
         "2 functions show no capabilities (access denied)"),
        (texts.text(TERSE, "01:00.0 Ethernet controller: X\n\tFlags: fast devsel\n"),
         "1 function is shown without registers (lspci -v)"),
        (texts.text(texts.PORT, head(texts.FIRST)), "no extended capability is shown"),
    ],
)  # fmt: skip
def test_less_than_vv_of_root(text, said, tmp_path):
    _, notes = read(text)
    (problem,) = notes.problems
    assert problem.kind == "short"
    assert problem.message.startswith(said)
    assert "as root" in problem.message
    assert verdict(text, tmp_path) == "cannot-tell"


def test_no_extended_capability_of_a_machine_is_not_known_to_be_none(tmp_path):
    head, _, _ = texts.FIRST.partition("\tCapabilities: [100")
    assert functions(texts.text(texts.PORT, head), tmp_path)[FIRST].has_ari is None
    assert functions(texts.text(texts.PORT, head, texts.EIGHTH), tmp_path)[FIRST].has_ari is False


def without(text: str, *starts: str) -> str:
    """The text without the lines that begin so (blanks aside)."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.strip().startswith(starts))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (texts.text(texts.PORT, without(texts.FIRST, "01:00.0"), texts.EIGHTH), [LACKS_FUNCTIONS]),
        (texts.PORT + without(texts.FIRST, "01:00.0") + "\n", ["damaged", LACKS_FUNCTIONS, LACKS_FUNCTIONS]),
        (texts.text(without(texts.PORT, "Capabilities: [40]"), texts.FIRST), ["damaged", LACKS_FUNCTIONS]),
        (texts.text(texts.PORT, without(texts.FIRST, "Capabilities: [100")),
         ["damaged", LACKS_FUNCTIONS, "short"]),
        (texts.text(texts.PORT, without(texts.FIRST, "Capabilities: [40]")), ["damaged", LACKS_FUNCTIONS]),
        (texts.text(texts.PORT) + texts.FIRST, [LACKS_FUNCTIONS]),
        (texts.text(texts.PORT) + texts.FIRST[:-1], ["truncated", LACKS_FUNCTIONS]),
        (texts.text(texts.PORT, texts.FIRST, texts.FIRST), ["repeated"]),
        (texts.text(texts.PORT, texts.FIRST.replace("01:00.0", "01:20.0")), ["damaged", LACKS_FUNCTIONS,
                                                                             LACKS_FUNCTIONS, "short"]),
    ],
)  # fmt: skip
def test_missing_lines_that_leave_a_trace(text, expected, tmp_path):
    _, notes = read(text)
    assert sorted(set(kinds(notes))) == sorted(set(expected))
    assert verdict(text, tmp_path) == "cannot-tell"


def test_a_capability_without_a_known_title_ends_no_list(tmp_path):
    text = texts.text(
        texts.PORT, texts.FIRST.replace("[100 v1]", "[100 v1] A later one\n\tCapabilities: [180 v1]")
    )
    its = functions(text, tmp_path)[FIRST]
    assert (its.has_ari, its.ari, its.next_function) == (True, 0x180, 8)
    assert not its.capabilities.extended_end


def test_bits_that_are_shown_twice_and_differ_are_unknown():
    doubled = texts.PORT + "\t\tDevCtl2: ARIFwd-\n"
    found, _ = read(texts.text(doubled, texts.FIRST))
    assert found[PORT][EXP + 0x28][1] & 0x20 == 0


@pytest.mark.parametrize(
    "line",
    [
        "\tCapabilities: [41] Express (v2) Endpoint, MSI 00",
        "\tCapabilities: [ffc v1] Access Control Services\n\t\tACSCtl:\tSrcValid+",
        "\tCapabilities: [fc] Express (v99999999999) Root Port (Slot+), MSI 00\n\t\tDevCtl2: ARIFwd+",
        "\tCapabilities: [60 v99] Power Management version 3\n\t\tStatus: D9",
        "\tBus: primary=00, secondary=zz, subordinate=04",
        "\t!!! Unknown header type 03",
        "\t!!! Invalid class 0604 for header type 00",
        "\tCapabilities: [140 v1] Single Root I/O Virtualization\n\t\tIOVCtl: Enable+ VF offset: 99999",
        "\t\tDevCtl2: " + "ARIFwd+ " * 100_000,
    ],
)
def test_hostile_lines(line):
    found, _ = read(texts.text(texts.PORT, texts.FIRST + line + "\n" * 3))
    assert found.keys() == {PORT, FIRST}
    assert all(offset < 4096 for dwords in found.values() for offset in dwords)
