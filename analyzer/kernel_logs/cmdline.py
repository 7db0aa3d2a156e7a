"""What a kernel command line says that matters to enumeration.

Split as the kernel does (``next_arg`` in ``lib/cmdline.c``); ``pci=`` options as ``pci_setup`` in
``drivers/pci/pci.c`` reads them (Linux 7.3): comma separated, ``noari`` and ``pcie_scan_all`` by their first
letters, every ``pci=`` of the line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Blanks end a parameter, but not inside quotes; a quote that is never closed lasts to the end.
_PARAMETER = re.compile(r'(?:[^\s"]|"[^"]*"?)+')


class PciOptions(NamedTuple):
    """The ``pci=`` options that change which functions a kernel finds.

    Attributes:
        noari: ARI Forwarding is left alone and not used (but see the inherit rule).
        pcie_scan_all: 32 device numbers are probed below every port.
        assign_busses: bus numbers of firmware are not kept.
    """

    noari: bool = False
    pcie_scan_all: bool = False
    assign_busses: bool = False


def parameters(cmdline: str) -> list[tuple[str, str | None]]:
    """Name and value (None without ``=``) of each kernel parameter; what follows ``--`` is for init."""
    found: list[tuple[str, str | None]] = []
    for match in _PARAMETER.finditer(cmdline):
        word = match[0]
        quoted = word.startswith('"')
        name, equals, value = word.removeprefix('"').partition("=")
        if not equals:
            name = name.removesuffix('"') if quoted else name
            if name == "--":
                break
            found.append((name, None))
            continue
        if value.startswith('"') or quoted:
            value = value.removeprefix('"').removesuffix('"')
        found.append((name, value))
    return found


def pci_options(cmdline: str) -> PciOptions:
    """The ``pci=`` options of a command line."""
    options = [
        option
        for name, value in parameters(cmdline)
        if name == "pci" and value is not None
        for option in value.split(",")
    ]
    return PciOptions(
        noari=any(option.startswith("noari") for option in options),
        pcie_scan_all=any(option.startswith("pcie_scan_all") for option in options),
        assign_busses="assign-busses" in options,
    )


def is_crash_kernel(cmdline: str) -> bool:
    """Whether the kernel was started to save a dump: kdump hands it the dead kernel's ``elfcorehdr=``.

    ``crashkernel=`` says nothing: it reserves memory in the kernel that might crash.
    """
    return any(name == "elfcorehdr" for name, _ in parameters(cmdline))
