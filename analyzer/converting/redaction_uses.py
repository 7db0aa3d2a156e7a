"""What functions are used as, without names that somebody chose.

A driver stays where it is a known one. The kernel's own numbers stay: IOMMU group, ``vfio3``, ``nvme3n1``,
``eth0``. Every other name becomes a number of its kind (``net-1``, ``vm-2``), the same for the same name, so
that it still shows which functions belonged together.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from analyzer.converting.redaction_log import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.capture import PlacedUse

#: Variant drivers of VFIO in Linux 7.3 (``drivers/vfio/pci``).
_VFIO: Final = frozenset(
    {"hisi_acc_vfio_pci", "mlx5_vfio_pci", "nvgrace-gpu-vfio-pci", "pds-vfio-pci", "qat_vfio_pci",
     "virtio-vfio-pci", "xe-vfio-pci"}
)  # fmt: skip
#: Known drivers, and names that the kernel gives by counting.
_KEPT: Final = {
    "driver": re.compile("|".join(map(re.escape, sorted(DRIVERS | _VFIO)))),
    "vfio": re.compile(r"vfio\d{1,6}"),
    "net": re.compile(r"eth\d{1,4}"),
    "block": re.compile(r"nvme\d{1,4}(?:n\d{1,4})?|[sv]d[a-z]{1,3}"),
    "vm": re.compile(r"(?!)"),
}


class UseNames:
    """Replaces names; one for all pieces, so that a name has one number."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}

    def harmless(self, placed: Sequence[PlacedUse]) -> list[PlacedUse]:
        """The same uses without names that are not known to be harmless."""
        return [
            replace(
                one,
                use=replace(
                    one.use,
                    driver=self._single("driver", one.use.driver),
                    vfio=self._single("vfio", one.use.vfio),
                    net=self._several("net", one.use.net),
                    block=self._several("block", one.use.block),
                    vm=self._single("vm", one.use.vm),
                ),
            )
            for one in placed
        ]

    def _several(self, kind: str, names: list[str] | None) -> list[str] | None:
        return None if names is None else [self._name(kind, name) for name in names]

    def _single(self, kind: str, name: str | None) -> str | None:
        return None if name is None else self._name(kind, name)

    def _name(self, kind: str, name: str) -> str:
        if _KEPT[kind].fullmatch(name):
            return name
        known = self._numbers.setdefault(kind, {})
        return f"{kind}-{known.setdefault(name, len(known) + 1)}"
