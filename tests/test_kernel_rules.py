"""The kernel's rules that real captures hardly show, each on a simulated kexec (docs/replay.md).

Header types and deaths during a function's setup, a panic over the handed-over data, ``pci=assign-busses``,
buses without extended configuration space, buses kept for virtual functions, isolated functions. Derived: the
simulated kernel is written from Linux 7.3.4 and the posted Live Update series.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from preserved_dumps import h8
from simulator import (
    SILICON,
    Kernel,
    Machine,
    Recording,
    Sriov,
    ari_device,
    downstream_port,
    endpoint,
    host_bridge,
    lab_topology,
    one_port,
    pci_to_pcie_bridge,
    pcie_to_pci_bridge,
    root_port,
    upstream_port,
)
from stories import BELOW_PORT, BELOW_SWITCH, port, switch, tell

from analyzer.analysis import analyze_capture
from analyzer.capture import PreservedDump
from analyzer.options import Options
from analyzer.questions.explain.function import explain_capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from stories import Story

PORT = "0000:00:01.0"
BRIDGE_GONE, HIDDEN = "bridge-gone", "ancestor-hidden"


def reasons(story: Story) -> dict[str, str]:
    """Why a device was not found: address without domain -> reason."""
    return {device.bdf[5:]: device.reason for device in story.kexec.devices if device.reason is not None}


# Header types (pci_setup_device).


@pytest.mark.parametrize("policy", ["inherit", "stock"])
@pytest.mark.parametrize("header", [0x03, 0x7E, 0x80 | 0x10, 0x7F, 0xFF])
@pytest.mark.parametrize(
    ("victim", "others"),
    [
        (BELOW_PORT[0], dict.fromkeys(BELOW_PORT[1:], "function-0-absent")),
        (BELOW_PORT[1], dict.fromkeys(BELOW_PORT[2:], "chain-broken")),
        (BELOW_PORT[2], {BELOW_PORT[3]: "chain-broken"}),
        (BELOW_PORT[3], {}),
        (PORT, dict.fromkeys(BELOW_PORT, BRIDGE_GONE)),
    ],
)
def test_a_function_with_an_unknown_header_type_is_not_discovered(
    victim: str, others: dict[str, str], header: int, policy: str
) -> None:
    """It ends its slot as function 0, and the chain as a member: the kernel has no device there."""
    story = tell(
        port(),
        preserve=BELOW_PORT,
        blackout=lambda machine: machine.answer(victim, "0E.b", header),
        incoming=Kernel(policy=policy),  # type: ignore[arg-type]
    )
    own = "no-response" if header & 0x7F == 0x7F else "unknown-header-type"
    assert story.proved
    assert reasons(story) == {name[5:]: reason for name, reason in {victim: own, **others}.items()}
    assert victim not in story.kexec.observed.discovered
    assert story.result.weight == "loss"


@pytest.mark.parametrize("header", [0x00, 0x80, 0x02])
def test_header_types_that_the_kernel_knows(header: int) -> None:
    story = tell(
        port(),
        preserve=BELOW_PORT,
        blackout=lambda machine: machine.answer(BELOW_PORT[3], "0E.b", header),
    )
    assert story.proved
    assert reasons(story) == {}


def test_a_header_type_that_neither_kernel_knew_was_never_a_function() -> None:
    machine = port()
    machine.answer(BELOW_PORT[2], "0E.b", 0x7E)
    story = tell(machine, preserve=BELOW_PORT[:2])
    assert story.proved
    assert [device.bdf for device in story.kexec.devices if device.bdf in BELOW_PORT] == [*BELOW_PORT[:2]]
    assert story.result.verdict == "clean"


def test_explain_says_why_there_is_no_such_function() -> None:
    machine = port()
    machine.answer(BELOW_PORT[2], "0E.b", 0x7E)
    capture = tell(machine, preserve=BELOW_PORT[:2]).recording.capture()
    assert explain_capture(capture, BELOW_PORT[2]).kind == "unknown"
    walk = explain_capture(capture, BELOW_PORT[1]).kexecs[0].walks["inherit"]
    assert [(step.bdf[5:], step.outcome) for step in walk] == [
        ("01:00.0", "found"),
        ("01:00.1", "found"),
        ("01:01.0", "absent"),
    ]
    assert walk[-1].note == "a member of the chain that does not answer, or is ignored, ends it"


def test_a_function_that_died_is_no_virtual_function() -> None:
    """All ones at the vendor ID after the kexec; before it had an ID."""
    story = tell(port(), preserve=BELOW_PORT, blackout=lambda machine: machine.die_after(BELOW_PORT[0], 1))
    assert explain_capture(story.recording.capture(), BELOW_PORT[0]).kind == "endpoint"


def test_preserved_by_previous_kernel_does_not_prove_enumeration() -> None:
    """The line comes before the header type is looked at."""
    story = tell(
        port(),
        preserve=BELOW_PORT,
        blackout=lambda machine: machine.answer(BELOW_PORT[3], "0E.b", 0x7F),
        log=True,
    )
    said = [line.text for line in story.recording.wire.log if BELOW_PORT[3] in line.text]
    assert said[-3:] == [
        f"pci {BELOW_PORT[3]}: Device was preserved by previous kernel across Live Update",
        f"pci {BELOW_PORT[3]}: [8086:1592] type 7f class 0x010802 PCIe",
        f"pci {BELOW_PORT[3]}: unknown header type 7f, ignoring device",
    ]
    assert story.stranded == [BELOW_PORT[3]]
    assert reasons(story) == {BELOW_PORT[3][5:]: "no-response"}


# A function that dies at one of its first reads.

#: A machine, what is preserved in it, and who dies: a host bridge, ports and functions of each place.
MACHINES: dict[str, tuple[Callable[[], Machine], tuple[str, ...], tuple[str, ...]]] = {
    "port": (port, BELOW_PORT, ("0000:00:00.0", PORT, *BELOW_PORT[:3])),
    "switch": (switch, BELOW_SWITCH, ("0000:01:00.0", "0000:02:00.0", BELOW_SWITCH[0])),
    "qemu": (lab_topology, ("0000:03:00.0", "0000:03:01.0"), ("0000:03:00.0",)),
}
#: Reads that it still answers: first the vendor ID, or what the early quirks read.
READS = [
    pytest.param(reads, marks=() if reads in (0, 1, 2, 9, 14) else pytest.mark.slow) for reads in range(31)
]


def wrong_about(story: Story) -> list[str]:
    """What the answer says that is not so, by what the simulated kernel really found."""
    kexec, found = story.kexec, {*story.incoming.enumerated}
    wrong = []
    if kexec.observed.discovered != story.incoming.enumerated:
        wrong.append(f"observed {kexec.observed.discovered}, found {story.incoming.enumerated}")
    wrong.extend(
        f"{device.bdf} is {device.verdict}"
        for device in kexec.devices
        if (device.verdict == "reachable") is not (device.bdf in found)
    )
    wrong.extend(f"{item.bdf}: {item.note}" for item in kexec.divergences if not item.explained)
    lost = [device.bdf for device in kexec.devices if device.preserved and device.bdf not in found]
    if bool(lost) != (story.result.weight == "loss"):
        wrong.append(f"exit weight {story.result.weight}, lost {lost}")
    wrong.extend(f"{item.bdf} blamed on {item.reason}" for item in kexec.devices if item.reason == "noari")
    return wrong


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("name", MACHINES)
def test_a_function_that_dies_at_any_of_its_first_reads(name: str, reads: int) -> None:
    machine, preserve, victims = MACHINES[name]
    for victim in victims:
        for policy in ("inherit", "stock"):
            story = tell(
                machine(),
                preserve=preserve,
                blackout=lambda it, victim=victim: it.die_after(victim, reads),
                incoming=Kernel(policy=policy),  # type: ignore[arg-type]
            )
            assert wrong_about(story) == [], f"{victim} answers {reads} reads, {policy}"


@pytest.mark.parametrize("reads", [8, 14, 20])
def test_what_is_below_a_port_that_died_while_it_was_set_up(reads: int) -> None:
    """Its bus numbers read ones: pass 0 finds them broken, pass 1 finds them set, and nothing is scanned."""
    story = tell(port(), preserve=BELOW_PORT, blackout=lambda machine: machine.die_after(PORT, reads))
    assert story.proved
    assert story.verdict(PORT) == "gone unknown high"
    assert reasons(story) == {name[5:]: BRIDGE_GONE for name in BELOW_PORT}
    assert story.bridge(PORT).evidence[-1].note.startswith("bus numbers read all ones")


# A panic over the handed-over data (pci_flb_retrieve).


@pytest.mark.parametrize("series", ["v8", "v9"])
@pytest.mark.parametrize("known_by", ["log", "data"])
def test_a_panic_over_the_version_of_the_data(series: str, known_by: str) -> None:
    """The first function was read as far as its class; nothing follows, and there is one finding for it."""
    kernel = Kernel(policy="inherit", series=series, flb_version=1)  # type: ignore[arg-type]
    told = tell(port(), preserve=BELOW_PORT, incoming=kernel)
    capture = told.recording.capture(log=known_by == "log")
    options = Options(series=series, preserved=",".join(BELOW_PORT))  # type: ignore[arg-type]
    if known_by == "data":
        handed_over = [(0, key, 1) for key in (0x08, 0x100, 0x101, 0x108, 0x109)]
        capture.notes.preserved.append(PreservedDump(h8(handed_over, version=1), "pci"))
        options = replace(options, preserved=None)
    story = replace(told, result=analyze_capture(capture, options))
    kexec = story.kexec
    assert kexec.observed.discovered == ["0000:00:00.0"]
    assert kexec.divergences == []
    assert story.stranded == [PORT, *BELOW_PORT]
    assert {*reasons(story).values()} == {"kernel-panicked"}
    assert [(item.code, item.bdf, item.severity) for item in kexec.findings] == [("ARI017", None, "error")]
    assert [item.code for item in kexec.consequences] == ["kernel-panicked"]
    assert kexec.policies["stock"].stranded == []
    assert story.result.weight == "loss"


def test_a_version_without_the_panic_goes_on_as_if_nothing_was_handed_over() -> None:
    story = tell(port(), preserve=BELOW_PORT, incoming=Kernel(policy="inherit", series="v7", flb_version=1))
    assert story.proved
    assert story.stranded == []


# pci=assign-busses (pcibios_assign_all_busses).


def two_ports() -> Machine:
    """Two ports whose numbers are in the other order than a kernel would give them."""
    devices = {"00.0": host_bridge(), "01.0": root_port(ari_device(0, 8)), "02.0": root_port(ari_device(0))}
    return Machine({(0, 0): devices}, gates_ari=True)


def swapped(machine: Machine) -> None:
    machine.poke("0000:00:01.0", "PRIMARY_BUS.l", 0x020200)
    machine.poke("0000:00:02.0", "PRIMARY_BUS.l", 0x010100)
    machine.rerouted()


@pytest.mark.parametrize("known_by", ["accesses", "log", "option", "outgoing"])
def test_assign_busses_gives_every_bridge_a_new_number(known_by: str) -> None:
    """A stock kernel finds everything, under other addresses where the numbers differ."""
    recording = Recording(two_ports())
    recording.firmware()
    swapped(recording.machine)
    recording.boot(Kernel(assign_busses=known_by == "outgoing"))
    if known_by == "outgoing":
        swapped(recording.machine)
    recording.kexec()
    incoming = recording.boot(Kernel(assign_busses=True))
    options = Options(cmdline="pci=assign-busses" if known_by == "option" else None)
    kexec = analyze_capture(recording.capture(log=known_by == "log"), options).kexecs[0]
    assert kexec.observed.discovered == incoming.enumerated
    assert kexec.policies["stock"].discovered == incoming.enumerated
    assert kexec.divergences == []
    if known_by != "outgoing":
        said = [
            (bridge.verdict, bridge.cause, bridge.secondary, bridge.new_secondary) for bridge in kexec.bridges
        ]
        assert said == [("renumbered", "incoming-write", 2, 1), ("renumbered", "incoming-write", 1, 2)]
        assert kexec.bridges[0].cause_note.startswith("pci=assign-busses")


def test_what_to_do_about_assign_busses() -> None:
    recording = Recording(two_ports())
    recording.firmware()
    swapped(recording.machine)
    recording.boot(Kernel())
    recording.preserve("0000:02:00.0")
    recording.kexec()
    recording.boot(Kernel(assign_busses=True))
    kexec = analyze_capture(recording.capture(log=True)).kexecs[0]
    assert [item.code for item in kexec.consequences] == ["addresses-changed", "assign-busses"]


def test_the_same_numbers_again_are_no_renumbering() -> None:
    story = tell(switch(), preserve=BELOW_SWITCH, incoming=Kernel(assign_busses=True), options=Options())
    assert story.proved
    assert {bridge.verdict for bridge in story.kexec.bridges} == {"off", "not-applicable", "kept"}
    assert story.result.weight is None


@pytest.mark.parametrize("series", ["v4", "v5", "v6", "v7", "v8", "v9"])
def test_a_live_update_keeps_valid_numbers_whatever_the_option_says(series: str) -> None:
    story = tell(
        port(),
        preserve=BELOW_PORT,
        incoming=Kernel(policy="inherit", series=series, assign_busses=True),  # type: ignore[arg-type]
        options=Options(series=series, cmdline="pci=assign-busses"),  # type: ignore[arg-type]
    )
    assert story.proved
    assert story.verdict(PORT) == "kept high"
    assert story.kexec.policies["stock"].discovered == story.incoming.enumerated


# Buses without extended configuration space (PCI_BUS_FLAGS_NO_EXTCFG).


@pytest.mark.parametrize("policy", ["stock", "inherit"])
def test_no_function_has_an_ari_capability_below_a_conventional_bus(policy: str) -> None:
    """0x100 is never read there, so that the port's bit is cleared, or kept and useless."""
    machine = Machine(
        {
            (0, 0): {
                "00.0": host_bridge(),
                "01.0": root_port({0: pcie_to_pci_bridge({"01.0": pci_to_pcie_bridge(ari_device(0, 1, 8))})}),
            }
        }
    )
    preserve = ("0000:03:00.0",)
    story = tell(machine, preserve=preserve, incoming=Kernel(policy=policy))  # type: ignore[arg-type]
    assert story.proved
    assert "0000:03:01.0" not in story.incoming.enumerated
    offsets = {row[2] for row in story.recording.wire.rows if row[1] >> 8 == 3}
    assert not {offset for offset in offsets if offset >= 0x100}
    assert story.result.verdict == "clean"
    assert story.bridge("0000:02:01.0").verdict == "off"


