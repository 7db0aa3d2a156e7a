"""Which functions a scan discovers: pci_scan_slot, next_fn and only_one_child of Linux 7.3.

Where an input is unknown (a bit or a chain entry that the capture does not hold), every possibility is
walked: functions found in all of them are certain, functions found in some are merely possible.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from analyzer.replay import ari, bus_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.replay.ari import AriDecision
    from analyzer.replay.bus_numbers import Outcome
    from analyzer.replay.profile import Profile
    from analyzer.replay.world import Node, Path, World


@dataclass
class Prediction:
    """What a kernel of one profile must find.

    Attributes:
        order: discovered nodes in the order of the scan, certain and possible ones.
        certain: paths that are discovered whatever the unknown inputs are.
        possible: paths that are discovered for some of them only.
        decisions: bridge path -> ARI decision.
        numbers: bridge path -> what became of its bus numbers. ``use`` takes numbers that the incoming kernel
            was not seen to read as kept; where they might not be, what is below is merely possible.
        keys: path -> key under the numbering of this scan.
        panicked: the kernel panics while it sets up the first function that it finds.
        renumbers: the kernel numbers every bridge anew, also those with usable numbers.
    """

    order: list[Node] = field(default_factory=list)
    certain: set[Path] = field(default_factory=set)
    possible: set[Path] = field(default_factory=set)
    decisions: dict[Path, AriDecision] = field(default_factory=dict)
    numbers: dict[Path, Outcome] = field(default_factory=dict)
    keys: dict[Path, int] = field(default_factory=dict)
    panicked: bool = False
    renumbers: bool = False


#: What :func:`walk` found: bus (path of the bridge above, or the root bus), ARI, one child -> its answer.
Walks = dict[tuple[tuple[int, ...] | int, bool | None, bool | None], tuple[set[int], list[int]]]


def predict(
    world: World, profile: Profile, *, renumbered_as_observed: bool = False, walks: Walks | None = None
) -> Prediction:
    """Replay the scan of every root bus.

    Args:
        world: the hardware.
        profile: the kernel.
        renumbered_as_observed: name functions below a renumbered bridge by the numbers that the incoming
            kernel wrote (for the policy that ran); else by their outgoing address.
        walks: the walks of earlier predictions on the same hardware, which are not walked again.
    """
    prediction = Prediction(renumbers=profile.renumbers)
    if profile.panics:
        _until_panic(world, profile, prediction)
        return prediction
    scan = _Scan(profile, prediction, {} if walks is None else walks, renumbered_as_observed)
    for root in sorted(world.roots):
        _scan_bus(world.roots[root], None, root, scan, sure=True)
    return prediction


class _Scan(NamedTuple):
    """What stays the same from bus to bus; ``observed`` as ``renumbered_as_observed`` of :func:`predict`."""

    profile: Profile
    prediction: Prediction
    walks: Walks
    observed: bool

    def walk(
        self, place: Path | int, answering: dict[int, Node], *, enabled: bool | None, one_child: bool | None
    ) -> tuple[set[int], list[int]]:
        """The walk of one bus, which depends on no policy but through ARI."""
        known = self.walks.get((place, enabled, one_child)) if answering else None
        if known is None:
            known = walk(
                answering,
                enabled=enabled,
                one_child=one_child,
                isolated=self.profile.isolated_functions,
            )
            if answering:
                self.walks[place, enabled, one_child] = known
        return known


def _until_panic(world: World, profile: Profile, prediction: Prediction) -> None:
    """The scan of a kernel that panics over the data that it retrieves when it sets up the first function.

    Series v7 to v9 retrieve it in pci_liveupdate_setup_device, after the header type, the PCI Express
    capability and the class dword of that function: it has been read, and counts as found if its header type
    is one that the kernel knows. Nothing follows.
    """
    prediction.panicked = True
    first = [
        (root, devices[devfn])
        for root, devices in sorted(world.roots.items())
        for devfn in sorted(devices)
        if (devfn & 7 == 0 or profile.isolated_functions)
        and (devices[devfn].present or devices[devfn].ignored)
    ]
    for root, node in first[:1]:
        if node.present:
            prediction.order.append(node)
            prediction.certain.add(node.path)
            prediction.keys[node.path] = root << 8 | node.devfn


def _scan_bus(devices: dict[int, Node], bridge: Node | None, bus: int, scan: _Scan, *, sure: bool) -> None:
    """pci_scan_child_bus_extend: all slots first, then the bridges in discovery order, each with its bus."""
    profile, prediction = scan.profile, scan.prediction
    answering = {devfn: node for devfn, node in devices.items() if node.present}
    decision = None
    if bridge is not None:
        address = prediction.keys[bridge.path]
        decision = ari.decide(bridge, answering.get(0), profile, address=address, secondary=bus)
        prediction.decisions[bridge.path] = decision
    enabled = False if decision is None else decision.enabled
    one_child = False if bridge is None or profile.scan_all else bridge.one_child
    place = bus if bridge is None else bridge.path
    certain, possible = scan.walk(place, answering, enabled=enabled, one_child=one_child)
    found = [answering[devfn] for devfn in possible]
    for node in found:
        prediction.order.append(node)
        prediction.keys[node.path] = bus << 8 | node.devfn
        (prediction.certain if sure and node.devfn in certain else prediction.possible).add(node.path)
    bridges = [node for node in found if node.is_bridge]
    least: dict[Path, Outcome] = {}
    lost: dict[Path, Outcome] = {}
    for node in bridges:
        most = bus_numbers.outcome(node, bus, found, profile)
        # A bridge that is perhaps not found cannot be sure to make this kernel refuse (series v9).
        firm = [other for other in found if other is node or other.devfn in certain]
        least[node.path] = bus_numbers.outcome(node, bus, firm, profile)
        # Nor one whose numbers were not read: it makes it refuse if they are lost.
        lost[node.path] = bus_numbers.outcome(node, bus, found, profile, kept=False)
        differs = most != least[node.path] or (most == "assign" and lost[node.path] == "refuse")
        prediction.numbers[node.path] = "unknown" if differs else most
    # Pass 0 scans below bridges with usable numbers, pass 1 below those that it assigns numbers to.
    passes = [(node, what) for what in ("use", "assign") for node in bridges]
    for node, what in passes:
        if least[node.path] != what:
            continue
        unheard = node.numbers_silent or (
            what == "assign"
            and node.beyond_reach
            and not profile.renumbers
            and not (scan.observed and node.incoming_numbers)
        )
        _scan_bus(
            {} if unheard else node.children,
            node,
            _secondary(node, bus, what, observed=scan.observed),
            scan,
            sure=node.path in prediction.certain and lost[node.path] != "refuse",
        )


def _secondary(bridge: Node, bus: int, what: Outcome, *, observed: bool) -> int:
    """Key of the bus below: the numbers in use, or those that a renumbering kernel assigned."""
    numbers = bridge.numbers or bridge.outgoing_numbers
    if what == "assign":
        new, old = bridge.incoming_numbers, bridge.outgoing_numbers
        numbers = (new or old) if observed else (old or new)
    return bus >> 8 << 8 | (numbers.secondary if numbers is not None else 0)


def walk(
    answering: dict[int, Node], *, enabled: bool | None, one_child: bool | None, isolated: bool = False
) -> tuple[set[int], list[int]]:
    """pci_scan_slot over the slots of one bus.

    Args:
        answering: who answers on the bus, by device and function number.
        enabled: ARI on the bridge above (None: unknown).
        one_child: only device 0 is probed (None: unknown).
        isolated: a slot without function 0 is walked all the same.

    Returns:
        the device/function numbers found whatever the unknown inputs are, and those found for at least one
        of their values, in scan order.
    """
    guesses = (enabled,) if enabled is not None else (False, True)
    ungated = {devfn: node for devfn, node in answering.items() if not node.gated}
    who = {True: answering, False: ungated}
    first = [0]
    slots = {devfn & ~7 for devfn in answering} if isolated else answering.keys()
    every = [slot for slot in range(0, 256, 8) if slot in slots]
    least = [
        {
            devfn
            for slot in (every if one_child is False else first)
            for devfn in _scan_slot(who[guess], slot, enabled=guess, go_on=False, isolated=isolated)
        }
        for guess in guesses
    ]
    most = [
        devfn
        for guess in guesses
        for slot in (first if one_child else every)
        for devfn in _scan_slot(who[guess], slot, enabled=guess, go_on=True, isolated=isolated)
    ]
    return set.intersection(*least), list(dict.fromkeys(most))


class Step(NamedTuple):
    """One probe of a slot's walk.

    Attributes:
        devfn: device and function number probed.
        node: who answers there, or None.
        following: function number that the walk goes on with, -1 where it ends.
        why: what decided that.
    """

    devfn: int
    node: Node | None
    following: int
    why: str


def _scan_slot(
    answering: dict[int, Node], slot: int, *, enabled: bool, go_on: bool, isolated: bool
) -> list[int]:
    """The functions on one slot's walk; where an input is unknown on the shortest, or (go_on) on any."""
    if enabled and go_on:
        return _all_chains(answering, slot)
    steps = slot_steps(answering, slot, enabled=enabled, go_on=go_on, isolated=isolated)
    return [step.devfn for step in steps if step.node is not None]


