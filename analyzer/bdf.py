"""Function addresses as Linux writes them: ``dddd:bb:dd.f`` with ``dd.f`` = devfn>>3, devfn&7.

In the tables of one capture a function is the integer ``domain << 16 | bus << 8 | devfn`` (the kernel's own
lookup key, ``pci_liveupdate`` v7 and later), so that sets and dictionaries of functions stay cheap.
"""

from __future__ import annotations

import re

_BDF = re.compile(r"(?:([0-9a-fA-F]{1,8}):)?([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})\.([0-7])")


def key(domain: int, bus: int, devfn: int) -> int:
    """Return the integer key of a function."""
    return domain << 16 | bus << 8 | devfn


def parse(text: str) -> int:
    """Return the key of a written address; a missing domain is 0 (as lspci reads it).

    Raises:
        ValueError: not of the form ``[dddd:]bb:dd.f``.
    """
    match = _BDF.fullmatch(text.strip())
    if match is None or int(match[3], 16) > 31:
        raise ValueError(f"expected a function address [dddd:]bb:dd.f, found {text!r}")
    return key(int(match[1] or "0", 16), int(match[2], 16), int(match[3], 16) << 3 | int(match[4]))


def text(function: int) -> str:
    """Write a function's key as ``dddd:bb:dd.f`` (domains above 0xffff take more digits, as in Linux)."""
    return f"{function >> 16:04x}:{function >> 8 & 0xFF:02x}:{function >> 3 & 0x1F:02x}.{function & 7}"


def bridge_above(bus: int) -> str:
    """Name a bridge that is not in the input by the bus below it (with or without its domain)."""
    return f"the bridge above bus {bus & 0xFF:02x}"
