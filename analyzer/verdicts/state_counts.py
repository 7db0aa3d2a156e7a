"""How many functions kept each watched state at a kexec, in all and for each kind of function.

On arrays of functions by states: a fleet asks this of every capture. The words are those of
:mod:`analyzer.verdicts.state_rule`; what its verdicts say of single functions is taken from them.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.watched_registers import BITS_OF, DWORD_OF
from analyzer.results.state import StateCount
from schemas.config_header import HEADER_TYPE_LAYOUT
from schemas.pcie_capability import PORT_TYPES, TYPE_RC_ENDPOINT, TYPE_RC_EVENT_COLLECTOR
from schemas.state_watch import BARS, WATCHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from analyzer.observed.registers.watched_registers import WatchedRegisters
    from analyzer.results.state import StateVerdictName

#: Verdicts, the worst last: a function with several registers of one name has the worst of them.
VERDICTS: Final[tuple[StateVerdictName, ...]] = (
    "kept", "expected", "undetermined", "cleared", "healed", "changed", "lost",
)  # fmt: skip
#: In the arrays a verdict is its place among the verdicts from 2. 1: kept, and the register had its value
#: after a reset before the kexec, too: a loss would not show. 0: the function does not show the state.
_RANKS: Final = {word: place for place, word in enumerate(VERDICTS, start=2)}
_AT_RESET: Final = 1
_KEPT, _EXPECTED, _UNDETERMINED = (_RANKS[word] for word in ("kept", "expected", "undetermined"))
#: Columns of counts; the first are also in the second.
COUNTED: Final = ("kept_at_reset", *VERDICTS)
#: For each state its bits after a reset, in its dword (two values, or one twice), and whether hardware alone
#: sets it.
RESETS: Final = tuple(
    np.array([one.resets[which] << 8 * (one.register.offset & 3) for one in WATCHED], np.int64)
    for which in range(2)
)
STATUS: Final = np.array([one.is_status for one in WATCHED])
#: Names of states, and the code of each; those of one name follow each other.
NAMES: Final = {one.short: one.code for one in WATCHED}
_PLACE_OF_NAME: Final = {name: place for place, name in enumerate(NAMES)}
_FIRST_OF_NAME: Final = [[one.short for one in WATCHED].index(name) for name in NAMES]
_SIZED: Final = np.array([one in BARS for one in WATCHED])
_SHUT_DOWN: Final = np.array([one.at_shutdown for one in WATCHED])
_INTEGRATED: Final = {TYPE_RC_ENDPOINT: "rc-endpoint", TYPE_RC_EVENT_COLLECTOR: "rc-event-collector"}
_PORT_TYPES: Final = (None, "pci", "endpoint", *PORT_TYPES.values(), *_INTEGRATED.values())
_UNKNOWN, _PCI = 0, 1
#: By device/port type: places in ``_PORT_TYPES`` of functions with header type 1, and with header type 0.
_OF_BRIDGE, _OF_DEVICE = (
    np.array([_PORT_TYPES.index(words.get(number, other)) for number in range(16)])
    for words, other in ((PORT_TYPES, "pci"), (_INTEGRATED, "endpoint"))
)
_FACTS: Final = ("vendor", "device", "header_type", "is_pcie", "pcie_type")


class StateGroups(NamedTuple):
    """Counts of functions: a row for each kind of function and name of a state that one of them shows.

    Attributes:
        kinds: vendor:device, port type and whether they were preserved, as of
            :class:`analyzer.results.state.StateGroup`.
        kind, name: of each row, places in ``kinds`` and :data:`NAMES`.
        counts: of each row, by :data:`COUNTED`.
    """

    kinds: list[tuple[str | None, str | None, bool]]
    kind: NDArray[np.int64]
    name: NDArray[np.int64]
    counts: NDArray[np.int64]


class FunctionKinds(NamedTuple):
    """The kinds of functions at a kexec, as in :class:`StateGroups`, and which each function is of."""

    kinds: list[tuple[str | None, str | None, bool]]
    of: NDArray[np.int64]


def unsaid(
    before: WatchedRegisters,
    after: WatchedRegisters,
    shutdown_known: NDArray[np.bool_],
    from_dump: NDArray[np.bool_],
    whole: NDArray[np.bool_],
) -> NDArray[np.int8]:
    """The verdict on each function and name, without those that take single accesses: these are 0.

    Args:
        before: what the functions show in the outgoing boot.
        after: the same functions in the incoming boot.
        shutdown_known: for each function whether its capture holds how the outgoing kernel ended.
        from_dump: whether what the incoming boot shows is a dump, which does not show who changed what
            differs.
        whole: whether no access is known to be missing from its capture.
    """
    ours, theirs = before.last.known[:, DWORD_OF] & BITS_OF, after.first.known[:, DWORD_OF] & BITS_OF
    held, first = before.last.values[:, DWORD_OF], after.first.values[:, DWORD_OF]
    known = ours & theirs
    known[_SIZED & (held & BITS_OF == BITS_OF)] = 0  # sized, and not yet written back
    at_reset = np.logical_or.reduce([(held ^ value) & BITS_OF == 0 for value in RESETS]) & ~STATUS
    found = np.where(whole[:, None], np.where(at_reset, _AT_RESET, _KEPT), _UNDETERMINED).astype(np.int8)
    found[before.cleared[:, DWORD_OF] & ~held & known != 0] = _EXPECTED
    found[known != BITS_OF] = _UNDETERMINED
    differs = (held ^ first) & known != 0
    found[differs] = _UNDETERMINED
    found[differs & (whole & ~from_dump)[:, None]] = 0
    found[differs & (before.reset[:, None] > before.last.rows[:, DWORD_OF])] = _EXPECTED
    found[~shutdown_known[:, None] & _SHUT_DOWN] = _UNDETERMINED
    found[ours | theirs == 0] = 0
    if not len(found):
        return np.empty((0, len(NAMES)), np.int8)
    return np.maximum.reduceat(found, _FIRST_OF_NAME, axis=1)


def with_said(found: NDArray[np.int8], said: Iterable[tuple[int, str, StateVerdictName]]) -> NDArray[np.int8]:
    """The verdict on each function and name, with those on single functions.

    Args:
        found: from :func:`unsaid`.
        said: row of a function, name of the state, verdict.
    """
    ranks = found.copy()
    for place, name, word in said:
        at = place, _PLACE_OF_NAME[name]
        ranks[at] = max(int(ranks[at]), _RANKS[word])
    return ranks


def by_name(ranks: NDArray[np.int8], edges: list[int]) -> list[list[StateCount]]:
    """Counts by name, for each kexec.

    Args:
        ranks: of all functions, one kexec after the other.
        edges: where the functions of each kexec begin, and the end of the last.
    """
    counted = np.stack([ranks > 0, ranks == _UNDETERMINED, ranks > _UNDETERMINED], axis=2)
    until = np.zeros((len(ranks) + 1, *counted.shape[1:]), np.int64)
    np.cumsum(counted, axis=0, out=until[1:])
    return [
        [
            StateCount(name, shown - lost - missing, lost, missing)
            for name, (shown, missing, lost) in zip(NAMES, of_kexec, strict=True)
            if shown
        ]
        for of_kexec in np.diff(until[edges], axis=0).tolist()
    ]


def by_kind(ranks: NDArray[np.int8], functions: FunctionKinds, edges: list[int]) -> list[StateGroups]:
    """Counts by kind of function and name, for each kexec; ``ranks`` and ``edges`` as in :func:`by_name`."""
    names, words, kinds = len(NAMES), len(COUNTED) + 1, len(functions.kinds)
    kexec = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    present, of = np.unique(kexec * kinds + functions.of, return_inverse=True)
    cells = (of[:, None] * names + np.arange(names)) * words + ranks
    counts = np.bincount(cells.ravel(), minlength=len(present) * names * words).reshape(-1, words)[:, 1:]
    counts[:, 1] += counts[:, 0]
    rows = np.flatnonzero(counts.any(axis=1))
    firsts = np.searchsorted(present, np.arange(len(edges)) * kinds).tolist()
    parts = np.searchsorted(rows, np.array(firsts) * names).tolist()
    kind_of = [functions.kinds[one] for one in (present % kinds).tolist()]
    slices = zip(itertools.pairwise(firsts), itertools.pairwise(parts), strict=True)
    return [
        StateGroups(kind_of[first:last], its // names - first, its % names, counts[its])
        for (first, last), its in ((kexec, rows[begin:end]) for kexec, (begin, end) in slices)
    ]


def kinds(
    facts: Mapping[str, NDArray[np.int64]],
    was: NDArray[np.int64],
    now: NDArray[np.int64],
    preserved: NDArray[np.bool_],
) -> FunctionKinds:
    """What kind of function each is.

    Args:
        facts: columns of a function table.
        was: row of each function in the outgoing boot.
        now: its row in the incoming boot, which says what the other does not show.
        preserved: which were handed over.
    """
    known = {name: facts[name][was] for name in _FACTS}
    known = {name: np.where(column == NONE, facts[name][now], column) for name, column in known.items()}
    vendor, device = known["vendor"], known["device"]
    identity = np.where((vendor == NONE) | (device == NONE), NONE, vendor << 16 | device)
    keys = (identity + 1 << 1 | preserved) * len(_PORT_TYPES) + _port_types(known)
    different, of = np.unique(keys, return_inverse=True)
    found = []
    for key in different.tolist():
        rest, kind = divmod(key, len(_PORT_TYPES))
        number = (rest >> 1) - 1
        named = None if number == NONE else f"{number >> 16:04x}:{number & 0xFFFF:04x}"
        found.append((named, _PORT_TYPES[kind], bool(rest & 1)))
    return FunctionKinds(found, of.ravel())


def _port_types(facts: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Places in :data:`_PORT_TYPES`."""
    header, kind = facts["header_type"], facts["pcie_type"]
    layout = header & HEADER_TYPE_LAYOUT  # of NONE one that no function has
    without = np.where(facts["is_pcie"] == 0, _PCI, _UNKNOWN)
    bridge = np.where(kind == NONE, without, _OF_BRIDGE[kind & 0xF])
    return np.where(
        layout == 1, bridge, np.where(layout == 0, _OF_DEVICE[np.maximum(kind, 0) & 0xF], _UNKNOWN)
    )
