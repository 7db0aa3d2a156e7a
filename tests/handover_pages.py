"""The pages of a guest's memory that the lab keeps of a Live Update, as memory to read."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from analyzer.lab.handover import PAGE

if TYPE_CHECKING:
    from analyzer.lab.handover import Memory


def memory_of(archive: bytes) -> Memory:
    """A reader of the pages in a ``handover.tar``; ValueError for an address that is in none of them."""
    pages: dict[int, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            if stream is not None:
                pages[int(member.name, 16)] = stream.read()

    def read(address: int, size: int) -> bytes:
        start = address // PAGE * PAGE
        numbers = range(start, address + size, PAGE)
        if any(page not in pages for page in numbers):
            raise ValueError(f"no page with address {address:#x}")
        joined = b"".join(pages[page] for page in numbers)
        return joined[address - start : address - start + size]

    return read
