"""Findings beside the question: ACS, Bus Master, SR-IOV routing; and what is none."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from simulator import SILICON, Kernel, ari_device, one_port, one_switch
from stories import tell

from analyzer.analysis import analyze_capture
from analyzer.observed.virtual_functions import Placement
from analyzer.options import Options

PORT = "0000:00:01.0"
BELOW = ("0000:01:00.0", "0000:01:00.1", "0000:01:01.0", "0000:01:01.1")


def kinds(story: object) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in story.kexec.secondary:  # type: ignore[attr-defined]
        found.setdefault(item.kind, []).append(item.bdf)
    return found


def test_acs_lost_with_the_same_reset() -> None:
    story = tell(
        one_switch(ari_device(0, 8, model=SILICON), model=SILICON),
        preserve=("0000:03:00.0", "0000:03:01.0"),
        outgoing=Kernel(iommu=True),
        incoming=Kernel(policy="inherit", series="v7", iommu=True),
        blackout=lambda machine: machine.clear("0000:02:00.0", "ECAP_ACS+06.w", 0x7F),
    )
    assert kinds(story)["acs-lost"] == ["0000:02:00.0"]
    assert "STATE003" in story.alarms
    assert story.verdict("0000:02:00.0") == "kept high"


ACS_CONTROL = "ECAP_ACS+06.w"
PARTLY = "ACS Control was 0x001d before the kexec and reads 0x0019 after it: lost ReqRedir"


@pytest.mark.parametrize("series", ["v4", "v5", "v6", "v7", "v8", "v9"])
def test_one_acs_bit_lost(series: str) -> None:
    """Every series keeps what it finds, in another way; the loss is seen in the first read of each."""
    story = tell(
        one_switch(ari_device(0, 8, model=SILICON), model=SILICON),
        preserve=("0000:03:00.0", "0000:03:01.0"),
        outgoing=Kernel(iommu=True),
        incoming=Kernel(policy="inherit", series=series, iommu=True),
        blackout=lambda machine: machine.clear("0000:02:00.0", ACS_CONTROL, 0x04),
    )
    assert [(item.bdf, item.note) for item in story.kexec.secondary] == [("0000:02:00.0", PARTLY)]
    assert story.alarms == ["STATE003"]
    assert story.recording.machine.peek("0000:02:00.0", ACS_CONTROL) == 0x19
    ((_, read),) = [item.evidence for item in story.kexec.secondary]
    its = [
        (op, value)
        for op, seq, key, offset, value in story.recording.capture()
        .accesses.select("op", "seq", pl.col("bus").cast(int) * 256 + pl.col("devfn"), "offset", "value")
        .iter_rows()
        if (key, offset) == (0x0200, 0x220 + 0x06) and seq >= (read.access or 0)
    ]
    assert its == ([("read", 0x19)] if series == "v9" else [("read", 0x19), ("write", 0x19)])


def test_one_acs_bit_lost_that_a_stock_kernel_sets_again() -> None:
    story = tell(
        one_switch(ari_device(0, 8, model=SILICON), model=SILICON),
        preserve=("0000:03:00.0", "0000:03:01.0"),
        outgoing=Kernel(iommu=True),
        incoming=Kernel(iommu=True),
        blackout=lambda machine: machine.clear("0000:02:00.0", ACS_CONTROL, 0x04),
    )
    assert [item.note for item in story.kexec.secondary] == [f"{PARTLY}; the incoming kernel set it again"]
    assert story.recording.machine.peek("0000:02:00.0", ACS_CONTROL) == 0x1D


def test_bus_master_lost_where_the_outgoing_kernel_keeps_it() -> None:
    story = tell(
        one_port(),
        preserve=BELOW,
        outgoing=Kernel(keeps_bus_master=True),
        blackout=lambda machine: machine.clear(PORT, "04.w", 0x4),
    )
    assert kinds(story)["bus-master-lost"] == [PORT]


def test_bus_master_that_a_stock_shutdown_clears_is_no_finding() -> None:
    assert "bus-master-lost" not in kinds(tell(one_port(), preserve=BELOW))


def test_bus_master_is_not_judged_where_the_shutdown_is_not_in_the_capture() -> None:
    """A recording made by the outgoing kernel itself ends before its shutdown, which clears Bus Master."""
    story = tell(one_port(), preserve=BELOW)
    whole = story.recording.capture()
    kexec = story.kexec.at_access
    going_down = pl.col("seq").is_between(kexec - 60, kexec - 1)
    cut = replace(whole, accesses=whole.accesses.filter(~going_down))
    result = analyze_capture(cut, Options(preserved=",".join(BELOW)))
    assert "bus-master-lost" not in [item.kind for item in result.kexecs[0].secondary]


def test_bus_master_that_stays_on_is_no_finding() -> None:
    assert "bus-master-lost" not in kinds(
        tell(one_port(), preserve=BELOW, outgoing=Kernel(keeps_bus_master=True))
    )


@pytest.mark.parametrize(
    ("physical", "number", "offset", "stride", "expected"),
    [
        (0x0100, 1, 8, 1, 0x0108),
        (0x0100, 4, 8, 2, 0x010E),
        (0x0100, 1, 0x100, 1, 0x0200),  # on the next bus
        (0x10000_0100, 2, 0x80, 0x80, 0x10000_0200),  # the domain stays
        (0xFFF8, 2, 8, 1, 0x0001),  # 16 bits
    ],
)
def test_routing_ids_of_virtual_functions(
    physical: int, number: int, offset: int, stride: int, expected: int
) -> None:
    assert Placement(physical, 4, offset, stride).key(number) == expected
