"""What must never raise an alarm: a false one is as bad as a miss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simulator import (
    SILICON,
    Kernel,
    Machine,
    Recording,
    ari_device,
    conventional,
    downstream_port,
    endpoint,
    host_bridge,
    lab_topology,
    one_port,
    pci_bridge,
    pcie_to_pci_bridge,
    root_port,
    upstream_port,
)
from stories import tell

from analyzer.analysis import analyze, analyze_capture
from analyzer.cli import exit_status
from analyzer.options import Options
from analyzer.results import Analysis
from analyzer.verdicts.verdict import summarise

if TYPE_CHECKING:
    from collections.abc import Callable

    from stories import Story

PORT = "0000:00:01.0"


def wide_switch() -> Machine:
    """Downstream ports at devices 1, 2 and 17: devfn 8 and up below an upstream port are no ARI functions."""
    ports = {place: downstream_port({"00.0": endpoint()}) for place in ("00.0", "01.0", "02.0", "11.0")}
    return Machine({(0, 0): {"00.0": host_bridge(), "01.0": root_port({"00.0": upstream_port(ports)})}})


def wide_root_bus() -> Machine:
    places = ("01.0", "02.0", "0a.0", "1f.0")
    integrated = {place: endpoint(integrated=True, multifunction=True) for place in ("10.0", "10.1")}
    return Machine(
        {(0, 0): {"00.0": host_bridge(), **{place: conventional() for place in places}, **integrated}}
    )


def conventional_buses() -> Machine:
    cards = {place: conventional() for place in ("01.0", "0c.0", "1f.0")}
    more = {place: conventional() for place in ("02.0", "1e.0")}
    return Machine(
        {
            (0, 0): {
                "00.0": host_bridge(),
                "01.0": pci_bridge(cards),
                "02.0": root_port({"00.0": pcie_to_pci_bridge(more)}),
            }
        }
    )


def empty_slots() -> Machine:
    return Machine({(0, 0): {"00.0": host_bridge(), "01.0": root_port(), "02.0": root_port(model=SILICON)}})


def never_ari() -> Machine:
    plain = {0: endpoint(multifunction=True), 1: endpoint(multifunction=True)}
    old = root_port({"00.0": endpoint(ari=0)}, version=1)
    unsupported = root_port(ari_device(0, 1), ari_forwarding=False)
    return Machine(
        {(0, 0): {"00.0": host_bridge(), "01.0": root_port(plain), "02.0": old, "03.0": unsupported}}
    )


MACHINES: dict[str, Callable[[], Machine]] = {
    "below a switch upstream port": wide_switch,
    "a root bus": wide_root_bus,
    "conventional buses": conventional_buses,
    "empty slots": empty_slots,
    "bridges that never had ARI": never_ari,
    "the lab": lab_topology,
}


def silent(story: Story) -> bool:
    analysis = Analysis("observed", [story.result], summarise([story.result]))
    return (
        story.proved
        and story.alarms == []
        and story.result.verdict == "clean"
        and exit_status.of_analysis(analysis) == exit_status.OK
    )


@pytest.mark.parametrize("incoming", ["stock", "inherit"])
@pytest.mark.parametrize("machine", MACHINES.values(), ids=list(MACHINES))
def test_healthy_machines_stay_silent(machine: Callable[[], Machine], incoming: str) -> None:
    hardware = machine()
    everything = tuple(hardware.names())
    kernel = Kernel() if incoming == "stock" else Kernel(policy="inherit")
    assert silent(tell(hardware, preserve=everything, incoming=kernel))


BELOW = ("0000:01:00.0", "0000:01:00.1", "0000:01:01.0", "0000:01:01.1")
HAPPENINGS: dict[str, Callable[[Recording], object]] = {
    "rescan": lambda recording: recording.rescan(),
    "lspci": lambda recording: recording.lspci(),
    "setpci read": lambda recording: recording.getpci(PORT, "CAP_EXP+28.w"),
    "remove and rescan of the device": lambda recording: (
        recording.remove("0000:01:00.0"),
        recording.rescan(),
    ),
    "a port's own bus reset": lambda recording: recording.reset_bus(PORT, *BELOW),
    "VFIO freeze": lambda recording: recording.freeze("0000:01:00.0", "0000:01:01.0"),
    "state restore": lambda recording: recording.restore(PORT),
    "clear, then set": lambda recording: (
        recording.setpci(PORT, "CAP_EXP+28.w", 0, mask=0x20),
        recording.setpci(PORT, "CAP_EXP+28.w", 0x20, mask=0x20),
    ),
}


@pytest.mark.parametrize("happening", HAPPENINGS.values(), ids=list(HAPPENINGS))
def test_daily_life_before_a_live_update_stays_silent(happening: Callable[[Recording], object]) -> None:
    assert silent(tell(one_port(model=SILICON), preserve=BELOW, before=happening))


@pytest.mark.parametrize(
    "happening",
    [
        lambda machine: machine.clear(PORT, "CAP_EXP+28.w", 0x20),
        lambda machine: machine.conventional_reset(PORT),
        lambda machine: machine.kill("0000:01:01.0"),
        lambda machine: machine.unplug("0000:01:01.1"),
    ],
    ids=["bit lost", "port reset", "function dead", "function gone"],
)
def test_a_plain_kexec_that_preserves_nothing_raises_no_alarm(happening: Callable[[Machine], object]) -> None:
    story = tell(one_port(), blackout=happening, incoming=Kernel(), log=True)
    assert story.kexec.kind == "plain"
    assert story.alarms == []
    # A loss is a loss all the same: it is noted, never called clean.
    assert (story.result.verdict, story.result.weight) == ("findings", None)


def test_a_reboot_is_no_kexec() -> None:
    recording = Recording(lab_topology())
    recording.firmware()
    recording.boot(Kernel())
    recording.reboot()
    recording.firmware()
    recording.boot(Kernel())
    result = analyze_capture(recording.capture())
    assert (result.verdict, result.kexecs) == ("no-kexec", [])


def test_a_kernel_alone_is_no_kexec() -> None:
    recording = Recording(lab_topology())
    recording.firmware()
    recording.boot(Kernel())
    recording.rescan()
    recording.lspci()
    assert analyze_capture(recording.capture(), Options(assume_preserved=True)).verdict == "no-kexec"


def test_the_healthy_capture_of_the_corpus_exits_with_0_even_when_strict() -> None:
    assert exit_status.of_analysis(analyze(["traces/clean-inherit.bin"], Options(strict=True))) == 0
