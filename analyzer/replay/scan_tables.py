"""The replay as tables: many kernels scan many machines at once, one level of buses after the other.

A kernel scans a bus (pci_scan_child_bus_extend of Linux 7.3), then the buses below the bridges that it found
there. Each step reduces its question to a row of plain facts and asks the rule once for each distinct row
(:mod:`analyzer.distinct_questions`). The rules are :func:`analyzer.replay.ari.decide`,
:func:`analyzer.replay.slots.walk` and :func:`analyzer.replay.bus_numbers.outcome`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from analyzer.distinct_questions import ask
from analyzer.observed.registers.first_reads import NONE
from analyzer.replay import ari, bus_numbers, slots
from analyzer.replay.node_table import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

_FLAG, _NUMBER, _TEXT = pl.Boolean(), pl.Int64(), pl.String()
#: Columns of a bridge's numbers: as the incoming kernel first read them, as the outgoing one used them, and
#: the former, or where it read none the latter.
_FIRST_READ, _OUTGOING, _KEPT = (
    tuple(f"{name}_{part}" for part in PARTS[:3]) for name in ("numbers", "outgoing_numbers", "kept")
)

#: A row is a function of the hardware: ``node`` is unique in the table, ``place`` is the bus that it sits on:
#: the node of the bridge above, or a root bus. The other columns are those of
#: :class:`analyzer.replay.node_table.NodeTable`, with null for what is unknown; the parts of bus numbers are
#: null together.
NODES: dict[str, pl.DataType] = {
    **dict.fromkeys(("node", "place", "devfn"), _NUMBER),
    **dict.fromkeys(("present", "gated", "is_bridge", "one_child", "is_pcie", "multifunction"), _FLAG),
    **dict.fromkeys(("ari_supported", "has_ari"), _FLAG),
    "next_function": _NUMBER,
    **dict.fromkeys(("hardware", "numbers_silent", "beyond_reach", "beyond_reach_if_lost"), _FLAG),
    **dict.fromkeys(_FIRST_READ + _OUTGOING, _NUMBER),
    "incoming_numbers_secondary": _NUMBER,
}
#: A row is a root bus that a kernel scans: ``bus`` is its key (``domain << 8 | bus``).
ROOTS = dict.fromkeys(("kernel", "place", "bus"), _NUMBER)
#: Fields and properties of :class:`analyzer.replay.profile.Profile` that a scan depends on.
OF_PROFILE: dict[str, pl.DataType] = {
    **dict.fromkeys(("policy", "series"), _TEXT),
    **dict.fromkeys(("noari", "scan_all", "isolated_functions", "keeps_bus_numbers", "renumbers"), _FLAG),
}
#: A row is a kernel (:class:`analyzer.replay.enumeration.ScanningKernel`).
KERNELS: dict[str, pl.DataType] = {"kernel": _NUMBER, **OF_PROFILE, "renumbered_as_observed": _FLAG}
#: What a kernel takes for preserved, by the address that its scan finds: series v4 to v9 search the set by
#: domain, bus and devfn alone (lookup in pci_setup_device), so that a function at another address than
#: before is not recognised. Empty for a kernel that no Live Update rule applies to.
PRESERVED = dict.fromkeys(("kernel", "address"), _NUMBER)
#: ARI Forwarding that the outgoing kernel saved for a bridge.
SAVED: dict[str, pl.DataType] = {**PRESERVED, "saved": _FLAG}

_KERNEL = list(KERNELS)
_DECISION: dict[str, pl.DataType] = {"enabled": _FLAG, "branch": _TEXT}
_WALK: dict[str, pl.DataType] = {"certain": pl.List(_NUMBER), "found": pl.List(_NUMBER)}


def nodes(columns: Mapping[str, NDArray[np.int64]]) -> pl.DataFrame:
    """The table of functions, of :data:`NODES` as numbers with :data:`NONE` for what is unknown."""
    frame = pl.DataFrame(columns).select(*NODES)
    return frame.with_columns(
        pl.when(pl.col(name) != NONE).then(pl.col(name) == 1 if dtype == _FLAG else pl.col(name)).alias(name)
        for name, dtype in NODES.items()
        if name not in ("node", "place")
    )


class Hardware(NamedTuple):
    """The machines, and who scans them: tables as above."""

    nodes: pl.DataFrame
    roots: pl.DataFrame
    kernels: pl.DataFrame
    preserved: pl.DataFrame
    saved: pl.DataFrame


class ScanTables(NamedTuple):
    """What the kernels find.

    Attributes:
        found: ``kernel``, ``node``, ``address``, ``certain`` (else merely possible), ``order`` (text by which
            the functions of one kernel are in the order of its scan).
        decisions: ``kernel``, ``place`` (the bridge), ``enabled``, ``branch``.
        numbers: ``kernel``, ``node`` (the bridge), ``numbers``: what became of its bus numbers.
    """

    found: pl.DataFrame
    decisions: pl.DataFrame
    numbers: pl.DataFrame


def scan(hardware: Hardware) -> ScanTables:
    """Let every kernel scan its machine."""
    places, kept = _places(hardware.nodes), _kept(hardware)
    above_seven = hardware.preserved.select(
        "kernel",
        bus=pl.col("address") // 256,
        preserved_above_seven=pl.col("address") % 256 > 7,
    )
    above_seven = above_seven.filter("preserved_above_seven").unique()
    buses = hardware.roots.join(hardware.kernels, on="kernel", how="left").with_columns(
        pl.lit(None, _NUMBER).alias("address"),  # of the bridge above
        pl.lit(value=True).alias("sure"),
        pl.lit(value=True).alias("heard"),
        pl.col("bus").cast(_TEXT).str.zfill(14).alias("order"),  # a root bus with all below it, then the next
    )
    found, decisions, numbers = [], [], []
    while True:  # once for no kernel at all, which gives empty tables
        rows = buses.join(places, on="place", how="left").with_columns(
            pl.col("function_0") & pl.col("heard"), pl.col("one_child") & ~pl.col("scan_all")
        )
        decided = _decide(rows, kept, above_seven)
        decisions.append(
            decided.filter(pl.col("address").is_not_null()).select("kernel", "place", *_DECISION)
        )
        functions = _walk(decided).join(
            hardware.nodes, left_on=["place", "found"], right_on=["place", "devfn"], how="left"
        )
        found.append(functions.select("kernel", "node", "address", "certain", "order"))
        bridges = _number(functions.filter("is_bridge"), kept)
        numbers.append(bridges.select("kernel", "node", "numbers"))
        buses = _below(bridges).select(buses.columns)
        if not buses.height:
            break
    return ScanTables(pl.concat(found).sort("kernel", "order"), pl.concat(decisions), pl.concat(numbers))


def _places(nodes: pl.DataFrame) -> pl.DataFrame:
    """Each bus with its bridge, the function 0 that answers on it, and what a walk of it depends on as text.

    Most buses of a fleet look the same.
    """
    facts = ("devfn", "gated", "multifunction", "has_ari", "next_function")
    packed = pl.concat_str(*(pl.col(name).cast(_TEXT).fill_null("null") for name in facts), separator=",")
    first = pl.col("devfn") == 0
    buses = (
        nodes.filter("present")
        .group_by("place")
        .agg(
            packed.str.join("],[").alias("shape"),
            first.any().alias("function_0"),
            pl.col("is_pcie").filter(first).first().alias("function_0_is_pcie"),
            pl.col("has_ari").filter(first).first().alias("function_0_has_ari"),
        )
    )
    bridge = nodes.select(
        place="node", bridge_is_pcie="is_pcie", bridge_supports="ari_supported", hardware="hardware",
        one_child="one_child",
    )  # fmt: skip
    every = pl.concat([bridge.select("place"), buses.select("place")]).unique()
    return (
        every.join(bridge, on="place", how="left")
        .join(buses, on="place", how="left")
        .with_columns(pl.col("function_0").fill_null(value=False))
    )


def _kept(hardware: Hardware) -> pl.DataFrame:
    """What a kernel takes for preserved, by address, with what was saved of it: nothing else is restored."""
    preserved = hardware.preserved.unique().with_columns(preserved=True)
    return preserved.join(hardware.saved, on=["kernel", "address"], how="left")


class _Sibling(NamedTuple):
    gated: bool
    multifunction: bool | None
    has_ari: bool | None
    next_function: int | None


def _siblings(shape: str | None) -> dict[int, _Sibling]:
    """The functions of a shape, rows of a JSON array, by device and function number."""
    rows = json.loads(f"[[{shape}]]") if shape else []
    return {devfn: _Sibling(*facts) for devfn, *facts in rows}


def _walked(
    shape: str | None, enabled: bool | None, one_child: bool | None, isolated: bool
) -> tuple[list[int], list[int]]:
    certain, found = slots.walk(_siblings(shape), enabled=enabled, one_child=one_child, isolated=isolated)
    return sorted(certain), found


def _decide(rows: pl.DataFrame, kept: pl.DataFrame, above_seven: pl.DataFrame) -> pl.DataFrame:
    """ARI of the bridges above the buses; a root bus has none, and more slots than one.

    The bridge's ARI is decided while function 0 of the bus below is set up.
    """
    is_root = pl.col("address").is_null()
    below = (
        rows.filter(~is_root)
        .join(kept, on=["kernel", "address"], how="left")
        .join(above_seven, on=["kernel", "bus"], how="left")
        .with_columns(pl.col("preserved", "preserved_above_seven").fill_null(value=False))
    )
    roots = rows.filter(is_root).with_columns(one_child=False, enabled=False, branch=pl.lit(None, _TEXT))
    return pl.concat(
        [
            roots,
            ask(below, ari.AriQuestion._fields, ari.decide, _DECISION).select(roots.columns),
        ]
    )


def _walk(buses: pl.DataFrame) -> pl.DataFrame:
    """The functions that the kernels find on the buses, in the order of each walk."""
    shaped = buses.with_columns(pl.when("heard").then("shape").alias("shape"))
    walked = ask(shaped, ("shape", "enabled", "one_child", "isolated_functions"), _walked, _WALK)
    return (
        walked.select(
            *(*_KERNEL, "place", "bus", "sure", "order", "certain", "found"),
            index=pl.int_ranges(pl.col("found").list.len()),
        )
        .explode("found", "index")  # a bus on which nobody is found is left out
        .with_columns(
            firm=pl.col("certain").list.contains(pl.col("found")),
            address=pl.col("bus") * 256 + pl.col("found"),
            index=pl.col("index").cast(pl.String).str.zfill(3),
            order_of_bus="order",
        )
        .with_columns(
            certain=pl.col("firm") & pl.col("sure"), order=pl.col("order_of_bus") + "0" + pl.col("index")
        )
    )


def _number(found: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """What becomes of the bus numbers of bridges that were found."""
    bridges = (
        found.with_columns(
            (pl.col("bus") % 256).alias("on_bus"),
            *(
                pl.coalesce(*names).alias(name)
                for *names, name in zip(_FIRST_READ, _OUTGOING, _KEPT, strict=True)
            ),
        )
        .join(kept.select("kernel", "address", "preserved"), on=["kernel", "address"], how="left")
        .with_columns(pl.col("preserved").fill_null(value=False))
    )
    facts = ("numbers_silent", "on_bus", *_KEPT, *_FIRST_READ)
    bridges = ask(bridges, facts, _unusable, {"unusable": _FLAG, "unusable_if_lost": _FLAG})
    on_one_bus = ["kernel", "place"]
    stands = pl.col("preserved") & pl.col("unusable")
    bridges = bridges.with_columns(
        neighbour=stands.any().over(on_one_bus),
        firm_neighbour=stands | (stands & pl.col("firm")).any().over(on_one_bus),
        neighbour_if_lost=(pl.col("preserved") & pl.col("unusable_if_lost")).any().over(on_one_bus),
    )
    facts = bus_numbers.NumbersQuestion._fields
    return ask(bridges, facts, bus_numbers.outcomes, dict.fromkeys(("numbers", "least", "worst"), _TEXT))


def _unusable(numbers_silent: bool, bus: int, *parts: int | None) -> tuple[bool, bool]:
    """Whether numbers are unusable if those that were not read are kept, and if they are lost."""
    unusable = bus_numbers.unusable
    return unusable(numbers_silent, bus, *parts[:3]), unusable(numbers_silent, bus, *parts[3:])


def _below(bridges: pl.DataFrame) -> pl.DataFrame:
    """The buses that are scanned next: in pass 0 below bridges with usable numbers, then below the others."""
    assigned, observed = pl.col("least") == "assign", pl.col("renumbered_as_observed")
    new, old = pl.col("incoming_numbers_secondary"), pl.col("outgoing_numbers_secondary")
    secondary = (
        pl.when(~assigned)
        .then("kept_secondary")
        .when(observed)
        .then(pl.coalesce(new, old))
        .otherwise(pl.coalesce(old, new))
        .fill_null(0)
    )
    # Where the numbers that nobody read make the difference, what is below is merely possible.
    beyond, if_lost = pl.col("beyond_reach"), pl.col("beyond_reach_if_lost")
    not_widened = ~pl.col("renumbers") & ~(observed & new.is_not_null())
    reaches_nothing = not_widened & assigned & beyond & if_lost
    may_reach_nothing = not_widened & ((assigned & beyond) | ((pl.col("worst") == "assign") & if_lost))
    return bridges.filter(pl.col("least").is_in(["use", "assign"])).select(
        *_KERNEL,
        pl.col("node").alias("place"),
        (pl.col("bus") // 256 * 256 + secondary).alias("bus"),
        "address",
        (pl.col("certain") & (pl.col("worst") != "refuse") & ~may_reach_nothing).alias("sure"),
        (~(pl.col("numbers_silent") | reaches_nothing)).alias("heard"),
        (
            pl.col("order_of_bus")
            + pl.when(assigned).then(pl.lit("2")).otherwise(pl.lit("1"))
            + pl.col("index")
        ).alias("order"),
    )
