"""Simulated kernels: what they find, what they write, and how a recording shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simulator import (
    SILICON,
    Kernel,
    Machine,
    Recording,
    Sriov,
    ari_device,
    conventional,
    downstream_port,
    endpoint,
    host_bridge,
    lab_topology,
    one_port,
    one_switch,
    pci_to_pcie_bridge,
    pcie_to_pci_bridge,
    root_port,
    upstream_port,
)
from work_done import counted

from analyzer.capture import accesses

if TYPE_CHECKING:
    from collections.abc import Callable

PORT, DEVCTL2 = "0000:00:01.0", "CAP_EXP+28.w"


def booted(machine: Machine, kernel: Kernel | None = None) -> Recording:
    recording = Recording(machine)
    recording.firmware()
    recording.boot(kernel or Kernel())
    return recording


def on_bus(recording: Recording, bus: int) -> list[str]:
    """Addresses found on a bus, without the bus."""
    return [name[8:] for name in recording.kernel.enumerated if int(name[5:7], 16) == bus]


@pytest.mark.parametrize(("device", "found"), [
    (ari_device(0, 1, 8, 9), ["00.0", "00.1", "01.0", "01.1"]),
    (ari_device(0, 255), ["00.0", "1f.7"]),
    (ari_device(0, 1, 8, chain={1: 1}), ["00.0", "00.1"]),  # the chain ends at a number that is not higher
    (ari_device(0, 1, 8, without_ari=(1,)), ["00.0", "00.1"]),
    (ari_device(0, 1, 8, without_ari=(0,)), ["00.0", "00.1"]),  # stock: ARI off, one function after another
    ({0: endpoint(ari=8), 9: endpoint(ari=0)}, ["00.0"]),  # a member that does not answer ends the chain
    ({0: endpoint(multifunction=True), 3: endpoint(), 8: endpoint()}, ["00.0", "00.3"]),
    ({0: endpoint(), 1: endpoint()}, ["00.0"]),
    ({0: endpoint(ari=8, size=256), 8: endpoint(ari=0)}, ["00.0"]),
    ({1: endpoint(ari=0)}, []),
    ({0: endpoint(ari=1, rrs=5, model=SILICON), 1: endpoint(ari=0)}, ["00.0", "00.1"]),
    ({}, []),
])  # fmt: skip
def test_functions_below_a_port(device: dict[int, object], found: list[str]) -> None:
    assert on_bus(booted(one_port(device)), 1) == found


@pytest.mark.parametrize(("retries", "found"), [(16, True), (17, False)])
def test_request_retry_status_is_waited_for_65_seconds(retries: int, found: bool) -> None:
    machine = one_port({0: endpoint(ari=0, model=SILICON)}, model=SILICON)
    recording = booted(machine)
    recording.kexec()
    recording.blackout(lambda hardware: setattr(hardware.function("0000:01:00.0"), "rrs", retries))
    before = recording.wire.now
    incoming = recording.boot(Kernel())
    assert ("0000:01:00.0" in incoming.enumerated) == found
    assert recording.wire.now - before > 65_000_000_000
    assert any("giving up" in line.text for line in recording.wire.log) == (not found)


def test_retries_that_nobody_made_visible_are_not_seen() -> None:
    recording = booted(one_port({0: endpoint(rrs=10_000)}))
    assert on_bus(recording, 1) == ["00.0"]


@pytest.mark.parametrize(("bridge", "bus", "found"), [
    (lambda: root_port({0: pcie_to_pci_bridge({"00.0": conventional(), "1f.0": conventional()})}), 2, 2),
    (lambda: root_port({0: upstream_port({"00.0": downstream_port(), "11.0": downstream_port()})}), 2, 2),
    # without extended configuration space no function has an ARI capability: function 8 is not looked for
    (lambda: root_port({0: pcie_to_pci_bridge({"01.0": pci_to_pcie_bridge(ari_device(0, 8))})}), 3, 1),
])  # fmt: skip
def test_buses_with_and_without_device_numbers(bridge: Callable[[], object], bus: int, found: int) -> None:
    machine = Machine({(0, 0): {"00.0": host_bridge(), "01.0": bridge()}}, gates_ari=True)
    assert len(on_bus(booted(machine), bus)) == found


def written(recording: Recording, function: int, offset: int) -> list[int]:
    """Values that the running kernel's scan wrote to a register."""
    rows = recording.kernel.scan_rows
    return [
        row[5]
        for row in recording.wire.rows[rows.start : rows.stop]
        if row[4] == accesses.WRITE and row[1] == function and row[2] == offset
    ]


