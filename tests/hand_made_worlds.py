"""Machines put together function by function, and what one kernel must find on them."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from analyzer.observed.registers.first_reads import NONE
from analyzer.replay import enumeration, node_table
from analyzer.replay.enumeration import FoundRows, Replay, ScanningKernel
from analyzer.replay.node_table import BUSES, FLAGS, NUMBERS, PARTS, NodeTable
from analyzer.replay.world import Node, Path, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analyzer.observed.registers.functions import BusNumbers
    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.profile import Profile

#: What Linux takes otherwise than the function says it.
CORRECTED = ("pcie_type", "has_ari", "below_conventional")


def of_world(world: World) -> NodeTable:
    """The columns of functions that were looked at one by one."""
    nodes = list(world.nodes())
    columns = {
        name: np.array(
            [NONE if value is None else value for value in (getattr(node, name) for node in nodes)], np.int64
        )
        for name in (*NUMBERS, *FLAGS)
        if name not in ("vendor", "device")
    }
    ids = [(node.vendor_device or "").split(":") for node in nodes]
    for place, name in enumerate(("vendor", "device")):
        columns[name] = np.array([int(one[place], 16) if len(one) == 2 else NONE for one in ids], np.int64)
    for name in BUSES:
        held: Iterable[BusNumbers | None] = (getattr(node, name) for node in nodes)
        rows = [
            (NONE,) * 4 if one is None else (one.primary, one.secondary, one.subordinate, one.row)
            for one in held
        ]
        for part, column in zip(PARTS, np.array(rows, np.int64).reshape(-1, 4).T, strict=True):
            columns[f"{name}_{part}"] = column
    ignored = {row: node.ignored for row, node in enumerate(nodes) if node.ignored is not None}
    made = NodeTable([node.path for node in nodes], columns, ignored)
    made.__dict__.update(nodes=nodes, world=world)
    return made


def of_machines(machines: Sequence[Iterable[Node]]) -> list[NodeTable]:
    """The functions of each machine below their bridges, as Linux takes them.

    Port types and extended space are corrected in the functions, too, which are those of the tables.
    """
    placed = {(number, *node.path): node for number, nodes in enumerate(machines) for node in nodes}
    said = of_world(World({}, placed, {}))
    before = {name: said.columns[name].copy() for name in CORRECTED}
    counts = Counter(place[0] for place in placed)
    edges = [0, *itertools.accumulate(counts[number] for number in range(len(machines)))]
    made = []
    for its in (slice(*pair) for pair in itertools.pairwise(edges)):
        ignored = {row: node.ignored for row, node in enumerate(said.nodes[its]) if node.ignored is not None}
        columns = {name: column[its] for name, column in said.columns.items()}
        made.append(NodeTable(said.paths[its], columns, ignored))
        vars(made[-1])["nodes"] = said.nodes[its]
    above = [
        np.where(one.above == NONE, NONE, one.above + first) for one, first in zip(made, edges, strict=False)
    ]
    node_table.correct(said.paths, np.concatenate([*above, np.zeros(0, np.int64)]), said.columns)
    for name, column in before.items():
        for row in np.flatnonzero(column != said.columns[name]).tolist():
            value = int(said.columns[name][row])
            setattr(said.nodes[row], name, value if name == "pcie_type" else value == 1)
    return made


def of_nodes(nodes: Iterable[Node]) -> NodeTable:
    """The same of one machine."""
    return of_machines([nodes])[0]


def link(by_path: dict[Path, Node]) -> World:
    """The same as a world; the functions are those given."""
    return of_nodes(by_path.values()).world


def predict(world: World, profile: Profile, *, renumbered_as_observed: bool = False) -> Prediction:
    """What one kernel must find."""
    return enumeration.predict(of_world(world), profile, renumbered_as_observed=renumbered_as_observed)


def predictions(asked: Iterable[tuple[World, Profile]]) -> list[Prediction]:
    """What each of many kernels must find on its machine; far cheaper than one by one."""
    kernels = [ScanningKernel(of_world(world), profile) for world, profile in asked]
    replay = Replay(kernels)
    return [replay.prediction(number) for number in range(len(kernels))]


def found_rows(machine: NodeTable, prediction: Prediction) -> FoundRows:
    """A prediction that was made by hand, as rows of the machine."""
    found = [
        row for row, path in enumerate(machine.paths) if path in prediction.certain | prediction.possible
    ]
    certain = [machine.paths[row] in prediction.certain for row in found]
    keys = [prediction.keys.get(machine.paths[row], 0) for row in found]
    return FoundRows(np.array(found, np.int64), np.array(keys, np.int64), np.array(certain, np.bool_))
