"""What functions were used as in one boot, and whether Bus Master was on at its end, access by access."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hand_made import Access, Part, PlainEvidence, read, write
from result_samples import PORT, device

from analyzer.capture import FunctionUse, PlacedUse
from analyzer.verdicts import former_uses

if TYPE_CHECKING:
    from analyzer.results import DeviceVerdict

KEY, OTHER = 0x0200, 0x0300
NVME, VFIO = FunctionUse("nvme"), FunctionUse("vfio-pci")
COMMAND, STATUS = 0x04, 0x06
ON, OFF, SILENT = read(COMMAND, 2, 0x0406), read(COMMAND, 2, 0x0402), read(COMMAND, 2, None)


def of_boot(boot: int, *placed: PlacedUse, **logged: dict[int, FunctionUse]) -> dict[int, FunctionUse]:
    """Boots begin at accesses 100, 200 and 300; ``logged``: uses by source, of boot 1."""
    runs = {source: {1: SimpleNamespace(uses=uses)} for source, uses in logged.items()}
    spans = [SimpleNamespace(first=row) for row in (0, 10, 20)]
    index = SimpleNamespace(seq=np.arange(100, 400, 10))
    return former_uses.of_boot(boot, index, SimpleNamespace(spans=spans, by_source=runs), placed)


@pytest.mark.parametrize(
    ("seq", "boots"),
    [(0, [0]), (1, [0]), (100, [0]), (199, [0]), (200, [1]), (299, [1]), (300, [2]), (9999, [2])],
)
def test_a_use_belongs_to_the_boot_that_it_was_read_in(seq: int, boots: list[int]) -> None:
    assert [boot for boot in range(3) if of_boot(boot, PlacedUse(KEY, seq, NVME))] == boots


def test_the_last_use_counts() -> None:
    uses = [PlacedUse(KEY, 230, VFIO), PlacedUse(KEY, 210, NVME), PlacedUse(OTHER, 220, NVME)]
    assert of_boot(1, *uses) == {KEY: VFIO, OTHER: NVME}
    assert of_boot(1, *reversed(uses)) == {KEY: VFIO, OTHER: NVME}


def test_sysfs_is_taken_before_kernel_logs() -> None:
    log = {KEY: FunctionUse("ixgbe"), OTHER: VFIO}
    found = of_boot(1, PlacedUse(KEY, 210, NVME), dmesg=log, sidecar={OTHER: NVME})
    assert found == {KEY: NVME, OTHER: VFIO}
    assert of_boot(0, dmesg=log) == {}


def added(
    verdict: str,
    *accesses: Access,
    uses: dict[int, FunctionUse] | None = None,
    orderly: bool | None = True,
    whole: bool = True,
    **more: object,
) -> DeviceVerdict:
    """A device with what is added to its verdict; another after it must get the same."""
    outgoing = SimpleNamespace(functions={KEY: Part(accesses, **{"is_bridge": False, **more})})
    incoming = SimpleNamespace(boot=SimpleNamespace(orderly=orderly))
    judged = [device(PORT, verdict)] * 2
    first, second = former_uses.added(judged, outgoing, incoming, uses or {}, PlainEvidence(), whole=whole)
    assert first == second
    return first


@pytest.mark.parametrize(
    ("accesses", "shown"),
    [
        ([ON], (True, 100)),
        ([OFF], (False, 100)),
        ([ON, OFF], (False, 110)),
        ([OFF, write(COMMAND, 2, 0x0406)], (True, 110)),
        ([write(COMMAND, 2, 0x0402)], (False, 100)),
        ([ON, write(COMMAND, 2, 0x0400)], (False, 110)),
        ([ON, read(COMMAND + 1, 1, 0x04)], (True, 100)),  # another byte
        ([ON, read(STATUS, 2, 0x0010)], (True, 100)),
        ([], (None, None)),
        ([SILENT], (None, None)),
        ([ON, SILENT], (None, None)),
        ([ON, SILENT, write(COMMAND, 2, 0x0400)], (None, None)),  # it goes nowhere
        ([ON, SILENT, write(COMMAND, 2, 0x0400), OFF], (False, 130)),
        ([ON, SILENT, OFF, write(COMMAND, 2, 0x0406)], (True, 130)),
    ],
)
@pytest.mark.parametrize("is_bridge", [False, True])
@pytest.mark.parametrize("verdict", ["stranded", "missing"])
def test_bus_master_when_the_outgoing_kernel_ended(
    accesses: list[Access], shown: tuple[bool | None, int | None], is_bridge: bool, verdict: str
) -> None:
    found = added(verdict, *accesses, is_bridge=is_bridge)
    assert (found.bus_master, found.bus_master_access) == shown


@pytest.mark.parametrize(
    ("orderly", "whole", "expected"),
    [(True, True, True), (True, False, None), (False, True, None), (None, True, None), (None, False, None)],
)
def test_where_the_end_of_the_kernel_is_not_known_bus_master_is_not(
    orderly: bool | None, whole: bool, expected: bool | None
) -> None:
    assert added("stranded", ON, orderly=orderly, whole=whole).bus_master is expected


@pytest.mark.parametrize("verdict", ["reachable", "undetermined"])
def test_bus_master_of_what_was_found_is_not_asked(verdict: str) -> None:
    assert added(verdict, ON) == device(PORT, verdict)
    assert added(verdict, ON, uses={KEY: NVME}) == replace(device(PORT, verdict), was=NVME)


def test_what_it_was() -> None:
    assert added("stranded", uses={KEY: NVME, OTHER: VFIO}).was == NVME
    assert added("stranded", uses={OTHER: VFIO}).was is None


def test_a_function_that_the_outgoing_kernel_did_not_enumerate() -> None:
    nobody = SimpleNamespace(functions={})
    incoming = SimpleNamespace(boot=SimpleNamespace(orderly=True))
    lost = [device(PORT, "stranded")]
    assert former_uses.added(lost, nobody, incoming, {}, PlainEvidence(), whole=True) == lost
