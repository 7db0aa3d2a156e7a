"""The simulated hardware: routing, gating by ARI Forwarding, register attributes, resets."""

from __future__ import annotations

import pytest
from simulator import (
    ERROR,
    SILICON,
    Machine,
    Recording,
    Sriov,
    ari_device,
    conventional,
    endpoint,
    host_bridge,
    lab_topology,
    one_port,
    one_switch,
    pci_bridge,
    root_port,
)

PORT, DEVCTL2 = "0000:00:01.0", "CAP_EXP+28.w"
BELOW = "0000:01:00.0"
ONES = 0xFFFFFFFF


def numbered(machine: Machine) -> Machine:
    """Firmware has given out bus numbers."""
    Recording(machine).firmware()
    return machine


def identity(machine: Machine, bus: int, devfn: int, domain: int = 0) -> int:
    return machine.read(domain, bus, devfn, 0x00, 4)


def test_names_are_the_addresses_that_firmware_gives() -> None:
    machine = numbered(lab_topology())
    for name in machine.names():
        bus, devfn = int(name[5:7], 16), int(name[8:10], 16) << 3 | int(name[-1])
        assert machine.who(0, bus, devfn) == name


@pytest.mark.parametrize(("gates", "on", "answers"), [
    (True, False, False), (True, True, True), (False, False, True), (False, True, True),
])  # fmt: skip
def test_a_port_passes_device_number_1_only_with_ari_forwarding(gates: bool, on: bool, answers: bool) -> None:
    machine = numbered(one_port(gates_ari=gates))
    machine.poke(PORT, DEVCTL2, 0x20 if on else 0)
    assert (identity(machine, 1, 8) != ONES) == answers
    assert identity(machine, 1, 1) != ONES


def test_nothing_is_reached_before_firmware_has_numbered_the_buses() -> None:
    machine = one_port()
    assert identity(machine, 1, 0) == ONES
    assert identity(numbered(machine), 1, 0) != ONES


def test_a_bridge_whose_numbers_are_gone_hides_what_is_below() -> None:
    machine = numbered(one_switch(ari_device(0, 1)))
    machine.port_reset("0000:02:00.0")
    assert identity(machine, 2, 0) != ONES
    assert identity(machine, 3, 0) == ONES


@pytest.mark.parametrize(("register", "written", "reads"), [
    (DEVCTL2, 0xFFFF, 0x8020),  # QEMU's ports: bits 5 and 15
    ("HEADER_TYPE", 0xFF, 0x01),
    ("CAP_EXP+24.l", 0xFFFFFFFF, 0x00300020),
    ("SECONDARY_BUS", 0x07, 0x07),
])  # fmt: skip
def test_register_attributes(register: str, written: int, reads: int) -> None:
    machine = numbered(one_port())
    offsets = {
        DEVCTL2: (0x7C, 2),
        "HEADER_TYPE": (0x0E, 1),
        "CAP_EXP+24.l": (0x78, 4),
        "SECONDARY_BUS": (0x19, 1),
    }
    offset, width = offsets[register]
    machine.write(0, 0, 8, offset, width, written)
    assert machine.peek(PORT, register) == reads


def test_ari_forwarding_is_hard_wired_0_where_it_is_not_supported() -> None:
    machine = numbered(Machine({(0, 0): {"01.0": root_port(ari_device(0), ari_forwarding=False)}}))
    machine.write(0, 0, 8, 0x7C, 2, 0x20)
    assert machine.peek(PORT, DEVCTL2) == 0


def test_errors_are_cleared_by_writing_ones() -> None:
    machine = numbered(one_port())
    machine.poke(PORT, "SEC_STATUS", 0x2000)
    machine.write(0, 0, 8, 0x1E, 2, 0xFFFF)
    assert machine.peek(PORT, "SEC_STATUS") == 0


def test_secondary_bus_reset_acts_on_its_edge_and_spares_the_port() -> None:
    machine = numbered(one_switch(ari_device(0, 1)))
    machine.poke(PORT, DEVCTL2, 0x20)
    machine.poke("0000:02:00.0", DEVCTL2, 0x20)
    machine.write(0, 0, 8, 0x3E, 2, 0x42)
    assert machine.peek("0000:02:00.0", DEVCTL2) == 0
    assert machine.peek("0000:01:00.0", "SECONDARY_BUS") == 0
    assert machine.peek(PORT, DEVCTL2) == 0x20
    assert machine.peek(PORT, "SECONDARY_BUS") == 1