def _all_chains(answering: dict[int, Node], slot: int) -> list[int]:
    """The functions that the chain leads to for some values of its unknown numbers, which may skip any."""
    ahead, found = {0}, []
    while ahead:
        function = min(ahead)
        ahead.discard(function)
        node = answering.get(slot + function)
        if node is None:
            continue
        found.append(slot + function)
        if node.has_ari is None or (node.has_ari and node.next_function is None):
            ahead.update(devfn - slot for devfn in answering if devfn > slot + function)
        else:
            following, _ = _next_ari_function(node, function)
            ahead.update({following} - {-1})
    return found


def slot_steps(
    answering: dict[int, Node], slot: int, *, enabled: bool, go_on: bool, isolated: bool = False
) -> Iterator[Step]:
    """pci_scan_slot of Linux 7.3: function 0 of a slot, then next_fn until it ends.

    Args:
        answering: who answers on the bus, by device and function number.
        slot: first devfn of the slot.
        enabled: ARI on the bridge above.
        go_on: what an unknown multi-function bit is taken for: the walk goes on, or ends. At an unknown
            next-function number it ends.
        isolated: without ARI a missing function 0 ends nothing (s390, LoongArch, a Jailhouse cell).
    """
    function = 0
    while function >= 0:
        devfn = slot + function
        node = answering.get(devfn) if devfn <= 0xFF else None
        if node is None and function == 0 and (enabled or not isolated):
            yield Step(
                devfn,
                None,
                -1,
                "function 0 does not answer, or is ignored: nothing else in the slot is probed",
            )
            return
        following, why = _next_function(node, function, enabled=enabled, go_on=go_on)
        yield Step(devfn, node, following, why)
        function = following


def _next_function(node: Node | None, function: int, *, enabled: bool, go_on: bool) -> tuple[int, str]:
    """next_fn of Linux 7.3 drivers/pci/probe.c: the next function number, -1 at the end, and why."""
    if enabled:
        return _next_ari_function(node, function)
    if function >= 7:
        return -1, "without ARI a device has functions 0 to 7"
    if node is not None and function == 0:
        multifunction = go_on if node.multifunction is None else node.multifunction
        if not multifunction:
            return -1, "function 0 is not multi-function"
    return function + 1, "without ARI functions 1 to 7 are probed one by one"


def _next_ari_function(node: Node | None, function: int) -> tuple[int, str]:
    """next_ari_fn of Linux 7.3: the chain of Next Function Numbers (PCIe 7.8.8.2)."""
    if node is None:
        return -1, "a member of the chain that does not answer, or is ignored, ends it"
    if node.has_ari is False:
        return -1, "no ARI capability: the chain ends"
    following = node.next_function
    if node.has_ari is None or following is None:
        return -1, "its Next Function Number is not in the capture"
    if following <= function:
        return -1, f"Next Function Number {following} ends the chain"
    return following, f"Next Function Number {following}"