@pytest.mark.parametrize(("kernel", "writes"), [
    (Kernel(), [0x20]),
    (Kernel(noari=True), []),
    (Kernel(policy="inherit"), [0x20]),
    (Kernel(policy="inherit", preserved={PORT}), []),
    (Kernel(policy="inherit", preserved={PORT}, noari=True), []),
    (Kernel(policy="serialize", preserved={PORT}, saved={PORT: True}), [0x20]),
    (Kernel(policy="heal", preserved={PORT, "0000:01:01.0"}), [0x20]),
    (Kernel(policy="heal", preserved={PORT, "0000:01:00.1"}), []),
])  # fmt: skip
def test_writes_of_ari_forwarding_where_the_bit_was_lost(kernel: Kernel, writes: list[int]) -> None:
    recording = booted(one_port())
    recording.kexec()
    recording.blackout(lambda machine: machine.clear(PORT, DEVCTL2, 0x20))
    recording.boot(kernel)
    assert written(recording, 0x08, 0x7C) == writes


def test_ltr_writes_carry_ari_forwarding_along() -> None:
    recording = booted(one_port(ari_device(0, 8, model=SILICON), model=SILICON))
    recording.kexec()
    recording.blackout(lambda machine: machine.link_drop(PORT))
    recording.boot(Kernel(policy="inherit", preserved={PORT}))
    assert written(recording, 0x08, 0x90 + 0x28) == [0x0420]


def test_a_series_that_nobody_posted_is_no_kernel() -> None:
    with pytest.raises(ValueError, match="expected one of v4, v5, v6, v7, v8, v9, found 'v10'"):
        Kernel(policy="inherit", series="v10")  # type: ignore[arg-type]


@pytest.mark.parametrize(("series", "lost", "preserved", "numbered"), [
    # which ports lose their numbers, which are preserved; which have numbers behind the scan
    ("v4", {0}, {0}, {1}),
    ("v4", {0}, {1}, {1}),
    ("v5", {0}, {1}, {1}),
    ("v7", {0, 1}, {1}, set()),
    ("v8", {0}, {1}, {1}),
    ("v9", {0}, {0}, {1}),
    ("v9", {0}, {1}, {0, 1}),
    ("v9", {0, 1}, {1}, set()),
])  # fmt: skip
def test_bridges_left_without_numbers_by_series(
    series: str, lost: set[int], preserved: set[int], numbered: set[int]
) -> None:
    ports = ["0000:00:01.0", "0000:00:02.0"]
    machine = Machine(
        {(0, 0): {"00.0": host_bridge(), "01.0": root_port(ari_device(0)), "02.0": root_port(ari_device(0))}}
    )
    recording = booted(machine)
    recording.kexec()
    recording.blackout(lambda hardware: [hardware.conventional_reset(ports[number]) for number in lost])
    recording.boot(Kernel(policy="inherit", series=series, preserved={ports[number] for number in preserved}))
    assert {number for number in (0, 1) if machine.peek(ports[number], "SECONDARY_BUS")} == numbered


def test_a_stock_kernel_gives_the_first_free_number() -> None:
    machine = Machine(
        {
            (0, 0): {
                "00.0": host_bridge(),
                "01.0": root_port(ari_device(0, 8)),
                "02.0": root_port(ari_device(0)),
            }
        }
    )
    recording = booted(machine)
    recording.kexec()
    recording.blackout(lambda hardware: hardware.port_reset(PORT))
    incoming = recording.boot(Kernel())
    assert incoming.hardware["0000:03:00.0"] == "0000:01:00.0"
    assert incoming.hardware["0000:03:01.0"] == "0000:01:01.0"


