"""What is reported of one kexec: who it was, what each policy finds, the verdicts, and what they rest on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hand_made import ACS, AER, SRIOV, Access, read, write
from hand_made_kexec import (
    ALL,
    CONTROL_2,
    EIGHT,
    NAMES,
    ON,
    PATHS,
    PORT,
    ZERO,
    BootFunctions,
    Device,
    Watch,
    after,
    before,
    conclude,
    hardware,
    predicted,
)
from hand_made_worlds import found_rows

from analyzer.observed.decisions import Decision
from analyzer.preservation.preserved import PreservedSet
from analyzer.results import POLICIES, PolicyOutcome
from analyzer.results.state import StateVerdict
from analyzer.verdicts import kexecs
from analyzer.verdicts.reset_evidence import LogMessage

COMMAND, ACS_CONTROL, VF_CONTROL = 0x04, ACS + 0x06, SRIOV + 0x08


def test_which_kexec_it_is() -> None:
    """Numbers of boots and of the first access after it, and the time without a kernel."""
    result = conclude(noari=True, kind="plain").result
    assert (result.index, result.outgoing_boot, result.incoming_boot) == (2, 5, 6)
    assert (result.at_access, result.blackout_ns) == (407, 100)
    assert (result.kind, result.noari, result.series) == ("plain", True, "v8")
    assert (result.observed_policy, result.policy, result.preserved_source) == ("inherit", "inherit", "flb")
    assert conclude(policy="heal").result.policy == "heal"


def test_what_the_result_rests_on() -> None:
    machine, watch = hardware(), Watch()
    found = conclude(machine=machine, watch=watch)
    rests_on: tuple[object, ...] = (found.machine, found.watch, found.ran, found.profiles)
    assert rests_on == (machine, watch, "inherit", "profiles")
    assert found.handover.number == found.result.index
    assert found.predictions["inherit"].certain == set(PATHS.values())


def test_a_prediction_for_each_policy_in_their_order() -> None:
    assert list(conclude().predictions) == list(POLICIES)


def test_what_each_policy_finds() -> None:
    """Of the functions that would have been preserved; one of them is not on the machine."""
    every = [NAMES[PORT], NAMES[ZERO], NAMES[EIGHT]]
    result = conclude().result
    whole = PolicyOutcome(discovered=every, stranded=[], assumed=[], undetermined=[])
    stock = PolicyOutcome(discovered=every[:2], stranded=every[2:], assumed=[], undetermined=[])
    assert result.policies == {"stock": stock, "inherit": whole, "serialize": whole, "heal": whole}
    assert result.observed.discovered == every


@pytest.mark.parametrize(
    ("found", "possible", "assumed", "expected"),
    [
        ((PORT, ZERO), (), False, ([PORT, ZERO], [EIGHT], [], [])),
        ((PORT, ZERO), (EIGHT,), False, ([PORT, ZERO], [], [], [EIGHT])),
        ((PORT, ZERO), (EIGHT,), True, ([PORT, ZERO], [], [], [EIGHT])),
        ((PORT, ZERO, EIGHT), (), True, ([PORT, ZERO, EIGHT], [], [EIGHT], [])),
        ((), (PORT, ZERO, EIGHT), False, ([], [], [], [ZERO, EIGHT])),  # the port is not preserved
        ((), (), False, ([], [ZERO, EIGHT], [], [])),
    ],
)
def test_the_outcome_of_one_policy(
    found: tuple[int, ...], possible: tuple[int, ...], assumed: bool, expected: tuple[list[int], ...]
) -> None:
    """Discovered, stranded, discovered on the assumption that they are there, and undetermined."""
    machine = hardware(assumed=assumed)
    rows = found_rows(machine, predicted(machine, *found, possible=possible))
    discovered, stranded, assumptions, undetermined = ([NAMES[key] for key in keys] for keys in expected)
    assert kexecs._outcome(machine, rows, frozenset({ZERO, EIGHT})) == PolicyOutcome(
        discovered=discovered, stranded=stranded, assumed=assumptions, undetermined=undetermined
    )


@pytest.mark.parametrize(
    ("enumerated", "possible", "silent", "expected"),
    [
        (ALL, (), (), True),
        (ALL - {EIGHT}, (), (), False),
        (ALL | {0x0109}, (), (), False),
        (ALL, (EIGHT,), (), False),
        (ALL, (), (EIGHT,), False),
        (ALL - {EIGHT}, (), (EIGHT,), False),
    ],
)
def test_a_kernel_that_found_exactly_what_it_must(
    enumerated: frozenset[int], possible: tuple[int, ...], silent: tuple[int, ...], expected: bool
) -> None:
    machine = hardware()
    certain = [key for key in PATHS if key not in possible]
    rows = found_rows(machine, predicted(machine, *certain, possible=possible))
    incoming: Any = SimpleNamespace(enumerated=set(enumerated), silent=frozenset(silent))
    assert kexecs._as_predicted(rows, incoming) is expected


LINK_DOWN = LogMessage(PORT, "pciehp: Slot(1): Link Down", "dmesg", 450)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, []),
        ({"incoming": after(enumerated=(PORT, ZERO))}, [(EIGHT, True, False, False)]),
        (
            {"incoming": after(enumerated=(PORT, ZERO)), "messages": (LINK_DOWN,)},
            [(EIGHT, True, False, True)],
        ),
        ({"incoming": after(enumerated=(PORT, ZERO), snapshot=True)}, [(EIGHT, True, False, True)]),
        # It may be what the snapshot is known to lack.
        (
            {"incoming": after(enumerated=(PORT, ZERO), snapshot=True), "complete": False},
            [(EIGHT, True, False, False)],
        ),
        # The kernel that ran is compared, whatever policy the verdicts are given under.
        ({"incoming": after(enumerated=(PORT, ZERO)), "policy": "stock"}, [(EIGHT, True, False, False)]),
    ],
)
def test_where_the_incoming_kernel_differs_from_the_replay(
    facts: dict[str, Any], expected: list[tuple[object, ...]]
) -> None:
    assert [
        (one.bdf, one.predicted, one.observed, one.explained) for one in conclude(**facts).result.divergences
    ] == [(NAMES[cast("int", key)], *rest) for key, *rest in expected]


@pytest.mark.parametrize(
    ("facts", "verdict", "reason"),
    [
        ({}, "reachable", None),
        ({"policy": "stock"}, "stranded", "ari-off"),
        ({"incoming": after(enumerated=(PORT, ZERO))}, "undetermined", "not-captured"),
        ({"incoming": after(enumerated=(PORT, ZERO), snapshot=True)}, "stranded", "not-listed"),
        # What the kernel that ran did says nothing of another policy.
        ({"incoming": after(enumerated=(PORT, ZERO), snapshot=True), "policy": "heal"}, "reachable", None),
    ],
)
def test_what_becomes_of_a_preserved_function(
    facts: dict[str, Any], verdict: str, reason: str | None
) -> None:
    (device,) = [one for one in conclude(**facts).result.devices if one.bdf == NAMES[EIGHT]]
    assert (device.verdict, device.reason) == (verdict, reason)


def test_a_preserved_virtual_function_is_stranded_below_the_bridge_of_its_physical_function() -> None:
    place = read(SRIOV + 0x14, 2, 4), read(SRIOV + 0x16, 2, 1)
    enabled = write(SRIOV + 0x10, 2, 1), *place, write(VF_CONTROL, 2, 1)
    outgoing = before(BootFunctions(ON | {ZERO: enabled}, physical=(ZERO,)))
    virtual = ZERO + 4
    devices = conclude(outgoing=outgoing, preserved=PreservedSet(ALL | {virtual}, "flb")).result.devices
    (found,) = [one for one in devices if one.bdf == "0000:01:00.4"]
    assert (found.bridge, found.verdict, found.reason) == (NAMES[PORT], "stranded", "virtual-function")


@pytest.mark.parametrize(
    ("facts", "verdict", "decided", "stranded"),
    [
        ({}, "kept", True, []),
        ({"policy": "stock"}, "ignored", False, [EIGHT]),
        # What it was seen to decide counts where it followed the policy of the verdicts.
        ({"decided": (Decision(PORT, 0x100, "inherit", False, 500),)}, "ignored", False, []),
        ({"decided": (Decision(PORT, 0x100, "inherit", False, 500),), "policy": "heal"}, "kept", True, []),
    ],
)
def test_the_verdict_on_the_bridge(
    facts: dict[str, Any], verdict: str, decided: bool, stranded: list[int]
) -> None:
    (bridge,) = conclude(**facts).result.bridges
    assert (bridge.bdf, bridge.verdict, bridge.ari_decided) == (NAMES[PORT], verdict, decided)
    assert bridge.stranded == [NAMES[key] for key in stranded]


#: The incoming kernel reads the port's bit as 0, and uses it.
LOST = {
    "incoming": after(BootFunctions(ON | {PORT: (read(CONTROL_2, 2, 0),)})),
    "decided": (Decision(PORT, 0x100, "inherit", False, 500),),
}
LACKING = "accesses are missing from the capture"


@pytest.mark.parametrize("whole", [True, False])
def test_no_error_was_recorded_is_not_said_where_accesses_are_missing(whole: bool) -> None:
    """Of the path to a bridge that lost ARI Forwarding."""
    (bridge,) = conclude(whole=whole, **LOST).result.bridges
    assert bridge.verdict == "lost"
    assert (LACKING not in (bridge.path_errors_note or LACKING)) is whole


def test_a_message_of_the_kernel_may_be_the_cause() -> None:
    """The link above the port went down; the incoming kernel is known from a dump."""
    outgoing, above = before(), 0x05
    outgoing.ancestors = lambda _: [Device(function=above)]
    message = LogMessage(above, "pciehp: Slot(1): Link Down", "dmesg")
    dump = after(BootFunctions(ON | {PORT: (read(CONTROL_2, 2, 0),)}), snapshot=True)
    (bridge,) = conclude(outgoing=outgoing, incoming=dump, messages=(message,)).result.bridges
    assert (bridge.cause, bridge.cause_bdf) == ("upstream-link-down", "0000:00:00.5")


@pytest.mark.parametrize(
    ("key", "held", "found", "differing", "preserved", "kinds"),
    [
        (EIGHT, write(ACS_CONTROL, 2, 0x1D), read(ACS_CONTROL, 2, 0), "STATE003", ALL, ["acs-lost"]),
        (EIGHT, write(ACS_CONTROL, 2, 0x1D), read(ACS_CONTROL, 2, 0), "STATE003", frozenset(), []),
        (PORT, write(COMMAND, 2, 0x0107), read(COMMAND, 2, 0x0103), "STATE011", ALL, ["bus-master-lost"]),
        (PORT, write(COMMAND, 2, 0x0107), read(COMMAND, 2, 0x0103), "STATE011", frozenset(), []),
        # No matter whether it was preserved: its virtual functions move.
        (
            EIGHT,
            write(VF_CONTROL, 2, 0x10),
            write(VF_CONTROL, 2, 0),
            "",
            frozenset(),
            ["sriov-hierarchy-lost"],
        ),
        (EIGHT, write(VF_CONTROL, 2, 0x10), write(VF_CONTROL, 2, 0), "", ALL, ["sriov-hierarchy-lost"]),
    ],
)
def test_other_state_that_a_function_lost(
    key: int, held: Access, found: Access, differing: str, preserved: frozenset[int], kinds: list[str]
) -> None:
    """Isolation, Bus Master, ARI Capable Hierarchy; each with the access that shows it set and not."""
    both = [BootFunctions(ON | {key: (access,)}) for access in (held, found)]
    secondary = conclude(
        outgoing=before(both[0]),
        incoming=after(both[1]),
        watch=Watch(differing=frozenset({differing})),
        preserved=PreservedSet(preserved, "flb"),
    ).result.secondary
    assert [(one.bdf, one.kind) for one in secondary] == [(NAMES[key], kind) for kind in kinds]
    assert [[proof.access for proof in one.evidence] for one in secondary] == [[100, 100]] * len(kinds)


def test_error_bits_are_observed_beside_the_verdicts() -> None:
    fatal = after(BootFunctions(ON | {ZERO: (read(AER + 0x04, 4, 0x10),)}))
    (found,) = conclude(incoming=fatal).result.secondary
    assert (found.bdf, found.kind, found.note[:11]) == (NAMES[ZERO], "error-status", "UESta: DLP+")


def state(verdict: str) -> StateVerdict:
    word = cast("Any", verdict)
    return StateVerdict(NAMES[EIGHT], "ACS", "", "", None, None, word, None, "note", None, None, "")


def test_registers_that_changed_and_those_of_which_that_is_open() -> None:
    lost, unclear, healed = state("lost"), state("undetermined"), state("healed")
    counts: list[Any] = ["counted"]
    result = conclude(watch=Watch([lost, unclear, healed], counts)).result
    assert (result.state, result.state_undetermined) == ([lost, healed], [unclear])
    assert result.state_counts == counts


#: A dump of the outgoing kernel that does not show what is above bus 9.
DUMPED = {"outgoing": before(scan=None, orphans={9: [0x0900]})}
ABOVE_9 = "the bridge above bus 09 before the kexec (0000:09:00.0 below it)"


@pytest.mark.parametrize(
    ("facts", "preserved", "shown", "damaged"),
    [
        ({}, ALL, [], None),
        ({"policy": "stock"}, ALL, [], None),
        (DUMPED, {0x0900}, [ABOVE_9], None),
        (DUMPED, ALL, [], None),
        # The line that names a preserved function may be the one that cannot be read.
        ({"policy": "stock"}, ALL - {EIGHT}, [], EIGHT),
        (LOST, ALL - {PORT}, [], PORT),
        ({"watch": Watch([state("lost")])}, ALL, [], EIGHT),
        (DUMPED | {"policy": "stock"}, {ZERO, PORT, 0x0900}, [ABOVE_9], EIGHT),
    ],
)
def test_what_the_input_does_not_show(
    facts: dict[str, Any], preserved: set[int], shown: list[str], damaged: int | None
) -> None:
    listed = PreservedSet(frozenset(preserved), "dmesg", may_lack=damaged is not None)
    if damaged is not None:
        line = "(an address in the kernel's log is damaged)"
        shown = [*shown, f"whether {NAMES[damaged]} was preserved {line}"]
    assert conclude(preserved=listed, **facts).result.not_in_input == shown


def test_what_sources_and_the_log_of_the_incoming_kernel_warn_of() -> None:
    log = SimpleNamespace(path="a.log", missing=(), later={EIGHT: 9}, unknown_headers={})
    listed = PreservedSet(ALL, "flb", warnings=("they differ",))
    warnings = conclude(preserved=listed, incoming=after(logged=log)).result.warnings
    late = f"{NAMES[EIGHT]} was found after the incoming kernel's scan only (a.log, line 9)"
    assert warnings == ["they differ", late]
