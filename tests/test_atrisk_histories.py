"""``atrisk`` of a history of two kernels: the question is about the later one."""

from __future__ import annotations

import struct

from fake_hosts import lspci

from analyzer.observed import junctions
from analyzer.questions.atrisk import atrisk_of
from analyzer.readers import open_capture

ROOT_PORT, UPSTREAM, DOWNSTREAM, ENDPOINT = 4, 5, 6, 0


def space(kind: int, buses: tuple[int, int, int] | None = None, *, on: bool = False) -> bytes:
    """Config space of a function with a PCI Express capability at 40; a port of a bridge supports ARI."""
    data = bytearray(4096)
    kind_of_device = 0x06040000 if buses else 0x02000000
    struct.pack_into("<HHHHI", data, 0, 0x1B36, 0x0C, 7, 0x10, kind_of_device)
    struct.pack_into("<HH", data, 0x40, 0x10, 2 | kind << 4)
    data[0x34] = 0x40
    if buses is not None:
        data[0x0E] = 1
        data[0x18:0x1B] = bytes(buses)
        struct.pack_into("<II", data, 0x64, 0x20, 0x20 * on)
    return bytes(data)


def test_a_function_that_only_the_earlier_kernel_saw_as_a_bridge(tmp_path):
    """After the kexec the root port has no bus numbers, and a dump shows another function at 02:00.0."""
    kernels = {
        "before": {
            "0000:00:03.0": space(ROOT_PORT, (0, 1, 3), on=True),
            "0000:01:00.0": space(UPSTREAM, (1, 2, 3)),
            "0000:02:00.0": space(DOWNSTREAM, (2, 3, 3), on=True),
            "0000:03:01.0": space(ENDPOINT),
        },
        "after": {"0000:00:03.0": space(ROOT_PORT, (0, 0, 0)), "0000:02:00.0": space(ENDPOINT)},
    }
    pieces = []
    for name, functions in kernels.items():
        (tmp_path / name).write_text(lspci(functions))
        pieces.append(open_capture(str(tmp_path / name)))
    found = atrisk_of(junctions.join(pieces))
    assert found.verdict == "cannot-tell"
    assert [(one.bdf, one.missing) for one in found.unknown] == [
        (None, "the bridge above bus 02 (0000:02:00.0)"),
        ("0000:00:03.0", "its bus numbers are unset, so that what is below it is hidden"),
        ("0000:02:00.0", "CAP_EXP+28.w"),
    ]