@pytest.mark.parametrize(("happens", "ari", "ltr", "numbers", "sticky"), [
    ("link_drop", 1, 0, True, True),
    ("port_reset", 0, 1, False, True),
    ("conventional_reset", 0, 0, False, True),
    ("power_cycle", 0, 0, False, False),
    ("secondary_bus_reset", 1, 1, True, True),
])  # fmt: skip
def test_what_survives(happens: str, ari: int, ltr: int, numbers: bool, sticky: bool) -> None:
    """ARI Forwarding, LTR Enable, bus numbers and a sticky AER mask of a root port."""
    machine = numbered(one_port(ari_device(0, 1, model=SILICON), model=SILICON))
    machine.poke(PORT, DEVCTL2, 0x0420)
    machine.poke(PORT, "ECAP_AER+14.l", 0xC000)
    getattr(machine, happens)(PORT)
    control = machine.peek(PORT, DEVCTL2)
    assert (control >> 5 & 1, control >> 10 & 1) == (ari, ltr)
    assert (machine.peek(PORT, "SECONDARY_BUS") == 1) == numbers
    assert (machine.peek(PORT, "ECAP_AER+14.l") == 0xC000) == sticky


def test_link_disable_takes_the_bus_below_away_until_it_is_cleared() -> None:
    machine = numbered(one_port())
    machine.write(0, 0, 8, 0x64, 2, 0x10)
    assert identity(machine, 1, 0) == ONES
    machine.write(0, 0, 8, 0x64, 2, 0x00)
    assert identity(machine, 1, 0) != ONES


@pytest.mark.parametrize(("no_soft_reset", "keeps"), [(0x8, True), (0x0, False)])
def test_d3hot_and_back(no_soft_reset: int, keeps: bool) -> None:
    machine = numbered(one_port(ari_device(0, model=SILICON), model=SILICON))
    power = 0xE4
    machine.poke(PORT, DEVCTL2, 0x20)
    machine.poke(PORT, "CAP_PM+04.w", no_soft_reset)
    machine.write(0, 0, 8, power, 2, 3)
    assert identity(machine, 1, 0) == ONES  # a bridge in D3hot forwards nothing
    machine.write(0, 0, 8, power, 2, 0)
    assert (machine.peek(PORT, DEVCTL2) == 0x20) == keeps


def test_function_level_reset_touches_its_function_only() -> None:
    machine = numbered(one_port())
    machine.write(0, 1, 0, 0x04, 2, 0x0107)
    machine.write(0, 1, 1, 0x04, 2, 0x0107)
    machine.write(0, 1, 0, 0x88, 2, 0x8000)
    assert machine.peek("0000:01:00.0", "COMMAND") == 0
    assert machine.peek("0000:01:00.1", "COMMAND") == 0x0107


def test_a_256_byte_function_answers_nothing_above() -> None:
    machine = numbered(one_port({0: endpoint(size=256)}))
    assert machine.read(0, 1, 0, 0x100, 4) == ONES
    assert not machine.answered


def test_a_dead_function_and_a_failing_accessor() -> None:
    machine = numbered(one_port())
    machine.answer(PORT, DEVCTL2, ERROR, times=1)
    assert (machine.read(0, 0, 8, 0x7C, 2), machine.failed) == (0xFFFF, True)
    assert (machine.read(0, 0, 8, 0x7C, 2), machine.failed) == (0, False)
    machine.kill(PORT)
    assert (identity(machine, 0, 8), identity(machine, 1, 0)) == (ONES, ONES)


@pytest.mark.parametrize(("hierarchy", "address"), [(True, (1, 8)), (False, (2, 0))])
def test_virtual_functions_move_with_ari_capable_hierarchy(hierarchy: bool, address: tuple[int, int]) -> None:
    physical = endpoint(ari=0, sriov=Sriov(total=4, offset=8, offset_without_ari=256))
    machine = numbered(one_port({0: physical}))
    machine.poke(PORT, "SUBORDINATE_BUS", 2)
    machine.poke(PORT, DEVCTL2, 0x20)
    machine.write(0, 1, 0, 0x128, 2, 0x10 if hierarchy else 0)
    machine.write(0, 1, 0, 0x130, 2, 4)
    assert identity(machine, *address) == ONES
    machine.write(0, 1, 0, 0x128, 2, 0x19 if hierarchy else 0x09)
    assert identity(machine, *address) == ONES  # the IDs of a virtual function are all ones
    assert machine.answered
    machine.poke(PORT, DEVCTL2, 0)
    identity(machine, *address)
    assert machine.answered == (not hierarchy)


