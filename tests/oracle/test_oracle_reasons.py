"""Why a function is not discovered: each reason must be true of the machine, and the first obstacle."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from both_scans import POLICIES, Scans, random_cases, together
from naive_scan import DOWNSTREAM, PCI_TO_PCIE, ROOT_PORT
from smaller_worlds import smallest

from analyzer import bdf
from analyzer.verdicts import devices
from analyzer.verdicts.divergences import Comparison

if TYPE_CHECKING:
    from naive_scan import Kernel
    from random_worlds import Case

    from analyzer.replay.world import Node, World

CASES = 400


def wrong_reason(scans: Scans, number: int) -> str | None:
    """A verdict or reason that the naive scan contradicts, or None; ``number``: which of the scans."""
    case, policy, _ = scans.kinds[number]
    kernel, machine = scans.naive[number], scans.replay.kernels[number].machine
    world = machine.world
    found = {device.path for device in kernel.found}
    verdicts = devices.verdicts(
        machine,
        scans.replay.found(number),
        partial(scans.replay.prediction, number),
        case.preserved,
        Comparison(),
    )
    named = {device.bdf: device for device in verdicts}
    assert len(named) == len(verdicts)
    for node in world.nodes():
        if node.outgoing is None:
            continue
        verdict = named[bdf.text(node.outgoing)]
        expected = "stranded" if node.outgoing in case.preserved else "missing"
        if verdict.verdict != ("reachable" if node.path in found else expected):
            return f"{policy}: {verdict}, discovered: {node.path in found}"
        if (verdict.reason is None) != (node.path in found):
            return f"{policy}: {verdict}, discovered: {node.path in found}"
        if verdict.reason is not None and not _holds(verdict.reason, case, node, world, kernel):
            return f"{policy}: {verdict} is not what hides {node.path}"
    return None


def _holds(reason: str, case: Case, node: Node, world: World, kernel: Kernel) -> bool:
    """Whether a reason names a true obstacle, and the first on the way down."""
    if (kernel.handover == "panic" and kernel.policy != "stock") or reason == "kernel-panicked":
        return reason == "kernel-panicked" and kernel.handover == "panic"
    found = {device.path: device for device in kernel.found}
    above = found.get(node.path[:-1])
    hidden_above = above is None and len(node.path) > 2
    refused = kernel.outcomes.get(node.path[:-1]) == "refuse"
    siblings = world.roots[node.path[0]] if len(node.path) == 2 else world.by_path[node.path[:-1]].children
    answering = {devfn for devfn, sibling in siblings.items() if sibling.present}
    if reason == "ancestor-hidden":
        return hidden_above and world.by_path[node.path[:-1]].present
    dead_above = above is not None and above.hardware.dies
    if reason == "bridge-gone":
        return dead_above or (hidden_above and not world.by_path[node.path[:-1]].present)
    if hidden_above or refused or dead_above:
        return reason == "bridge-unconfigured" and not hidden_above
    # No word of its own: function 0 of a slot without its multi-function bit, where ARI does not apply.
    if reason == "unknown-header-type":
        return not node.present and node.ignored == reason
    if reason == "no-response":
        return node.ignored in (None, reason) and (not node.present or above is None)
    ari = above is not None and above.ari_enabled
    one_device = ari or (above is not None and above.port_type in (ROOT_PORT, DOWNSTREAM, PCI_TO_PCIE))
    first = 0 if one_device else node.devfn & 0xF8
    return {
        "function-0-absent": first not in answering | {node.devfn},
        "function-0-not-ari": ari and first in answering and not siblings[first].has_ari,
        "chain-broken": ari and first in answering,
        "ari-off": not ari and node.present and first in answering,
        "noari": not ari and case.noari and _ari_without_noari(case, kernel.policy, node.path[:-1]),
    }[reason]


def _ari_without_noari(case: Case, policy: str, bridge: tuple[int, ...]) -> bool:
    """Whether ARI were on without pci=noari, as far as the scan gets there then."""
    kernel = case.kernel(policy)
    kernel.noari = False
    scanned = {device.path: device for device in kernel.boot(case.machine).scanned}
    return bridge not in scanned or scanned[bridge].ari_enabled


def alone(case: Case, policy: str) -> str | None:
    """The same of one machine."""
    return wrong_reason(Scans([case], [(policy, False)]), 0)


def test_reasons_are_given_for_exactly_what_is_not_discovered() -> None:
    for some in together(random_cases(7, CASES)):
        scans = Scans(some, [(policy, False) for policy in POLICIES])
        for number, (case, policy, _) in enumerate(scans.kinds):
            if wrong_reason(scans, number):
                small = smallest(case, partial(alone, policy=policy))
                pytest.fail(f"{alone(small, policy)}\n{small!r}")
