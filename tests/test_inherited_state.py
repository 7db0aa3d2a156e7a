"""Another register than ARI Forwarding: declared as a value, and everything that is asked of a state answers.

No program file knows these registers: what is tested is that a declaration is enough.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analyzer import analysis, bdf
from analyzer.observed import register_state
from analyzer.observed.registers import missing_bytes
from analyzer.questions.explain import lanes
from analyzer.results import Window
from analyzer.testing import TraceBuilder
from analyzer.verdicts import causes
from analyzer.verdicts.causes import CauseContext
from analyzer.verdicts.state_at_kexec import StateAtKexec
from schemas import inherited_state, pcie_capability
from schemas.error_status import (
    DEFAULT_SEVERITY,
    ERROR_STATUS_REGISTERS,
    MASKS,
    NAMES,
    SEVERITY,
    SEVERITY_BY_WORD,
)
from schemas.inherited_state import ARI_FORWARDING, INHERITED, InheritedState
from schemas.registers import DEVCTL, REGISTERS, UESTA, setpci_name

if TYPE_CHECKING:
    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.observed.registers.functions import Function

MAX_PAYLOAD = InheritedState(
    name="Max Payload Size",
    register=DEVCTL,
    mask=0x00E0,
    word="MaxPayload",
    rule="pci_configure_mps() rewrites it where the port above differs",
    dependents="DMA of the device: a payload that the port does not accept is an error",
    kernel="Linux 7.3 drivers/pci/probe.c pci_configure_mps()",
    specification="PCI Express Base Specification, Device Control Register (7.5.3.4)",
)
#: Two bytes that are state and a nibble in each that is not; no kernel has such a register.
FICTION = InheritedState(
    name="Fiction",
    register=REGISTERS["CAP_EXP"][pcie_capability.SLTCTL2],
    mask=0x0FF0,
    word="Fict",
    rule="none",
    dependents="nothing",
    kernel="none",
    specification="none",
    reset_value=0x0F,
)
ERRORS = InheritedState(
    name="Uncorrectable errors",
    register=UESTA,
    mask=0x0000_0030,
    word="UESta",
    rule="an error status: the blackout's errors stay until somebody clears them",
    dependents="nothing",
    kernel="Linux 7.3 drivers/pci/pcie/aer.c",
    specification="PCI Express Base Specification, Uncorrectable Error Status (7.8.4.2)",
)

KEY = bdf.parse("00:03.0")
LOW, HIGH = "r 00:03.0 78.b", "r 00:03.0 79.b"
#: A root port with its PCI Express capability at 40 and AER at 100, as a stock kernel scans it.
SCAN = """
r 00:00.0 00.l 29c08086
r 00:00.0 0e.b 00
r 00:03.0 00.l 000c1b36
r 00:03.0 0e.b 01
r 00:03.0 06.w 0010
r 00:03.0 34.b 40
r 00:03.0 40.w 0010
r 00:03.0 42.w 0142
r 00:03.0 100.l 00020001
r 00:03.0 18.l 00010100
r 00:03.0 3e.w 0002
r 00:04.0 00.l gone
"""


def studied(before: str, after: str) -> tuple[Capture, Study]:
    """Two kernels that scan the port, with some accesses after each scan."""
    capture = TraceBuilder(f"{SCAN}{before}\nboundary live-update\n{SCAN}{after}").capture()
    return capture, analysis.study(capture)


def functions(study: Study) -> tuple[Function, Function]:
    outgoing, incoming = study.topologies
    return outgoing.functions[KEY], incoming.functions[KEY]


def at_kexec(state: InheritedState, before: Function | None, after: Function | None) -> StateAtKexec:
    held, first = register_state.outgoing_state(before, state), register_state.first_after(after, state)
    return StateAtKexec(state, before, after, held, first)


def judged(before: str, after: str, state: InheritedState) -> StateAtKexec:
    _, study = studied(before, after)
    return at_kexec(state, *functions(study))


@pytest.mark.parametrize(
    ("state", "before", "after", "expected"),
    [
        (MAX_PAYLOAD, "r 00:03.0 48.w 2830", "r 00:03.0 48.w 2830", (1, 1)),
        (MAX_PAYLOAD, "r 00:03.0 48.w 2830", "r 00:03.0 48.w 2810", (1, 0)),
        (MAX_PAYLOAD, "r 00:03.0 48.b 50", "r 00:03.0 48.l 00002830", (2, 1)),
        # set and confirmed; another value that no read confirms
        (MAX_PAYLOAD, "r 00:03.0 48.w 2830\nw 00:03.0 48.w 2850\nr 00:03.0 48.w 2850", "", (2, None)),
        (MAX_PAYLOAD, "r 00:03.0 48.w 2830\nw 00:03.0 48.w 2850", "", (1, None)),
        # a stray write of the reset value is the loss, not a new state
        (MAX_PAYLOAD, "r 00:03.0 48.w 2830\nw 00:03.0 48.w 2810\nr 00:03.0 48.w 2810", "", (1, None)),
        # the high byte is no state of this register
        (MAX_PAYLOAD, "r 00:03.0 48.w 2830\nr 00:03.0 49.b 00", "r 00:03.0 49.b 28", (1, None)),
        (MAX_PAYLOAD, "r 00:03.0 48.w ffff", "w 00:03.0 48.w 2810\nr 00:03.0 48.w 2810", (None, None)),
        # byte by byte, the bits beside it masked
        (FICTION, "r 00:03.0 78.w a12b", "r 00:03.0 78.w 312f", (0x12, 0x12)),
        (FICTION, f"{LOW} 2b\n{HIGH} a1", f"{HIGH} 31\n{LOW} 30", (0x12, 0x13)),
        (FICTION, f"{LOW} 2b", f"{HIGH} 31\nw 00:03.0 78.b 00\nr 00:03.0 78.w 3100", (None, None)),
        # RW1C: a write clears, it does not set
        (ERRORS, "r 00:03.0 104.l 00000020\nw 00:03.0 104.l 00000020", "r 00:03.0 104.l 00000030", (2, 3)),
        (ERRORS, "w 00:03.0 104.l 00000020", "w 00:03.0 104.l 00000030\nr 00:03.0 104.l 00000000", (None, 0)),
    ],
)  # fmt: skip
def test_held_and_read_first(
    state: InheritedState, before: str, after: str, expected: tuple[int | None, int | None]
) -> None:
    found = judged(before, after, state)
    assert (found.outgoing.value, found.value_after) == expected


def test_cause_window_and_evidence() -> None:
    """Somebody wrote 128 bytes (setpci) before the kexec."""
    _, study = studied(
        "w 00:03.0 48.w 2830\nr 00:03.0 48.w 2830\nr 00:03.0 48.w 2830\nw 00:03.0 48.w 2810",
        "r 00:03.0 48.w 2810",
    )
    before, after = functions(study)
    found = at_kexec(MAX_PAYLOAD, before, after)
    context = CauseContext(before, after, (), found.outgoing.row or 0, 999, found.outgoing, state=MAX_PAYLOAD)
    cause = causes.attribute(context, study.builder)
    assert (cause.cause, cause.confidence) == ("explicit-write", "high")
    assert [(item.op, item.register, item.value, item.note) for item in cause.evidence] == [
        ("read", "CAP_EXP+08.w", "0x2830", "last read before that write"),
        ("write", "CAP_EXP+08.w", "0x2810", "bits 7:5 (MaxPayload) written as 0"),
    ]
    assert found.window(cause, study.topologies[0].boot.end, study.builder) == Window(14, 15, "outgoing")
    assert [(item.register, item.note) for item in found.evidence(study.builder)] == [
        ("CAP_EXP+08.w", "outgoing kernel: Max Payload Size 0x1"),
        ("CAP_EXP+08.w", "first read after the kexec: 0x0"),
    ]


@pytest.mark.parametrize(
    ("after", "cause"),
    [
        ("r 00:03.0 48.w 2810", "selective-loss"),
        ("w 00:03.0 48.w 2810\nr 00:03.0 48.w 2810", "incoming-write"),
    ],
)
def test_other_causes(after: str, cause: str) -> None:
    _, study = studied("r 00:03.0 48.w 2830", after)
    before, incoming = functions(study)
    held = at_kexec(MAX_PAYLOAD, before, incoming).outgoing
    context = CauseContext(before, incoming, (), held.row or 0, 999, held, state=MAX_PAYLOAD)
    assert causes.attribute(context, study.builder).cause == cause


def test_bytes_that_are_missing() -> None:
    before, _ = functions(studied("", "")[1])
    assert missing_bytes.of_state(before, MAX_PAYLOAD, known=False) == ["CAP_EXP+08.w"]
    assert missing_bytes.of_state(before, ERRORS, known=False) == ["ECAP_AER+04.l"]
    assert missing_bytes.of_state(before, MAX_PAYLOAD, known=True) == []


def test_a_lane_of_its_own() -> None:
    capture, study = studied("r 00:03.0 48.w 2830\nw 00:03.0 48.w 2850", "r 00:03.0 48.w 2810")
    (lane,) = lanes.gather(capture, study, state=MAX_PAYLOAD).lanes
    assert lane.bdf == bdf.text(KEY)
    shown = [(entry.op, entry.register, entry.ari) for entry in lane.entries if entry.ari is not None]
    assert shown == [
        ("read", "CAP_EXP+08.w", 1),
        ("write", "CAP_EXP+08.w", 2),
        ("read", "CAP_EXP+08.w", 0),
    ]
    assert [stretch.state for stretch in lane.stretches] == [1, None, 0]


@pytest.mark.parametrize("state", INHERITED, ids=lambda state: state.name)
def test_what_a_declaration_says_fits_its_register(state: InheritedState) -> None:
    register = state.register
    assert register is REGISTERS[register.base][register.offset]
    assert setpci_name(register.base, register.offset, register.size) == register.setpci
    assert all((state.rule, state.dependents, state.kernel, state.specification))
    if state.is_flag:  # the one bit that lspci has this word for
        on = register.layout.parse(state.mask.to_bytes(register.size, "little"))
        assert [name for name, value in on.items() if value is True] == [state.word]


@pytest.mark.parametrize("status", ERROR_STATUS_REGISTERS, ids=lambda status: status.name)
def test_what_an_error_status_declares_fits_its_register(status: InheritedState) -> None:
    register = status.register
    assert register is REGISTERS[register.base][register.offset]
    assert status.is_error_status
    assert all((status.rule, status.dependents, status.kernel, status.specification))
    named = [word for word in register.words(status.mask) if not word.startswith("bit ")]
    assert named == list(NAMES[register])
    assert not SEVERITY_BY_WORD.get(register, {}).keys() - set(named)


def test_default_severity_and_masks() -> None:
    assert UESTA.words(DEFAULT_SEVERITY) == ["DLP", "SDES", "FCP", "RxOF", "MalfTLP", "UncorrIntErr"]
    assert {status.name: mask.setpci for status, mask in MASKS.items()} == {
        "UESta": "ECAP_AER+08.l",
        "CESta": "ECAP_AER+14.l",
    }
    assert SEVERITY.setpci == "ECAP_AER+0c.l"


def test_the_page_lists_every_error_status() -> None:
    page = (Path(__file__).parents[1] / "docs/replay.md").read_text("utf-8")
    for status in ERROR_STATUS_REGISTERS:
        place = f"`{status.register.setpci}` {status.bits}"
        source = f"{status.kernel}; {status.specification}"
        row = (status.name, place, f"`{status.word}`", status.rule, source)
        assert f"| {' | '.join(row)} |" in page


def test_the_page_lists_every_declaration() -> None:
    page = (Path(__file__).parents[1] / "docs/replay.md").read_text("utf-8")
    for state in INHERITED:
        place = f"`{state.register.setpci}` {state.bits}"
        source = f"{state.kernel}; {state.specification}"
        row = (state.name, place, f"`{state.word}`", state.rule, state.dependents, source)
        assert f"| {' | '.join(row)} |" in page


def test_ari_forwarding() -> None:
    register = ARI_FORWARDING.register
    assert (register.base, register.offset, register.size, register.name) == ("CAP_EXP", 0x28, 2, "DevCtl2")
    assert (ARI_FORWARDING.mask, ARI_FORWARDING.bits, register.setpci) == (0x20, "bit 5", "CAP_EXP+28.w")
    assert [ARI_FORWARDING.text(value) for value in (1, 0, None)] == ["ARIFwd+", "ARIFwd-", "ARIFwd?"]
    assert ARI_FORWARDING.reset_value == 0


@pytest.mark.parametrize("mask", [0, 0x1_0000])
def test_bits_that_the_register_does_not_have(mask: int) -> None:
    with pytest.raises(ValueError, match=r"mask .* does not fit CAP_EXP\+08\.w"):
        inherited_state.InheritedState(
            name="x",
            register=DEVCTL,
            mask=mask,
            word="x",
            rule="",
            dependents="",
            kernel="",
            specification="",
        )


def test_a_function_that_was_not_seen() -> None:
    assert list(register_state.history(None, MAX_PAYLOAD)) == []
    assert register_state.outgoing_state(None, MAX_PAYLOAD).value is None
    assert register_state.first_after(None, MAX_PAYLOAD) is None
