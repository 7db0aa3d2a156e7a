"""Each cause by its signature, on simulated hardware; verdict, cause, whose, confidence."""

from __future__ import annotations

import pytest
from simulator import Kernel, Machine, Recording
from stories import BELOW_PORT, BELOW_SWITCH, port, switch, tell

PORT = "0000:00:01.0"
UPSTREAM = "0000:01:00.0"
DOWNSTREAM = "0000:02:00.0"
DEVCTL2 = "CAP_EXP+28.w"


def clear(name: str, register: str = DEVCTL2) -> object:
    return lambda recording: recording.setpci(name, register, 0x0, mask=0x20)


@pytest.mark.parametrize("register", ["CAP_EXP+28.b", "CAP_EXP+28.w", "CAP_EXP+28.l"])
def test_explicit_write_of_any_width(register: str) -> None:
    story = tell(port(), preserve=BELOW_PORT, before=clear(PORT, register))
    assert story.verdict(PORT) == "lost explicit-write high"
    assert story.proved
    assert story.stranded == ["0000:01:01.0", "0000:01:01.1"]
    window = story.bridge(PORT).window
    assert window is not None
    assert (window.phase, window.first_off) == ("outgoing", story.bridge(PORT).evidence[-2].access)


def test_explicit_write_recorded_without_widths() -> None:
    story = tell(port(), preserve=BELOW_PORT, before=clear(PORT), qemu=True)
    assert story.verdict(PORT) == "lost explicit-write high"


def test_a_clear_that_was_taken_back_is_no_loss() -> None:
    def clear_and_set(recording: Recording) -> None:
        recording.setpci(PORT, DEVCTL2, 0x0, mask=0x20)
        recording.setpci(PORT, DEVCTL2, 0x20, mask=0x20)

    story = tell(port(), preserve=BELOW_PORT, before=clear_and_set)
    assert story.verdict(PORT) == "kept high"
    assert story.result.verdict == "clean"


def test_restore_write_of_a_stale_snapshot() -> None:
    story = tell(port(), preserve=BELOW_PORT, before=lambda recording: recording.restore(PORT, stale=True))
    assert story.verdict(PORT) == "lost restore-write high"


def test_a_restore_of_the_present_state_is_no_loss() -> None:
    story = tell(port(), preserve=BELOW_PORT, before=lambda recording: recording.restore(PORT))
    assert story.verdict(PORT) == "kept high"


def test_selective_loss() -> None:
    story = tell(port(), preserve=BELOW_PORT, blackout=lambda machine: machine.clear(PORT, DEVCTL2, 0x20))
    assert story.verdict(PORT) == "lost selective-loss medium"
    assert "LTR Enable is still on: only ARI Forwarding was cleared" in [
        item.note for item in story.bridge(PORT).evidence
    ]


def test_selective_loss_with_the_link_down_besides() -> None:
    def happening(machine: Machine) -> None:
        machine.link_drop(PORT)
        machine.clear(PORT, DEVCTL2, 0x20)

    story = tell(port(), preserve=BELOW_PORT, blackout=happening)
    assert story.verdict(PORT) == "lost selective-loss medium"
    notes = [item.note for item in story.bridge(PORT).evidence]
    assert "LTR Enable is off too: the link went down" in notes


def test_a_ports_own_link_drop_keeps_ari() -> None:
    story = tell(port(), preserve=BELOW_PORT, blackout=lambda machine: machine.link_drop(PORT))
    assert story.verdict(PORT) == "kept high"


def test_a_ports_own_secondary_bus_reset_keeps_ari() -> None:
    story = tell(port(), preserve=BELOW_PORT, before=lambda recording: recording.secondary_bus_reset(PORT))
    assert story.verdict(PORT) == "kept high"