def test_ari_capable_hierarchy_of_the_lowest_physical_function_holds_for_all() -> None:
    """PCI Express 9.3.3.3.5."""
    vfs = {number: Sriov(total=2, offset=8, offset_without_ari=256) for number in (0, 1)}
    machine = numbered(one_port(ari_device(0, 1, sriov=vfs)))
    offsets = []
    for hierarchy in (0x10, 0):
        machine.write(0, 1, 0, 0x128, 2, hierarchy)
        offsets.append([machine.peek(f"0000:01:00.{number}", "ECAP_SRIOV+14.w") for number in (0, 1)])
    assert offsets == [[8, 8], [256, 256]]


def test_conventional_bridges_and_domains() -> None:
    behind = pci_bridge({"05.0": conventional()})
    machine = numbered(
        Machine(
            {
                (0, 0): {"00.0": host_bridge(), "02.0": behind},
                (0x10000, 0xE0): {"00.0": root_port({0: endpoint()})},
            }
        )
    )
    assert identity(machine, 1, 0x28) == 0x29188086
    assert identity(machine, 0xE1, 0, domain=0x10000) == 0x00101B36
    assert machine.names() == [
        "0000:00:00.0", "0000:00:02.0", "0000:01:05.0", "10000:e0:00.0", "10000:e1:00.0",
    ]  # fmt: skip


def test_a_reboot_takes_all_state() -> None:
    machine = numbered(one_port())
    machine.poke(PORT, DEVCTL2, 0x20)
    machine.reset()
    assert (machine.peek(PORT, DEVCTL2), machine.peek(PORT, "SECONDARY_BUS")) == (0, 0)


@pytest.mark.parametrize(
    ("errors", "uncorrectable", "correctable", "device", "root"),
    [
        (("DLP",), 0x10, 0, 0x4, 0x54),
        (("SDES", "RxOF"), 0x0002_0020, 0, 0x4, 0x5C),
        (("CmpltTO",), 0x4000, 0, 0x2, 0x24),
        (("UnsupReq",), 0x0010_0000, 0, 0xA, 0x24),
        (("BadTLP",), 0, 0x40, 0x1, 0x01),
        (("BadTLP", "Timeout"), 0, 0x1040, 0x1, 0x03),
        (("CmpltTO", "DLP"), 0x4010, 0, 0x6, 0x6C),  # the first one was not fatal
        (("UncorrIntErr",), 0x0040_0000, 0, 0x4, 0),  # masked
    ],
)
def test_an_error_is_recorded_and_reported_to_the_root_port(
    errors: tuple[str, ...], uncorrectable: int, correctable: int, device: int, root: int
) -> None:
    machine = one_port(model=SILICON)
    machine.poke(BELOW, "CAP_EXP+08.w", 0x000F)
    machine.error(BELOW, *errors)
    shown = [machine.peek(BELOW, register) for register in ("ECAP_AER+04.l", "ECAP_AER+10.l", "CAP_EXP+0a.w")]
    assert shown == [uncorrectable, correctable, device]
    assert machine.peek(PORT, "ECAP_AER+30.l") == root


def test_an_error_that_is_not_reported_stays_where_it_is() -> None:
    machine = one_port(model=SILICON)
    machine.error(BELOW, "DLP")
    assert machine.peek(BELOW, "ECAP_AER+04.l") == 0x10
    assert machine.peek(PORT, "ECAP_AER+30.l") == 0


def test_a_surprise_down_is_recorded_at_the_port_and_resets_what_is_below() -> None:
    machine = one_port(model=SILICON)
    machine.poke(BELOW, "CAP_EXP+08.w", 0x000F)
    machine.surprise_down(PORT)
    assert machine.peek(PORT, "ECAP_AER+04.l") == 0x20
    assert machine.peek(BELOW, "CAP_EXP+08.w") & 0xF == 0
