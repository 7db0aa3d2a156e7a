"""What follows for single stranded functions, to the letter: what cannot wait, what can, what is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from result_samples import BELOW_PORT, PORT, SWITCH, device

from analyzer.capture import FunctionUse
from analyzer.results import Consequence, DeviceVerdict
from analyzer.verdicts import device_consequences

ONE, TWO, THREE = BELOW_PORT[2:]
DMA_GOES_ON = (
    " Bus Master was on when the outgoing kernel ended, and no driver is bound: as far as the input shows DMA"
    " continues, into the memory of a virtual machine where the tables of the IOMMU were preserved too. A"
    " function-level reset cannot reach a function whose config space does not answer."
)
BUS_MASTER = "PCI Express 7.5.1.1.3, Bus Master Enable of a function and of a bridge"


def lost(name: str, bus_master: bool | None = None, reason: str = "ari-off", **use: object) -> DeviceVerdict:
    was = FunctionUse(**use) if use else None
    return replace(device(name, "stranded", reason), bus_master=bus_master, was=was)


def of(
    *stranded: DeviceVerdict,
    found: tuple[DeviceVerdict, ...] = (),
    was_reset: tuple[str, ...] = (),
    sessions: bool = False,
) -> list[Consequence]:
    return list(device_consequences.of_devices(stranded, found, was_reset, sessions=sessions))


def codes(*stranded: DeviceVerdict, **more: object) -> list[tuple[str, list[str]]]:
    return [(item.code, item.functions) for item in of(*stranded, **more)]


def above(bridges: str) -> str:
    return (
        f" Clearing Bus Master of the bridge above ({bridges}: setpci COMMAND=0:4) stops DMA of every"
        " function below it, also of those that were found; so does a reset of the bus, which also clears"
        " their state."
    )


@pytest.mark.parametrize(
    ("stranded", "beginning"),
    [
        ([lost(ONE, True)], f"Do this first: stop what uses it: {ONE}."),
        ([lost(ONE, True, driver="nvme")], f"Do this first: stop what uses it: {ONE} (nvme)."),
        ([lost(ONE, True), lost(TWO, True)], f"Do this first: stop what uses them: {ONE}, {TWO}."),
        (
            [lost(ONE, True, vm="web1")],
            f"Do this first: stop the virtual machine that holds it: {ONE} (virtual machine web1).",
        ),
        (
            [lost(ONE, True, driver="vfio-pci"), lost(TWO, True)],
            f"Do this first: stop the virtual machines that hold them: {ONE} (vfio-pci), {TWO}.",
        ),
        (
            [lost(ONE, True), lost(TWO, True), lost(THREE, True, source="sysfs")],
            f"Do this first: stop what uses them: {ONE}, {TWO}, {THREE}.",
        ),
    ],
)
def test_dma_that_continues_cannot_wait(stranded: list[DeviceVerdict], beginning: str) -> None:
    (found,) = of(*stranded)
    assert found.code == "dma-continues"
    assert found.text == beginning + DMA_GOES_ON + above(PORT)
    assert found.source == (
        f"{BUS_MASTER}; PCI Express 7.5.3.16, bit 5 of Device Control 2; 6.6.1; "
        "IOMMU Live Update series ('iommu/vt-d: restore state of the preserved IOMMU', 'iommu: restore"
        " preserved domain and reattach'); PCI Live Update series, patch 'Do not clear Bus Master'"
    )
    assert found.functions == [one.bdf for one in stranded]


def test_each_bridge_above_is_named_once() -> None:
    stranded = [lost(ONE, True), lost(TWO, True), replace(lost(THREE, True), bridge=SWITCH)]
    assert of(*stranded)[0].text.endswith(above(f"{PORT}, {SWITCH}"))
    assert of(replace(lost(ONE, True), bridge=None))[0].text.endswith(DMA_GOES_ON)


@pytest.mark.parametrize(
    ("stranded", "text"),
    [
        (
            [lost(ONE, False)],
            (
                f"{ONE} can wait for the reboot. It does no DMA: Bus Master was off when the outgoing kernel"
                " ended, and the incoming kernel, which did not find it, did not switch it on."
            ),
        ),
        (
            [lost(ONE, False, driver="nvme"), lost(TWO, False)],
            (
                f"{ONE} (nvme), {TWO} can wait for the reboot. They do no DMA: Bus Master was off when the"
                " outgoing kernel ended, and the incoming kernel, which did not find them, did not switch it"
                " on."
            ),
        ),
    ],
)
def test_without_bus_master_it_can_wait(stranded: list[DeviceVerdict], text: str) -> None:
    functions = [one.bdf for one in stranded]
    assert of(*stranded) == [Consequence("dma-stopped", text, BUS_MASTER, functions)]


def test_bus_master_on_off_and_unknown() -> None:
    stranded = lost(ONE, True), lost(TWO, False), lost(THREE, None)
    assert codes(*stranded) == [("dma-continues", [ONE]), ("dma-stopped", [TWO])]


@pytest.mark.parametrize("bus_master", [True, False])
@pytest.mark.parametrize(
    ("reason", "was_reset", "expected"),
    [
        ("ari-off", (), True),
        ("noari", (), True),
        ("chain-broken", (), True),
        ("function-0-not-ari", (), True),
        ("no-response", (), False),
        ("bridge-gone", (), False),
        ("ari-off", (SWITCH,), True),
        ("ari-off", (SWITCH, PORT), False),
    ],
)
def test_only_what_was_not_looked_at_keeps_bus_master(
    reason: str, was_reset: tuple[str, ...], expected: bool, bus_master: bool
) -> None:
    code = "dma-continues" if bus_master else "dma-stopped"
    found = codes(lost(ONE, bus_master, reason), was_reset=was_reset)
    assert found == ([(code, [ONE])] if expected else [])


def test_siblings_of_stranded_devices_can_be_used_again() -> None:
    (found,) = of(lost(ONE), found=(device(BELOW_PORT[0]), device(BELOW_PORT[1])), sessions=True)
    assert found == Consequence(
        "siblings-usable",
        f"Preserved functions that were found ({BELOW_PORT[0]}, {BELOW_PORT[1]}) can be used again: a session"
        " returns its files one by one. A session without a stranded device can be finished, one with a"
        " stranded device cannot. The input does not say which session holds which device.",
        "Linux 7.3 luo_retrieve_file(): file by file; luo_file_finish(): every file of one session, or none;"
        " vfio-pci Live Update series v5",
        BELOW_PORT[:2],
    )


@pytest.mark.parametrize(
    ("stranded", "found", "sessions"),
    [
        ([], [device(ONE)], True),
        ([lost(ONE)], [], True),
        ([lost(ONE)], [device(TWO)], False),
    ],
)
def test_without_a_session_or_a_sibling_nothing_is_said(
    stranded: list[DeviceVerdict], found: list[DeviceVerdict], sessions: bool
) -> None:
    assert of(*stranded, found=tuple(found), sessions=sessions) == []


def test_names_of_the_host_that_are_gone() -> None:
    stranded = [
        lost(ONE, net=["eth0", "eth1"]),
        lost(TWO, block=["nvme3", "nvme3n1"]),
        lost(THREE, driver="vfio-pci"),
        replace(lost(PORT, net=["eth2"], block=["sda"]), bridge=None),
        lost(SWITCH),
    ]
    assert of(*stranded) == [
        Consequence(
            "names-gone",
            f"Gone from this host with the functions: eth0 eth1 ({ONE}), nvme3 nvme3n1 ({TWO}), eth2 sda"
            f" ({PORT}).",
            "the outgoing kernel's log or sysfs",
            [ONE, TWO, PORT],
        )
    ]


def test_a_text_names_eight_functions_and_counts_the_rest() -> None:
    names = [f"0000:03:01.{number}" for number in range(8)] + [ONE, TWO]
    eight = ", ".join(names[:8])
    assert of(*(lost(name, False) for name in names[:8]))[0].text.startswith(f"{eight} can wait")
    assert of(*(lost(name, False) for name in names))[0].text.startswith(f"{eight} and 2 more can wait")


def test_virtual_machines_with_their_functions() -> None:
    devices = [
        lost(TWO, vm="web2"),
        lost(ONE, vm="web1"),
        lost(THREE, vm="web2"),
        lost(PORT, driver="nvme"),
        lost(SWITCH),
    ]
    named = device_consequences.virtual_machines(devices)
    assert named == f"web1 ({ONE}), web2 ({TWO}, {THREE})"
    assert device_consequences.virtual_machines(devices[3:]) == ""
