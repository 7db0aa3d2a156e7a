"""The hardware as two boots' reads describe it: where each value comes from, who is absent, who is gated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hand_made_worlds import link
from simulator import ERROR, SILICON, Kernel, ari_device, one_port, one_switch
from stories import tell

from analyzer.analysis import study
from analyzer.options import Options
from analyzer.replay import one_boot
from analyzer.replay.world import Node
from schemas.pcie_capability import TYPE_DOWNSTREAM, TYPE_ENDPOINT, TYPE_ROOT_PORT, TYPE_UPSTREAM

if TYPE_CHECKING:
    from stories import Story

    from analyzer.replay.world import World

PORT, UPSTREAM, DOWNSTREAM = "0000:00:01.0", "0000:01:00.0", "0000:02:00.0"
BELOW_PORT = ("0000:01:00.0", "0000:01:00.1", "0000:01:01.0", "0000:01:01.1")
DEVCTL2 = "CAP_EXP+28.w"
#: Paths of the port and of functions 0, 8 and 9 behind it.
PORT_PATH, ZERO, EIGHT, NINE = (0, 8), (0, 8, 0), (0, 8, 8), (0, 8, 9)
LPC = (0, 0xF8)


def world_of(story: Story, *preserved: str, without: pl.Expr | None = None) -> World:
    """The world that the last kexec of a story is judged on; ``without``: accesses that were not recorded."""
    capture = story.recording.capture()
    if without is not None:
        capture = replace(capture, accesses=capture.accesses.filter(~without))
    return study(capture, Options(preserved=",".join(preserved) or None)).kexec_analyses[-1].world


def lost() -> Story:
    return tell(one_port(), preserve=BELOW_PORT, blackout=lambda machine: machine.clear(PORT, DEVCTL2, 0x20))


def test_what_the_incoming_kernel_did_not_read_is_assumed() -> None:
    world = world_of(lost(), *BELOW_PORT)
    assert {node.path: node.assumed for node in world.nodes()} == {
        (0, 0): False,
        PORT_PATH: False,
        ZERO: False,
        (0, 8, 1): False,
        EIGHT: True,
        NINE: True,
        LPC: False,
    }
    assert all(node.present for node in world.nodes())


def test_policies_name_what_they_assume() -> None:
    story = lost()
    assert {name: outcome.assumed for name, outcome in story.kexec.policies.items()} == {
        "stock": list(BELOW_PORT[2:]),
        "inherit": [],
        "serialize": list(BELOW_PORT[2:]),
        "heal": list(BELOW_PORT[2:]),
    }


def test_keys_under_both_numberings() -> None:
    world = world_of(lost(), *BELOW_PORT)
    assert {node.path: (node.outgoing, node.incoming) for node in world.nodes()} == {
        (0, 0): (0, 0),
        PORT_PATH: (8, 8),
        ZERO: (0x100, 0x100),
        (0, 8, 1): (0x101, 0x101),
        EIGHT: (0x108, None),
        NINE: (0x109, None),
        LPC: (0xF8, 0xF8),
    }
    assert world.by_outgoing == {node.outgoing: node for node in world.nodes()}
    assert world.parent(world.by_path[ZERO]) is world.by_path[PORT_PATH]
    assert world.parent(world.by_path[PORT_PATH]) is None


@pytest.mark.parametrize(
    ("silent", "path", "present", "gated"),
    [
        ("0000:01:01.0", EIGHT, False, False),  # ARI is on: its silence is absence
        ("0000:01:00.0", ZERO, False, False),
    ],
)
def test_a_function_that_the_scan_asks_in_vain_is_absent(
    silent: str, path: tuple[int, ...], present: bool, gated: bool
) -> None:
    story = tell(one_port(), preserve=BELOW_PORT, blackout=lambda machine: machine.kill(silent))
    node = world_of(story, *BELOW_PORT).by_path[path]
    assert (node.present, node.assumed, node.gated, node.incoming) == (present, False, gated, None)


@pytest.mark.parametrize("answer", [0xFFFFFFFF, 0x00000000, 0x0000FFFF, 0xFFFF0000, ERROR])
def test_answers_that_mean_nobody_is_there(answer: int) -> None:
    """Linux 7.3 pci_bus_generic_read_dev_vendor_id."""
    story = tell(
        one_port(),
        preserve=BELOW_PORT,
        blackout=lambda machine: machine.answer("0000:01:00.1", "00.l", answer),
    )
    assert not world_of(story, *BELOW_PORT).by_path[0, 8, 1].present


def test_an_endpoint_that_asks_for_more_time_is_absent_where_the_kernel_gives_up() -> None:
    story = tell(
        one_port(),
        preserve=BELOW_PORT,
        blackout=lambda machine: machine.answer("0000:01:00.1", "00.l", 0xFFFF0001),
    )
    assert not world_of(story, *BELOW_PORT).by_path[0, 8, 1].present


def test_a_reset_bridge_above_hides_no_absence() -> None:
    """Who is below a bridge that the incoming kernel never numbered was never asked."""
    story = tell(one_port(), preserve=BELOW_PORT, blackout=lambda machine: machine.conventional_reset(PORT))
    below = [node for node in world_of(story, *BELOW_PORT).nodes() if len(node.path) == 3]
    assert [(node.present, node.assumed) for node in below] == [(True, True)] * 4


@pytest.mark.parametrize(
    ("happening", "expected"),
    [
        (lambda _: None, True),
        (lambda machine: machine.clear(PORT, DEVCTL2, 0x20), False),
        (lambda machine: machine.answer(PORT, DEVCTL2, 0xFFFF), True),  # data to the kernel
        (lambda machine: machine.answer(PORT, DEVCTL2, ERROR), False),  # the preset 0 stays
    ],
    ids=["on", "off", "all ones", "failed"],
)
@pytest.mark.parametrize("policy", ["stock", "inherit"])
def test_bit_5_as_the_read_returns_it(happening: object, expected: bool, policy: str) -> None:
    story = tell(one_port(), preserve=BELOW_PORT, blackout=happening, incoming=Kernel(policy=policy))
    assert world_of(story, *BELOW_PORT).by_path[PORT_PATH].hardware is expected


def test_bit_5_is_unknown_where_the_first_access_is_a_write() -> None:
    """The read before the stock kernel's write is not in the capture."""
    story = tell(one_port(), incoming=Kernel())
    port = (pl.col("bus") == 0) & (pl.col("devfn") == 8) & (pl.col("seq") >= story.kexec.at_access)
    devctl2 = story.recording.machine.function(PORT).standard[0x10] + 0x28
    reads = port & (pl.col("offset") == devctl2) & (pl.col("op") == "read")
    assert world_of(story, without=reads).by_path[PORT_PATH].hardware is None


