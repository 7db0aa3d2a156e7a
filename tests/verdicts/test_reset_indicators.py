"""Signs of what reset or cut off a port, one register at a time: what counts, and from which row on."""

from __future__ import annotations

import pytest
from hand_made import AER, DPC, EXP, PM, Access, Capabilities, Part, PlainEvidence, read, write

from analyzer.results import Evidence
from analyzer.verdicts import reset_evidence
from analyzer.verdicts.reset_evidence import LogMessage, ResetIndicator

CONTROL, LNKSTA, SLTSTA = 0x3E, EXP + 0x12, EXP + 0x1A
DPC_STATUS, AER_STATUS, PMCSR = DPC + 0x08, AER + 0x04, PM + 0x04
ROWS = (100, 110, 120, 130, 140)


def said(seen: ResetIndicator | None) -> tuple[object, ...] | None:
    if seen is None:
        return None
    assert seen.evidence.access == seen.row
    return seen.row, seen.evidence.register, seen.evidence.note, seen.confidence


PULSE = ("BRIDGE_CONTROL, 2 bytes", "Secondary Bus Reset set (0 to 1)", "high")


@pytest.mark.parametrize(
    ("accesses", "since", "row"),
    [
        ([write(CONTROL, 2, 0x42), write(CONTROL, 2, 0x02)], 0, 100),
        ([write(CONTROL, 2, 0x42)], 99, 100),
        ([write(CONTROL, 2, 0x42)], 100, None),  # not behind since
        ([write(CONTROL, 2, 0x02)], 0, None),
        ([read(CONTROL, 2, 0x40)], 0, None),  # a read sets nothing
        ([read(CONTROL, 2, 0x40), write(CONTROL, 2, 0x42)], 0, None),  # it was set already
        ([read(CONTROL, 2, 0x02), write(CONTROL, 2, 0x42)], 0, 110),
        ([write(CONTROL, 2, 0x40), write(CONTROL, 2, 0x00), write(CONTROL, 2, 0x40)], 105, 120),
        ([write(CONTROL, 2, 0x40), write(CONTROL, 2, 0x40)], 105, None),
        ([write(CONTROL, 2, 0xFFBF)], 0, None),  # every bit but that one
        ([write(CONTROL + 1, 1, 0x40)], 0, None),  # the other byte
        ([write(0x3C, 4, 0x00400000)], 0, 100),  # as part of a dword
        ([read(CONTROL, 2, 0xFFFF), write(CONTROL, 2, 0x42)], 0, 110),  # a dead read tells nothing
        # a byte that does not show the bit leaves what was known
        ([write(CONTROL, 2, 0x40), write(CONTROL + 1, 1, 0), write(CONTROL, 2, 0x40)], 105, None),
        ([], 0, None),
    ],
)
def test_secondary_bus_reset(accesses: list[Access], since: int, row: int | None) -> None:
    seen = reset_evidence.secondary_bus_reset(Part(tuple(accesses)), since, PlainEvidence())
    assert said(seen) == (None if row is None else (row, *PULSE))


LINK = (f"CAP_EXP behind {EXP:#x}, 2 bytes", "Data Link Layer no longer active", "high")
SLOT = (f"CAP_EXP behind {EXP:#x}, 2 bytes", "the link below went down", "medium")
CONTAINED = (f"ECAP_DPC behind {DPC:#x}, 2 bytes", "the link below went down", "medium")
SURPRISE = (f"ECAP_AER behind {AER:#x}, 4 bytes", "the link below went down", "medium")