def test_secondary_bus_reset_above_the_switch() -> None:
    story = tell(
        switch(), preserve=BELOW_SWITCH, before=lambda recording: recording.secondary_bus_reset(PORT)
    )
    assert story.verdict(UPSTREAM) == f"unconfigured secondary-bus-reset {PORT} high"
    assert story.verdict(DOWNSTREAM) == "hidden"
    assert story.stranded == [DOWNSTREAM, *BELOW_SWITCH]
    assert story.proved


def test_a_stock_kernel_renumbers_behind_a_secondary_bus_reset() -> None:
    story = tell(
        switch(),
        before=lambda recording: recording.secondary_bus_reset(PORT),
        incoming=Kernel(),
        log=True,
    )
    assert story.kexec.kind == "plain"
    assert story.proved
    assert story.verdict(UPSTREAM) == f"renumbered secondary-bus-reset {PORT} high"
    assert story.verdict(DOWNSTREAM) == f"renumbered secondary-bus-reset {PORT} high"
    assert story.alarms == []


def test_upstream_link_down_seen_by_the_outgoing_kernel() -> None:
    def drop(recording: Recording) -> None:
        recording.getpci(PORT, "CAP_EXP+12.w")
        recording.machine.link_down(PORT)
        recording.getpci(PORT, "CAP_EXP+12.w")
        recording.machine.link_up(PORT)

    story = tell(switch(), preserve=BELOW_SWITCH, before=drop)
    assert story.verdict(UPSTREAM) == f"unconfigured upstream-link-down {PORT} high"


def test_upstream_link_down_told_by_the_log() -> None:
    def drop(recording: Recording) -> None:
        recording.machine.link_drop(PORT)
        recording.kernel.say(f"pcieport {PORT}: pciehp: Slot(1): Link Down")

    story = tell(switch(), preserve=BELOW_SWITCH, before=drop, log=True)
    assert story.verdict(UPSTREAM) == f"unconfigured upstream-link-down {PORT} high"


def test_hot_reset_from_nowhere() -> None:
    story = tell(
        switch(), preserve=BELOW_SWITCH, blackout=lambda machine: machine.conventional_reset(UPSTREAM)
    )
    assert story.verdict(UPSTREAM) == "unconfigured hot-reset medium"


def test_host_bridge_reinit_of_a_root_port() -> None:
    story = tell(port(), preserve=BELOW_PORT, blackout=lambda machine: machine.conventional_reset(PORT))
    assert story.verdict(PORT) == "unconfigured host-bridge-reinit medium"


def test_power_state() -> None:
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        before=lambda recording: recording.setpci(UPSTREAM, "CAP_PM+04.w", 0x0003),
        blackout=lambda machine: machine.conventional_reset(UPSTREAM),
    )
    assert story.verdict(UPSTREAM) == "unconfigured power-state medium"


def test_power_cycle_takes_sticky_registers() -> None:
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        before=lambda recording: recording.setpci(UPSTREAM, "ECAP_AER+08.l", 0x00100000),
        blackout=lambda machine: machine.power_cycle(UPSTREAM),
        afterwards=lambda recording: recording.getpci(UPSTREAM, "ECAP_AER+08.l"),
    )
    assert story.verdict(UPSTREAM) == "unconfigured power-cycle medium"


def test_a_gone_bridge_has_no_guessed_cause() -> None:
    story = tell(switch(), preserve=BELOW_SWITCH, blackout=lambda machine: machine.kill(UPSTREAM))
    assert story.verdict(UPSTREAM) == "gone unknown high"
    assert story.verdict(DOWNSTREAM) == "hidden"
    assert story.stranded == [UPSTREAM, DOWNSTREAM, *BELOW_SWITCH]
    assert story.device(UPSTREAM).reason == "no-response"
    assert story.device(DOWNSTREAM).reason == "bridge-gone"


def test_nested_switches_report_the_topmost_port() -> None:
    story = tell(switch(), preserve=BELOW_SWITCH, blackout=lambda machine: machine.secondary_bus_reset(PORT))
    assert [bridge.bdf for bridge in story.kexec.bridges if bridge.cause] == [UPSTREAM]
