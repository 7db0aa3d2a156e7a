"""Functions of several boots as a table: a column for each fact, a row for each function and boot.

What a pipeline asks of many functions it asks of the columns. A :class:`Function` is made of its row when
one is asked for: by evidence, and by ``explain``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.observed.registers import watched_registers
from analyzer.observed.registers.capability_lists import Capabilities
from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.functions import INHERITED_REGISTERS, BusNumbers, Function
from analyzer.observed.registers.run_accesses import RunAccesses, place
from schemas.config_header import CONFIG_SIZE, HEADER_TYPE_LAYOUT
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from analyzer.observed.batches import Accesses
    from analyzer.observed.registers.capability_lists import Entries
    from analyzer.observed.registers.samples import OfRuns
    from analyzer.observed.registers.watched_registers import WatchedRegisters
    from schemas.registers import Register

#: Facts of a function that are a number or a flag (0, 1); :data:`NONE` where the accesses do not show it.
#: ``function`` is its key; the others as in :class:`Function`.
FACTS = (
    "function",
    "vendor",
    "device",
    "header_type",
    "multifunction",
    "pcie",
    "is_pcie",
    "pcie_flags",
    "pcie_type",
    "ari_supported",
    "ari",
    "has_ari",
    "next_function",
    "latched",
)
_FLAGS = frozenset({"multifunction", "is_pcie", "ari_supported", "has_ari", "latched"})
#: Columns of bus numbers; the last is the row of the access.
BUS_NUMBERS = ("primary", "secondary", "subordinate", "row")
#: Registers of :meth:`FunctionTable.accesses_to`.
DEVCAP2, DEVCTL2 = 0, 1 + INHERITED_REGISTERS.index(ARI_FORWARDING.register)
_NO_FACTS = np.empty(0, np.int64)
_NO_NUMBERS = np.empty((0, len(BUS_NUMBERS)), np.int64)


@dataclass(frozen=True)
class FunctionBlock:
    """Functions that were worked out together; arrays have one entry for each.

    Attributes:
        facts: by the names in :data:`FACTS`.
        first_numbers, last_numbers: rows of :data:`BUS_NUMBERS`.
        standard, extended: their capability lists.
        registers: accesses to DEVCAP2 of bridges and to the inherited registers.
        watched: what each shows of the watched registers.
        accesses: of all functions, one after the other.
        edges: where the accesses of each begin, and the end of the last.
    """

    facts: dict[str, NDArray[np.int64]]
    first_numbers: NDArray[np.int64]
    last_numbers: NDArray[np.int64]
    standard: Entries
    extended: Entries
    registers: Sequence[OfRuns]
    watched: WatchedRegisters
    accesses: Accesses
    edges: list[int]

    def function(self, place: int) -> Function:
        """Make one function."""
        facts, capabilities, first_numbers, last_numbers = self._rows
        known = dict(zip(FACTS, facts[place], strict=True))
        vendor, device = known.pop("vendor"), known.pop("device")
        first, last = self.edges[place : place + 2]
        return Function(
            **known,
            vendor_device=None if vendor is None or device is None else f"{vendor:04x}:{device:04x}",
            capabilities=capabilities[place],
            first_bus_numbers=_numbers(first_numbers[place]),
            bus_numbers=_numbers(last_numbers[place]),
            _run=place,
            _samples=self.registers,
            _accesses=lambda: self.accesses.part(first, last),
        )

    @cached_property
    def _rows(self) -> tuple[list[tuple[Any, ...]], list[Capabilities], list[list[int]], list[list[int]]]:
        """The columns as plain values, a row for each function: facts, capabilities, bus numbers."""
        facts = [
            [None if value == NONE else value == 1 for value in column.tolist()]
            if name in _FLAGS
            else [None if value == NONE else value for value in column.tolist()]
            for name, column in self.facts.items()
        ]
        capabilities = map(
            Capabilities,
            self.standard.by_run(),
            self.extended.by_run(),
            self.standard.ended.tolist(),
            self.extended.ended.tolist(),
        )
        numbers = self.first_numbers.tolist(), self.last_numbers.tolist()
        return list(zip(*facts, strict=True)), list(capabilities), *numbers


def _numbers(row: list[int]) -> BusNumbers | None:
    return None if row[-1] == NONE else BusNumbers(*row)


def _joined(parts: list[NDArray[np.int64]], nothing: NDArray[np.int64] = _NO_FACTS) -> NDArray[np.int64]:
    """One after the other; a table without functions has no part."""
    return np.concatenate([nothing, *parts])


class FunctionTable:
    """The functions of several boots, one boot after the other.

    Args:
        blocks: what was worked out, in the order of the functions.
    """

    def __init__(self, blocks: Sequence[FunctionBlock]) -> None:
        self._blocks = blocks
        sizes = [len(block.last_numbers) for block in blocks]
        self._starts = np.cumsum([0, *sizes])
        self.rows = int(self._starts[-1])
        self._offsets: dict[tuple[int, bool], NDArray[np.int64]] = {}
        self._to_register: dict[int, RunAccesses] = {}
        self._accessed: dict[int, NDArray[np.bool_]] = {}

    @cached_property
    def facts(self) -> dict[str, NDArray[np.int64]]:
        """The columns of :data:`FACTS`."""
        return {name: _joined([block.facts[name] for block in self._blocks]) for name in FACTS}

    @cached_property
    def first_numbers(self) -> NDArray[np.int64]:
        """:data:`BUS_NUMBERS` of each function as its boot first read them."""
        return _joined([block.first_numbers for block in self._blocks], _NO_NUMBERS)

    @cached_property
    def last_numbers(self) -> NDArray[np.int64]:
        """:data:`BUS_NUMBERS` of each function as its boot last used them."""
        return _joined([block.last_numbers for block in self._blocks], _NO_NUMBERS)

    @cached_property
    def watched(self) -> WatchedRegisters:
        """What each function shows of the watched registers."""
        return watched_registers.joined([block.watched for block in self._blocks])

    @cached_property
    def is_bridge(self) -> NDArray[np.bool_]:
        """Which have a type 1 header."""
        header = self.facts["header_type"]
        return np.asarray((header != NONE) & (header & HEADER_TYPE_LAYOUT == 1), np.bool_)

    def offsets(self, identity: int, *, extended: bool) -> NDArray[np.int64]:
        """Where each has a capability, as far as their lists were followed; :data:`NONE` without it."""
        known = self._offsets.get((identity, extended))
        if known is None:
            lists = [block.extended if extended else block.standard for block in self._blocks]
            known = self._offsets[identity, extended] = _joined([one.first(identity) for one in lists])
        return known

    def accesses_to(self, register: int) -> RunAccesses:
        """Accesses of all functions to :data:`DEVCAP2` (of bridges) or to an inherited register (from 1)."""
        known = self._to_register.get(register)
        if known is None:
            parts = [RunAccesses.nothing()]
            for start, block in zip(self._starts.tolist(), self._blocks, strict=False):
                seen, edges = block.registers[register]
                runs = np.repeat(np.arange(start, start + len(edges) - 1), np.diff(edges))
                parts.append(RunAccesses(place(runs, seen.rows), *seen[2:]))
            known = RunAccesses._make(map(np.concatenate, zip(*parts, strict=True)))
            self._to_register[register] = known
        return known

    def accessed(self, register: int) -> NDArray[np.bool_]:
        """Which functions have accesses to a register, as of :meth:`accesses_to`."""
        known = self._accessed.get(register)
        if known is None:
            edges = [block.registers[register].edges for block in self._blocks]
            parts = [np.empty(0, np.bool_), *(np.diff(one) > 0 for one in edges)]
            known = self._accessed[register] = np.concatenate(parts)
        return known

    @cached_property
    def extended_accesses(self) -> NDArray[np.int64]:
        """Where the functions' extended configuration spaces were accessed: ``place`` of each access."""
        parts = []
        for start, block in zip(self._starts.tolist(), self._blocks, strict=False):
            at = np.flatnonzero(block.accesses.offsets >= CONFIG_SIZE)
            run = np.searchsorted(block.edges, at, side="right") - 1 + start
            parts.append(place(run, block.accesses.rows[at]))
        return _joined(parts)

    def amend(self, name: str, row: int, value: int) -> None:
        """Replace a fact of one function; only before it is made, or its fact is asked for."""
        block = int(np.searchsorted(self._starts, row, side="right")) - 1
        self._blocks[block].facts[name][row - int(self._starts[block])] = value

    def function(self, row: int) -> Function:
        """Make one function."""
        block = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._blocks[block].function(row - int(self._starts[block]))


