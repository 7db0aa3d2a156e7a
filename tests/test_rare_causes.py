"""Causes and reasons that no recorded capture shows, each on simulated hardware."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl
import pytest
from simulator.register_names import locate
from stories import BELOW_PORT, BELOW_SWITCH, Story, port, switch, tell

from analyzer.analysis import analyze_capture
from analyzer.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Machine, Recording

    from analyzer.results import BridgeVerdict

PORT = "0000:00:01.0"
UPSTREAM = "0000:01:00.0"
DEVCTL2 = "CAP_EXP+28.w"


def lose(machine: Machine) -> None:
    machine.clear(PORT, DEVCTL2, 0x20)


def write_bit(recording: Recording, *, on: bool) -> None:
    """Write bit 5 without reading the register first."""
    rest = recording.machine.peek(PORT, DEVCTL2) & ~0x20
    recording.setpci(PORT, DEVCTL2, rest | 0x20 * on)


def port_where(story: Story, kept: pl.Expr) -> BridgeVerdict:
    """The verdict on the port where only some accesses are in the capture."""
    capture = story.recording.capture()
    capture = replace(capture, accesses=capture.accesses.filter(kept))
    result = analyze_capture(capture, Options(preserved=",".join(BELOW_PORT)))
    return next(bridge for bridge in result.kexecs[-1].bridges if bridge.bdf == PORT)


def test_a_write_without_a_read_before_it_is_evidence_enough() -> None:
    story = tell(port(), preserve=BELOW_PORT, before=lambda recording: write_bit(recording, on=False))
    assert story.verdict(PORT) == "lost explicit-write high"
    assert story.proved


def test_a_clear_taken_back_without_a_read_is_no_loss() -> None:
    def clear_and_set(recording: Recording) -> None:
        write_bit(recording, on=False)
        write_bit(recording, on=True)

    assert tell(port(), preserve=BELOW_PORT, before=clear_and_set).verdict(PORT) == "kept high"


def test_a_bit_that_was_not_read_before_is_not_inferred() -> None:
    """The recording begins after the scan: functions above 7 answer, the register is not read again."""
    begins = []

    def look(recording: Recording) -> None:
        begins.append(len(recording.wire.rows))
        recording.lspci()
        recording.getpci(PORT, "CAP_EXP+02.w")

    story = tell(port(), preserve=BELOW_PORT, before=look, blackout=lose)
    assert story.verdict(PORT) == "lost selective-loss medium"
    found = port_where(story, pl.col("seq") >= begins[0])
    assert (found.verdict, found.cause, found.ari_before, found.ari_after) == (
        "undetermined", None, None, False
    )  # fmt: skip
    assert found.stranded == list(BELOW_PORT[2:])  # that they are gone is seen


def test_a_loss_on_a_bridge_whose_bus_numbers_were_not_recorded_has_no_cause() -> None:
    story = tell(port(), preserve=BELOW_PORT, blackout=lose)
    offset, _ = locate(story.recording.machine.function(PORT), "18.l")
    behind = (pl.col("seq") >= story.kexec.at_access) & (pl.col("bus") == 0) & (pl.col("devfn") == 8)
    found = port_where(story, ~(behind & (pl.col("offset") == offset)))
    assert (found.verdict, found.cause, found.confidence) == ("lost", "unknown", "low")


@pytest.mark.parametrize(
    ("pmcsr", "expected"),
    [(0x0003, "lost power-state medium"), (0x000B, "lost selective-loss medium")],
    ids=["loses its state", "keeps its state"],
)
def test_a_loss_in_d3_without_a_reset(pmcsr: int, expected: str) -> None:
    story = tell(
        port(),
        preserve=BELOW_PORT,
        before=lambda recording: recording.setpci(PORT, "CAP_PM+04.w", pmcsr),
        blackout=lose,
    )
    assert story.verdict(PORT) == expected


@pytest.mark.parametrize(
    ("register", "bit"),
    [("CAP_EXP+1a.w", 0x100), ("ECAP_AER+04.l", 0x20), ("ECAP_DPC+08.w", 0x1)],
    ids=["slot status", "surprise down", "downstream port containment"],
)
def test_a_link_that_went_down_shows_in_sticky_bits(register: str, bit: int) -> None:
    def drop(recording: Recording) -> None:
        recording.getpci(PORT, register)
        recording.machine.poke(PORT, register, recording.machine.peek(PORT, register) | bit)
        recording.getpci(PORT, register)

    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        before=drop,
        blackout=lambda machine: machine.conventional_reset(UPSTREAM),
    )
    assert story.verdict(UPSTREAM) == f"unconfigured upstream-link-down {PORT} medium"


def dies_after(name: str, reads: int) -> Callable[[Machine], None]:
    """From now on, a function answers so many reads and nothing more."""

    def happening(machine: Machine) -> None:
        answer, left = machine.read, [reads]
        bus, device, function = (int(part, 16) for part in name[5:].replace(".", ":").split(":"))

        def counted(domain: int, at_bus: int, devfn: int, offset: int, width: int) -> int:
            if (at_bus, devfn) == (bus, device << 3 | function):
                left[0] -= 1
                if not left[0]:
                    machine.kill(name)
            return answer(domain, at_bus, devfn, offset, width)

        machine.read = counted  # type: ignore[method-assign]

    return happening


@pytest.mark.parametrize("qemu", [False, True], ids=["widths", "no widths"])
@pytest.mark.parametrize("reads", [10, 20, 40, 60])
def test_a_function_that_dies_in_the_scan_strands_its_siblings(reads: int, qemu: bool) -> None:
    """It was discovered; those behind it in the chain were not, though they would have answered."""
    story = tell(port(), preserve=BELOW_PORT, blackout=dies_after("0000:01:00.0", reads), qemu=qemu)
    assert story.kexec.observed.discovered == story.incoming.enumerated
    lost = [name for name in BELOW_PORT if name not in story.incoming.enumerated]
    assert lost == list(BELOW_PORT[2 if reads == 10 else 1 :])  # without its ARI capability ARI is off
    notes = {item.bdf: (item.explained, item.note) for item in story.kexec.divergences}
    assert notes == dict.fromkeys(lost, (True, "0000:01:00.0 stopped answering while the scan set it up"))
    found = {device.bdf: (device.verdict, device.reason) for device in story.kexec.devices}
    assert {name: found[name] for name in BELOW_PORT} == (
        dict.fromkeys(BELOW_PORT, ("reachable", None))
        | dict.fromkeys(lost, ("stranded", "function-0-absent"))
    )
    assert story.result.verdict == "findings"
