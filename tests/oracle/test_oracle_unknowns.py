"""What the replay says while inputs are unknown must hold for every machine that fits what it was told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import replay_inputs
import unknown_inputs
from both_scans import POLICIES, random_cases, together
from hypothesis import strategies as st
from naive_scan import ROOT_PORT, Hardware, Machine
from random_worlds import Case, Dice
from unknown_inputs import Unknown

from analyzer.replay import enumeration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from naive_scan import Kernel
    from random_worlds import Path

    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.world import Node

#: A tenth of the machines of the full comparison, in parts.
CASES = int(os.environ.get("ARITRACE_ORACLE_CASES", "10000")) // 10
PART = 250
#: Machines tried for each set of unknown inputs.
COMPLETIONS = 40
#: Inputs whose values the replay tries exactly; the others it takes for independent of each other.
EXACT = ("multifunction", "capability", "next", "bit", "saved", "supported", "type", "numbers")


class Replays:
    """What the replay says of machines that it is not told everything of.

    Args:
        asked: machine, inputs that are unknown, policy.
    """

    def __init__(self, asked: Sequence[tuple[Case, list[Unknown], str]]) -> None:
        profiles = [replay_inputs.profile(case, policy) for case, _, policy in asked]
        self.nodes = [replay_inputs.nodes(case) for case, _, _ in asked]
        for (_, unknowns, _), nodes, profile in zip(asked, self.nodes, profiles, strict=True):
            unknown_inputs.forget(unknowns, nodes, profile)
        machines = replay_inputs.machines(self.nodes)
        self._replay = enumeration.Replay(list(map(enumeration.ScanningKernel, machines, profiles)))

    def of(self, number: int) -> tuple[Prediction, dict[Path, Node]]:
        """The prediction for one of them, and what it was told of each function."""
        return self._replay.prediction(number), self.nodes[number]


def unsound(prediction: Prediction, kernel: Kernel) -> str | None:
    """Where one machine that fits contradicts the prediction, or None."""
    found = {device.path for device in kernel.found}
    if not prediction.certain <= found:
        return f"certain, but not found: {sorted(prediction.certain - found)}"
    if not found <= prediction.certain | prediction.possible:
        return f"found, but not even possible: {sorted(found - prediction.certain - prediction.possible)}"
    for path, outcome in kernel.outcomes.items():
        predicted = prediction.numbers.get(path)
        if predicted in ("assign", "refuse") and outcome != predicted:
            return f"bus numbers of {path} said to be {predicted}, are {outcome}"
    for bridge in kernel.scanned:
        enabled = prediction.decisions[bridge.path].enabled
        if enabled is not None and enabled != bridge.ari_enabled:
            return f"ARI of {bridge.path} said to be {enabled}, is {bridge.ari_enabled}"
    return None


def try_completions(
    case: Case, unknowns: list[Unknown], policy: str, said: tuple[Prediction, dict[Path, Node]]
) -> int:
    """Fail where a machine that fits contradicts the replay; return how many were tried.

    Where one input alone is unknown, the replay must not be vaguer than that either.
    """
    prediction, nodes = said
    scans: list[set[Path]] = []
    # Capabilities that were never read vary with the type of the bridge above: more is unknown then.
    skipped = any(node.has_ari is None and node.path != unknowns[0].path for node in nodes.values())
    for _ in unknown_inputs.completions(case, unknowns, COMPLETIONS):
        kernel = case.kernel(policy).boot(case.machine)
        if not (
            unknown_inputs.ports_below_speak_true(unknowns, kernel)
            and unknown_inputs.known_capabilities_are_seen(nodes, kernel)
        ):
            skipped = True
            continue
        scans.append({device.path for device in kernel.found})
        problem = unsound(prediction, kernel)
        if problem is not None:
            pytest.fail(f"{policy}: {problem}\nunknown: {unknowns}\nas {case!r}")
    single = len(unknowns) == 1 and unknowns[0].what in EXACT and len(unknowns[0].values) <= COMPLETIONS
    if single and not skipped and not case.scan_all:
        known = (set.intersection(*scans), set.union(*scans))
        if known != (prediction.certain, prediction.certain | prediction.possible):
            pytest.fail(
                f"{policy}: vague: {prediction.certain}, {prediction.possible}, in truth {known}\n"
                f"unknown: {unknowns}\nas {case!r}"
            )
    return len(scans)


@pytest.mark.parametrize("part", range(-(-CASES // PART)))
def test_no_completion_contradicts_the_replay(part: int, record_property: Callable) -> None:
    machines = 0
    picked = random_cases(part, min(PART, CASES - part * PART), st.binary(min_size=32, max_size=32))
    for some in together(picked):
        asked = []
        for case, picks in some:
            dice = Dice(picks)
            unknowns = unknown_inputs.choose(case, dice, dice.pick(1, 1, 2, 3, 4))
            asked.append((case, unknowns, dice.pick(*POLICIES)))
        replays = Replays(asked)
        machines += sum(try_completions(*one, replays.of(number)) for number, one in enumerate(asked))
    record_property("oracle_completions", machines)


def test_a_bridge_that_is_perhaps_there_perhaps_makes_v9_refuse() -> None:
    """Random machines hardly ever have it: a preserved bridge behind an unknown multi-function bit."""
    port = Hardware(header=1, pcie=(2, ROOT_PORT), below={0: Hardware()}, renumber=1)
    preserved = Hardware(header=1, pcie=(2, ROOT_PORT), renumber=2)
    case = Case(Machine({(0, 0): {8: port, 9: preserved}}), series="v9", preserved=frozenset({9}))
    case.outgoing = case.addresses = {(0, 8): 8, (0, 8, 0): 0x100, (0, 9): 9}
    case.outgoing_numbers = {(0, 8): (0, 1, 1), (0, 9): (0, 2, 2)}
    unknown = Unknown((0, 8), "multifunction", ({"header": 0x01}, {"header": 0x81}))
    said = Replays([(case, [unknown], "inherit")]).of(0)
    assert try_completions(case, [unknown], "inherit", said) == 2
    prediction, _ = said
    assert (prediction.certain, prediction.possible) == ({(0, 8)}, {(0, 9), (0, 8, 0)})
    assert prediction.numbers[0, 8] == "unknown"
