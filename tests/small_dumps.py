"""Dumps as ``lspci -xxx`` prints them, of a machine of three functions.

Root port 00:03.0 supports ARI and has it on, its secondary bus is 01; 01:00.0 and 01:01.0 (function 8) are
below it.
"""

from __future__ import annotations

PORT, FIRST, EIGHTH = "00:03.0", "01:00.0", "01:01.0"

_ENDPOINT = {
    0x00: "f4 1a 01 10 07 04 10 00 01 00 00 02 00 00 80 00",
    0x30: "00 00 00 00 40 00 00 00 00 00 00 00 00 00 00 00",
    0x40: "10 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00",
}
_ROWS = {
    PORT: {
        0x00: "86 80 48 a0 07 04 10 00 01 00 04 06 00 00 01 00",
        0x10: "00 00 00 00 00 00 00 00 00 01 01 00 00 00 00 00",
        0x30: "00 00 00 00 40 00 00 00 00 00 00 00 00 00 02 00",
        0x40: "10 00 42 00 00 00 00 00 00 00 00 00 00 00 00 00",
        0x60: "00 00 00 00 20 00 00 00 20 00 00 00 00 00 00 00",
    },
    FIRST: _ENDPOINT,
    EIGHTH: _ENDPOINT,
}
#: Row 100 of 01:00.0 where the dump has extended space: an ARI capability whose Next Function is 8.
ARI_ROW = "0e 00 01 00 00 08 00 00 00 00 00 00 00 00 00 00"
ONES = " ".join(["ff"] * 16)
ZEROS = " ".join(["00"] * 16)


def dump(*functions: str, size: int = 256, rows: dict[tuple[str, int], str | None] | None = None) -> str:
    """The dump of some of the functions (all if none is named).

    Args:
        functions: their addresses.
        size: bytes of each.
        rows: rows that are otherwise than in the machine, by function and offset; None leaves one out, and
            offset -1 stands for every row of the function.
    """
    changed = rows or {}
    lines = []
    for function in functions or _ROWS:
        lines.append(f"{function} Device: a")
        own = {0x100: ARI_ROW} | _ROWS[function] if function == FIRST else _ROWS[function]
        for offset in range(0, size, 16):
            row = own.get(offset, ZEROS)
            row = changed.get((function, offset), changed.get((function, -1), row))
            if row is not None:
                lines.append(f"{offset:02x}: {row}")
        lines.append("")
    return "\n".join(lines) + "\n"


#: Nothing answers at function 8: powered down, or off the bus.
SILENT = {(EIGHTH, -1): ONES}
#: ARI Forwarding off in the port.
OFF = {(PORT, 0x60): "00 00 00 00 20 00 00 00 00 00 00 00 00 00 00 00"}
#: 01:01.0 has an ARI capability, which ends the chain.
END = {(EIGHTH, 0x100): "0e 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00"}
#: 01:01.0 is the only virtual function of 01:00.0, which has no other function.
VIRTUAL = {
    (EIGHTH, 0x00): "ff ff ff ff 00 00 10 00 01 00 00 02 00 00 00 00",
    (FIRST, 0x100): "0e 00 01 14 00 00 00 00 00 00 00 00 00 00 00 00",
    (FIRST, 0x140): "10 00 01 00 00 00 00 00 09 00 00 00 01 00 01 00",
    (FIRST, 0x150): "01 00 00 00 08 00 01 00 00 00 00 00 00 00 00 00",
}
