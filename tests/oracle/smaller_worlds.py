"""Making a failing case small enough to read: drop what the failure does not need."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields
from typing import TYPE_CHECKING

from naive_scan import Hardware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from random_worlds import Case


def smallest(case: Case, fails: Callable[[Case], object]) -> Case:
    """Take away functions, faults and options one by one as long as the case still fails."""
    shrunk = True
    while shrunk:
        shrunk = False
        for simplify in list(_simplifications(case)):
            candidate = deepcopy(case)
            try:
                simplify(candidate)
            except KeyError:
                continue  # what it simplifies is gone by now
            if candidate != case and fails(candidate):
                case, shrunk = candidate, True
    return case


def _simplifications(case: Case) -> Iterator[Callable[[Case], None]]:
    for root in case.machine.roots:
        yield lambda target, root=root: target.machine.roots.pop(root, None)
    for path, hardware in list(case.functions()):
        yield lambda target, path=path: _bus(target, path).pop(path[-1])
        for item in fields(Hardware):
            if item.name not in ("below", "numbers", "renumber", "pcie", "header"):
                yield lambda target, path=path, item=item: setattr(
                    _bus(target, path)[path[-1]], item.name, item.default
                )
        if path in case.outgoing_numbers and hardware.numbers != case.outgoing_numbers[path]:
            yield lambda target, path=path: setattr(
                _bus(target, path)[path[-1]], "numbers", target.outgoing_numbers[path]
            )
    for key in sorted(case.preserved):
        yield lambda target, key=key: setattr(target, "preserved", target.preserved - {key})
    yield lambda target: setattr(target, "noari", False)
    yield lambda target: setattr(target, "scan_all", False)
    yield lambda target: setattr(target, "handover", "matched")
    for option in ("assign_busses", "isolated", "handed_over"):
        yield lambda target, option=option: setattr(target, option, False)
    yield _forget_what_is_gone


def _bus(case: Case, path: tuple[int, ...]) -> dict[int, Hardware]:
    wired = case.machine.roots[path[0] >> 8, path[0] & 0xFF]
    for devfn in path[1:-1]:
        wired = wired[devfn].below
    return wired


def _forget_what_is_gone(case: Case) -> None:
    there = {path for path, _ in case.functions()}
    case.outgoing = {path: key for path, key in case.outgoing.items() if path in there}
    case.outgoing_numbers = {path: known for path, known in case.outgoing_numbers.items() if path in there}
    case.saved = {key: bit for key, bit in case.saved.items() if key in case.preserved}
