"""Predictions on small hand-made worlds: numbering, refusals, buses out of reach, unknown bus numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made_worlds import link, of_world, predict, predictions

from analyzer import distinct_questions
from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay import enumeration
from analyzer.replay.enumeration import Prediction, Replay, ScanningKernel
from analyzer.replay.profile import Profile
from analyzer.replay.world import Node, World
from schemas.pcie_capability import TYPE_ROOT_PORT

#: Two root ports and the function 0 behind each, on the root bus of domain 2.
ROOT = 0x2_00
FIRST, BELOW_FIRST = (ROOT, 8), (ROOT, 8, 0)
SECOND, BELOW_SECOND = (ROOT, 16), (ROOT, 16, 0)
LOST = (0, 0, 0)

Triple = tuple[int, int, int] | None


def port(path: tuple[int, ...], now: Triple, old: Triple = None, new: Triple = None) -> Node:
    """A root port with the numbers first read, those of the outgoing kernel, and those written."""
    node = Node(path, is_bridge=True, is_pcie=True, pcie_type=TYPE_ROOT_PORT, ari_supported=True)
    node.multifunction = False
    node.numbers, node.outgoing_numbers, node.incoming_numbers = (
        None if numbers is None else BusNumbers(*numbers, row=0) for numbers in (now, old, new)
    )
    return node


def function(path: tuple[int, ...]) -> Node:
    return Node(path, is_pcie=True, has_ari=False, multifunction=False)


def world(*nodes: Node) -> World:
    return link({node.path: node for node in nodes})


def profile(policy: str = "stock", series: str = "v7", *preserved: int, handover: str = "matched") -> Profile:
    return Profile(policy, series, frozenset(preserved), False, False, {}, handover)


def key(bus: int, devfn: int) -> int:
    return 0x2_00 << 8 | bus << 8 | devfn


def found(prediction: Prediction) -> list[tuple[int, ...]]:
    return [node.path for node in prediction.order]


@pytest.mark.parametrize(
    ("old", "new", "observed", "bus"),
    [
        ((0, 3, 3), (0, 5, 5), False, 3),
        ((0, 3, 3), (0, 5, 5), True, 5),
        ((0, 3, 3), None, True, 3),
        (None, (0, 5, 5), False, 5),
        (None, None, False, 0),  # a bridge that neither kernel numbered
        (None, None, True, 0),
    ],
)
def test_numbers_behind_a_renumbered_bridge(old: Triple, new: Triple, observed: bool, bus: int) -> None:
    made = world(port(FIRST, LOST, old, new), function(BELOW_FIRST))
    prediction = predict(made, profile(), renumbered_as_observed=observed)
    assert prediction.keys == {FIRST: key(0, 8), BELOW_FIRST: key(bus, 0)}
    assert prediction.numbers == {FIRST: "assign"}


def test_what_if_names_go_by_the_outgoing_numbers_unless_asked_otherwise() -> None:
    made = world(port(FIRST, LOST, (0, 3, 3), (0, 5, 5)), function(BELOW_FIRST))
    assert enumeration.predict(of_world(made), profile()).keys[BELOW_FIRST] == key(3, 0)


@pytest.mark.parametrize("assign_busses", [True, False])
def test_a_prediction_says_whether_the_kernel_numbers_every_bridge(assign_busses: bool) -> None:
    chosen = replace(profile(), assign_busses=assign_busses)
    assert predict(world(port(FIRST, (0, 3, 3))), chosen).renumbers is assign_busses


@pytest.mark.parametrize(
    ("now", "old", "bus"), [((0, 3, 3), (0, 5, 5), 3), (None, (0, 5, 5), 5), ((0, 3, 3), None, 3)]
)
def test_numbers_in_use(now: Triple, old: Triple, bus: int) -> None:
    prediction = predict(world(port(FIRST, now, old), function(BELOW_FIRST)), profile())
    assert prediction.keys[BELOW_FIRST] == key(bus, 0)
    assert prediction.numbers == {FIRST: "use"}
    assert prediction.decisions[FIRST].branch == "clear"


@pytest.mark.parametrize(
    ("new", "observed", "reached"),
    [((0, 5, 5), True, True), ((0, 5, 5), False, False), (None, True, False), (None, False, False)],
)
def test_behind_new_numbers_that_reach_nothing_nobody_answers(
    new: Triple, observed: bool, reached: bool
) -> None:
    """Unless the kernel that ran is replayed, which was seen to give it numbers."""
    lost = port(FIRST, LOST, None, new)
    lost.beyond_reach = lost.beyond_reach_if_lost = True
    prediction = predict(world(lost, function(BELOW_FIRST)), profile(), renumbered_as_observed=observed)
    assert found(prediction) == [FIRST, BELOW_FIRST][: 1 + reached]
    assert prediction.decisions[FIRST].branch == ("clear" if reached else "no-function-0")


@pytest.mark.parametrize(
    ("now", "kept", "lost", "certain", "possible"),
    [
        (None, False, False, {FIRST, BELOW_FIRST}, set()),  # whether its numbers were kept or lost
        (None, False, True, {FIRST}, {BELOW_FIRST}),  # only if they were kept
        (LOST, False, True, {FIRST}, {BELOW_FIRST}),  # only if another bridge, not read, kept its numbers
        (LOST, True, False, {FIRST}, {BELOW_FIRST}),
        (LOST, True, True, {FIRST}, set()),
    ],
)
def test_reach_that_depends_on_numbers_that_no_read_shows(
    now: Triple, kept: bool, lost: bool, certain: set[object], possible: set[object]
) -> None:
    bridge = port(FIRST, now, (0, 3, 3))
    bridge.beyond_reach, bridge.beyond_reach_if_lost = kept, lost
    prediction = predict(world(bridge, function(BELOW_FIRST)), profile())
    assert (prediction.certain, prediction.possible) == (certain, possible)


def test_beyond_reach_does_not_matter_to_numbers_that_are_valid() -> None:
    valid = port(FIRST, (0, 3, 3))
    valid.beyond_reach = valid.beyond_reach_if_lost = True
    assert found(predict(world(valid, function(BELOW_FIRST)), profile())) == [FIRST, BELOW_FIRST]


def test_bridges_with_valid_numbers_are_scanned_before_those_that_get_new_ones() -> None:
    made = world(
        port(FIRST, LOST, (0, 3, 3)), function(BELOW_FIRST), port(SECOND, (0, 4, 4)), function(BELOW_SECOND)
    )
    assert found(predict(made, profile())) == [FIRST, SECOND, BELOW_SECOND, BELOW_FIRST]


@pytest.mark.parametrize(
    ("series", "preserved", "first"),
    [
        ("v9", SECOND, "refuse"),  # its sibling is preserved and lost its numbers
        ("v9", FIRST, "refuse"),
        ("v4", SECOND, "refuse"),
        ("v4", FIRST, "refuse"),
        ("v7", SECOND, "refuse"),
    ],
)
def test_refusals_are_certain_where_everything_is_known(
    series: str, preserved: tuple[int, ...], first: str
) -> None:
    made = world(port(FIRST, LOST), function(BELOW_FIRST), port(SECOND, LOST), function(BELOW_SECOND))
    prediction = predict(made, profile("inherit", series, key(0, preserved[-1])))
    assert prediction.numbers[FIRST] == first
    assert (BELOW_FIRST in prediction.certain) is (first == "assign")
    assert prediction.possible == set()


def test_a_neighbour_whose_numbers_were_not_read_leaves_a_refusal_open() -> None:
    """Series v9 refuses new numbers beside a preserved bridge that lost its own."""
    unread = port(SECOND, None, (0, 4, 4))
    made = world(port(FIRST, LOST), function(BELOW_FIRST), unread, function(BELOW_SECOND))
    prediction = predict(made, profile("inherit", "v9", key(0, SECOND[-1])))
    assert prediction.numbers == {FIRST: "unknown", SECOND: "use"}
    assert prediction.possible == {BELOW_FIRST, BELOW_SECOND}


@pytest.mark.parametrize(
    ("policy", "certain", "possible"),
    [
        ("stock", {FIRST, BELOW_FIRST}, set()),  # used, or new ones are assigned: found either way
        ("inherit", {FIRST}, {BELOW_FIRST}),  # refused if they are gone
    ],
)
def test_numbers_that_no_read_shows(policy: str, certain: set[object], possible: set[object]) -> None:
    made = world(port(FIRST, None, (0, 3, 3)), function(BELOW_FIRST))
    prediction = predict(made, profile(policy, "v7", key(0, 8)))
    assert (prediction.certain, prediction.possible) == (certain, possible)
    assert prediction.numbers == {FIRST: "use"}


def test_below_a_merely_possible_bridge_everything_is_merely_possible() -> None:
    """The second port is function 1 behind an unknown multi-function bit."""
    zero, other = Node((ROOT, 8), multifunction=None), port((ROOT, 9), (0, 3, 3))
    prediction = predict(world(zero, other, function((ROOT, 9, 0))), profile())
    assert (prediction.certain, prediction.possible) == ({(ROOT, 8)}, {(ROOT, 9), (ROOT, 9, 0)})


@pytest.mark.parametrize(
    ("policy", "handover", "scanned"),
    [("inherit", "panic", False), ("stock", "panic", True), ("inherit", "unmatched", True)],
)
def test_a_kernel_that_panics_sets_up_its_first_function_only(
    policy: str, handover: str, scanned: bool
) -> None:
    made = world(port(FIRST, (0, 3, 3)), function(BELOW_FIRST))
    prediction = predict(made, profile(policy, "v9", key(0, 8), handover=handover))
    assert found(prediction) == ([FIRST, BELOW_FIRST] if scanned else [FIRST])
    assert prediction.panicked is not scanned


@pytest.mark.parametrize("ignored", ["no-response", "unknown-header-type"])
def test_a_panic_within_a_first_function_that_is_none(ignored: str) -> None:
    """It panics before it looks at the header type."""
    first, second = port(FIRST, (0, 3, 3)), port(SECOND, (0, 4, 4))
    first.present, first.ignored = False, ignored
    panicking = profile("inherit", "v9", key(0, 8), handover="panic")
    prediction = predict(world(first, second), panicking)
    assert (found(prediction), prediction.panicked) == ([], True)
    machine = of_world(world(first, second))
    nothing = Replay([ScanningKernel(machine, panicking)]).found(0)
    assert machine.devfns[nothing.rows].tolist() == nothing.certain.tolist() == []


def test_root_buses_are_scanned_in_order() -> None:
    made = world(*(function((root, 0)) for root in (0x1_00, 0x2_00, 0x0_80, 0x0_00)))
    assert [path[0] for path in found(predict(made, profile()))] == [0x0_00, 0x0_80, 0x1_00, 0x2_00]


def test_a_root_bus_is_scanned_with_all_that_is_below_it_before_the_next() -> None:
    """Places on a bus are no order between buses."""
    other = 0x2_80
    made = world(
        function((ROOT, 0)),
        port(FIRST, (0, 3, 3)),
        function(BELOW_FIRST),
        function((ROOT, 24)),
        function((other, 0)),
        port((other, 8), (0x80, 0x81, 0x81)),
        function((other, 8, 0)),
    )
    first, second = [(ROOT, 0), FIRST, (ROOT, 24), BELOW_FIRST], [(other, 0), (other, 8), (other, 8, 0)]
    assert found(predict(made, profile())) == [*first, *second]


def test_many_functions_are_found_in_the_order_of_the_scan() -> None:
    """32 ports on a root bus and a function below each, two kernels: the ports by number, then the buses."""
    ports = [(ROOT, device << 3) for device in range(32)]
    bridges = [port(path, (0, 3 + place, 3 + place)) for place, path in enumerate(ports)]
    below = [function((*path, 0)) for path in ports]
    machine = world(*below, *bridges)
    both = predictions([(machine, profile()), (machine, profile("inherit"))])
    assert [found(one) for one in both] == [[*ports, *(node.path for node in below)]] * 2


def test_pcie_scan_all_probes_every_device_below_a_port() -> None:
    made = world(port(FIRST, (0, 3, 3)), function(BELOW_FIRST), function((*FIRST, 8)))
    plain = predict(made, profile())
    everything = predict(made, Profile("stock", "v7", frozenset(), False, True, {}))
    assert found(plain) == [FIRST, BELOW_FIRST]
    assert everything.certain == {FIRST, BELOW_FIRST, (*FIRST, 8)}


def test_functions_that_are_handed_out_one_by_one_are_found_without_function_0() -> None:
    made = world(function((ROOT, 9)), function((ROOT, 16)))
    assert found(predict(made, profile())) == [(ROOT, 16)]
    assert found(predict(made, replace(profile(), isolated_functions=True))) == [(ROOT, 9), (ROOT, 16)]


def test_absent_functions_are_not_found() -> None:
    silent = function((ROOT, 24))
    silent.present = False
    assert found(predict(world(port(FIRST, (0, 3, 3)), silent), profile())) == [FIRST]


def test_buses_that_look_the_same_are_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two kernels on two machines of one kind: six buses, two of them different."""
    monkeypatch.setattr(distinct_questions, "ASKED", {})
    one = world(port(FIRST, (0, 3, 3)), function(BELOW_FIRST))
    other = world(port(FIRST, (0, 7, 7)), function(BELOW_FIRST))
    both = predictions([(one, profile()), (other, profile()), (other, profile("inherit"))])
    assert [found(prediction) for prediction in both] == [[FIRST, BELOW_FIRST]] * 3
    assert [prediction.keys[BELOW_FIRST] for prediction in both] == [key(3, 0), key(7, 0), key(7, 0)]
    assert distinct_questions.ASKED["scan_tables.walked"] == (2, 6)


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_a_bus_that_one_of_two_kernels_does_not_reach(order: tuple[bool, bool]) -> None:
    """The kernel that ran reached it, another would not have; ARI is off in both."""
    lost = port(FIRST, LOST, None, (0, 5, 5))
    lost.beyond_reach = lost.beyond_reach_if_lost = True
    made = of_world(world(lost, function(BELOW_FIRST)))
    replay = Replay([ScanningKernel(made, profile(), observed) for observed in order])
    assert [found(replay.prediction(number)) for number in (0, 1)] == [
        [FIRST, BELOW_FIRST][: 1 + observed] for observed in order
    ]


