"""Which functions a kernel finds on one bus: pci_scan_slot, next_fn and only_one_child of Linux 7.3.

Where an input is unknown (a bit or a chain entry that the capture does not hold), every possibility is
walked: functions found in all of them are certain, functions found in some are merely possible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Sibling(Protocol):
    """What the walk of a bus looks at of a function that answers on it; None is unknown.

    Attributes:
        gated: it was seen not to answer while ARI Forwarding was off on the bridge above.
        multifunction: bit 7 of its header type.
        has_ari: it has an ARI capability.
        next_function: the Next Function Number in that.
    """

    @property
    def gated(self) -> bool: ...  # noqa: D102 (as above)
    @property
    def multifunction(self) -> bool | None: ...  # noqa: D102
    @property
    def has_ari(self) -> bool | None: ...  # noqa: D102
    @property
    def next_function(self) -> int | None: ...  # noqa: D102


def walk(
    answering: Mapping[int, Sibling], *, enabled: bool | None, one_child: bool | None, isolated: bool = False
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
    node: Sibling | None
    following: int
    why: str


def _scan_slot(
    answering: Mapping[int, Sibling], slot: int, *, enabled: bool, go_on: bool, isolated: bool
) -> list[int]:
    """The functions on one slot's walk; where an input is unknown on the shortest, or (go_on) on any."""
    if enabled and go_on:
        return _all_chains(answering, slot)
    steps = slot_steps(answering, slot, enabled=enabled, go_on=go_on, isolated=isolated)
    return [step.devfn for step in steps if step.node is not None]


def _all_chains(answering: Mapping[int, Sibling], slot: int) -> list[int]:
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
    answering: Mapping[int, Sibling], slot: int, *, enabled: bool, go_on: bool, isolated: bool = False
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


def _next_function(node: Sibling | None, function: int, *, enabled: bool, go_on: bool) -> tuple[int, str]:
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


def _next_ari_function(node: Sibling | None, function: int) -> tuple[int, str]:
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