class Functions(Mapping[int, Function]):
    """The functions of one boot by key, each made when it is first asked for.

    Args:
        table: the table that they are in.
        first: row of the first of them.
        keys: their keys, in the order of the rows.

    Attributes:
        finish: told each function that is made, to add what is known besides its accesses.
    """

    def __init__(self, table: FunctionTable, first: int, keys: Sequence[int]) -> None:
        self.table = table
        self.rows = slice(first, first + len(keys))
        self.finish: Callable[[Function], None] | None = None
        self._rows = dict(zip(keys, range(first, first + len(keys)), strict=True))
        self._made: dict[int, Function] = {}

    def amend(self, name: str, keys: Iterable[int], value: int | None) -> None:
        """Replace a fact of some functions by what is known besides their accesses (None: unknown).

        Only before one is made, or a fact is asked for.
        """
        for key in keys:
            self.table.amend(name, self._rows[key], NONE if value is None else value)

    def row_of(self, key: int) -> int:
        """Row of a function in the table."""
        return self._rows[key]

    def accessing(self, register: Register) -> set[int]:
        """Those of which an access shows or changes some of an inherited register."""
        chosen = self.table.accessed(1 + INHERITED_REGISTERS.index(register))[self.rows]
        return set(self.table.facts["function"][self.rows][chosen].tolist())

    @property
    def keys_of_bridges(self) -> list[int]:
        """Those with a type 1 header, in the order of the rows."""
        keys = self.table.facts["function"][self.rows]
        found: list[int] = keys[self.table.is_bridge[self.rows]].tolist()
        return found

    @property
    def secondaries(self) -> Iterator[tuple[int, int]]:
        """Each bridge of which bus numbers are known, with its secondary bus, in the order of the rows."""
        chosen = np.flatnonzero(self.table.is_bridge[self.rows]) + self.rows.start
        numbers = self.table.last_numbers[chosen]
        chosen, numbers = chosen[numbers[:, -1] != NONE], numbers[numbers[:, -1] != NONE]
        yield from zip(self.table.facts["function"][chosen].tolist(), numbers[:, 1].tolist(), strict=True)

    def __getitem__(self, key: int) -> Function:
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self.table.function(self._rows[key])
            if self.finish is not None:
                self.finish(made)
        return made

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