# Buses kept for virtual functions (pci_iov_bus_range).


@pytest.mark.parametrize(("virtual", "new"), [(None, 3), (8, 3), (300, 4)])
def test_a_new_number_comes_after_the_buses_of_virtual_functions(virtual: int | None, new: int) -> None:
    """Bus 2 holds a physical function beside a port that loses its numbers."""
    sriov = None if virtual is None else Sriov(total=virtual, offset=1, stride=1)
    inner = {
        "00.0": downstream_port(ari_device(0)),
        "01.0": endpoint(ari=0, sriov=sriov, model=SILICON),
    }
    machine = Machine(
        {(0, 0): {"00.0": host_bridge(), "01.0": root_port({0: upstream_port(inner)})}}, gates_ari=True
    )
    recording = Recording(machine)
    recording.firmware()
    machine.poke(PORT, "SUBORDINATE_BUS.b", 9)
    machine.poke("0000:01:00.0", "SUBORDINATE_BUS.b", 9)
    machine.rerouted()
    recording.boot(Kernel())
    recording.kexec()
    recording.blackout(lambda it: it.poke("0000:02:00.0", "PRIMARY_BUS.l", 0))
    recording.boot(Kernel())
    assert machine.peek("0000:02:00.0", "SECONDARY_BUS.b") == new
    kexec = analyze_capture(recording.capture()).kexecs[0]
    (lost,) = (bridge for bridge in kexec.bridges if bridge.bdf == "0000:02:00.0")
    assert (lost.verdict, lost.new_secondary) == ("renumbered", new)
    assert kexec.divergences == []


