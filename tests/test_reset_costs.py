"""What ``atrisk`` says a reset would cost beyond ARI Forwarding, against what a reset really costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator import Kernel, Recording
from small_dumps import FIRST, PORT, dump
from stories import BELOW_SWITCH, switch, tell

from analyzer.options import Options
from analyzer.questions.atrisk import atrisk, atrisk_of

if TYPE_CHECKING:
    from pathlib import Path

DOWNSTREAM, DEVICE = "0000:02:00.0", "0000:03:00.0"


def test_what_it_names_is_what_a_reset_costs() -> None:
    """A function that is reset in the blackout loses what was named for it, and nothing more."""
    recording = Recording(switch())
    recording.firmware()
    recording.boot(Kernel(iommu=True, keeps_bus_master=True))
    ports = atrisk_of(recording.capture()).ports
    (port,) = [one for one in ports if one.bdf == DOWNSTREAM]
    named = {cost.name for cost in port.reset_costs if DEVICE in cost.functions}
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        outgoing=Kernel(iommu=True, keeps_bus_master=True),
        incoming=Kernel(policy="inherit", iommu=True),
        blackout=lambda machine: machine.conventional_reset(DEVICE),
    )
    found = {one.name: one.verdict for one in story.kexec.state if one.bdf == DEVICE}
    assert found.pop("Bus Master") == "expected"  # its driver cleared it on the way down
    assert found.pop("DEVCTL") == "healed"  # a note, which atrisk leaves out
    assert set(found.values()) == {"lost", "healed"}
    assert named == {*found, "Bus Master"}


def test_a_dump_shows_what_no_scan_reads(tmp_path: Path) -> None:
    rows: dict[tuple[str, int], str | None] = {
        (FIRST, 0x100): "0e 00 01 11 00 08 00 00 00 00 00 00 00 00 00 00",
        (FIRST, 0x110): "0f 00 01 00 00 00 01 80 00 00 00 00 00 00 00 00",
    }
    (tmp_path / "dump.txt").write_text(dump(size=512, rows=rows))
    (port,) = atrisk(str(tmp_path / "dump.txt"), Options()).ports
    costs = {cost.name: cost.functions for cost in port.reset_costs}
    assert port.bdf == f"0000:{PORT}"
    assert costs["ATS"] == ["0000:01:00.0"]
    assert costs["Bus Master"] == ["0000:00:03.0", "0000:01:00.0", "0000:01:01.0"]
    assert "BAR" not in costs
