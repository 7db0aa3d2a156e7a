"""Several files as one input: a fuzzer of bytes changes them, and moves pieces from one to another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MARK = b"\n\xf5--\xfa\n"


def joined(*parts: bytes) -> bytes:
    return MARK.join(parts)


def split(data: bytes, number: int) -> list[bytes]:
    """So many parts; those that are not there are empty."""
    found = data.split(MARK, number - 1)
    return found + [b""] * (number - len(found))


def entry(name: bytes) -> str:
    """A name that one folder entry can have, whatever the bytes are; empty: none."""
    name = name.replace(b"/", b"_").replace(b"\0", b"_")[:255]
    return "" if name in (b".", b"..") else os.fsdecode(name)


def link(path: Path, target: bytes) -> None:
    """A symbolic link to any text, which nobody follows; none to nothing."""
    target = target.replace(b"\0", b"_")[:4000]
    if target:
        path.symlink_to(os.fsdecode(target))
