"""Did a fault in the blackout really happen, there and then? The capture itself must say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.lab.config_ports import ConfigWrite

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from analyzer.lab.port_faults import PortFault


@dataclass(frozen=True)
class Blackout:
    """Faults that were done while the guest stood still; times in wall-clock ns, as QEMU's trace has them."""

    stopped_ns: int
    resumed_ns: int
    faults: tuple[ConfigWrite | PortFault, ...]

    @property
    def writes(self) -> tuple[ConfigWrite, ...]:
        """Those of the faults that a capture must show."""
        return tuple(fault for fault in self.faults if isinstance(fault, ConfigWrite))


def doubts(accesses: pl.DataFrame, blackouts: Sequence[Blackout]) -> list[str]:
    """Compare the faults with what the capture recorded.

    Args:
        accesses: the capture's table (:data:`analyzer.capture.accesses.SCHEMA`).
        blackouts: what was done.

    Returns:
        a sentence for each fault that is not in the capture as it was meant: while the guest stood still
        there must be these writes and nothing else, and the first read of each register must return the last
        value that was written to it.
    """
    found = []
    for number, blackout in enumerate(blackouts):
        found += [f"blackout {number}: {text}" for text in _doubts(accesses, blackout)]
    return found


def _doubts(accesses: pl.DataFrame, blackout: Blackout) -> list[str]:
    import polars as pl

    # QEMU's times end at microseconds.
    times = pl.col("time_ns").is_between(blackout.stopped_ns // 1000 * 1000, blackout.resumed_ns)
    inside = accesses.filter(times)
    wanted = [("write", *_place(write), write.value) for write in blackout.writes]
    seen = list(inside.select("op", "bus", "devfn", "offset", "value").iter_rows())
    if seen != wanted:
        meant = ", ".join(map(str, blackout.writes)) or "none"
        return [f"expected these writes alone while the guest stood still: {meant}; the capture has {seen!r}"]
    if not wanted:
        return []
    later = accesses.filter(pl.col("seq") > inside["seq"].max())
    last = {(write.bdf, write.offset): write for write in blackout.writes}
    return [text for write in last.values() if (text := _not_taken(later, write)) is not None]


def _not_taken(later: pl.DataFrame, write: ConfigWrite) -> str | None:
    import polars as pl

    bus, devfn, offset = _place(write)
    rows = later.filter((pl.col("bus") == bus) & (pl.col("devfn") == devfn) & (pl.col("offset") == offset))
    if rows.is_empty() or rows["op"][0] == "write":
        return None  # nobody looked before it was written again: the capture cannot say more
    value = rows["value"][0] & (1 << 8 * write.width) - 1
    if value == write.value:
        return None
    return f"{write.bdf} register {offset:#x}: wrote {write.value:#x}, the next kernel read {value:#x}"


def _place(write: ConfigWrite) -> tuple[int, int, int]:
    _, bus, rest = write.bdf.split(":")
    slot, function = rest.split(".")
    return int(bus, 16), int(slot, 16) << 3 | int(function), write.offset
