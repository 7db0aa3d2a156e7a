"""The tables of what an analysis works with, from the accesses to the predictions, of one capture."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from analyzer import bdf
from analyzer.observed import decisions
from analyzer.observed.registers.functions import INHERITED_REGISTERS
from analyzer.questions.tables import schemas
from analyzer.replay.world import Node
from analyzer.results.columns import table
from schemas.pcie_capability import TYPE_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from analyzer.analysis import Study
    from analyzer.observed.registers.functions import BusNumbers
    from analyzer.observed.topology import Topology
    from analyzer.verdicts.kexecs import KexecAnalysis

    Row = dict[str, Any]


def tables(study: Study, names: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Return those of the named tables that show the working; ``capture`` is 0 in them."""
    key: Row = {"capture": 0, "path": study.result.path}
    makers: dict[str, Callable[[], pl.DataFrame]] = {
        "accesses": lambda: _accesses(study, key),
        "boots": lambda: _per_boot(study, key, _boot, schemas.BOOTS),
        "functions": lambda: _per_boot(study, key, _functions, schemas.FUNCTIONS),
        "links": lambda: _per_boot(study, key, _links, schemas.LINKS),
        "registers": lambda: _per_boot(study, key, _registers, schemas.REGISTERS),
        "decisions": lambda: _per_boot(study, key, _decisions, schemas.DECISIONS),
        "nodes": lambda: _per_kexec(study, key, _nodes, schemas.NODES),
        "predictions": lambda: _per_kexec(study, key, _predictions, schemas.PREDICTIONS),
        "state": lambda: _per_kexec(study, key, _state, schemas.STATE),
    }
    return {name: makers[name]() for name in names if name in makers}


def _accesses(study: Study, key: Row) -> pl.DataFrame:
    """The access table, with the boot that each access is of and its function as text."""
    index = study.index
    boots = np.full(index.rows, -1, np.int64)
    for topology in study.topologies:
        boots[topology.boot.first : topology.boot.last + 1] = topology.boot.index
    keys, places = np.unique(index.function, return_inverse=True)
    names = np.array([bdf.text(function) for function in keys.tolist()], object)
    return index.table.select(
        pl.lit(key["capture"]).alias("capture"),
        pl.lit(key["path"]).alias("path"),
        pl.Series("boot", boots),
        pl.col("seq").alias("access"),
        *("file", "where", "time_ns", "op"),
        pl.Series("function", names[places] if keys.size else [], pl.String),
        *("offset", "width", "value", "status", "absent", "cpu"),
    ).cast(schemas.ACCESSES)  # type: ignore[arg-type]  # a dict of dtypes by name


def _per_boot(
    study: Study,
    key: Row,
    rows: Callable[[Study, Topology], Iterable[Row]],
    schema: dict[str, pl.DataType],
) -> pl.DataFrame:
    return table(
        (
            {**key, "boot": topology.boot.index, **row}
            for topology in study.topologies
            for row in rows(study, topology)
        ),
        schema,
    )


def _boot(study: Study, topology: Topology) -> Iterator[Row]:
    span, index = topology.boot, study.index
    yield {
        "kind": span.kind,
        "entered_by": span.entered_by,
        "release": study.result.boots[span.index].release,
        "first_access": int(index.seq[span.first]),
        "last_access": int(index.seq[span.end]),
        "scan_access": _number(study, span.scan),
        "start_ns": index.time_at(span.first),
        "end_ns": index.time_at(span.end),
        "orderly": span.orderly,
        "snapshot": topology.is_snapshot,
    }


def _number(study: Study, row: int | None) -> int | None:
    return None if row is None else int(study.index.seq[row])


def _functions(study: Study, topology: Topology) -> Iterator[Row]:
    for key in sorted(topology.functions):
        function = topology.functions[key]
        yield {
            "function": bdf.text(key),
            "vendor_device": function.vendor_device,
            "header_type": function.header_type,
            "multifunction": function.multifunction,
            "is_bridge": function.is_bridge,
            "is_pcie": function.is_pcie,
            "pcie_type": _type(function.pcie_type),
            "ari_supported": function.ari_supported,
            "has_ari": function.has_ari,
            "next_function": function.next_function,
            **_buses(function.first_bus_numbers, "first_"),
            **_buses(function.bus_numbers, ""),
            "enumerated": key in topology.enumerated,
            "silent": function.silent,
            "discovered_access": _number(study, function.scans[0] if function.scans else None),
        }