def test_new_numbers_beyond_the_port_above_lead_nowhere() -> None:
    """A downstream port gets the number behind its siblings', which the port above does not pass on."""
    recording = booted(one_switch(ari_device(0, 8), ari_device(0)))
    recording.kexec()
    recording.blackout(lambda machine: machine.port_reset("0000:02:00.0"))
    assert "0000:03:00.0" not in recording.boot(Kernel()).hardware.values()


@pytest.mark.parametrize(("gates", "found"), [(True, ["00.0"]), (False, ["00.0", "01.0", "01.1", "02.0"])])
def test_scan_all_without_ari(gates: bool, found: list[str]) -> None:
    """Slots 1 to 31 are probed; only QEMU answers there."""
    machine = one_port(ari_device(0, 8, 9, 16), gates_ari=gates)
    recording = booted(machine)
    recording.kexec()
    recording.blackout(lambda hardware: hardware.clear(PORT, DEVCTL2, 0x20))
    recording.boot(Kernel(policy="inherit", preserved={PORT}, scan_all=True))
    assert on_bus(recording, 1) == found


def test_scan_all_with_ari_probes_phantoms() -> None:
    """Slot 8 finds function 8 known and adds its Next Function Number 9 to 8: 17 is probed."""
    recording = booted(one_port(ari_device(0, 1, 8, 9)), Kernel(scan_all=True))
    assert on_bus(recording, 1) == ["00.0", "00.1", "01.0", "01.1"]
    rows = recording.kernel.scan_rows
    probed = {row[1] for row in recording.wire.rows[rows.start : rows.stop] if row[2] == 0}
    assert 0x0100 | 17 in probed


def test_rescan_finds_nothing_new_and_decides_nothing() -> None:
    recording = booted(lab_topology())
    start = len(recording.wire.rows)
    assert recording.rescan() == []
    seen = recording.wire.rows[start:]
    assert not [row for row in seen if row[4] == accesses.WRITE and row[2] not in (0x1E, 0x3E)]
    assert not [row for row in seen if row[2] == 0x0E]


def test_a_removed_function_0_is_decided_anew_when_it_comes_back() -> None:
    recording = booted(one_port())
    recording.setpci(PORT, DEVCTL2, 0x0)
    recording.remove("0000:01:00.0")
    recording.machine.unplug("0000:01:00.0")
    assert recording.rescan() == []
    assert recording.hot_add("0000:01:00.0") == ["0000:01:00.0"]
    assert recording.machine.peek(PORT, DEVCTL2) == 0x20


def test_virtual_functions_are_found_without_a_vendor_read() -> None:
    recording = booted(one_port({0: endpoint(ari=0, sriov=Sriov(total=4, offset=8))}))
    start = len(recording.wire.rows)
    assert recording.enable_vfs("0000:01:00.0", 2) == ["0000:01:01.0", "0000:01:01.1"]
    enabled = recording.wire.rows[start:]
    header = next(number for number, row in enumerate(enabled) if row[1] == 0x0108)
    assert [row[2] for row in enabled[header : header + 4]] == [0x08, 0x0E, 0x2C, 0x2E]
    assert "0000:01:01.0" not in recording.kernel.enumerated


def test_vfio_freeze_leaves_command_at_intx_disable() -> None:
    recording = booted(one_port())
    recording.freeze("0000:01:00.0", "0000:01:01.0")
    assert recording.machine.peek("0000:01:00.0", "COMMAND") == 0x0400
    assert recording.machine.peek(PORT, DEVCTL2) == 0x20


def test_vfio_freeze_restores_acs_and_the_virtual_functions() -> None:
    """Linux 7.3 pci_restore_state() ends with pci_enable_acs() and sriov_restore_state()."""
    physical = endpoint(ari=0, sriov=Sriov(total=4, offset=8), model=SILICON)
    recording = booted(one_port({0: physical}, model=SILICON), Kernel(iommu=True))
    recording.enable_vfs("0000:01:00.0", 2)
    recording.freeze("0000:01:00.0")
    registers = ("ECAP_SRIOV+08.w", "ECAP_SRIOV+10.w", "ECAP_ACS+06.w")
    assert [recording.machine.peek("0000:01:00.0", name) for name in registers] == [0x19, 2, 0x1D]
    assert recording.machine.who(0, 1, 9) == "0000:01:00.0 VF 1"