def rows_found(replay: Replay, kernel: int) -> list[tuple[int, int, bool]]:
    """Row, address and certainty of each function that a kernel finds."""
    return list(zip(*(column.tolist() for column in replay.found(kernel)), strict=True))


def test_rows_of_what_each_kernel_finds_in_the_order_of_its_scan() -> None:
    """Rows count from each machine's first function, here by bus: 00:01.0, 03:00.0, 00:02.0, 04:00.0."""
    renumbered = of_world(
        world(
            port(FIRST, LOST, (0, 3, 3)),
            function(BELOW_FIRST),
            port(SECOND, (0, 4, 4)),
            function(BELOW_SECOND),
        )
    )
    unread = of_world(world(port(FIRST, None, (0, 3, 3)), function(BELOW_FIRST)))
    replay = Replay(
        [
            ScanningKernel(unread, profile("inherit", "v7", key(0, 8))),
            ScanningKernel(renumbered, profile()),
            ScanningKernel(unread, profile()),
        ]
    )
    assert rows_found(replay, 0) == [(0, key(0, 8), True), (1, key(3, 0), False)]
    assert rows_found(replay, 1) == [
        (0, key(0, 8), True),
        (2, key(0, 16), True),
        (3, key(4, 0), True),
        (1, key(3, 0), True),
    ]
    assert rows_found(replay, 2) == [(0, key(0, 8), True), (1, key(3, 0), True)]