def test_bus_numbers_first_read_and_last_written() -> None:
    story = tell(
        one_port(),
        incoming=Kernel(),
        blackout=lambda machine: machine.conventional_reset(PORT),
    )
    port = world_of(story).by_path[PORT_PATH]
    named = [port.outgoing_numbers, port.numbers, port.incoming_numbers]
    assert [(item.primary, item.secondary, item.subordinate) for item in named if item is not None] == [
        (0, 1, 1),
        (0, 0, 0),
        (0, 1, 1),
    ]


def test_what_devcap2_returned_to_the_decision_counts() -> None:
    """The read fails: not supported, whatever the register holds."""
    story = tell(
        one_port(), preserve=BELOW_PORT, blackout=lambda machine: machine.answer(PORT, "CAP_EXP+24.l", ERROR)
    )
    assert world_of(story, *BELOW_PORT).by_path[PORT_PATH].ari_supported is False


def test_a_packed_switch_behind_new_numbers_is_unroutable() -> None:
    """Only one downstream port was reset: no bridge above forwards the number that stock gives it."""
    devices = (ari_device(0, 1, 8, model=SILICON), ari_device(0, model=SILICON))
    story = tell(
        one_switch(*devices, model=SILICON),
        incoming=Kernel(),
        blackout=lambda hardware: hardware.conventional_reset(DOWNSTREAM),
    )
    world = world_of(story)
    silent = [node for node in world.nodes() if node.path[:4] == (0, 8, 0, 0) and len(node.path) == 5]
    assert len(silent) == 3
    assert {(node.present, node.assumed, node.unroutable) for node in silent} == {(False, False, True)}
    others = [node for node in world.nodes() if node not in silent]
    assert {(node.present, node.unroutable) for node in others} == {(True, False)}


