"""Tables of functions and boots put together from a few facts, for tests of how machines are built."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.function_table import Functions
from analyzer.observed.registers.run_accesses import RunAccesses

if TYPE_CHECKING:
    from collections.abc import Collection

    from analyzer.replay.world import Path

FACTS = (
    "is_pcie", "pcie_type", "multifunction", "ari_supported", "has_ari", "next_function", "vendor", "device",
)  # fmt: skip
PCIX = 0x60

#: Primary, secondary and subordinate bus, and the row of the access.
Numbers = tuple[int, int, int, int]


@dataclass
class HandMadeFunction:
    """Its PCI-X status, or None: not read."""

    status: int | None

    def register(self, offset: int, width: int) -> tuple[int, int] | None:
        assert (offset, width) == (PCIX + 4, 4)
        return None if self.status is None else (self.status, 0)


@dataclass
class HandMadeTable:
    """What boots show of their functions: a fact that is not named is unknown, of all of them.

    Attributes:
        statuses: row -> PCI-X status, of those with a PCI-X capability.
        first, last: row -> bus numbers as its boot first read them, and as it last used them.
    """

    is_bridge: Any
    named: dict[str, list[int]] = field(default_factory=dict)
    statuses: dict[int, int | None] = field(default_factory=dict)
    first: dict[int, Numbers] = field(default_factory=dict)
    last: dict[int, Numbers] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.is_bridge = np.array(self.is_bridge, np.bool_)
        self.rows = len(self.is_bridge)
        unknown = [NONE] * self.rows
        self.facts = {name: np.array(self.named.get(name, unknown), np.int64) for name in FACTS}
        self.first_numbers, self.last_numbers = (
            np.array([numbers.get(row, [NONE] * 4) for row in range(self.rows)], np.int64).reshape(-1, 4)
            for numbers in (self.first, self.last)
        )

    def offsets(self, capability: int, *, extended: bool) -> Any:
        assert (capability, extended) == (7, False)
        return np.array([PCIX if row in self.statuses else NONE for row in range(self.rows)], np.int64)

    def function(self, row: int) -> HandMadeFunction:
        return HandMadeFunction(self.statuses[row])

    def accesses_to(self, _register: int) -> RunAccesses:
        return RunAccesses.nothing()


class HandMadeBoot:
    """A boot without its scan, as a dump shows it.

    Args:
        table: holds its functions.
        paths: place of each function by key, in the order of their rows.
        first: row of the first of them.
        silent: functions of which every byte reads ff.
        ignored: functions that it gave up for their header type.
        roots: buses that are certain to be root buses.
    """

    def __init__(
        self,
        table: HandMadeTable,
        paths: dict[int, Path],
        first: int = 0,
        *,
        silent: Collection[int] = (),
        ignored: dict[int, int] | None = None,
        roots: Collection[int] = (0,),
    ) -> None:
        self.functions = Functions(table, first, list(paths))  # type: ignore[arg-type]
        self.enumerated = set(paths)
        self.path = paths.get
        self.silent, self.ignored = frozenset(silent), ignored or {}
        self.is_root = roots.__contains__
        self.boot = SimpleNamespace(scan=None)
