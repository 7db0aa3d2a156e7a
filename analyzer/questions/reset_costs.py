"""What a reset of one bridge would cost beyond ARI Forwarding: registers that hold a value of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed.registers.watched_registers import BITS_OF, DWORD_OF
from schemas.state_watch import BARS, WATCHED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.observed.registers.function_table import Functions


@dataclass(frozen=True)
class ResetCost:
    """One kind of state, and the functions that have some that a reset would clear.

    Attributes:
        name: as the state watch counts it (``ACS``).
        severity: of the loss on a preserved function.
        functions: addresses, the bridge itself too.
        depends: what depends on it.
    """

    name: str
    severity: str
    functions: list[str]
    depends: str


def of_functions(functions: Functions, keys: Iterable[int]) -> list[ResetCost]:
    """What a conventional reset would take from functions: states that are known and not at reset values.

    Args:
        functions: of the running kernel.
        keys: the bridge and everything below it; those that the input does not show are left out.
    """
    last = functions.table.watched.last
    found: dict[str, ResetCost] = {}
    for key in sorted(key for key in keys if key in functions):
        row = functions.row_of(key)
        for state, dword, bits in zip(WATCHED, DWORD_OF.tolist(), BITS_OF.tolist(), strict=True):
            if state.is_status or state.severity == "note":
                continue
            shift = 8 * (state.register.offset & 3)
            value = (int(last.values[row, dword]) & bits) >> shift
            known = (int(last.known[row, dword]) & bits) >> shift
            if state.is_reset(value, known) or (state in BARS and value == state.mask):
                continue
            cost = found.setdefault(state.short, ResetCost(state.short, state.severity, [], state.dependents))
            if bdf.text(key) not in cost.functions:
                cost.functions.append(bdf.text(key))
    return sorted(found.values(), key=lambda cost: cost.severity != "alarm")
