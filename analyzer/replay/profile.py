"""What distinguishes one kernel from another in a replay: policy, patch series, options, preserved set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from analyzer.series import BusNumberRule, named

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
            panics when it sets up the first function (``panic``; series with a version field, v7 and later
            where the log says that the data could not be retrieved).
        assign_busses: ``pci=assign-busses``, or an architecture that always numbers buses itself.
        isolated_functions: the platform hands out functions one by one: a slot is walked although its
            function 0 does not answer (Linux 7.3 hypervisor_isolated_pci_functions: s390, LoongArch, a
            Jailhouse cell).
        handed_over: data was handed over, even if no device is in it.
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
    assign_busses: bool = False
    isolated_functions: bool = False
    handed_over: bool = False

    def __post_init__(self) -> None:
        """Refuse a series that the program does not know: no rule is taken for it."""
        named(self.series)

    @property
    def live_update(self) -> bool:
        """Whether the Live Update rules act at all: not in a stock kernel, nor with nothing preserved."""
        return self.policy != "stock" and bool(self.preserved) and self.handover == "matched"

    @property
    def keeps_bus_numbers(self) -> bool:
        """Whether a Live Update forbids new bus numbers: a patched kernel then ignores assign-busses too."""
        if named(self.series).bus_numbers is BusNumberRule.DATA:  # set before the set is searched (v4, v5)
            matched = self.policy != "stock" and self.handover == "matched"
            return matched and (self.handed_over or bool(self.preserved))
        return self.live_update

    @property
    def renumbers(self) -> bool:
        """Whether every bridge gets new bus numbers, valid ones too (Linux 7.3 pcibios_assign_all_busses)."""
        return self.assign_busses and not self.keeps_bus_numbers

    @property
    def panics(self) -> bool:
        """The kernel panics in its first function's setup (another version of the handed-over data)."""
        return self.policy != "stock" and self.handover == "panic"
