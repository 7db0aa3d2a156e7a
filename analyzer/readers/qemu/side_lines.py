"""The lines of a QEMU log next to ``pci_cfg_*`` that show the width of an access, or more of it.

``memory_region_ops_*`` shows what the guest's CPU did to the ports 0xCF8 and 0xCFC and to the ECAM window:
with its width, and also where no function answered. ``vfio_pci_*_config`` shows what the device behind VFIO
was asked for. Source: QEMU ``softmmu/trace-events`` (9.0: ``system/trace-events``), ``hw/vfio/trace-events``.
Where an access has several lines their order is fixed (seen with QEMU 7.2; ``hw/pci/pci_host.c``)::

    read   vfio_pci_read_config   pci_cfg_read   memory_region_ops_read
    write  memory_region_ops_write   pci_cfg_write   vfio_pci_write_config
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from analyzer.capture.accesses import READ, WRITE
from analyzer.readers.columns import Columns
from analyzer.readers.qemu.log_lines import TIME, time_ns

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Names of the regions: CF8 and CFC of a PCI host bridge, ECAM of a PCI Express one.
ADDRESS_REGION, DATA_REGION, ECAM_REGION = "pci-conf-idx", "pci-conf-data", "pcie-mmcfg-mmio"
#: Values of ``SideLines.kind``.
ADDRESS, DATA, ECAM, VFIO = range(4)
_KINDS = {ADDRESS_REGION: ADDRESS, DATA_REGION: DATA, ECAM_REGION: ECAM}
_REGION = (
    rf"(?:^|\s){TIME}memory_region_ops_(?P<op>read|write) cpu (?P<cpu>-?\d{{1,6}}) mr \S+"
    r" addr 0x(?P<address>[0-9a-fA-F]{1,16}) value 0x(?P<value>[0-9a-fA-F]{1,16}) size (?P<size>[124])"
    rf" name '(?P<region>{ADDRESS_REGION}|{DATA_REGION}|{ECAM_REGION})'[ \t\r]*$"
)
#: QEMU up to 6.1 prints no name: then a port is known by its number.
_PORT_REGION = (
    rf"(?:^|\s){TIME}memory_region_ops_(?P<op>read|write) cpu (?P<cpu>-?\d{{1,6}}) mr \S+"
    r" addr 0x(?P<address>(?:cf|CF)[8c-fC-F]) value 0x(?P<value>[0-9a-fA-F]{1,16})"
    r" size (?P<size>[124])[ \t\r]*$"
)
#: A line of these regions in any shape: what does not fit the expression above is damaged.
_REGION_ROUGHLY = rf"memory_region_ops_.* name '(?:{ADDRESS_REGION}|{DATA_REGION}|{ECAM_REGION})'"
#: A narrower access to 0xcf8 is none to the address register (and of another region).
_PORT_ROUGHLY = (
    r"memory_region_ops_.* addr 0x(?:cf|CF)(?:8 value 0x[0-9a-fA-F]+ size 4"
    r"|[c-fC-F] value 0x[0-9a-fA-F]+ size [124])[ \t\r]*$"
)
_VFIO_READ = (
    r"(?:^|[\s:])vfio_pci_read_config +\(.{1,200}, @0x(?P<address>[0-9a-fA-F]{1,8}), len=0x(?P<size>[124])\)"
    r" 0x(?P<value>[0-9a-fA-F]{1,8})[ \t\r]*$"
)
#: Here the value stands in front of the length.
_VFIO_WRITE = (
    r"(?:^|[\s:])vfio_pci_write_config +\(.{1,200}, @0x(?P<address>[0-9a-fA-F]{1,8}),"
    r" 0x(?P<value>[0-9a-fA-F]{1,8}), len=0x(?P<size>[124])\)[ \t\r]*$"
)
_VFIO_ROUGHLY = "vfio_pci_(?:read|write)_config "


@dataclass(frozen=True)
class SideLines(Columns):
    """Columns of one length, in file order.

    Attributes:
        where: start of the line.
        time_ns: counts where ``timed`` is true.
        timed: whether the line has a time.
        kind: ``ADDRESS``, ``DATA``, ``ECAM`` or ``VFIO``.
        op: ``accesses.READ`` or ``accesses.WRITE``.
        cpu: of the guest; -1 if no CPU did it.
        address: port, address in the ECAM region, or register (VFIO).
        size: bytes.
        value: as u64.
    """

    where: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    timed: NDArray[np.bool_]
    kind: NDArray[np.uint8]
    op: NDArray[np.uint8]
    cpu: NDArray[np.int64]
    address: NDArray[np.int64]
    size: NDArray[np.int64]
    value: NDArray[np.uint64]


def none() -> SideLines:
    """Return no lines."""
    return _columns(pl.DataFrame(schema=_SCHEMA))


def parse(text: pl.Series, where: NDArray[np.int64]) -> tuple[SideLines, NDArray[np.bool_]]:
    """Take those lines out of the others.

    Args:
        text: lines of a log that are not ``pci_cfg_*`` events.
        where: start of each.

    Returns:
        the lines of accesses to config space, and a mask of all lines that are done with: those, and damaged
        ones of the same kind, which are not in the first result.
    """
    rough = (
        text.str.contains(_REGION_ROUGHLY)
        | text.str.contains(_VFIO_ROUGHLY)
        | text.str.contains(_PORT_ROUGHLY)
    )
    mine = rough.to_numpy()
    if not mine.any():
        return none(), mine
    lines = pl.DataFrame({"text": text.filter(rough), "where": where[mine]})
    groups = [
        lines.select("where", pl.col("text").str.extract_groups(pattern).alias("g"))
        .unnest("g")
        .filter(pl.col("address").is_not_null())
        for pattern in (_REGION, _PORT_REGION, _VFIO_READ, _VFIO_WRITE)
    ]
    regions, ports, reads, writes = groups
    idx = pl.col("address").str.to_lowercase() == "cf8"
    ports = ports.with_columns(
        region=pl.when(idx).then(pl.lit(ADDRESS_REGION)).otherwise(pl.lit(DATA_REGION))
    )
    regions = pl.concat([regions, ports], how="diagonal")
    table = pl.concat(
        [
            regions.with_columns(
                time_ns(),
                kind=pl.col("region").replace_strict(_KINDS, return_dtype=pl.UInt8),
                op=pl.when(pl.col("op") == "write").then(WRITE).otherwise(READ).cast(pl.UInt8),
                cpu=pl.col("cpu").cast(pl.Int64),
                size=pl.col("size").cast(pl.Int64),
            ),
            *(
                vfio.with_columns(
                    kind=pl.lit(VFIO, pl.UInt8),
                    op=pl.lit(op, pl.UInt8),
                    cpu=pl.lit(-1, pl.Int64),
                    size=pl.col("size").str.to_integer(base=16),
                )
                for vfio, op in ((reads, READ), (writes, WRITE))
            ),
        ],
        how="diagonal",
    ).sort("where")
    return _columns(
        table.with_columns(
            address=pl.col("address").str.to_integer(base=16, dtype=pl.UInt64),
            value=pl.col("value").str.to_integer(base=16, dtype=pl.UInt64),
        ).select(
            pl.col(name).cast(dtype) if name != "address" else pl.col(name) for name, dtype in _SCHEMA.items()
        )
    ), mine


_SCHEMA: dict[str, Any] = {
    "where": pl.Int64,
    "time_ns": pl.Int64,
    "kind": pl.UInt8,
    "op": pl.UInt8,
    "cpu": pl.Int64,
    "address": pl.UInt64,
    "size": pl.Int64,
    "value": pl.UInt64,
}


def _columns(table: pl.DataFrame) -> SideLines:
    time = table["time_ns"]
    return SideLines(
        where=table["where"].to_numpy(),
        time_ns=time.fill_null(0).to_numpy(),
        timed=time.is_not_null().to_numpy(),
        kind=table["kind"].to_numpy(),
        op=table["op"].to_numpy(),
        cpu=table["cpu"].to_numpy(),
        address=table["address"].to_numpy().astype(np.int64),
        size=table["size"].to_numpy(),
        value=table["value"].to_numpy(),
    )
