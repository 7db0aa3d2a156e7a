"""Which function a ``config`` file of sysfs is of, by its path.

Source: Linux ``Documentation/PCI/sysfs-pci.rst`` and ``drivers/pci/proc.c``: ``DDDD:BB:DD.F/config``, or
``BB/DD.F`` in ``/proc/bus/pci``. Copies are named ``DDDD:BB:DD.F.config``, without a domain as lspci
prints it, or with other signs where a file system allows no colon (``0000-03-00.0.config``,
``0000_03_00.0.config``).
"""

from __future__ import annotations

import re
from typing import Final

from analyzer import bdf
from schemas.config_header import CONFIG_SIZE, EXTENDED_CONFIG_SIZE, HEADER_SIZE

#: Bytes of such a file: unprivileged, conventional PCI, PCI Express.
CONFIG_SIZES: Final = (HEADER_SIZE, CONFIG_SIZE, EXTENDED_CONFIG_SIZE)

_FUNCTION: Final = re.compile(
    r"(?<![0-9a-f])(?:([0-9a-f]{4,8}):([0-9a-f]{2}):|(?:([0-9a-f]{4,8}):)?([0-9a-f]{2})/)"
    r"([0-9a-f]{2})\.([0-7])(?![0-9a-f])",
    re.IGNORECASE,
)
#: In an archive or directory: nothing but the file itself may follow the address.
_MEMBER: Final = re.compile(_FUNCTION.pattern + r"(?:/config|\.config)?", re.IGNORECASE)
#: Elsewhere what looks like an address may be a date or a path.
_SURE: Final = re.compile(
    r"(?:^|[^0-9a-f])(?:[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|bus/pci/[0-9a-f]{2}/[0-9a-f]{2}\.[0-7])"
    r"(?:$|[^0-9a-f])",
    re.IGNORECASE,
)
_OTHER_SIGNS: Final = (
    r"(?<![0-9a-z:_-])(?:([0-9a-f]{4,8})(?P<sign>[:_-]))?([0-9a-f]{2})(?(sign)(?P=sign)|:)"
    r"([0-9a-f]{2})\.([0-7])"
)
_COPY: Final = re.compile(_OTHER_SIGNS + r"(?:\.config|/config)(?:\.(?:gz|zst|xz|bz2))?", re.IGNORECASE)
_ANYWHERE: Final = re.compile(_OTHER_SIGNS + r"(?![0-9a-f])", re.IGNORECASE)
_LAST_SLOT: Final = 0x1F


def is_named(path: str) -> bool:
    """Whether a path is surely that of a ``config`` file."""
    return _SURE.search(path) is not None or _copied(path) is not None


def function_of(path: str) -> int | None:
    """The function whose ``config`` file this is by its path: the last address in it, None without one."""
    found = list(_FUNCTION.finditer(path))  # in sysfs a device stands below its bridges
    if found:
        return _key(found[-1])
    others = list(_ANYWHERE.finditer(path))
    return _other_key(others[-1]) if others else None


def member_of(name: str) -> int | None:
    """The function of a file in an archive or directory by its name, None if it is no ``config`` file."""
    parts = name.rsplit("/", 2)
    match = _MEMBER.fullmatch("/".join(parts[-2:])) or _MEMBER.fullmatch(parts[-1])
    return _copied(name) if match is None else _key(match)


def _copied(path: str) -> int | None:
    parts = path.rsplit("/", 2)
    match = _COPY.fullmatch("/".join(parts[-2:])) or _COPY.fullmatch(parts[-1])
    return None if match is None else _other_key(match)


def _key(match: re.Match[str]) -> int | None:
    domain, bus, proc_domain, proc_bus, slot, function = match.groups()
    return _checked(domain or proc_domain, bus or proc_bus, slot, function)


def _other_key(match: re.Match[str]) -> int | None:
    domain, _, bus, slot, function = match.groups()
    return _checked(domain, bus, slot, function)


def _checked(domain: str | None, bus: str, slot: str, function: str) -> int | None:
    if int(slot, 16) > _LAST_SLOT:
        return None
    return bdf.key(int(domain or "0", 16), int(bus, 16), int(slot, 16) << 3 | int(function))