@pytest.mark.parametrize(
    ("accesses", "since", "expected"),
    [
        ([read(LNKSTA, 2, 0x3043), read(LNKSTA, 2, 0x1043)], 0, (110, *LINK)),
        ([read(LNKSTA, 2, 0x3043), read(LNKSTA, 2, 0x1043)], 109, (110, *LINK)),
        ([read(LNKSTA, 2, 0x3043), read(LNKSTA, 2, 0x1043)], 110, None),
        ([read(LNKSTA, 2, 0x1043)], 0, None),  # it was never seen active
        ([read(LNKSTA, 2, 0x3043), read(LNKSTA, 2, 0x3043)], 0, None),
        ([write(LNKSTA, 2, 0x2000), read(LNKSTA, 2, 0x1043)], 0, None),  # a write shows nothing
        ([read(LNKSTA, 2, 0x3043), write(LNKSTA, 2, 0x0000)], 0, None),
        ([read(LNKSTA, 2, 0x3043), read(LNKSTA, 2, 0xFFFF)], 0, None),  # dead
        ([read(LNKSTA, 2, 0x3043), read(LNKSTA, 2, 0xFFFF), read(LNKSTA, 2, 0x1043)], 0, (120, *LINK)),
        ([read(LNKSTA, 2, 0x3043), read(LNKSTA, 1, 0x43), read(LNKSTA, 2, 0x1043)], 0, (120, *LINK)),
        ([read(LNKSTA, 2, 0x3043), read(LNKSTA, 2, 0x1043), read(LNKSTA, 2, 0x1043)], 115, (120, *LINK)),
        ([read(SLTSTA, 2, 0x0100)], 0, (100, *SLOT)),
        ([read(SLTSTA, 2, 0x0100)], 100, None),
        ([read(SLTSTA, 2, 0xFEFF)], 0, None),
        ([write(SLTSTA, 2, 0), read(SLTSTA, 2, 0x0100)], 0, (110, *SLOT)),
        ([read(SLTSTA, 2, 0xFFFF), read(SLTSTA, 2, 0x0100)], 0, (110, *SLOT)),
        ([read(SLTSTA, 1, 0), read(SLTSTA, 2, 0x0100)], 0, (110, *SLOT)),
        ([write(SLTSTA, 2, 0x0100)], 0, None),  # a driver clears it so
        ([read(SLTSTA, 2, 0xFFFF)], 0, None),
        ([read(SLTSTA, 1, 0x00)], 0, None),  # the byte without the bit
        ([read(SLTSTA, 2, 0x0100), read(SLTSTA, 2, 0x0100)], 105, None),  # known before, and not cleared
        ([read(SLTSTA, 2, 0x0100), read(SLTSTA, 1, 0), read(SLTSTA, 2, 0x0100)], 105, None),
        ([read(SLTSTA, 2, 0x0100), read(SLTSTA, 2, 0), read(SLTSTA, 2, 0x0100)], 105, (120, *SLOT)),
        ([read(DPC_STATUS, 2, 0x0001)], 0, (100, *CONTAINED)),
        ([read(DPC_STATUS, 2, 0x1F00)], 0, None),
        ([read(AER_STATUS, 4, 0x00000020)], 0, (100, *SURPRISE)),
        ([read(AER_STATUS, 4, 0x00000010)], 0, None),
        # the first register of the table that says it
        ([read(AER_STATUS, 4, 0x20), read(DPC_STATUS, 2, 1), read(SLTSTA, 2, 0x100)], 0, (120, *SLOT)),
        ([read(AER_STATUS, 4, 0x20), read(DPC_STATUS, 2, 1)], 0, (110, *CONTAINED)),
        ([read(SLTSTA, 2, 0x100), read(LNKSTA, 2, 0x2000), read(LNKSTA, 2, 0)], 0, (120, *LINK)),
        ([], 0, None),
    ],
)
def test_link_lost(accesses: list[Access], since: int, expected: tuple[object, ...] | None) -> None:
    assert said(reset_evidence.link_lost(Part(tuple(accesses)), since, (), PlainEvidence())) == expected


@pytest.mark.parametrize(
    "capabilities",
    [Capabilities({0x10: EXP}, {}), Capabilities({0x10: EXP}, {0x1D: DPC})],
    ids=["none", "DPC"],
)
def test_registers_of_capabilities_that_are_not_there(capabilities: Capabilities) -> None:
    bridge = Part((read(AER_STATUS, 4, 0x20),), capabilities=capabilities)
    assert reset_evidence.link_lost(bridge, 0, (), PlainEvidence()) is None


