"""Functions of many boots and captures at once, beside the plain way of one access after the other."""

from __future__ import annotations

from dataclasses import astuple

import naive_functions as naive
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture import accesses
from analyzer.observed.index import windows
from analyzer.observed.registers import reading
from analyzer.observed.registers.functions import BusNumbers, Function
from analyzer.observed.registers.reading import Wanted
from schemas.inherited_state import ACS_CONTROL, ARI_CAPABLE_HIERARCHY, ARI_FORWARDING, BUS_MASTER
from schemas.registers import DEVCTL

#: Registers as the plain way names them: those that are read of every function at once, and one that is not.
REGISTERS_BY_NAME = {
    "devctl": DEVCTL,
    "devctl2": ARI_FORWARDING.register,
    "command": BUS_MASTER.register,
    "acs_control": ACS_CONTROL.register,
    "sriov_control": ARI_CAPABLE_HIERARCHY.register,
}
KEYS = (0x0000, 0x0100, 0x010000)  # of two domains
#: Offsets of registers that matter, and some beside them.
OFFSETS = (
    0x00, 0x01, 0x02, 0x04, 0x06, 0x0C, 0x0E, 0x18, 0x19, 0x1A, 0x1B, 0x34, 0x40, 0x41, 0x42, 0x43, 0x64,
    0x65, 0x68, 0x69, 0x80, 0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x108, 0x120, 0x124, 0x126,
    0x128, 0x130, 0x200,
)  # fmt: skip
#: Values that build capability lists, bus numbers and headers, and those that nobody returns.
VALUES = (
    0, 0x01, 0x10, 0x20, 0x40, 0x50, 0x81, 0xFF, 0x0010, 0x0042, 0x0110, 0x4010, 0x8010, 0xFF10, 0xFFFF,
    0x20100, 0x030302, 0x00FF0201, 0x12348086, 0x1201000E, 0x1201000D, 0x12010010, 0x1001000D,
    0xFFFFFFFF, 0x7FFF0020,
)  # fmt: skip
STATUSES = ("ok", "ok", "ok", "ok", "unsupported", "abort")

one_access = st.fixed_dictionaries(
    {
        "key": st.sampled_from(KEYS),
        "op": st.sampled_from(("read", "read", "read", "write")),
        "offset": st.sampled_from(OFFSETS),
        "width": st.sampled_from((0, 1, 2, 4)),
        "value": st.sampled_from(VALUES) | st.integers(0, 0xFFFFFFFF),
        "status": st.sampled_from(STATUSES),
    }
)
#: Reads of a function with PCI Express, ARI, ACS and SR-IOV capabilities; the accesses behind them spoil it.
PORT = {
    0x00: 0x12348086, 0x0E: 0x81, 0x06: 0x10, 0x34: 0x40, 0x40: 0x0010, 0x42: 0x42, 0x64: 0x20,
    0x18: 0x030200, 0x100: 0x1201000E, 0x104: 0x0500, 0x120: 0x1281000D, 0x128: 0x20010010,
}  # fmt: skip
port = st.builds(
    lambda key, offsets: [
        {"key": key, "op": "read", "offset": at, "width": 4, "value": PORT[at], "status": "ok"}
        for at in offsets
    ],
    st.sampled_from(KEYS),
    st.permutations(list(PORT)).flatmap(lambda order: st.integers(8, 12).map(lambda n: order[:n])),
)
accesses_of_one = st.builds(
    lambda first, rest: first + rest, port | st.just([]), st.lists(one_access, min_size=1, max_size=50)
)
captures = st.lists(accesses_of_one, min_size=1, max_size=4)


def table(rows: list[dict]) -> pl.DataFrame:
    keys = pl.Series([row["key"] for row in rows], dtype=pl.Int64)
    frame = pl.DataFrame(
        {
            "domain": keys // 65536,
            "bus": keys // 256 % 256,
            "devfn": keys % 256,
            "where": pl.Series(range(len(rows)), dtype=pl.UInt64),
            "absent": [row["status"] == "unsupported" for row in rows],
            **{name: [row[name] for row in rows] for name in ("op", "offset", "width", "value", "status")},
        }
    )
    keyed = {
        "capture": pl.lit(0),
        "file": pl.lit(0),
        "seq": pl.int_range(pl.len()),
        "time_ns": None,
        "cpu": None,
    }
    return frame.with_columns(**keyed).select(pl.col(n).cast(t) for n, t in accesses.SCHEMA.items())


def naively(rows: list[dict], key: int, first: int, last: int) -> list[naive.Access]:
    return [
        naive.Access(
            number,
            row["op"] == "write",
            row["offset"],
            row["width"],
            row["value"] & (1 << 8 * (row["width"] or 4)) - 1,
            row["status"] != "ok",
            row["status"] == "abort",
        )
        for number, row in enumerate(rows)
        if row["key"] == key and first <= number <= last
    ]


def told(found: Function, name: str) -> object:
    """A fact as the plain way says it."""
    if name in REGISTERS_BY_NAME:
        return found.accesses_to(REGISTERS_BY_NAME[name])
    fact = getattr(found, name)
    return astuple(fact) if isinstance(fact, BusNumbers) else fact


@pytest.mark.parametrize("block", [(1, 2_000_000), (2, 2_000_000), (2048, 40), (2048, 2_000_000)])
@given(several=captures, cut=st.integers(0, 30))
def test_many_at_once_are_what_each_is_alone(block, several, cut):
    """Every fact of every function, in two boots of each capture."""
    wanted, expected = [], []
    for index, rows in zip(windows([table(rows) for rows in several]), several, strict=True):
        for first, last in ((0, min(cut, len(rows) - 1)), (min(cut, len(rows) - 1) + 1, len(rows) - 1)):
            keys = [key for key in KEYS if index.group(key) is not None]
            wanted.append(Wanted(index, first, last, keys))
            expected.append({key: naive.facts(naively(rows, key, first, last)) for key in keys})
    whole = reading._BLOCK, reading._BLOCK_ACCESSES
    reading._BLOCK, reading._BLOCK_ACCESSES = block
    try:
        found = reading.read(wanted)
    finally:
        reading._BLOCK, reading._BLOCK_ACCESSES = whole
    for got, right in zip(found, expected, strict=True):
        assert {
            key: {name: told(function, name) for name in right[key]} for key, function in got.items()
        } == right


def test_nothing_wanted():
    assert reading.read([]) == []


def test_a_function_that_nobody_reached_is_not_grouped():
    rows = [{"key": 0x0100, "op": "read", "offset": 0, "width": 4, "value": 0xFFFFFFFF, "status": "ok"}]
    (index,) = windows([table(rows)])
    assert index.group(0x0100) is None
    assert index.rows_of(0x0100).tolist() == [0]
