"""Versions of the patches: given, logged, told by the data, or recognised; and data that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from preserved_dumps import array, h7, h8
from simulator import Kernel, Machine, Recording, ari_device, host_bridge, one_port, root_port
from stories import tell

from analyzer.analysis import analyze_capture
from analyzer.capture import PreservedDump
from analyzer.options import Options
from analyzer.preservation.preserved import HandedOver
from analyzer.readers import open_capture
from analyzer.replay.series_recognition import candidates, handover

TRACES = Path(__file__).parent.parent / "traces"

BELOW = ("0000:01:00.0", "0000:01:00.1", "0000:01:01.0", "0000:01:01.1")
SET = [(0, 0x0008, 4), (0, 0x0100, 1), (0, 0x0101, 1), (0, 0x0108, 1), (0, 0x0109, 1)]


@pytest.mark.parametrize(
    ("option", "logged", "layout", "expected"),
    [
        ("v5", ("v9",), "H8", ["v5"]),
        (None, ("v6", "v7"), None, ["v6", "v7"]),
        (None, (), "H8", ["v8", "v9"]),
        (None, (), "H7", ["v7"]),
        (None, ("v6", "v7"), "H6", ["v6"]),
        (None, ("v9",), "H6", ["v9"]),  # the log is the incoming kernel's own word
        (None, (), None, ["v4", "v5", "v6", "v7", "v8", "v9"]),
    ],
)
def test_candidates(
    option: str | None, logged: tuple[str, ...], layout: str | None, expected: list[str]
) -> None:
    data = None if layout is None else HandedOver(layout, None, "")
    assert candidates(option, logged, data) == expected


@pytest.mark.parametrize(
    ("series", "data", "expected"),
    [
        ("v9", HandedOver("H8", 2, "pci"), "matched"),
        ("v9", HandedOver("H8", 2, ""), "matched"),
        ("v9", HandedOver("H8", 1, "pci"), "panic"),
        ("v8", HandedOver("H8", 1, ""), "panic"),
        ("v9", HandedOver("H7", None, "pci-v2"), "unmatched"),
        ("v7", HandedOver("H8", 2, "pci"), "unmatched"),
        ("v7", HandedOver("H7", None, "pci-v2"), "matched"),
        ("v6", HandedOver("H6", None, "pci-v3"), "matched"),
        ("v5", HandedOver("H6", None, ""), "matched"),
        ("v9", None, "matched"),
    ],
)
def test_handover(series: str, data: HandedOver | None, expected: str) -> None:
    assert handover(series, data) == expected


@pytest.mark.parametrize(
    ("dump", "name", "series"),
    [(array(SET), "pci-v3", "v6"), (h7(SET), "pci-v2", "v7"), (h8(SET), "pci", "v9")],
)
def test_the_layout_of_the_data_tells_the_series(dump: bytes, name: str, series: str) -> None:
    story = tell(one_port(), preserve=BELOW)
    capture = story.recording.capture()
    capture.notes.preserved.append(PreservedDump(dump, name))
    kexec = analyze_capture(capture).kexecs[0]
    assert (kexec.series, kexec.preserved_source, kexec.divergences) == (series, "capture", [])


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("inherit-port-reset-beside", "v7"),
        ("inherit-port-reset-beside-v9", "v9"),
        ("inherit-refused-beside", "v7"),
        ("inherit-refused-beside-v9", "v9"),
        ("inherit-two-ports-reset", "v7"),
        ("inherit-two-ports-reset-v9", "v9"),
        ("inherit-isolation-lost", "v7"),
        ("inherit-unconfigured-v9", "v9"),
    ],
)
def test_real_kernels_with_the_rules_of_v7_and_v9_are_told_apart(name: str, series: str) -> None:
    kexec = analyze_capture(open_capture(str(TRACES / f"{name}.bin"))).kexecs[0]
    assert (kexec.series, kexec.divergences) == (series, [])


def test_data_of_another_name_makes_the_kernel_behave_as_stock() -> None:
    """Row I: what a v9 kernel would have done with data of a v7 kernel."""
    story = tell(
        one_port(),
        incoming=Kernel(),
        blackout=lambda machine: machine.clear("0000:00:01.0", "CAP_EXP+28.w", 0x20),
    )
    capture = story.recording.capture()
    capture.notes.preserved.append(PreservedDump(h7(SET), "pci-v2"))
    kexec = analyze_capture(capture, Options(series="v9")).kexecs[0]
    assert kexec.observed_policy == "stock"
    assert (
        kexec.policies["inherit"].discovered
        == kexec.policies["stock"].discovered
        == story.incoming.enumerated
    )
    assert kexec.policies["inherit"].stranded == []


def test_data_of_another_version_panics_in_the_first_functions_setup() -> None:
    story = tell(one_port(), incoming=Kernel())
    capture = story.recording.capture()
    capture.notes.preserved.append(PreservedDump(h8(SET, version=1), "pci"))
    kexec = analyze_capture(capture, Options(series="v9")).kexecs[0]
    assert kexec.policies["inherit"].discovered == ["0000:00:00.0"]
    assert kexec.policies["stock"].discovered == story.incoming.enumerated


@pytest.mark.parametrize(("ran", "said"), [("v4", "v8"), ("v5", "v8"), ("v7", "v8"), ("v9", "v9")])
@pytest.mark.parametrize("lost", ["all", "subordinate"])
def test_the_series_is_recognised_by_what_happens_to_other_ports(ran: str, said: str, lost: str) -> None:
    """A port that is not preserved loses its numbers: v4 to v8 refuse it too, v9 renumbers it."""
    ports = {"01.0": root_port(ari_device(0, 8)), "02.0": root_port(ari_device(0, 8))}
    recording = Recording(Machine({(0, 0): {"00.0": host_bridge(), **ports}}, gates_ari=True))
    recording.firmware()
    recording.boot(Kernel())
    handed_over = recording.preserve("0000:01:00.0", "0000:01:01.0")
    recording.kexec()
    recording.blackout(
        lambda machine: (
            machine.conventional_reset("0000:00:02.0")
            if lost == "all"
            else machine.poke("0000:00:02.0", "SUBORDINATE_BUS.b", 0)
        )
    )
    incoming = recording.boot(Kernel(policy="inherit", series=ran, preserved=handed_over))  # type: ignore[arg-type]
    kexec = analyze_capture(recording.capture(), Options(preserved="0000:01:00.0,0000:01:01.0")).kexecs[0]
    assert kexec.series == said
    assert kexec.policies["inherit"].discovered == incoming.enumerated
    assert kexec.divergences == []