def test_each_kernel_finds_the_functions_of_its_own_machine() -> None:
    """A machine of one function, and three of a port and a function below it, in either order."""
    nodes = [function((ROOT, 0)), port(FIRST, (0, 3, 3)), function(BELOW_FIRST)]
    made = [world(nodes[0]), *(world(*nodes[1:]) for _ in range(3))]
    for machines in (made, made[::-1]):
        made_of_each = predictions((machine, profile()) for machine in machines)
        assert [found(one) for one in made_of_each] == [sorted(one.by_path, key=len) for one in machines]
        ports = [{FIRST} & machine.by_path.keys() for machine in machines]
        assert [one.numbers.keys() for one in made_of_each] == ports
        assert [one.decisions.keys() for one in made_of_each] == ports


def test_rows_of_a_kernel_that_panics_beside_others_that_do_not() -> None:
    made = of_world(world(port(FIRST, (0, 3, 3)), function(BELOW_FIRST)))
    panicking = profile("inherit", "v9", key(0, 8), handover="panic")
    replay = Replay(
        [ScanningKernel(made, profile()), ScanningKernel(made, panicking), ScanningKernel(made, profile())]
    )
    assert rows_found(replay, 1) == [(0, key(0, 8), True)]
    assert rows_found(replay, 0) == rows_found(replay, 2) == [(0, key(0, 8), True), (1, key(3, 0), True)]
    assert [replay.prediction(number).panicked for number in (0, 1, 2)] == [False, True, False]
    assert (replay.prediction(1).decisions, replay.prediction(1).numbers) == ({}, {})