def _type(pcie_type: int | None) -> str | None:
    """As lspci words it; a type that it does not know as a number."""
    return None if pcie_type is None else TYPE_WORDS.get(pcie_type, f"type {pcie_type}")


def _buses(numbers: BusNumbers | None, before: str) -> Row:
    if numbers is None:
        return {}
    return {f"{before}{name}": getattr(numbers, name) for name in ("primary", "secondary", "subordinate")}


def _links(_: Study, topology: Topology) -> Iterator[Row]:
    for key in sorted(topology.functions):
        bridge, path = topology.parent(key), topology.path(key)
        yield {
            "function": bdf.text(key),
            "bridge": None if bridge is None else bdf.text(bridge.function),
            "root_bus": _bus(path[0]),
            "place": _place(path),
            "root_known": topology.is_root(path[0]),
        }


def _bus(bus: int) -> str:
    return f"{bus >> 8:04x}:{bus & 0xFF:02x}"


def _place(path: tuple[int, ...]) -> str:
    """A path as text: ``0000:00/1c.0/00.0``."""
    return "/".join([_bus(path[0]), *(f"{devfn >> 3:02x}.{devfn & 7}" for devfn in path[1:])])


def _registers(study: Study, topology: Topology) -> Iterator[Row]:
    for key in sorted(topology.functions):
        for register in INHERITED_REGISTERS:
            for sample in topology.functions[key].accesses_to(register):
                yield {
                    "function": bdf.text(key),
                    "register": register.setpci,
                    "access": _number(study, sample.row),
                    "op": "write" if sample.write else "read",
                    "value": sample.value,
                    "mask": sample.mask,
                    "answered": not sample.dead,
                    "failed": sample.failed,
                }


def _decisions(study: Study, topology: Topology) -> Iterator[Row]:
    for several in decisions.of_boot(topology).values():
        for decision in several:
            yield {
                "bridge": bdf.text(decision.bridge),
                "function_0": bdf.text(decision.function_0),
                "rule": decision.rule,
                "enabled": decision.enabled,
                "access": _number(study, decision.row),
                "devcap2_access": _number(study, decision.devcap2),
                "read_access": _number(study, decision.read),
            }


def _per_kexec(
    study: Study, key: Row, rows: Callable[[KexecAnalysis], Iterable[Row]], schema: dict[str, pl.DataType]
) -> pl.DataFrame:
    return table(
        (
            {**key, "kexec": kexec.handover.number, **row}
            for kexec in study.kexec_analyses
            for row in rows(kexec)
        ),
        schema,
    )


def _nodes(kexec: KexecAnalysis) -> Iterator[Row]:
    for node in kexec.world.nodes():
        above = kexec.world.parent(node)
        yield {
            "place": _place(node.path),
            "bridge_place": None if above is None else _place(above.path),
            "outgoing": None if node.outgoing is None else bdf.text(node.outgoing),
            "incoming": None if node.incoming is None else bdf.text(node.incoming),
            "pcie_type": _type(node.pcie_type),
            "hardware_ari": node.hardware,
            **_range(node.outgoing_numbers, "outgoing_"),
            **_range(node.numbers, "first_"),
            **_range(node.incoming_numbers, "incoming_"),
            **{name: getattr(node, name) for name in _NODE_FIELDS},
        }


_NODE_FIELDS = {field.name for field in fields(Node)} & schemas.NODES.keys() - {
    "path",
    "outgoing",
    "incoming",
    "pcie_type",
}


def _range(numbers: BusNumbers | None, before: str) -> Row:
    if numbers is None:
        return {}
    return {f"{before}secondary": numbers.secondary, f"{before}subordinate": numbers.subordinate}


def _predictions(kexec: KexecAnalysis) -> Iterator[Row]:
    """What a kernel of each policy must find: every node, found or not."""
    for policy, prediction in kexec.predictions.items():
        for node in kexec.world.nodes():
            key, decision = prediction.keys.get(node.path), prediction.decisions.get(node.path)
            certain, possible = node.path in prediction.certain, node.path in prediction.possible
            yield {
                "policy": policy,
                "ran": policy == kexec.ran,
                "place": _place(node.path),
                "function": bdf.text(node.name),
                "discovered": "certain" if certain else "possible" if possible else "no",
                "address": None if key is None else bdf.text(key),
                "ari": None if decision is None else decision.enabled,
                "ari_branch": None if decision is None else decision.branch,
                "bus_numbers": prediction.numbers.get(node.path),
            }


def _state(kexec: KexecAnalysis) -> Iterator[Row]:
    """What became of every watched register of every function."""
    return (vars(one) for one in kexec.watch.every_verdict())
