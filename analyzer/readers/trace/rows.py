"""Records of a trace that may be about config space, as columns: what the readers of ftrace events collect.

Four kinds of records come to one table here, before it is known which of them are accesses: events with the
fields of a config access, ports and memory that KVM saw its guest touch, text that QEMU's ftrace backend
printed, and events that say what happened to a link or a device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.readers.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Values of ``TraceRows.kind``.
CONFIG, PORT, MEMORY, PRINT, EVIDENCE = range(5)
#: ``cpu`` and ``domain`` where the record does not say them.
UNKNOWN = -1

_DTYPES: dict[str, Any] = {
    "time": np.int64,
    "cpu": np.int32,
    "agent": np.int64,
    "where": np.int64,
    "kind": np.uint8,
    "event": np.int32,
    "op": np.uint8,
    "domain": np.int64,
    "bus": np.int64,
    "devfn": np.int64,
    "address": np.int64,
    "width": np.int64,
    "value": np.uint64,
    "failed": np.bool_,
    "text": np.int64,
}


@dataclass(frozen=True)
class TraceRows(Columns):
    """One row a record, in the order of the trace.

    Attributes:
        time: ns; what it counts from is a matter of the trace's clock.
        cpu: the CPU that recorded, ``UNKNOWN`` if the trace does not say it.
        agent: the thread that was running: under KVM it plays one CPU of the guest.
        where: place in the file.
        kind: ``CONFIG``, ``PORT``, ``MEMORY``, ``PRINT`` or ``EVIDENCE``.
        event: number of the event in the reader's list: rows of one event have the same.
        op: ``accesses.READ`` or ``accesses.WRITE``.
        domain: of CONFIG rows.
        bus: of CONFIG rows.
        devfn: of CONFIG rows.
        address: register, port or physical address.
        width: bytes, 0 if the record does not say it.
        value: what was read or written.
        failed: the accessor returned an error.
        text: of PRINT and EVIDENCE rows, index in the batch's list of texts.
    """

    time: NDArray[np.int64]
    cpu: NDArray[np.int32]
    agent: NDArray[np.int64]
    where: NDArray[np.int64]
    kind: NDArray[np.uint8]
    event: NDArray[np.int32]
    op: NDArray[np.uint8]
    domain: NDArray[np.int64]
    bus: NDArray[np.int64]
    devfn: NDArray[np.int64]
    address: NDArray[np.int64]
    width: NDArray[np.int64]
    value: NDArray[np.uint64]
    failed: NDArray[np.bool_]
    text: NDArray[np.int64]

    def with_time(self, time: NDArray[np.int64]) -> TraceRows:
        """Return the same rows with other times."""
        return replace(self, time=time)


def make(count: int, **columns: Any) -> TraceRows:
    """Return ``count`` rows; columns that are not given are zero (``cpu``: unknown)."""
    made = []
    for name, dtype in _DTYPES.items():
        if name in columns:
            made.append(np.broadcast_to(np.asarray(columns[name]).astype(dtype), (count,)))
        else:
            made.append(np.full(count, UNKNOWN if name == "cpu" else 0, dtype))
    return TraceRows(*made)


def concat(parts: Sequence[TraceRows]) -> TraceRows:
    """Return the rows of all parts, one after the other."""
    return TraceRows.concat(parts) if parts else make(0)
