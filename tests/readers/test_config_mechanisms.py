"""CF8/CFC and ECAM: by hand, and against what QEMU itself said of the same accesses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.readers.config_mechanisms import ConfigMechanisms, Touches

OUT, IN, WRITE, READ = "out", "in", "write", "read"
BASE = 0xB000_0000
#: What SeaBIOS does on a q35: who is 00:00.0, then PCIEXBAR off, high half, low half with enable.
IDENTIFY = [(1, OUT, 0xCF8, 4, 0x8000_0000), (1, IN, 0xCFC, 4, 0x29C0_8086)]
PROGRAM = [
    (1, OUT, 0xCF8, 4, 0x8000_0060),
    (1, OUT, 0xCFC, 4, 0),
    (1, OUT, 0xCF8, 4, 0x8000_0064),
    (1, OUT, 0xCFC, 4, 0),
    (1, OUT, 0xCF8, 4, 0x8000_0060),
    (1, OUT, 0xCFC, 4, BASE | 1),
]


def touches(*rows: tuple[int, str, int, int, int]) -> Touches:
    agent, what, address, size, value = zip(*rows, strict=True) if rows else [[]] * 5
    return Touches(
        agent=np.array(agent, np.int64),
        memory=np.isin(what, (WRITE, READ)),
        address=np.array(address, np.int64),
        size=np.array(size, np.int64),
        write=np.isin(what, (WRITE, OUT)),
        value=np.array(value, np.uint64).astype(np.int64),
    )


def decode(*rows, mechanisms=None) -> list[tuple[int, int, int, int]]:
    found = (mechanisms or ConfigMechanisms()).decode(touches(*rows))
    return [tuple(map(int, row)) for row in zip(found.row, found.bus, found.devfn, found.offset, strict=True)]


@pytest.mark.parametrize(
    ("address", "port", "size", "expected"),
    [
        (0x8000_0000, 0xCFC, 4, (0, 0, 0)),
        (0x80FF_FFFC, 0xCFC, 4, (0xFF, 0xFF, 0xFC)),
        (0x8002_4890, 0xCFE, 2, (2, 0x48, 0x92)),
        (0x8002_4893, 0xCFF, 1, (2, 0x48, 0x93)),  # the low bits of the address do not count
        (0x8F01_0000, 0xCFC, 4, (1, 0, 0xF00)),  # AMD: bits 27 to 24 are bits 11 to 8 of the register
        (0x0001_0000, 0xCFC, 4, None),  # not enabled
    ],
)
def test_ports(address, port, size, expected):
    found = decode((1, OUT, 0xCF8, 4, address), (1, IN, port, size, 0))
    assert found == ([] if expected is None else [(1, *expected)])


@pytest.mark.parametrize(
    "touch", [(OUT, 0xCF8, 1), (OUT, 0xCF8, 2), (OUT, 0xCF9, 1), (OUT, 0xCFA, 4), (IN, 0xCF8, 4)]
)
def test_what_is_no_address(touch):
    what, port, size = touch
    found = decode((1, OUT, 0xCF8, 4, 0x8001_0000), (1, what, port, size, 0x8002_0000), (1, IN, 0xCFC, 4, 0))
    assert found == [(2, 1, 0, 0)]


def test_addresses_belong_to_the_cpu_that_wrote_them():
    rows = [
        (1, OUT, 0xCF8, 4, 0x8001_0000),
        (2, OUT, 0xCF8, 4, 0x8002_0000),
        (1, IN, 0xCFC, 4, 0),
        (2, IN, 0xCFC, 4, 0),
        (1, IN, 0xCFC, 4, 0),
        (3, IN, 0xCFC, 4, 0),
    ]
    mechanisms = ConfigMechanisms()
    found = mechanisms.decode(touches(*rows))
    assert (found.row.tolist(), found.bus.tolist()) == ([2, 3, 4], [1, 2, 1])
    assert found.no_address.tolist() == [5]
    # They are remembered from batch to batch.
    assert decode((2, IN, 0xCFC, 4, 0), (1, IN, 0xCFC, 4, 0), mechanisms=mechanisms) == [
        (0, 2, 0, 0),
        (1, 1, 0, 0),
    ]


def test_the_window_is_learned_from_pciexbar():
    at = BASE + (0x1F << 20 | 0xA8 << 12 | 0x164)
    rows = [*IDENTIFY, (1, READ, at, 4, 0), *PROGRAM, (1, READ, at, 4, 0), (2, WRITE, at + 2, 2, 0)]
    mechanisms = ConfigMechanisms()
    found = mechanisms.decode(touches(*rows))
    assert mechanisms.window == (BASE, 1 << 28)
    assert found.row.tolist()[-2:] == [9, 10]
    assert (found.bus.tolist()[-1], found.devfn.tolist()[-1]) == (0x1F, 0xA8)
    assert found.offset.tolist()[-2:] == [0x164, 0x166]
    assert found.no_window.tolist() == [2]


@pytest.mark.parametrize(
    ("low", "window"),
    [
        (0xE000_0001, (0xE000_0000, 1 << 28)),
        (0xE800_0003, (0xE800_0000, 1 << 27)),
        (0xEC00_0005, (0xEC00_0000, 1 << 26)),
        (0xE000_0000, None),  # not enabled
        (0xE000_0007, None),  # a size that does not exist
        (0xE800_0001, None),  # no multiple of its size
        (0xE000_0009, None),  # reserved bits
        (0x0000_0001, None),
    ],
)
def test_values_of_pciexbar(low, window):
    mechanisms = ConfigMechanisms()
    decode(*IDENTIFY, *PROGRAM[:-1], (1, OUT, 0xCFC, 4, low), mechanisms=mechanisms)
    assert mechanisms.window == window


@pytest.mark.parametrize(("identity", "window"), [(0x29C0_8086, BASE), (0x1237_8086, None), (None, BASE)])
def test_only_a_q35_has_pciexbar_there(identity, window):
    mechanisms = ConfigMechanisms()
    first = [] if identity is None else [IDENTIFY[0], (1, IN, 0xCFC, 4, identity)]
    decode(*first, *PROGRAM, mechanisms=mechanisms)
    assert (mechanisms.window or (None,))[0] == window
    assert mechanisms.host_bridge == identity
    assert mechanisms.may_have_window == (window is None and identity is None)


def test_a_value_that_was_read_counts_once_the_host_bridge_is_known():
    read = [PROGRAM[0], (1, IN, 0xCFC, 4, BASE | 1)]
    unknown, known = ConfigMechanisms(), ConfigMechanisms()
    decode(*read, mechanisms=unknown)
    decode(*IDENTIFY, *read, mechanisms=known)
    assert (unknown.window, known.window) == (None, (BASE, 1 << 28))


def test_the_window_moves_through_itself():
    other = 0xC000_0000
    rows = [*IDENTIFY, *PROGRAM]
    rows += [(1, READ, BASE + 4, 4, 0), (1, WRITE, BASE + 0x60, 4, other | 1)]
    rows += [(1, READ, BASE + 4, 4, 0), (1, READ, other + 8, 4, 0)]
    mechanisms = ConfigMechanisms()
    found = mechanisms.decode(touches(*rows))
    assert list(zip(found.row.tolist(), found.offset.tolist(), strict=True))[-3:] == [
        (8, 4),
        (9, 0x60),
        (11, 8),
    ]
    assert mechanisms.window == (other, 1 << 28)


def test_a_given_window_stays():
    mechanisms = ConfigMechanisms(0x40_1000_0000)
    rows = [*IDENTIFY, *PROGRAM, (1, READ, BASE, 4, 0), (1, READ, 0x40_1010_0004, 2, 0)]
    assert decode(*rows, mechanisms=mechanisms)[-1] == (9, 1, 0, 4)
    assert mechanisms.window == (0x40_1000_0000, 1 << 28)


@pytest.mark.parametrize(("offset", "size"), [(0, 8), (3, 2), (1, 4), (2, 4), (0, 3)])
def test_odd_accesses_to_the_window_are_told(offset, size):
    found = ConfigMechanisms(BASE).decode(touches((1, READ, BASE + offset, size, 0)))
    assert (found.row.tolist(), found.odd.tolist()) == ([], [0])


def test_nothing():
    assert decode() == []


ACTION = st.one_of(
    st.tuples(st.integers(0, 3), st.just(OUT), st.just(0xCF8), st.just(4), st.integers(0, (1 << 32) - 1)),
    st.tuples(
        st.integers(0, 3), st.sampled_from([IN, OUT]), st.integers(0xCFC, 0xCFF), st.just(1), st.just(0)
    ),
    st.tuples(
        st.integers(0, 3), st.just(READ), st.integers(BASE, BASE + (1 << 28) - 1), st.just(1), st.just(0)
    ),
)


@settings(max_examples=200)
@given(st.lists(ACTION, max_size=40), st.integers(1, 7))
def test_any_touches_equal_one_by_one(rows, size):
    latch: dict[int, int] = {}
    expected = []
    for number, (agent, what, address, _, value) in enumerate(rows):
        if what == READ:
            inside = address - BASE
            expected.append((number, inside >> 20, inside >> 12 & 0xFF, inside & 0xFFF))
        elif address == 0xCF8:
            latch[agent] = value
        elif latch.get(agent, 0) >> 31:
            held = latch[agent]
            register = held & 0xFC | held >> 24 << 8 & 0xF00 | address & 3
            expected.append((number, held >> 16 & 0xFF, held >> 8 & 0xFF, register))
    assert decode(*rows, mechanisms=ConfigMechanisms(BASE)) == expected
    # Batches of any size give the same.
    parts, mechanisms = [], ConfigMechanisms(BASE)
    for start in range(0, len(rows), size):
        found = decode(*itertools.islice(rows, start, start + size), mechanisms=mechanisms)
        parts += [(row + start, *rest) for row, *rest in found]
    assert parts == expected
