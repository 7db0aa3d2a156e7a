"""Before a kexec: what depends on bit 5, checked against what is stranded when the bit is really gone."""

from __future__ import annotations

import pytest
from simulator import Kernel, Recording, ari_device, lab_topology, one_port, one_switch
from stories import tell

from analyzer.errors import UsageError
from analyzer.options import Options
from analyzer.questions.atrisk import atrisk, atrisk_of

PORT = "0000:00:01.0"


def running(machine: object) -> Recording:
    recording = Recording(machine)  # type: ignore[arg-type]
    recording.firmware()
    recording.boot(Kernel())
    return recording


def test_what_is_at_risk_is_what_a_loss_strands() -> None:
    names = ("0000:01:00.0", "0000:01:00.1", "0000:01:01.0", "0000:01:01.1")
    (port,) = atrisk_of(running(one_port()).capture(), Options(preserved=",".join(names))).ports
    lost = tell(
        one_port(), preserve=names, blackout=lambda machine: machine.clear(PORT, "CAP_EXP+28.w", 0x20)
    )
    assert port.lost_with_bit == lost.stranded
    reset = tell(one_port(), preserve=names, blackout=lambda machine: machine.conventional_reset(PORT))
    assert port.lost_with_reset == reset.stranded
    assert port.preserved == list(names)


def test_the_lab_machine() -> None:
    found = atrisk_of(running(lab_topology()).capture())
    assert {port.bdf: port.lost_with_bit for port in found.ports} == {
        "0000:02:00.0": ["0000:03:01.0", "0000:03:01.1", "0000:03:02.0"],
        "0000:00:04.0": ["0000:05:01.0"],
        "0000:00:05.0": [],
        "0000:02:01.0": [],
    }
    assert (found.verdict, found.unknown) == ("at-risk", [])


@pytest.mark.parametrize(
    ("machine", "bridge", "above"),
    [(one_port(), PORT, []), (one_switch(ari_device(0, 8)), "0000:02:00.0", [PORT, "0000:01:00.0"])],
    ids=["root port", "switch downstream port"],
)
def test_who_can_take_it(machine: object, bridge: str, above: list[str]) -> None:
    ports = atrisk_of(running(machine).capture()).ports
    port = next(item for item in ports if item.bdf == bridge)
    pulses = [taker.bridges for taker in port.takers if "secondary bus reset" in taker.event]
    assert pulses == ([above] if above else [])
    assert any("writes the register" in taker.event and taker.takes == "bit" for taker in port.takers)


def test_a_capture_is_judged_by_its_last_kernel() -> None:
    """The bit is off, and this kernel did not find what the one before it had."""
    found = atrisk("traces/lost-explicit-write.bin")
    (port,) = [port for port in found.ports if port.bdf == "0000:02:00.0"]
    assert (found.verdict, port.already_lost, port.ari_hardware, port.ari_kernel) == (
        "already-lost", True, False, False
    )  # fmt: skip
    assert port.lost_with_bit == ["0000:03:01.0", "0000:03:01.1", "0000:03:02.0"]


def test_firmware_alone_is_no_machine() -> None:
    recording = Recording(one_port())
    recording.firmware()
    with pytest.raises(UsageError, match="no function of a running kernel"):
        atrisk_of(recording.capture())