@pytest.mark.parametrize(("virtual", "reached"), [(8, True), (300, False)])
def test_a_what_if_counts_the_buses_of_virtual_functions(virtual: int, reached: bool) -> None:
    """One number is left behind the upstream port; 300 virtual functions keep it."""
    inner = {
        "00.0": downstream_port(ari_device(0)),
        "01.0": endpoint(ari=0, sriov=Sriov(total=virtual, offset=1, stride=1), model=SILICON),
    }
    machine = Machine(
        {(0, 0): {"00.0": host_bridge(), "01.0": root_port({0: upstream_port(inner)})}}, gates_ari=True
    )
    story = tell(
        machine,
        preserve=("0000:03:00.0",),
        blackout=lambda it: it.poke("0000:02:00.0", "PRIMARY_BUS.l", 0),
        options=Options(series="v9"),
    )
    assert story.proved
    assert story.stranded == ["0000:03:00.0"]
    assert ("0000:03:00.0" in story.kexec.policies["stock"].discovered) is reached


# Isolated functions (hypervisor_isolated_pci_functions).


@pytest.mark.parametrize("isolated", [True, False])
def test_a_slot_without_function_0_is_walked_where_functions_are_isolated(isolated: bool) -> None:
    machine = Machine(
        {(0, 0): {"00.0": host_bridge(), "02.1": endpoint(), "02.5": endpoint(), "03.0": endpoint()}}
    )
    kernels = (Kernel(isolated_functions=isolated), Kernel(isolated_functions=isolated))
    story = tell(machine, outgoing=kernels[0], incoming=kernels[1])
    assert story.proved
    assert ("0000:00:02.5" in story.incoming.enumerated) is isolated
    assert story.result.verdict == "clean"


def test_isolated_functions_below_a_port_without_function_0() -> None:
    """Without ARI functions 1 to 7 are probed; above 7 nothing is."""
    machine = one_port({1: endpoint(), 3: endpoint(), 8: endpoint()})
    story = tell(
        machine,
        outgoing=Kernel(isolated_functions=True),
        incoming=Kernel(isolated_functions=True),
        blackout=lambda it: it.unplug("0000:01:00.3"),
    )
    assert story.proved
    assert [name for name in story.incoming.enumerated if ":01:" in name] == ["0000:01:00.1"]
    assert reasons(story) == {"01:00.3": "function-0-absent"}