def test_a_bridge_without_pci_express_has_no_link() -> None:
    messages = [LogMessage(0x0200, "pciehp: Slot(1): Link Down", "kernel log")]
    bridge = Part((read(SLTSTA, 2, 0x0100),), pcie=None)
    assert reset_evidence.link_lost(bridge, 0, messages, PlainEvidence()) is None


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("pciehp: Slot(1): Link Down", True),
        ("pciehp: Slot(1): Link Down/Up ignored", False),
        ("pciehp: Slot(1): Link Up", False),
        ("pciehp: Slot(1): Card not present", True),
        ("DPC: containment event, status:0x1f01 source:0x0000", True),
        ("EDR: EDR event received", True),
        ("   [ 5] Surprise Down", True),
        ("pcieport: AER: Downstream Port link has been reset (0)", True),
        ("not ready 1023ms after bus reset; waiting", True),
        ("not ready 65535ms after DPC; giving up", True),
        ("not ready ms after DPC", False),
        ("not ready 1023ms after resume; waiting", False),
        ("pciehp: Data Link Layer Link Active not set in 100 msec", True),
    ],
)
def test_messages_of_a_lost_link(text: str, lost: bool) -> None:
    messages = [LogMessage(0x0100, text, "dmesg", 7, 8), LogMessage(0x0200, text, "kernel log", 41, 1_000)]
    seen = reset_evidence.link_lost(Part(), 0, messages, PlainEvidence())
    expected = ResetIndicator(
        Evidence(41, "kernel log", None, 1_000, None, None, None, None, text), "high", None
    )
    assert seen == (expected if lost else None)


def test_registers_are_asked_before_messages() -> None:
    messages = [LogMessage(0x0200, "pciehp: Slot(1): Link Down", "kernel log")]
    seen = reset_evidence.link_lost(Part((read(SLTSTA, 2, 0x0100),)), 0, messages, PlainEvidence())
    assert said(seen) == (100, *SLOT)


ASLEEP = (
    f"CAP_PM behind {PM:#x}, 2 bytes",
    "in D3, No_Soft_Reset 0: state is lost on the way back",
    "medium",
)


@pytest.mark.parametrize(
    ("accesses", "since", "row"),
    [
        ([write(PMCSR, 2, 0x0003)], 0, 100),
        ([read(PMCSR, 2, 0x0003)], 0, 100),
        ([write(PMCSR, 2, 0x0003)], 99, 100),
        ([write(PMCSR, 2, 0x0003)], 100, None),
        ([write(PMCSR, 2, 0x000B)], 0, None),  # No_Soft_Reset
        ([write(PMCSR, 2, 0x0002)], 0, None),  # D2
        ([write(PMCSR, 2, 0x0000)], 0, None),
        ([write(PMCSR, 2, 0x8103)], 0, 100),
        ([read(PMCSR, 2, 0xFFFF)], 0, None),  # dead
        ([write(PMCSR, 1, 0x03)], 0, 100),
        ([write(PMCSR, 2, 0x0003, failed=True)], 0, None),  # it never arrived
        ([write(PMCSR + 1, 1, 0x03)], 0, None),  # the byte beside
        ([read(PMCSR, 2, 0x0000), write(PMCSR, 2, 0x0003), write(PMCSR, 2, 0x0000)], 0, 110),
        ([read(PMCSR, 2, 0xFFFF), write(PMCSR, 2, 0x0003)], 0, 110),
        ([write(PMCSR, 2, 0x0003), write(PMCSR, 2, 0x0003)], 100, 110),
        ([], 0, None),
    ],
)
def test_powered_down(accesses: list[Access], since: int, row: int | None) -> None:
    seen = reset_evidence.powered_down(Part(tuple(accesses)), since, PlainEvidence())
    assert said(seen) == (None if row is None else (row, *ASLEEP))


def test_without_power_management_there_is_no_d3() -> None:
    bridge = Part((write(PMCSR, 2, 0x0003),), capabilities=Capabilities({0x10: EXP}, {}))
    assert reset_evidence.powered_down(bridge, 0, PlainEvidence()) is None


MASK, SEVERITY, CORRECTABLE, HEADER_LOG = AER + 0x08, AER + 0x0C, AER + 0x14, AER + 0x1C
CHANGED = (read(MASK, 4, 0x10), write(MASK, 4, 0x30))


