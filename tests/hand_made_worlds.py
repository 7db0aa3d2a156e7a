"""Machines put together function by function, and what one kernel must find on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.replay import enumeration, node_table
from analyzer.replay.enumeration import FoundRows, Kernel, Replay
from analyzer.replay.node_table import NodeTable, of_world
from analyzer.replay.world import Node, Path, World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.profile import Profile

#: What Linux takes otherwise than the function says it.
CORRECTED = ("pcie_type", "has_ari", "below_conventional")


def of_nodes(nodes: Iterable[Node]) -> NodeTable:
    """The functions below their bridges, port types and extended space as Linux takes them."""
    said = of_world(World({}, {node.path: node for node in nodes}, {}))
    node_table.correct(said.paths, said.above, said.columns)
    taken = NodeTable(said.paths, said.columns, said.ignored)
    for node, corrected in zip(said.nodes, taken.nodes, strict=True):
        for name in CORRECTED:
            setattr(node, name, getattr(corrected, name))
    vars(said).pop("world")  # the functions are not yet below their bridges there
    return said


def link(by_path: dict[Path, Node]) -> World:
    """The same as a world; the functions are those given."""
    return of_nodes(by_path.values()).world


def predict(world: World, profile: Profile, *, renumbered_as_observed: bool = False) -> Prediction:
    """What one kernel must find."""
    return enumeration.predict(of_world(world), profile, renumbered_as_observed=renumbered_as_observed)


def predictions(asked: Iterable[tuple[World, Profile]]) -> list[Prediction]:
    """What each of many kernels must find on its machine; far cheaper than one by one."""
    kernels = [Kernel(of_world(world), profile) for world, profile in asked]
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