@pytest.mark.parametrize(
    ("first", "isolated", "expected"),
    [
        ({}, False, [(0, key(0, 8), True)]),
        ({"present": False}, False, [(2, key(0, 16), True)]),  # nobody is set up there
        ({"present": False, "ignored": "no-response"}, False, []),  # it answered, and is none
        ({"present": False}, True, [(1, key(0, 9), True)]),
    ],
)
def test_where_a_kernel_panics(
    first: dict[str, object], isolated: bool, expected: list[tuple[int, int, bool]]
) -> None:
    """Function 1 of the first device is reached without function 0 where functions are handed out alone."""
    nodes = [function((ROOT, devfn)) for devfn in (8, 9, 16)]
    for name, value in first.items():
        setattr(nodes[0], name, value)
    panicking = replace(profile("inherit", "v9", key(0, 8), handover="panic"), isolated_functions=isolated)
    assert rows_found(Replay([ScanningKernel(of_world(world(*nodes)), panicking)]), 0) == expected


def test_kernels_that_all_panic_and_no_kernel_at_all() -> None:
    made = of_world(world(port(FIRST, (0, 3, 3)), function(BELOW_FIRST)))
    panicking = ScanningKernel(made, profile("inherit", "v9", key(0, 8), handover="panic"))
    assert [rows_found(Replay([panicking] * 2), number) for number in (0, 1)] == [[(0, key(0, 8), True)]] * 2
    nothing = Replay([])
    assert nothing.kernels == []
    assert [table.height for table in nothing.tables] == [0, 0, 0]


def test_a_machine_without_functions() -> None:
    empty, made = of_world(world()), of_world(world(port(FIRST, (0, 3, 3)), function(BELOW_FIRST)))
    assert found(predict(world(), profile())) == []
    replay = Replay(
        [ScanningKernel(empty, profile()), ScanningKernel(made, profile()), ScanningKernel(empty, profile())]
    )
    assert [rows_found(replay, number) for number in (0, 1, 2)] == [
        [],
        [(0, key(0, 8), True), (1, key(3, 0), True)],
        [],
    ]


def test_a_prediction_is_made_once() -> None:
    replay = Replay([ScanningKernel(of_world(world(function((ROOT, 0)))), profile())])
    assert replay.prediction(0) is replay.prediction(0)