@pytest.mark.parametrize(
    ("before", "after", "row", "value"),
    [
        (CHANGED, [read(MASK, 4, 0x10)], 100, 0x30),
        ((read(SEVERITY, 4, 0x10), write(SEVERITY, 4, 0x30)), [read(SEVERITY, 4, 0x10)], 100, 0x30),
        ((read(CORRECTABLE, 4, 0x2000), write(CORRECTABLE, 4, 0)), [read(CORRECTABLE, 4, 0x2000)], 100, 0),
        ((read(HEADER_LOG, 4, 0x10), write(HEADER_LOG, 4, 0x30)), [read(HEADER_LOG, 4, 0x10)], None, 0),
        (CHANGED, [read(MASK, 4, 0x30)], None, 0),  # it survived
        (CHANGED, [read(MASK, 4, 0x50)], None, 0),  # neither
        (CHANGED, [write(MASK, 4, 0x10)], None, 0),  # the incoming kernel wrote it first
        (CHANGED, [], None, 0),
        (CHANGED, [read(MASK, 4, 0xFFFFFFFF), read(MASK, 4, 0x10)], 110, 0x30),
        (CHANGED, [read(MASK, 4, 0x10), write(MASK, 4, 0x30)], 100, 0x30),
        (CHANGED, [read(SEVERITY, 4, 0x99), read(MASK, 4, 0x10)], 110, 0x30),  # another register before it
        ((read(MASK, 4, 0x10),), [read(MASK, 4, 0x10)], None, 0),  # never changed
        ((write(MASK, 4, 0x10), write(MASK, 4, 0x30)), [read(MASK, 4, 0x10)], None, 0),  # first value unknown
        ((*CHANGED, write(MASK, 4, 0x10)), [read(MASK, 4, 0x10)], None, 0),  # set back
        ((*CHANGED, read(MASK, 4, 0xFFFFFFFF)), [read(MASK, 4, 0x10)], 100, 0x30),
        ((read(MASK, 4, 0xFFFFFFFF), *CHANGED), [read(MASK, 4, 0x10)], 100, 0x30),
        ((read(MASK, 4, 0xFFFFFFFF),), [read(MASK, 4, 0x10)], None, 0),
        ((), [read(MASK, 4, 0x10)], None, 0),
        # bits that it changed, but of which no first value is known, or no value after the kexec
        ((read(MASK, 1, 0x10), write(MASK, 4, 0x4010)), [read(MASK, 4, 0x10)], None, 0),
        ((read(MASK, 4, 0x10), write(MASK, 4, 0x4010)), [read(MASK, 1, 0x10)], None, 0),
        ((read(MASK, 1, 0x10), write(MASK, 4, 0x4030)), [read(MASK, 4, 0x10)], 100, 0x4030),
        # the first register says nothing, the second does
        (
            (read(MASK, 4, 0x10), read(SEVERITY, 4, 0x20), write(SEVERITY, 4, 0x60)),
            [read(MASK, 4, 0x10), read(SEVERITY, 4, 0x20)],
            110,
            0x60,
        ),
    ],
)
def test_sticky_registers(
    before: tuple[Access, ...], after: list[Access], row: int | None, value: int
) -> None:
    seen = reset_evidence.sticky_lost(Part(tuple(before)), Part(tuple(after)), PlainEvidence())
    note = f"a sticky AER register was 0x{value:08x} and has its first value again"
    expected = (row, f"ECAP_AER behind {AER:#x}, 4 bytes", note, "medium")
    assert said(seen) == (None if row is None else expected)


def test_sticky_registers_of_a_function_that_moved_its_capability() -> None:
    later = Part((read(0x408, 4, 0x10),), capabilities=Capabilities({}, {0x0001: 0x400}))
    seen = reset_evidence.sticky_lost(Part(CHANGED), later, PlainEvidence())
    assert seen is not None
    assert seen.evidence.register == "ECAP_AER behind 0x400, 4 bytes"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, Part((read(MASK, 4, 0x10),))),
        (Part(CHANGED), None),
        (Part(CHANGED, capabilities=Capabilities({}, {})), Part((read(MASK, 4, 0x10),))),
        (Part(CHANGED), Part((read(MASK, 4, 0x10),), capabilities=Capabilities({}, {}))),
    ],
)
def test_sticky_registers_that_one_boot_does_not_show(before: Part | None, after: Part | None) -> None:
    assert reset_evidence.sticky_lost(before, after, PlainEvidence()) is None
