"""What functions are used as, by the messages of their drivers: driver, IOMMU group, interfaces, controllers.

Sources: Linux ``drivers/base/core.c``, ``dev_driver_string`` (a message about a device begins with its
driver, or with ``pci`` where none is bound); ``net/core/dev.c``, ``__netdev_printk`` (``driver address
name:``) and ``dev_change_name`` (``renamed from``); ``drivers/nvme/host/pci.c``, ``nvme_probe`` (``nvme
nvme3: pci function ...``); ``drivers/iommu/iommu.c`` (``Adding to iommu group``; before Linux 5.4 ``Adding
device ... to group``). The last message counts: a function may have had several drivers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from analyzer import bdf
from analyzer.capture.uses import KERNEL_LOG, MAX_NAMES, FunctionUse

if TYPE_CHECKING:
    from analyzer.kernel_logs.log_lines import KernelMessage

#: Functions that are kept: more than any machine has.
MAX_FUNCTIONS: Final = 1 << 16
_ADDRESS: Final = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]"
#: An interface has up to 15 characters (IFNAMSIZ), without white space, / and : (dev_valid_name).
_OF_DRIVER: Final = re.compile(
    rf"([a-z][\w.-]{{0,62}}) ({_ADDRESS})(?: ([^\s/:()\[\]]{{1,15}}))?(?: \(([a-z]{{1,16}})\))?: (.*)"
)
_NVME: Final = re.compile(rf"nvme (nvme\d{{1,9}}): pci function ({_ADDRESS})$")
_OLD_GROUP: Final = re.compile(
    rf"iommu: (Adding|Removing) device ({_ADDRESS}) (?:to|from) group (\d{{1,9}})$"
)
_GROUP: Final = re.compile(r"(Adding to|Removing from) iommu group (\d{1,9})$")
_RENAMED: Final = re.compile(r"renamed from ([^\s/:]{1,15})")
#: What dev_driver_string says of a function without a driver.
_NO_DRIVER: Final = "pci"
#: States of an interface that is no more, or not yet (netdev_reg_state).
_NOT_THERE: Final = frozenset({"uninitialized", "unregistering", "unregistered", "released"})


@dataclass
class _Driven:
    """One function, up to the message at hand."""

    driver: str | None = None
    group: int | None = None
    net: list[str] = field(default_factory=list)
    block: list[str] = field(default_factory=list)
    time_us: int = 0

    def driven_by(self, driver: str | None) -> None:
        """Names belong to the driver that gave them."""
        if driver != self.driver:
            self.driver, self.net, self.block = driver, [], []

    def use(self) -> FunctionUse:
        return FunctionUse(
            driver=self.driver,
            iommu_group=self.group,
            net=list(self.net) or None,
            block=list(self.block) or None,
            source=KERNEL_LOG,
        )


class DriverMessages:
    """Reads the messages of one kernel in their order."""

    def __init__(self) -> None:
        self._functions: dict[int, _Driven] = {}

    def add(self, message: KernelMessage) -> None:
        """Take a message, whatever it is about; one that a dump of the log repeats changes nothing."""
        text = message.text
        if (match := _OF_DRIVER.match(text)) is not None:
            name, address, interface, state, said = match.groups()
            function = self._function(address, message)
            if function is not None:
                function.driven_by(None if name == _NO_DRIVER else name)
                _read(function, interface, state, said)
        elif (match := _NVME.match(text)) is not None:
            function = self._function(match[2], message)
            if function is not None:
                function.driven_by("nvme")
                function.block = [match[1]]
        elif (match := _OLD_GROUP.match(text)) is not None:
            function = self._function(match[2], message)
            if function is not None:
                function.group = int(match[3]) if match[1] == "Adding" else None

    def absorb(self, later: DriverMessages) -> None:
        """Take over what a later stretch of the same log says."""
        for key, function in later._functions.items():
            known = self._functions.get(key)
            if known is None or function.time_us >= known.time_us:
                self._functions[key] = function

    def uses(self) -> dict[int, FunctionUse]:
        """Use by function, for those of which something is known."""
        found = ((key, function.use()) for key, function in self._functions.items())
        return {key: use for key, use in found if use.is_known}

    def _function(self, address: str, message: KernelMessage) -> _Driven | None:
        """The function that a message is about; None if it repeats one, or there are too many."""
        key = bdf.parse(address)
        function = self._functions.get(key)
        if function is None:
            if len(self._functions) >= MAX_FUNCTIONS:
                return None
            function = self._functions[key] = _Driven()
        if message.time_us is not None:
            if message.time_us < function.time_us:
                return None
            function.time_us = message.time_us
        return function


def _read(function: _Driven, interface: str | None, state: str | None, said: str) -> None:
    """What a driver's message says besides the driver."""
    group = _GROUP.match(said)
    if group is not None:
        function.group = int(group[2]) if group[1].startswith("Adding") else None
    if interface is None:
        return
    renamed = _RENAMED.match(said)
    gone = {interface} if state in _NOT_THERE else {renamed[1]} if renamed is not None else set()
    function.net = [name for name in function.net if name not in gone]
    if interface not in gone and interface not in function.net and len(function.net) < MAX_NAMES:
        function.net.append(interface)
