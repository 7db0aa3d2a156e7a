"""Prediction against observation, on hand-made boots: what differs, and what explains it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hand_made import Access, Part, read, write
from hand_made_worlds import link

from analyzer.replay.enumeration import Prediction
from analyzer.replay.world import Node, World
from analyzer.results import Divergence
from analyzer.verdicts import divergences
from analyzer.verdicts.reset_evidence import LogMessage

if TYPE_CHECKING:
    from analyzer.verdicts.divergences import Comparison

#: A port and, behind it on bus 1, functions 0, 1 and 2; a function on the root bus behind it in scan order.
PORT, ZERO, ONE, TWO, LAST = (0, 8), (0, 8, 0), (0, 8, 1), (0, 8, 2), (0, 16)
#: Behind function 2, which is a bridge.
DEEP = (0, 8, 2, 0)
KEYS = {PORT: 0x08, ZERO: 0x100, ONE: 0x101, TWO: 0x102, LAST: 0x10, DEEP: 0x200}
NAMES = {path: f"0000:{key >> 8:02x}:{key >> 3 & 31:02x}.{key & 7}" for path, key in KEYS.items()}
END = 500


def world() -> World:
    nodes = [Node(path, outgoing=key, incoming=key, is_bridge=path == PORT) for path, key in KEYS.items()]
    return link({node.path: node for node in nodes})


def prediction(
    made: World, possible: tuple[tuple[int, ...], ...] = (), unpredicted: tuple[tuple[int, ...], ...] = ()
) -> Prediction:
    paths = [path for path in (PORT, LAST, ZERO, ONE, TWO, DEEP) if path not in unpredicted]
    return Prediction(
        order=[made.by_path[path] for path in paths],
        certain={path for path in paths if path not in possible},
        possible=set(possible),
        keys={path: KEYS[path] for path in paths},
    )


def comparison(
    *missing: tuple[int, ...],
    possible: tuple[tuple[int, ...], ...] = (),
    unpredicted: tuple[tuple[int, ...], ...] = (),
    scan: int | None = 0,
    snapshot: bool = False,
    ended: bool = True,
    functions: dict[tuple[int, ...], Part] | None = None,
    messages: tuple[LogMessage, ...] = (),
    unseen: tuple[tuple[int, ...], ...] = (),
    vanished: tuple[tuple[int, ...], ...] = (),
    extended: bool | None = None,
    renamed: dict[tuple[int, ...], int | None] | None = None,
) -> Comparison:
    """Compare where the incoming kernel did not enumerate ``missing``.

    ``functions``: accesses of some; ``unseen``: those that are no function of the incoming boot at all;
    ``vanished``: those that have a node's address but no function; ``extended``: all have an ARI capability;
    ``renamed``: the outgoing kernel's address of some (None: they have no node).
    """
    made = world()
    for node in made.nodes():
        node.has_ari = extended
    for path, key in (renamed or {}).items():
        made.by_path[path].outgoing = key
    parts = {
        key: (functions or {}).get(path, Part(function=key, is_bridge=path == PORT))
        for path, key in KEYS.items()
        if path not in unseen + vanished
    }
    for path in unseen:
        made.by_path[path].incoming = None
    incoming = SimpleNamespace(
        boot=SimpleNamespace(scan=scan, last=999),
        is_snapshot=snapshot,
        logged=None,
        silent=frozenset(),
        enumerated={key for path, key in KEYS.items() if path not in missing},
        scan_ends={0: END} if ended else {},
        functions=parts,
        ancestors=lambda key: [parts[0x08]] if key > 0xFF else [],
    )
    predicted = prediction(made, possible, unpredicted)
    for path, key in (renamed or {}).items():
        if key is None:
            del made.by_path[path]
    return divergences.compare(made, predicted, incoming, messages)


def compared(*missing: tuple[int, ...], **more: object) -> list[Divergence]:
    return comparison(*missing, **more).divergences


def lost(path: tuple[int, ...], note: str, *, explained: bool = True) -> Divergence:
    return Divergence(NAMES[path], predicted=True, observed=False, note=note, explained=explained)


def gained(path: tuple[int, ...], note: str, *, explained: bool = True) -> Divergence:
    return Divergence(NAMES[path], predicted=False, observed=True, note=note, explained=explained)


CUT = "the capture ends before the scan reaches it"
REACHES = "the replay reaches it{}, no enumeration of it by the incoming kernel is in the capture"
BEHIND = REACHES.format(" below 0000:00:01.0")
BEYOND = "the incoming kernel enumerated it, the replay does not reach it"


def test_agreement() -> None:
    assert compared() == []


@pytest.mark.parametrize(("scan", "snapshot"), [(None, False)])
def test_without_a_scan_there_is_nothing_to_compare(scan: int | None, snapshot: bool) -> None:
    assert compared(ONE, scan=scan, snapshot=snapshot) == []


def test_a_scan_is_compared() -> None:
    assert compared(ONE, scan=0) == [lost(ONE, BEHIND, explained=False)]


@pytest.mark.parametrize("scan", [None, 0])
def test_what_a_snapshot_does_not_list_is_gone(scan: int | None) -> None:
    note = "the snapshot or log taken after the kexec does not list it"
    assert compared(ONE, scan=scan, snapshot=True) == [lost(ONE, note, explained=True)]


def test_what_is_merely_possible_differs_neither_way() -> None:
    assert compared(ONE, possible=(ONE, TWO)) == []


def test_both_kinds_in_the_order_of_addresses() -> None:
    assert compared(TWO, LAST, unpredicted=(ZERO,)) == [
        lost(LAST, REACHES.format(""), explained=False),
        gained(ZERO, BEYOND, explained=False),
        lost(TWO, BEHIND, explained=False),
    ]


@pytest.mark.parametrize(
    ("missing", "ended", "explained"),
    [
        ((DEEP,), False, True),  # the scan had not come so far
        ((TWO, DEEP), False, True),
        ((TWO,), False, False),  # it had gone on to the next one
        ((DEEP,), True, False),
        ((PORT, LAST, ZERO, ONE, TWO, DEEP), False, True),
        ((LAST, ZERO, ONE, TWO, DEEP), False, True),
    ],
)
def test_a_capture_that_ends_during_the_scan(
    missing: tuple[tuple[int, ...], ...], ended: bool, explained: bool
) -> None:
    found = compared(*missing, ended=ended)
    assert {item.explained for item in found} == {explained}
    assert {item.note == CUT for item in found} == {explained}
    assert len(found) == len(missing)


LINK = "pciehp: Slot(1): Link Down"


@pytest.mark.parametrize(
    ("text", "function", "explained"),
    [
        (LINK, 0x08, True),
        ("pciehp: Slot(1): Link Up", 0x08, True),
        ("pciehp: Slot(1): Card not present", 0x08, True),
        ("pciehp: Slot(1): Card present", 0x08, True),
        ("pciehp: Slot(1): Link Down ignored", 0x08, False),
        ("pciehp: Slot(1): Attention button pressed", 0x08, False),
        (LINK, 0x101, False),  # said of the function itself
        (LINK, 0x10, False),
    ],
)
def test_hot_plug_explains(text: str, function: int, explained: bool) -> None:
    messages = (LogMessage(0x10, "x", "log"), LogMessage(function, text, "log"))
    note = f"hot-plug on 0000:00:01.0: {text}"
    assert compared(ONE, messages=messages) == [lost(ONE, note if explained else BEHIND, explained=explained)]
    assert compared(unpredicted=(ONE,), messages=messages) == [
        gained(ONE, note if explained else BEYOND, explained=explained)
    ]


def test_hot_plug_further_up_explains_as_well() -> None:
    messages = (LogMessage(0x08, LINK, "log"),)
    assert compared(DEEP, messages=messages) == [lost(DEEP, f"hot-plug on 0000:00:01.0: {LINK}")]


@pytest.mark.parametrize("unseen", [(PORT,), ()])
def test_a_bridge_that_was_not_seen_is_not_named(unseen: tuple[tuple[int, ...], ...]) -> None:
    (found,) = compared(ONE, unseen=unseen)
    assert found == lost(ONE, REACHES.format("") if unseen else BEHIND, explained=False)


def dying(
    *accesses: Access, path: tuple[int, ...] = ZERO, scans: tuple[int, ...] = (95,)
) -> dict[object, Part]:
    return {path: Part(accesses, function=KEYS[path], is_bridge=path == PORT, scans=scans)}


STOPPED = "0000:01:00.0 stopped answering while the scan set it up"
ALIVE, DEAD = read(0x08, 4, 0x06040000), read(0x3C, 4, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("functions", "note"),
    [
        (dying(ALIVE, DEAD), STOPPED),
        (dying(DEAD), STOPPED),
        (dying(ALIVE, read(0x3C, 4, None)), STOPPED),
        (dying(ALIVE, DEAD, path=PORT), "0000:00:01.0 stopped answering while the scan set it up"),
        (dying(ALIVE, DEAD, DEAD), STOPPED),
        (dying(ALIVE), None),
        (dying(ALIVE, DEAD, ALIVE), None),  # a BAR that was sized
        (dying(DEAD, ALIVE, DEAD), STOPPED),
        (dying(ALIVE, read(0x10, 4, 0xFFFFFFFF)), None),  # base addresses return ones while they are sized
        (dying(ALIVE, read(0x30, 4, 0xFFFFFFFF)), None),
        (dying(ALIVE, read(0x0C, 4, 0xFFFFFFFF)), STOPPED),
        (dying(ALIVE, read(0x34, 4, 0xFFFFFFFF)), STOPPED),
        (dying(ALIVE, read(0x10, 4, 0xFFFFFFFF), DEAD), STOPPED),
        (dying(ALIVE, DEAD, read(0x3D, 1, 0xFF)), STOPPED),  # a byte of ones is no answer
        (dying(ALIVE, DEAD, read(0x3D, 2, 0xFF)), None),
        (dying(ALIVE, DEAD, read(0x3D, 1, 0xFE)), None),
        (dying(ALIVE, write(0x10, 4, 0xFFFFFFFF)), None),
        (dying(ALIVE, DEAD, write(0x04, 2, 0)), STOPPED),  # a write is no answer
        (dying(ALIVE, read(0x100, 4, 0xFFFFFFFF)), None),  # no extended configuration space
        (dying(ALIVE, DEAD, read(0x100, 4, 0x00010001)), STOPPED),
        (dying(ALIVE, read(0xFC, 4, 0xFFFFFFFF)), STOPPED),
        (dying(ALIVE, DEAD, scans=()), None),  # never enumerated
        (dying(ALIVE, DEAD, scans=(110,)), None),  # before the scan asked it
        (dying(ALIVE, DEAD, scans=(109,)), STOPPED),
        (dying(ALIVE, DEAD, scans=(95, 200)), STOPPED),
        (dying(*[ALIVE] * 41, DEAD), None),  # row 510: behind the end of the scan
        (dying(*[ALIVE] * 40, DEAD), STOPPED),  # row 500
        (dying(*[ALIVE] * 40, DEAD, ALIVE), STOPPED),
        (dying(ALIVE, DEAD, path=LAST), None),  # on another bus
    ],
)
def test_a_neighbour_that_dies_during_its_setup_explains(
    functions: dict[tuple[int, ...], Part], note: str | None
) -> None:
    expected = lost(ONE, BEHIND, explained=False) if note is None else lost(ONE, note)
    assert compared(ONE, functions=functions) == [expected]


@pytest.mark.parametrize(
    ("extended", "note"), [(True, STOPPED), (False, None), (None, None)], ids=["ARI", "no ARI", "unknown"]
)
def test_extended_space_counts_where_something_is_there(extended: bool | None, note: str | None) -> None:
    functions = dying(ALIVE, read(0x100, 4, 0xFFFFFFFF))
    expected = lost(ONE, BEHIND, explained=False) if note is None else lost(ONE, note)
    assert compared(ONE, functions=functions, extended=extended) == [expected]


def test_while_the_scan_goes_on_the_boot_s_end_counts() -> None:
    """TWO was enumerated behind ONE, so the cut explains nothing; the death behind row 500 does."""
    functions = dying(*[ALIVE] * 41, DEAD)
    assert compared(ONE, functions=functions, ended=False) == [lost(ONE, STOPPED)]


def test_neighbours_that_were_not_seen_are_passed_over() -> None:
    assert compared(ONE, functions=dying(ALIVE, DEAD, path=TWO), unseen=(ZERO,)) == [
        lost(ONE, "0000:01:00.2 stopped answering while the scan set it up")
    ]


def test_death_is_asked_before_hot_plug() -> None:
    (found,) = compared(ONE, functions=dying(ALIVE, DEAD), messages=(LogMessage(0x08, LINK, "log"),))
    assert found.note == STOPPED


def test_on_a_root_bus_no_neighbour_is_asked() -> None:
    (found,) = compared(LAST, functions=dying(ALIVE, DEAD, path=PORT))
    assert found == lost(LAST, REACHES.format(""), explained=False)


def sets(found: Comparison) -> tuple[set[int], dict[int, str], set[int]]:
    return set(found.doubted), dict(found.gone), set(found.found)


@pytest.mark.parametrize(
    ("missing", "more", "doubted", "gone", "found"),
    [
        ((), {}, (), {}, ()),
        ((ONE,), {}, (ONE,), {}, ()),
        ((ONE, LAST), {}, (ONE, LAST), {}, ()),
        ((), {"unpredicted": (ONE,)}, (), {}, (ONE,)),
        ((), {"unpredicted": (ONE,), "messages": (LogMessage(0x08, LINK, "log"),)}, (), {}, (ONE,)),
        # the capture ends: nothing is said of the function
        ((DEEP,), {"ended": False}, (), {}, ()),
        # hot-plug, and who died
        (
            (ONE,),
            {"messages": (LogMessage(0x08, LINK, "log"),), "vanished": (ONE,)},
            (),
            {ONE: "no-response"},
            (),
        ),
        ((ONE,), {"functions": dying(ALIVE, DEAD), "vanished": (ONE,)}, (), {ONE: "function-0-absent"}, ()),
        (
            (ONE,),
            {"functions": dying(ALIVE, DEAD, path=TWO), "vanished": (ONE,)},
            (),
            {ONE: "chain-broken"},
            (),
        ),
        (
            (ONE,),
            {"functions": dying(ALIVE, DEAD, path=PORT), "vanished": (ONE,)},
            (),
            {ONE: "bridge-gone"},
            (),
        ),
        # a later scan found it after all
        ((ONE,), {"functions": dying(ALIVE, DEAD)}, (), {}, ()),
        # what is below a bridge that is gone
        (
            (TWO, DEEP),
            {"functions": dying(ALIVE, DEAD), "vanished": (TWO, DEEP)},
            (),
            {TWO: "function-0-absent", DEEP: "ancestor-hidden"},
            (),
        ),
        ((TWO, DEEP), {"vanished": (TWO, DEEP)}, (TWO, DEEP), {}, ()),
    ],
)
def test_what_it_means_for_devices(
    missing: tuple[tuple[int, ...], ...],
    more: dict[str, object],
    doubted: tuple[tuple[int, ...], ...],
    gone: dict[tuple[int, ...], str],
    found: tuple[tuple[int, ...], ...],
) -> None:
    assert sets(comparison(*missing, **more)) == (
        {KEYS[path] for path in doubted},
        {KEYS[path]: reason for path, reason in gone.items()},
        {KEYS[path] for path in found},
    )


def test_what_is_below_a_bridge_that_is_gone_has_its_note() -> None:
    found = compared(TWO, DEEP, functions=dying(ALIVE, DEAD), vanished=(TWO, DEEP))
    assert found == [lost(TWO, STOPPED), lost(DEEP, STOPPED)]


def test_a_bridge_that_has_an_address_but_no_function_is_not_named() -> None:
    assert compared(ONE, vanished=(PORT,)) == [lost(ONE, REACHES.format(""), explained=False)]


@pytest.mark.parametrize(
    ("missing", "unpredicted", "messages"),
    [((ONE,), (), ()), ((ONE,), (), (LogMessage(0x08, LINK, "log"),)), ((), (ONE,), ())],
    ids=["doubted", "gone", "found"],
)
def test_functions_are_named_as_the_outgoing_kernel_did(
    missing: tuple[tuple[int, ...], ...],
    unpredicted: tuple[tuple[int, ...], ...],
    messages: tuple[LogMessage, ...],
) -> None:
    found = comparison(
        *missing, unpredicted=unpredicted, messages=messages, vanished=missing, renamed={ONE: 0x701}
    )
    assert [item.bdf for item in found.divergences] == ["0000:01:00.1"]  # where the scan looks
    assert set().union(*sets(found)) == {0x701}


def test_a_function_that_has_no_node_keeps_its_address() -> None:
    found = comparison(unpredicted=(ONE,), renamed={ONE: None})
    assert sets(found) == (set(), {}, {0x101})


def test_a_port_at_address_0_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEYS, PORT, 0)
    found = compared(ONE, functions=dying(ALIVE, DEAD, path=PORT))
    assert found == [lost(ONE, "0000:00:00.0 stopped answering while the scan set it up")]