@pytest.mark.parametrize(
    ("above", "claimed", "acts_as"),
    [
        (TYPE_ROOT_PORT, TYPE_DOWNSTREAM, TYPE_UPSTREAM),
        (TYPE_DOWNSTREAM, TYPE_DOWNSTREAM, TYPE_UPSTREAM),
        (TYPE_UPSTREAM, TYPE_UPSTREAM, TYPE_DOWNSTREAM),
        (TYPE_UPSTREAM, TYPE_DOWNSTREAM, TYPE_DOWNSTREAM),
        (TYPE_ROOT_PORT, TYPE_UPSTREAM, TYPE_UPSTREAM),
        (TYPE_ROOT_PORT, TYPE_ENDPOINT, TYPE_ENDPOINT),
        (None, TYPE_DOWNSTREAM, TYPE_DOWNSTREAM),
        (None, TYPE_UPSTREAM, TYPE_UPSTREAM),
    ],
)
def test_a_port_that_claims_the_wrong_side(above: int | None, claimed: int, acts_as: int) -> None:
    """Linux 7.3 set_pcie_port_type; above None: the bridge above is not PCI Express."""
    parent = Node((0, 8), is_bridge=True, is_pcie=above is not None, pcie_type=above)
    child = Node((0, 8, 0), is_bridge=True, is_pcie=True, pcie_type=claimed)
    world = link({node.path: node for node in (parent, child)})
    assert child.pcie_type == acts_as
    assert world.roots == {0: {8: parent}}
    assert parent.children == {0: child}


@pytest.mark.parametrize(
    ("pcie", "port_type", "expected"),
    [
        (True, TYPE_ROOT_PORT, True),
        (True, TYPE_DOWNSTREAM, True),
        (True, TYPE_UPSTREAM, False),
        (True, None, None),
        (None, None, None),
        (False, None, False),
    ],
)
def test_below_a_downstream_port_there_is_one_device(
    pcie: bool | None, port_type: int | None, expected: bool | None
) -> None:
    assert Node((0, 8), is_pcie=pcie, pcie_type=port_type).one_child is expected


@pytest.mark.parametrize(
    ("outgoing", "incoming", "name"), [(5, 7, 5), (0, 7, 0), (None, 7, 7), (None, None, 0)]
)
def test_a_node_is_named_by_its_outgoing_address(
    outgoing: int | None, incoming: int | None, name: int
) -> None:
    assert Node((0, 8), outgoing=outgoing, incoming=incoming).name == name


def test_the_world_as_one_kernel_sees_it() -> None:
    recorded = study(tell(one_port(), preserve=BELOW_PORT).recording.capture()).kexec_analyses[-1].handover
    world = one_boot.build(recorded.outgoing, {8: True}).world
    port = world.by_path[PORT_PATH]
    assert (port.outgoing, port.incoming, port.hardware, port.is_bridge) == (8, None, True, True)
    assert port.numbers == port.outgoing_numbers == recorded.outgoing.functions[8].bus_numbers
    assert sorted(port.children) == [0, 1, 8, 9]
    assert [port.children[number].next_function for number in (0, 1, 8, 9)] == [1, 8, 9, 0]
    assert {node.hardware for node in world.nodes() if node is not port} == {None}
    assert world.by_outgoing[0x109] is world.by_path[NINE]
    assert (port.vendor_device, port.is_pcie, port.pcie_type, port.ari_supported) == (
        recorded.outgoing.functions[8].vendor_device,
        True,
        TYPE_ROOT_PORT,
        True,
    )
