"""Rows of small_dumps for virtual functions: 01:00.0 has the SR-IOV capability, 01:01.0 is one of them."""

from __future__ import annotations

from small_dumps import EIGHTH, FIRST


def sriov(control: int, count: int, offset: int, stride: int) -> dict[tuple[str, int], str | None]:
    """Rows of 01:00.0 with SR-IOV Control, NumVFs, First VF Offset and VF Stride; for dumps of 4096 bytes."""

    def word(value: int) -> str:
        return value.to_bytes(2, "little").hex(" ")

    return {
        (FIRST, 0x100): "0e 00 01 14 00 00 00 00 00 00 00 00 00 00 00 00",
        (FIRST, 0x140): f"10 00 01 00 00 00 00 00 {word(control)} 00 00 04 00 04 00",
        (FIRST, 0x150): f"{word(count)} 00 00 {word(offset)} {word(stride)}" + " 00" * 8,
    }


#: All ones at the vendor ID alone (PCIe 9.3.4.1.1).
VIRTUAL: dict[tuple[str, int], str | None] = {
    (EIGHTH, 0x00): "ff ff ff ff 00 00 10 00 01 00 00 02 00 00 00 00"
}
