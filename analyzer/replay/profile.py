"""What distinguishes one kernel from another in a replay: policy, patch series, options, preserved set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from analyzer.series import named

if TYPE_CHECKING:
    from analyzer.results import PolicyName


Handover = Literal["matched", "unmatched", "panic"]


@dataclass(frozen=True)
class Profile:
    """Inputs of a replay besides the hardware.

    Attributes:
        policy: rule set for the ARI decision on preserved bridges.
        series: version of the Live Update patches (analyzer.series), for the bus-number and ARI rules.
        preserved: keys (outgoing numbering) of the preserved functions, bridges included.
        noari: ``pci=noari`` on the incoming kernel's command line; None if that is not known.
        scan_all: ``pci=pcie_scan_all``.
        handover: whether the incoming kernel takes the handed-over data: it ``matched``; its name is another,
            so that the kernel behaves as stock (``unmatched``); or its version is another, and the kernel
            panics before it scans (``panic``; series with a version field).
        saved: bridge key -> ARI state that the outgoing kernel last used (for ``serialize``).

    Raises:
        UsageError: a series that the program does not know.
    """

    policy: PolicyName
    series: str
    preserved: frozenset[int]
    noari: bool | None
    scan_all: bool
    saved: dict[int, bool | None]
    handover: Handover = "matched"

    def __post_init__(self) -> None:
        """Refuse a series that the program does not know: no rule is taken for it."""
        named(self.series)

    @property
    def live_update(self) -> bool:
        """Whether the Live Update rules act at all: not in a stock kernel, nor with nothing preserved."""
        return self.policy != "stock" and bool(self.preserved) and self.handover == "matched"

    @property
    def panics(self) -> bool:
        """The kernel stops before it scans (another version of the handed-over data)."""
        return self.policy != "stock" and self.handover == "panic"

    def preserves_above_seven(self, bus: int) -> bool:
        """Whether it takes a function numbered 8 or above on a bus (``domain << 8 | bus``) for preserved."""
        return self.live_update and bus in self._buses_above_seven

    @cached_property
    def _buses_above_seven(self) -> frozenset[int]:
        return frozenset(key >> 8 for key in self.preserved if key & 0xFF > 7)

    def preserves(self, address: int) -> bool:
        """Whether this kernel takes the function that its scan finds at ``address`` for a preserved one.

        The set is searched by domain, bus and devfn alone (series v4 to v9, lookup in pci_setup_device): a
        function that the scan finds under another address than the outgoing kernel did is not recognised.
        """
        return self.live_update and address in self.preserved
