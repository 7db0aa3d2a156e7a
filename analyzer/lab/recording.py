"""What the guest recorded of itself: gzip members that came over a serial port, one behind the other."""

from __future__ import annotations

import zlib

#: A guest that sends more has lost its way.
_LIMIT = 256 << 20


def members(content: bytes) -> list[bytes]:
    """Return the gzip members, unpacked; one that was cut short or is damaged ends the list.

    Args:
        content: everything that came over the port.
    """
    found = []
    while content:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            text = unpacker.decompress(content, _LIMIT)
        except zlib.error:
            break
        if not unpacker.eof:
            break
        found.append(text)
        content = unpacker.unused_data
    return found


def names(recorded: list[bytes]) -> list[str]:
    """Return a file name for each member: ``guest-snapshot.txt`` (lspci) or ``guest-trace.txt`` (tracefs).

    Further ones of a kind are numbered: a guest that recorded two kernels has ``guest-trace-2.txt``.

    Args:
        recorded: from :func:`members`.
    """
    found: list[str] = []
    for content in recorded:
        name = "guest-trace" if content.startswith(b"# tracer:") else "guest-snapshot"
        earlier = sum(other.startswith(name) for other in found)
        found.append(f"{name}-{earlier + 1}.txt" if earlier else f"{name}.txt")
    return found