@pytest.mark.parametrize(("keeps", "master"), [(False, 0), (True, 4)])
def test_orderly_shutdown_ends_on_the_host_bridge(keeps: bool, master: int) -> None:
    recording = booted(one_port(), Kernel(keeps_bus_master=keeps))
    recording.preserve("0000:01:00.0")
    recording.kexec()
    assert recording.wire.rows[-1][1:5] == (0, 0x04, 2, accesses.READ)
    assert recording.machine.peek(PORT, "COMMAND") & 4 == master


def test_a_reboot_ends_with_bus_master_still_on() -> None:
    recording = booted(one_port())
    recording.reboot()
    last = next(row for row in reversed(recording.wire.rows) if row[2] == 0x04)
    assert (last[1], last[4], last[5] & 4) == (0x08, accesses.WRITE, 4)


def test_a_crash_makes_no_access() -> None:
    recording = booted(one_port())
    before = len(recording.wire.rows)
    recording.kexec(crash=True)
    assert len(recording.wire.rows) == before


def test_setpci_walks_every_capability_byte_by_byte() -> None:
    recording = booted(one_port())
    start = len(recording.wire.rows)
    recording.setpci(PORT, DEVCTL2, 0x0, mask=0x20)
    assert [(row[4], row[2]) for row in recording.wire.rows[start:]] == [
        (0, 0x06), (0, 0x34), (0, 0x54), (0, 0x55), (0, 0x48), (0, 0x49), (0, 0x40), (0, 0x41),
        (0, 0x7C), (1, 0x7C),
    ]  # fmt: skip


def test_the_kernel_log_names_what_was_handed_over() -> None:
    recording = booted(one_port())
    preserved = recording.preserve("0000:01:01.0")
    assert preserved == {PORT, "0000:01:01.0"}
    recording.kexec()
    recording.boot(Kernel(policy="inherit", preserved=preserved, release="7.4.0"))
    lines = [line.text for line in recording.capture(log=True).notes.log]
    assert "pci 0000:01:01.0: Device will be preserved across next Live Update" in lines
    assert "pci 0000:01:01.0: Device was preserved by previous kernel across Live Update" in lines
    assert lines.index("kexec_core: Starting new kernel") < lines.index("Linux version 7.4.0")


# -- the recorder -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("style", "absent", "status"), [
    ("empty", True, "ok"), ("ones", False, "ok"), ("unsupported", False, "unsupported"),
])  # fmt: skip
def test_how_a_missing_function_is_recorded(style: str, absent: bool, status: str) -> None:
    recording = Recording(one_port(), unanswered=style)
    recording.wire.read(0, 0, 0xA0, 0x00, 4)
    (row,) = recording.capture().accesses.iter_rows(named=True)
    assert (row["value"], row["absent"], row["status"]) == (0xFFFFFFFF, absent, status)


def test_qemu_does_not_log_ecam_requests_that_hit_nothing() -> None:
    recording = Recording.as_qemu(one_port())
    recording.wire.read(0, 0, 0x00, 0x100, 4)
    recording.wire.read(0, 0, 0xA0, 0x100, 4)
    assert recording.capture().accesses.height == 0


def test_a_capture_can_be_damaged() -> None:
    recording = booted(one_port())
    whole = recording.capture().accesses.height
    cut = recording.capture(upto=100)
    assert (cut.accesses.height, cut.notes.truncated) == (100, True)
    holed = recording.capture(drop=lambda row: row[2] == 0x7C)
    assert holed.notes.dropped == whole - holed.accesses.height > 0
    assert recording.capture(drop=lambda row: row[2] == 0x7C, counted=False).notes.dropped == 0


def test_the_table_is_the_one_that_readers_yield() -> None:
    table = booted(one_port()).capture().accesses
    assert dict(table.schema) == accesses.SCHEMA
    assert table["seq"].to_list() == list(range(table.height))
    assert table["time_ns"].is_sorted()


def test_a_capture_of_the_whole_lab_is_little_work() -> None:
    """Two boots, ten thousand accesses: some thirty calls for each, 0.03 s on an idle machine."""
    with counted() as work:
        recording = booted(lab_topology())
        recording.kexec()
        recording.boot(Kernel())
        table = recording.capture().accesses
    assert work.calls < 60 * table.height
