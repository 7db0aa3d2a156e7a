"""The columns of each stage's table, in the order of the stages.

Each table begins with ``capture`` (its place in the call, from 0) and ``path``. Tables of a boot go on with
``boot``, tables of a kexec with ``kexec``; a function is named by its address (BDF) under the numbering of
that boot, a node by its ``place``: the root bus and the device and function numbers down to it, which bus
numbers do not change. Null means that the capture does not show it. docs/tables.md describes every column.
"""

from __future__ import annotations

import polars as pl

from analyzer.capture.accesses import OP, STATUS
from analyzer.results import Analysis, Evidence, frames
from analyzer.results.columns import NUMBER, TEXT, columns
from analyzer.results.state import StateVerdict
from analyzer.verdicts.verdict import summarise

_FLAG = pl.Boolean()
_CAPTURE: dict[str, pl.DataType] = {"capture": NUMBER, "path": TEXT}
_BOOT = _CAPTURE | {"boot": NUMBER}
_KEXEC = _CAPTURE | {"kexec": NUMBER}


def _columns(dtype: pl.DataType, *names: str) -> dict[str, pl.DataType]:
    return dict.fromkeys(names, dtype)


ACCESSES: dict[str, pl.DataType] = {
    **_BOOT,
    **_columns(NUMBER, "access", "file", "where", "time_ns"),
    "op": OP,
    "function": TEXT,
    **_columns(NUMBER, "offset", "width", "value"),
    "status": STATUS,
    "absent": _FLAG,
    "cpu": NUMBER,
}
BOOTS = {
    **_BOOT,
    **_columns(TEXT, "kind", "entered_by", "release"),
    **_columns(NUMBER, "first_access", "last_access", "scan_access", "start_ns", "end_ns"),
    **_columns(_FLAG, "orderly", "snapshot"),
}
FUNCTIONS = {
    **_BOOT,
    **_columns(TEXT, "function", "vendor_device"),
    "header_type": NUMBER,
    **_columns(_FLAG, "multifunction", "is_bridge", "is_pcie"),
    "pcie_type": TEXT,
    **_columns(_FLAG, "ari_supported", "has_ari"),
    "next_function": NUMBER,
    **_columns(NUMBER, "first_primary", "first_secondary", "first_subordinate"),
    **_columns(NUMBER, "primary", "secondary", "subordinate"),
    **_columns(_FLAG, "enumerated", "silent"),
    "discovered_access": NUMBER,
}
LINKS = {**_BOOT, **_columns(TEXT, "function", "bridge", "root_bus", "place"), "root_known": _FLAG}
REGISTERS = {
    **_BOOT,
    **_columns(TEXT, "function", "register"),
    "access": NUMBER,
    "op": OP,
    **_columns(NUMBER, "value", "mask"),
    **_columns(_FLAG, "answered", "failed"),
}
DECISIONS = {
    **_BOOT,
    **_columns(TEXT, "bridge", "function_0", "rule"),
    "enabled": _FLAG,
    **_columns(NUMBER, "access", "devcap2_access", "read_access"),
}
NODES = {
    **_KEXEC,
    **_columns(TEXT, "place", "bridge_place", "outgoing", "incoming", "vendor_device"),
    **_columns(_FLAG, "present", "assumed", "gated", "silent", "is_bridge", "is_pcie"),
    "pcie_type": TEXT,
    **_columns(_FLAG, "multifunction", "ari_supported", "has_ari"),
    "next_function": NUMBER,
    "hardware_ari": _FLAG,
    **_columns(NUMBER, "outgoing_secondary", "outgoing_subordinate", "first_secondary", "first_subordinate"),
    **_columns(NUMBER, "incoming_secondary", "incoming_subordinate"),
    **_columns(_FLAG, "unroutable", "beyond_reach", "beyond_reach_if_lost"),
}
PREDICTIONS = {
    **_KEXEC,
    "policy": TEXT,
    "ran": _FLAG,
    **_columns(TEXT, "place", "function", "discovered", "address"),
    "ari": _FLAG,
    **_columns(TEXT, "ari_branch", "bus_numbers"),
}
EVIDENCE = {**_KEXEC, "bridge": TEXT, **columns(Evidence)}
STATE = {**_KEXEC, **columns(StateVerdict)}
_NOTHING = Analysis("observed", [], summarise([]))


def kexecs(found: Analysis) -> pl.DataFrame:
    """The frame of kexecs, with its number in the column that the other tables have it in."""
    return frames.kexecs(found).rename({"index": "kexec"})


#: Name -> columns, in the order of the stages; those of the results are in :mod:`analyzer.results.frames`.
SCHEMAS: dict[str, dict[str, pl.DataType]] = {
    "captures": dict(frames.captures(_NOTHING).schema),
    "accesses": ACCESSES,
    "boots": BOOTS,
    "functions": FUNCTIONS,
    "links": LINKS,
    "registers": REGISTERS,
    "decisions": DECISIONS,
    "kexecs": dict(kexecs(_NOTHING).schema),
    "nodes": NODES,
    "predictions": PREDICTIONS,
    "bridges": dict(frames.bridges(_NOTHING).schema),
    "devices": dict(frames.devices(_NOTHING).schema),
    "evidence": EVIDENCE,
    "state": STATE,
}
