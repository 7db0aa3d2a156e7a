"""What the two QEMU readers have in common: the frame of ``pci_cfg_*`` events, the account of all others.

Source: QEMU ``hw/pci/pci_host.c`` (``pci_host_config_read_common``, ``pci_host_config_write_common``). The
events have no width, no domain and no completion status; lines of other events next to them may have a width
(:mod:`analyzer.readers.qemu.widths`). A device model that exists always answers; since QEMU 10.0 a function
that does not exist is a device ``empty``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from analyzer.capture import accesses
from analyzer.errors import UnsupportedFormatError
from analyzer.plurals import count
from analyzer.readers.columns import Columns
from analyzer.readers.tallies import Count, report_kinds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.capture import Notes


@dataclass(frozen=True)
class CfgEvents(Columns):
    """Columns of ``pci_cfg_read`` and ``pci_cfg_write`` events, all of one length, in file order.

    ``time_ns`` counts where ``timed`` is true. ``where`` is in the uncompressed stream. ``width`` 0 is
    unknown. ``unclear`` are accesses of which it is not known whether a function answered them.
    """

    where: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    timed: NDArray[np.bool_]
    op: NDArray[np.uint8]
    bus: NDArray[np.uint8]
    devfn: NDArray[np.uint8]
    offset: NDArray[np.uint16]
    value: NDArray[np.uint32]
    absent: NDArray[np.bool_]
    width: NDArray[np.uint8]
    unclear: NDArray[np.bool_]

    @classmethod
    def bare(cls, **columns: NDArray[Any]) -> CfgEvents:
        """Return events of which nothing but the ``pci_cfg_*`` event itself is known."""
        count = len(columns["where"])
        return cls(**columns, width=np.zeros(count, np.uint8), unclear=np.zeros(count, bool))

    def status(self) -> NDArray[np.uint8]:
        """Return how each access ended, as codes of ``accesses.STATUS``."""
        known = np.where(self.absent, np.uint8(accesses.UNSUPPORTED), np.uint8(accesses.OK))
        return np.where(self.unclear, np.uint8(accesses.UNKNOWN), known)

    def frame(self) -> pl.DataFrame:
        """Return the reader's frame of these events."""
        time = pl.Series(self.time_ns)
        if not self.timed.all():
            time = (
                pl.DataFrame({"t": time, "timed": self.timed}).select(pl.when("timed").then("t")).to_series()
            )
        return accesses.from_columns(
            {
                "time_ns": time,
                "bus": self.bus,
                "devfn": self.devfn,
                "offset": self.offset,
                "op": self.op,
                "value": self.value,
                "width": self.width,
                "status": self.status(),
                "absent": self.absent,
                "where": self.where,
            },
            len(self),
        )


_MOST_DEVICES = 5


@dataclass
class EventTally:
    """What a QEMU capture holds besides usable accesses, for the notes at its end.

    Attributes:
        accesses: those that are usable.
        no_bus: accesses of which nothing says the bus.
        damaged: accesses that cannot be taken apart.
        others: other trace events, by name.
        example: text of the first damaged one, or of its beginning.
        assigned: devices of the host whose config space QEMU accessed for a guest, by address.
    """

    accesses: int = 0
    no_bus: Count = field(default_factory=Count)
    damaged: Count = field(default_factory=Count)
    others: Counter[str] = field(default_factory=Counter)
    example: str = ""
    assigned: Counter[str] = field(default_factory=Counter)

    def _report_assigned(self, notes: Notes) -> None:
        """Say which devices of the host were accessed, where nothing else is in the capture."""
        names = ("vfio_pci_read_config", "vfio_pci_write_config")
        seen = " and ".join(f"{number} {name}" for name in names if (number := self.others.pop(name, 0)))
        listed = ", ".join(name for name, _ in self.assigned.most_common(_MOST_DEVICES))
        more = f" and {len(self.assigned) - _MOST_DEVICES} more" if len(self.assigned) > _MOST_DEVICES else ""
        notes.problem(
            "foreign",
            f"{seen} of host device{'s' * (len(self.assigned) > 1)} {listed}{more}: the host's side of an"
            " assigned device, in which no bridge shows",
        )

    def close(self, notes: Notes, record: str) -> None:
        """Write the account into ``notes``; ``record`` is what the format calls an entry ("line", "record").

        Accesses that are known to have happened and cannot be used count as dropped, so that no verdict
        rests on a history that looks complete.

        Raises:
            UnsupportedFormatError: there are accesses, and none of them says its bus.
        """
        advice = "record with QEMU 7.0 or newer, or add -trace 'memory_region_ops_*', whose lines say it"
        if self.no_bus.number and not self.accesses:
            raise UnsupportedFormatError(
                f"found {count(self.no_bus.number, record)} of pci_cfg_* events of QEMU before 7.0, which do"
                " not say the bus number, and no others",
                path=notes.path,
                offset=self.no_bus.first,
                advice=advice,
            )
        self.no_bus.report(
            notes,
            "no-bus",
            f"{{}} [{record} is|{record}s are] of QEMU before 7.0, which does not say the bus number,"
            f" and left"
            f" out; {advice}",
        )
        records, example = f"{{}} [{record}|{record}s]", ""
        if self.accesses or not self.example:
            message = f"{records} of pci_cfg_* events [is|are] damaged and left out; this is the first"
        else:
            message = f"{records} with pci_cfg_* events [is|are] in no known form; the first: "
            example = repr(self.example)
        self.damaged.report(notes, "damaged", message, example=example)
        if not self.accesses and self.assigned:
            self._report_assigned(notes)
        report_kinds(notes, "trace events of other kinds", self.others)
