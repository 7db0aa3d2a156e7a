"""Taking known inputs of a case away from the replay, and every value that they might have had."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from naive_scan import (
    ARI_BIT,
    DOWNSTREAM,
    MULTIFUNCTION,
    PCI_TO_PCIE,
    PCIE_TO_PCI,
    ROOT_PORT,
    UPSTREAM,
    Hardware,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from naive_scan import Kernel
    from random_worlds import Case, Dice, Path

    from analyzer.replay.profile import Profile
    from analyzer.replay.world import Node

_TYPES = (ROOT_PORT, UPSTREAM, DOWNSTREAM, PCIE_TO_PCI, PCI_TO_PCIE, 0)


@dataclass(frozen=True)
class Unknown:
    """One input that the replay is not told.

    Attributes:
        path, what: function and input; ``saved`` is the handed-over ARI state of that function's address.
        values: hardware attributes (or the saved state) for each possible value.
    """

    path: Path
    what: str
    values: tuple[dict[str, Any], ...]


def choose(case: Case, dice: Dice, count: int) -> list[Unknown]:
    """Pick that many inputs, at most one per function; fewer where the machine has fewer."""
    functions = list(case.functions())
    picked: dict[Path, Unknown] = {}
    for _ in range(count * 3):
        if len(picked) < count and functions:
            path, hardware = functions[dice.roll(len(functions))]
            candidates = [*_of_function(case, path, hardware)]
            picked[path] = candidates[dice.roll(len(candidates))]
    return list(picked.values())


def _of_function(case: Case, path: Path, hardware: Hardware) -> Iterator[Unknown]:
    plain = hardware.header & ~MULTIFUNCTION
    yield Unknown(path, "multifunction", ({"header": plain}, {"header": plain | MULTIFUNCTION}))
    chains = tuple({"ari": number, "extended": True} for number in _next_functions(case, path))
    if hardware.pcie is not None:
        yield Unknown(path, "capability", ({"ari": None}, *chains))
        if hardware.ari is not None and hardware.extended:
            yield Unknown(path, "next", chains)
    claims = ((2, 0),) if plain != 1 else tuple((2, claim) for claim in _TYPES)
    yield Unknown(
        path,
        "pcie",
        (
            {"pcie": None},
            *(
                {"pcie": pcie, "ari": ari, "devcap2": devcap2}
                for pcie in claims
                for ari in (hardware.ari, None)
                for devcap2 in ((0, ARI_BIT) if plain == 1 else (0,))
            ),
        ),
    )
    if plain != 1:
        return
    off = {"devctl2": hardware.devctl2 & ~ARI_BIT, "devctl2_read": "value"}
    if not any(function.gated for function in hardware.below.values()):  # else it is known to be off
        yield Unknown(path, "bit", (off, {**off, "devctl2": hardware.devctl2 | ARI_BIT}))
    known = case.outgoing_numbers.get(path)
    if known is not None:  # kept or lost; other valid ones are not considered
        lost = ((0, 0, 0), (known[0], known[1], 0))
        yield Unknown(path, "numbers", tuple({"numbers": it, "hard_wired": False} for it in (known, *lost)))
    key = case.outgoing.get(path)
    if key in case.saved:
        yield Unknown(path, "saved", ({"saved": False}, {"saved": True}))
    if hardware.pcie is None:
        return
    version, _ = hardware.pcie
    if version > 1:
        yield Unknown(path, "supported", ({"devcap2": 0}, {"devcap2": ARI_BIT}))
    yield Unknown(path, "type", tuple({"pcie": (version, claim)} for claim in _TYPES))


def _next_functions(case: Case, path: Path) -> list[int]:
    """Next Function Numbers that differ in effect: every neighbour, nobody, the end."""
    neighbours = {other[-1] for other, _ in case.functions() if other[:-1] == path[:-1]}
    nobody = next(number for number in range(1, 256) if number not in neighbours)
    return sorted({0, nobody, *neighbours})


def forget(unknowns: list[Unknown], nodes: dict[Path, Node], profile: Profile) -> None:
    """Take the inputs away from the replay."""
    names = {
        "multifunction": ("multifunction",),
        "capability": ("has_ari", "next_function"),
        "next": ("next_function",),
        "pcie": ("is_pcie", "pcie_type", "ari_supported", "has_ari", "next_function"),
        "bit": ("hardware",),
        "numbers": ("numbers",),
        "saved": (),
        "supported": ("ari_supported",),
        "type": ("pcie_type",),
    }
    for unknown in unknowns:
        node = nodes[unknown.path]
        for name in names[unknown.what]:
            setattr(node, name, None)
        if unknown.what == "saved" and node.outgoing is not None:
            profile.saved[node.outgoing] = None


def ports_below_speak_true(unknowns: list[Unknown], kernel: Kernel) -> bool:
    """Whether no port below a bridge of unknown type had to be corrected.

    The replay takes such a port at its word: hardware that claims the wrong side is a rarity, and doubting
    each port below would leave nothing to say.
    """
    doubtful = {unknown.path for unknown in unknowns if unknown.what in ("type", "pcie")}
    return all(
        device.hardware.pcie is None or device.port_type == device.hardware.pcie[1]
        for device in kernel.found
        if device.path[:-1] in doubtful
    )


def known_capabilities_are_seen(nodes: dict[Path, Node], kernel: Kernel) -> bool:
    """Whether every ARI capability that is known is on a bus where the kernel reads extended space.

    It is known because a kernel read it there: a bridge of unknown type above it then is one that lets it.
    """
    return not any(device.bus.no_extended and nodes[device.path].has_ari for device in kernel.found)


def completions(case: Case, unknowns: list[Unknown], limit: int) -> Iterator[bool]:
    """Put every combination of values into the machine in turn, at most ``limit``; restores it at the end."""
    hardware = dict(case.functions())
    for values in islice(product(*(unknown.values for unknown in unknowns)), limit):
        with _set(case, hardware, unknowns, values):
            yield True


@contextmanager
def _set(
    case: Case, hardware: dict[Path, Hardware], unknowns: list[Unknown], values: tuple[dict[str, Any], ...]
) -> Iterator[None]:
    before = [dict(vars(hardware[unknown.path])) for unknown in unknowns]
    saved = dict(case.saved)
    for unknown, value in zip(unknowns, values, strict=True):
        if unknown.what == "saved":
            case.saved[case.outgoing[unknown.path]] = value["saved"]
        else:
            vars(hardware[unknown.path]).update(value)
    try:
        yield
    finally:
        for unknown, attributes in zip(unknowns, before, strict=True):
            vars(hardware[unknown.path]).update(attributes)
        case.saved = saved
