"""The verdict on each function and name without those on single accesses, and what counts make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hand_made_watch import Values, cells, registers

from analyzer.verdicts import state_counts
from analyzer.verdicts.state_counts import COUNTED, NAMES, VERDICTS, FunctionKinds
from schemas import state_watch as states

if TYPE_CHECKING:
    from analyzer.observed.registers.watched_registers import WatchedRegisters

OLD_ROW, NEW_ROW = 40, 70
BAR, COMMAND, MEMORY = states.BARS[0], states.BUS_MASTERS[0], states.DECODING[0]
WORDS = ("left out", "at reset", *VERDICTS)


def unsaid(
    before: WatchedRegisters,
    after: WatchedRegisters,
    *,
    shutdown: bool = True,
    dump: bool = False,
    whole: bool = True,
) -> dict[str, str]:
    """Of one function, by name of the state, without what it does not show or what is said elsewhere."""
    asked = (np.array([one]) for one in (shutdown, dump, whole))
    (found,) = state_counts.unsaid(before, after, *asked).tolist()
    return {name: WORDS[rank] for name, rank in zip(NAMES, found, strict=True) if rank}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, {}),
        ({states.ACS: 0x1D}, {states.ACS: 0x1D}, {"ACS": "kept"}),
        ({states.ACS: 0}, {states.ACS: 0}, {"ACS": "at reset"}),
        ({states.ACS: 0x1D}, {states.ACS: 0x1C}, {}),
        ({states.ACS: 0x1D}, {}, {"ACS": "undetermined"}),
        ({}, {states.ACS: 0x1D}, {"ACS": "undetermined"}),
        ({states.ACS: (0x1D, 0x1F)}, {states.ACS: 0x1D}, {"ACS": "undetermined"}),
        # a function has the worst of its BARs; of one that differs single accesses say more
        ({BAR: 0x1000, states.BARS[1]: 0}, {BAR: 0x1000, states.BARS[1]: 0}, {"BAR": "kept"}),
        ({BAR: 0x1000, states.BARS[1]: 0x2000}, {BAR: 0x1000}, {"BAR": "undetermined"}),
        ({BAR: 0x1000, states.BARS[1]: 0x2000}, {BAR: 0x1000, states.BARS[1]: 0}, {"BAR": "kept"}),
        # sized with ones and not written back: its address is not known, whatever its type bits say
        ({BAR: (0xFFFFFFFF, 0xFFFFFFFF)}, {BAR: (0xFE000000, 0xFFFFFFFF)}, {"BAR": "undetermined"}),
    ],
)
def test_one_function(before: Values, after: Values, expected: dict[str, str]) -> None:
    assert unsaid(registers(OLD_ROW, before), registers(NEW_ROW, after)) == expected


@pytest.mark.parametrize(
    ("more", "kept", "differs"),
    [
        ({}, "kept", None),
        ({"dump": True}, "kept", "undetermined"),
        ({"whole": False}, "undetermined", "undetermined"),
        ({"whole": False, "dump": True}, "undetermined", "undetermined"),
        ({"shutdown": False}, "kept", None),
    ],
)
def test_a_dump_or_a_capture_that_is_not_whole(more: dict[str, bool], kept: str, differs: str | None) -> None:
    """What is left out, single accesses say."""
    old = registers(OLD_ROW, {states.ACS: 0x1D})
    assert unsaid(old, registers(NEW_ROW, {states.ACS: 0x1D}), **more) == {"ACS": kept}
    found = unsaid(old, registers(NEW_ROW, {states.ACS: 0}), **more)
    assert found == ({} if differs is None else {"ACS": differs})


@pytest.mark.parametrize(
    ("cleared", "expected"),
    [
        (0x0004, {"Bus Master": "expected", "Memory or I/O Enable": "at reset"}),
        (0x0002, {"Bus Master": "at reset", "Memory or I/O Enable": "expected"}),
        (0x0001, {"Bus Master": "at reset", "Memory or I/O Enable": "expected"}),
        (0x0007, {"Bus Master": "expected", "Memory or I/O Enable": "expected"}),
        (0x0000, {"Bus Master": "at reset", "Memory or I/O Enable": "at reset"}),
    ],
)
def test_what_the_outgoing_kernel_cleared(cleared: int, expected: dict[str, str]) -> None:
    old = registers(OLD_ROW, {COMMAND: 0, MEMORY: 0})._replace(cleared=cells({COMMAND: cleared}))
    new = registers(NEW_ROW, {COMMAND: 0, MEMORY: 0})
    assert unsaid(old, new) == expected
    assert set(unsaid(old, new, shutdown=False).values()) == {"undetermined"}


@pytest.mark.parametrize(("reset", "expected"), [(OLD_ROW - 1, {}), (OLD_ROW + 1, {"ACS": "expected"})])
@pytest.mark.parametrize("more", [{}, {"dump": True}])
def test_a_reset_by_the_outgoing_kernel(reset: int, expected: dict[str, str], more: dict[str, bool]) -> None:
    old = registers(OLD_ROW, {states.ACS: 0x1D})._replace(reset=np.array([reset]))
    found = unsaid(old, registers(NEW_ROW, {states.ACS: 0}), **more)
    assert found == (expected or ({"ACS": "undetermined"} if more else {}))


def test_a_reset_by_the_write_that_was_last_does_not_explain_max_payload_size() -> None:
    """Device Control itself initiates it, and keeps Max_Payload_Size (PCI Express 6.6.2)."""
    old = registers(OLD_ROW, {states.MAX_PAYLOAD: 0x20})._replace(reset=np.array([OLD_ROW]))
    assert unsaid(old, registers(NEW_ROW, {states.MAX_PAYLOAD: 0})) == {}
    assert unsaid(old, registers(NEW_ROW, {states.MAX_PAYLOAD: 0x20})) == {"MPS": "kept"}


def test_no_function() -> None:
    nothing = np.array([], np.bool_)
    found = state_counts.unsaid(registers(OLD_ROW), registers(NEW_ROW), nothing, nothing, nothing)
    assert found.tolist() == []
    assert state_counts.by_name(found, [0, 0, 0]) == [[], []]
    groups = state_counts.by_kind(found, FunctionKinds([], np.array([], np.int64)), [0, 0, 0])
    assert [(one.kinds, one.kind.tolist(), one.counts.tolist()) for one in groups] == [([], [], [])] * 2


ACS, BARS = list(NAMES).index("ACS"), list(NAMES).index("BAR")


def ranks(*functions: dict[int, str]) -> np.ndarray:
    found = np.zeros((len(functions), len(NAMES)), np.int8)
    for row, words in enumerate(functions):
        for name, word in words.items():
            found[row, name] = WORDS.index(word)
    return found


def test_counts_by_name_are_whole_numbers() -> None:
    found = ranks({ACS: "kept"}, {ACS: "lost", BARS: "at reset"}, {BARS: "undetermined"})
    assert [list(map(repr, one)) for one in state_counts.by_name(found, [0, 2, 3])] == [
        [
            "StateCount(name='ACS', kept=1, lost=1, not_captured=0)",
            "StateCount(name='BAR', kept=1, lost=0, not_captured=0)",
        ],
        ["StateCount(name='BAR', kept=0, lost=0, not_captured=1)"],
    ]


def test_counts_by_kind_of_function_for_each_kexec() -> None:
    """Three kexecs, the first with two kinds; a kind's place is that among the kinds of its own kexec."""
    card, port, bridge = (("8086:1572", "endpoint", True), (None, "root-port", False), (None, None, False))
    found = state_counts.by_kind(
        ranks(
            {ACS: "kept"}, {ACS: "lost"}, {ACS: "kept"}, {BARS: "at reset"}, {}, {ACS: "kept", BARS: "lost"}
        ),
        FunctionKinds([card, port, bridge], np.array([0, 1, 0, 2, 1, 1])),
        [0, 3, 5, 6],
    )
    assert [one.kinds for one in found] == [[card, port], [port, bridge], [port]]
    assert [
        [
            (
                one.kinds[kind],
                list(NAMES)[name],
                {word: its for word, its in zip(COUNTED, counts, strict=True) if its},
            )
            for kind, name, counts in zip(
                one.kind.tolist(), one.name.tolist(), one.counts.tolist(), strict=True
            )
        ]
        for one in found
    ] == [
        [(card, "ACS", {"kept": 2}), (port, "ACS", {"lost": 1})],
        [(bridge, "BAR", {"kept_at_reset": 1, "kept": 1})],
        [(port, "ACS", {"kept": 1}), (port, "BAR", {"lost": 1})],
    ]
