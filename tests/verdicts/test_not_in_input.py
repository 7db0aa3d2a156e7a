"""What the input of one kexec does not show: of logs, of chains, of a damaged set, below bridges."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hand_made import EXP, Part, read
from result_samples import ABOVE_EIGHT, BELOW_PORT, OTHER, PORT, ROOT, bridge, device

from analyzer.observed.register_state import OutgoingState
from analyzer.replay.world import Node, World
from analyzer.results.state import StateVerdict
from analyzer.verdicts import not_in_input

KEY = 0x0300
CONTROL_2 = EXP + 0x28


def topology(functions: dict[int, object] | None = None, **more: object) -> SimpleNamespace:
    values = {"boot": SimpleNamespace(scan=None), "logged": None, "orphans": {}}
    return SimpleNamespace(**(values | {"functions": functions or {}} | more))


def kexec(before: SimpleNamespace, after: SimpleNamespace | None = None) -> SimpleNamespace:
    return SimpleNamespace(outgoing=before, incoming=after or topology())


def preserved(*keys: int, source: str = "flb", may_lack: bool = False) -> SimpleNamespace:
    return SimpleNamespace(keys=frozenset(keys), source=source, may_lack=may_lack)


ASSUMED = preserved(source="assumed")


def logged(**more: object) -> SimpleNamespace:
    return SimpleNamespace(**({"path": "a.log", "missing": (), "later": {}, "unknown_headers": {}} | more))


def test_what_a_log_does_not_show_of_the_scan() -> None:
    log = logged(missing=("lines before 7", "its end"), later={KEY + at: 9 for at in (4, 3, 2, 1, 0)})
    said = [f"in a.log ({{}} the kexec): {missing}" for missing in ("lines before 7", "its end")]
    later = (
        "whether functions that a.log lists after its scan only are virtual, or were there at the kexec"
        " (5: 0000:03:00.0, 0000:03:00.1, 0000:03:00.2, 0000:03:00.3)"
    )
    before = not_in_input.of_snapshots(kexec(topology(logged=log)), ASSUMED)
    assert before == [*(one.format("before") for one in said), later]
    after = not_in_input.of_snapshots(kexec(topology(), topology(logged=log)), ASSUMED)
    assert after == [one.format("after") for one in said]
    assert not_in_input.of_snapshots(kexec(topology(logged=logged())), ASSUMED) == []


def test_a_scan_shows_everything() -> None:
    scanned = topology(logged=logged(missing=("a line",)), boot=SimpleNamespace(scan=7))
    later = topology(logged=logged(missing=("its end",)))
    found = not_in_input.of_snapshots(kexec(scanned, later), ASSUMED)
    assert found == ["in a.log (after the kexec): its end"]


def test_functions_that_a_log_says_something_of() -> None:
    log = logged(unknown_headers={KEY + 1: 12, KEY: 14}, later={KEY + 3: 30, KEY + 2: 31})
    unknown = "read as an unknown header type (7f: nothing responded), and the incoming kernel ignored it"
    assert list(not_in_input.noted_in_log(topology(logged=log))) == [
        f"0000:03:00.0 {unknown} (a.log, line 14)",
        f"0000:03:00.1 {unknown} (a.log, line 12)",
        "0000:03:00.2 was found after the incoming kernel's scan only (a.log, line 31)",
        "0000:03:00.3 was found after the incoming kernel's scan only (a.log, line 30)",
    ]
    assert list(not_in_input.noted_in_log(topology())) == []


@pytest.mark.parametrize(
    ("its", "expected"), [(ASSUMED, True), (preserved(KEY + 1), True), (preserved(0x400), False)]
)
def test_functions_below_a_bridge_that_is_not_listed(its: SimpleNamespace, expected: bool) -> None:
    orphans = {3: [KEY + at for at in range(5)]}
    found = not_in_input.of_snapshots(kexec(topology(orphans=orphans)), its)
    names = "0000:03:00.0, 0000:03:00.1, 0000:03:00.2, 0000:03:00.3"
    assert [one.endswith(f" before the kexec ({names} below it)") for one in found] == [True] * expected


def chained(
    names: int, *, ari: int | None = None, multifunction: bool | None = True, has_ari: bool = True
) -> SimpleNamespace:
    """Function 0 on bus 3 names another one; the bridge above has ARI Forwarding on, off or not shown."""
    accesses = () if ari is None else (read(CONTROL_2, 2, ari),)
    first = SimpleNamespace(
        function=KEY, bus=3, has_ari=has_ari, next_function=names, multifunction=multifunction,
        header_type=0, silent=True,
    )  # fmt: skip
    above = Part(accesses, function=0x0200)
    return topology({KEY: first}, parent=lambda key: above if key >> 8 == 3 else None)


@pytest.mark.parametrize(
    ("before", "its", "expected"),
    [
        (chained(8, ari=0x20), ASSUMED, "0000:03:01.0"),
        (chained(8), ASSUMED, "0000:03:01.0"),
        (chained(8, ari=0), ASSUMED, None),  # nobody can reach it
        (chained(7, ari=0), ASSUMED, "0000:03:00.7"),
        (chained(1, multifunction=False), ASSUMED, None),
        (chained(8, multifunction=False), ASSUMED, "0000:03:01.0"),
        (chained(8, has_ari=False), ASSUMED, None),
        (chained(0), ASSUMED, None),
        (chained(8), preserved(KEY), "0000:03:01.0"),
        (chained(8), preserved(KEY + 8), "0000:03:01.0"),
        (chained(8), preserved(0x0200), "0000:03:01.0"),
        (chained(8), preserved(KEY + 1), None),
    ],
)
def test_a_function_that_only_a_chain_names(
    before: SimpleNamespace, its: SimpleNamespace, expected: str | None
) -> None:
    found = not_in_input.of_snapshots(kexec(before), its)
    said = f"{expected} before the kexec, which 0000:03:00.0 names as the next function"
    assert found == ([] if expected is None else [said])


def test_a_byte_that_would_show_whether_there_are_more() -> None:
    (found,) = not_in_input.of_snapshots(kexec(chained(7, multifunction=None)), ASSUMED)
    assert found == (
        "byte 0e of 0000:03:00.0 (is it multi-function?), or 0000:03:00.7 before the kexec, which"
        " 0000:03:00.0 names as the next function"
    )
    (far,) = not_in_input.of_snapshots(kexec(chained(8, multifunction=None)), ASSUMED)
    assert far.startswith("0000:03:01.0 before")
    without = chained(7, multifunction=None)
    without.functions[KEY].header_type = None
    (other,) = not_in_input.of_snapshots(kexec(without), ASSUMED)
    assert other.startswith("0000:03:00.7 before")


def test_a_chain_after_the_kexec_names_what_was_there_before() -> None:
    after = chained(8)
    before = topology({KEY + 8: SimpleNamespace(silent=True)}, parent={}.get)
    assert not_in_input.of_snapshots(kexec(before, after), ASSUMED) == []
    (found,) = not_in_input.of_snapshots(kexec(topology(), after), ASSUMED)
    assert found.startswith("0000:03:01.0 after the kexec, which")


def row(name: str, verdict: str, code: str | None = None) -> StateVerdict:
    return StateVerdict(ABOVE_EIGHT[0], name, "", "", None, None, verdict, code, "note", None, None, "")


@pytest.mark.parametrize(
    ("devices", "bridges", "states", "named"),
    [
        ([], [], [], None),
        ([device(PORT, "missing", preserved=False)], [], [], f"{PORT} was"),
        ([device(PORT, "undetermined", preserved=False)], [], [], f"{PORT} was"),
        ([device(PORT, "reachable", preserved=False), device(ROOT, "missing")], [], [], None),
        ([], [bridge(PORT, "lost", preserved=False)], [], f"{PORT} was"),
        ([], [bridge(PORT, "hidden", preserved=False)], [], f"{PORT} was"),
        ([], [bridge(PORT, "undetermined", preserved=False)], [], f"{PORT} was"),
        ([], [bridge(PORT, "kept", preserved=False), bridge(ROOT, "lost")], [], None),
        ([], [], [row("ACS", "lost")], f"{ABOVE_EIGHT[0]} was"),
        ([], [], [row("ACS", "healed"), row("MPS", "lost"), row("ACS", "lost", "STATE003")], None),
        (
            [device(PORT, "missing", preserved=False)],
            [bridge(ROOT, "lost", preserved=False), bridge(PORT, "lost", preserved=False)],
            [row("ACS", "lost")],
            f"{ROOT}, {PORT}, {ABOVE_EIGHT[0]} were",
        ),
        (
            [device(name, "missing", preserved=False) for name in BELOW_PORT[:4]],
            [],
            [],
            f"{', '.join(BELOW_PORT[:4])} were",
        ),
        (
            [device(name, "missing", preserved=False) for name in (*BELOW_PORT, OTHER)],
            [],
            [],
            f"{', '.join(BELOW_PORT[:4])} and 2 more were",
        ),
    ],
)
def test_what_a_damaged_line_may_have_named(
    devices: list[object], bridges: list[object], states: list[StateVerdict], named: str | None
) -> None:
    found = not_in_input.of_set(preserved(may_lack=True), devices, bridges, states)
    said = f"whether {named} preserved (an address in the kernel's log is damaged)"
    assert found == ([] if named is None else [said])
    assert not_in_input.of_set(preserved(), devices, bridges, states) == []


@pytest.mark.parametrize(
    ("changes", "its", "states", "scan", "child", "expected"),
    [
        ({}, ASSUMED, {}, None, None, True),
        ({}, preserved(0x08), {}, None, None, True),
        ({}, preserved(0x09), {}, None, None, False),
        ({}, ASSUMED, {0x08: OutgoingState()}, None, None, True),
        ({}, ASSUMED, {0x08: OutgoingState(0, 5)}, None, None, False),
        ({"outgoing": None}, ASSUMED, {None: OutgoingState(0, 5)}, None, None, True),
        ({"hardware": False}, ASSUMED, {}, None, None, False),
        ({"is_bridge": False}, ASSUMED, {}, None, None, False),
        ({}, ASSUMED, {}, 7, None, False),
        ({}, ASSUMED, {}, None, 0x100, False),  # what is below was listed
    ],
)
def test_what_was_below_a_bridge_that_is_on_now(
    changes: dict[str, object],
    its: SimpleNamespace,
    states: dict[int, OutgoingState],
    scan: int | None,
    child: int | None,
    expected: bool,
) -> None:
    above = Node((0, 8), outgoing=0x08, incoming=0x08, is_bridge=True)
    above.children = {0: Node((0, 8, 0), outgoing=child, incoming=0x100)}
    for name, value in ({"hardware": True} | changes).items():
        setattr(above, name, value)
    before = topology(boot=SimpleNamespace(scan=scan))
    asked = SimpleNamespace(outgoing=before, outgoing_states=states)
    machine = SimpleNamespace(world=World({}, {above.path: above}, {}))
    found = not_in_input.never_listed(asked, machine, its)
    assert found == (["the outgoing kernel's enumeration below 0000:00:01.0"] if expected else [])


def test_a_function_without_a_bridge_above_hides_no_other() -> None:
    before = chained(8)
    before.functions[0x0018] = SimpleNamespace(silent=True)  # on a root bus
    assert len(not_in_input.of_snapshots(kexec(before), ASSUMED)) == 1
