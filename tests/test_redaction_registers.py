"""--redact, registers: a secret in every byte of config space, in every width; what may stay is listed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from simulator import Kernel, Recording, ari_device, one_port

from analyzer.capture import Boundary, Capture, Notes
from analyzer.converting import redaction_registers
from analyzer.converting.redaction import redact
from analyzer.testing import table

#: Capability lists of the test's device: offset -> (ID, version), in list order.
STANDARD = {0x40: 0x01, 0x50: 0x10, 0x90: 0x05, 0xA8: 0x03, 0xB0: 0x09, 0xC0: 0x11, 0xD0: 0x0D, 0xE0: 0x09,
            0xF0: 0x7F, 0xF8: 0x03}  # fmt: skip
EXTENDED = {0x100: (0x0001, 2), 0x150: (0x0003, 1), 0x160: (0x000E, 1), 0x170: (0x000B, 1),
            0x190: (0x0010, 1), 0x1E0: (0x000D, 1), 0x200: (0x001D, 1), 0x220: (0x0003, 2),
            0x230: (0x7777, 1), 0x240: (0x000F, 1), 0x250: (0x0023, 1), 0x300: (0x0019, 1)}  # fmt: skip
#: Bytes that may stay of a device of which no list is known: the header without its reserved bytes.
HEADER = [(0x00, 0x35), (0x3C, 0x40)]
#: Bytes that may stay of this one besides (docs/sharing.md): from, to before.
CAPABILITIES = [
    (0x40, 0x48),  # power management
    (0x50, 0x8C),  # PCI Express
    (0x90, 0x94),  # MSI: not address and data
    (0xA8, 0xAA), (0xB0, 0xB2),  # product data, vendor-specific: the entry in the list
    (0xC0, 0xC4),  # MSI-X: control
    (0xD0, 0xD8),  # subsystem IDs of a bridge
    (0xE0, 0xE2), (0xF0, 0xF2), (0xF8, 0xFA),  # a second one, an unknown one, a second one
    (0x100, 0x11C), (0x12C, 0x138),  # AER without its header logs
    (0x150, 0x154),  # serial number: its header
    (0x160, 0x168),  # ARI
    (0x170, 0x174),  # vendor-specific: its header
    (0x190, 0x1D0),  # SR-IOV
    (0x1E0, 0x1EC),  # ACS
    (0x200, 0x20C),  # DPC without its logs
    (0x220, 0x224), (0x230, 0x234),
    (0x240, 0x248),  # ATS
    (0x250, 0x254), (0x300, 0x304),
]  # fmt: skip


def test_the_documentation_names_the_same_capabilities():
    page = (Path(__file__).parents[1] / "docs" / "sharing.md").read_text()
    table_of_registers = page.partition("### Registers that stay")[2].partition("Every other byte")[0]
    standard = {int(word, 16) for word in re.findall(r"\(0x([0-9a-f]{2})\)", table_of_registers)}
    extended = {int(word, 16) for word in re.findall(r"\(0x([0-9a-f]{4})\)", table_of_registers)}
    assert standard == redaction_registers._STANDARD.keys()
    assert extended == redaction_registers._EXTENDED.keys()


def space() -> bytearray:
    """Config space of the device: a secret in every dword but for what its lists need."""
    data = bytearray(4096)
    for offset in range(0, 4096, 4):
        secret = 0xA5000001 + 0x01010000 * (offset % 61) + offset
        data[offset : offset + 4] = secret.to_bytes(4, "little")
    data[0x00:0x10] = bytes.fromhex("86801015 0600 1000 01000002 00000000")
    data[0x34] = 0x40
    for (at, identity), following in zip(STANDARD.items(), [*STANDARD, 0][1:], strict=True):
        data[at : at + 2] = bytes([identity, following])
    data[0x52:0x54] = bytes.fromhex("0200")
    for (at, (identity, version)), following in zip(EXTENDED.items(), [*EXTENDED, 0][1:], strict=True):
        data[at : at + 4] = (identity | version << 16 | following << 20).to_bytes(4, "little")
    return data


def reads(name: str, data: bytes, offsets: range, width: int) -> str:
    letter = {1: "b", 2: "w", 4: "l", 0: "?"}[width]
    size = width or 4
    return "\n".join(
        f"r {name} {at:x}.{letter} {int.from_bytes(data[at : at + size], 'little'):x}" for at in offsets
    )


def lists(name: str, data: bytes) -> str:
    """The reads that follow both lists, as Linux does."""
    text = reads(name, data, range(4), 4).splitlines()[0] + "\n"
    text += reads(name, data, range(0x0E, 0x0F), 1) + "\n" + reads(name, data, range(0x34, 0x35), 1) + "\n"
    for at in STANDARD:
        text += reads(name, data, range(at, at + 1), 2) + "\n"
    for at in EXTENDED:
        text += reads(name, data, range(at, at + 1), 4) + "\n"
    return text


def redacted(text: str, *boundaries: int):
    marks = [Boundary(row, "kexec") for row in boundaries]
    capture = Capture("x", [], "native", table(text), Notes("x", boundaries=marks))
    return capture.accesses, redact(capture).capture.accesses


def assert_only(after, before, ranges) -> None:
    """Every byte outside ``ranges`` is 0, and every byte inside is what it was."""
    allowed = np.zeros(4100, bool)
    for first, end in ranges:
        allowed[first:end] = True
    masks = sum(allowed[before["offset"].to_numpy() + lane].astype(np.int64) * (0xFF << 8 * lane)
                for lane in range(4))  # fmt: skip
    assert after["value"].to_list() == (before["value"].to_numpy() & masks).tolist()
    assert after.drop("value").equals(before.drop("value"))


@pytest.mark.parametrize("op", ["r", "w"])
@pytest.mark.parametrize("width", [1, 2, 4, 0])
def test_every_register(width, op):
    data = space()
    offsets = range(0, 4096, width or 4)
    given = reads("02:00.0", data, offsets, width)
    if op == "w":
        given = given.replace("r 02", "w 02")
    before, after = redacted(lists("02:00.0", data) + given)
    assert_only(after, before, [*HEADER, *CAPABILITIES])


@pytest.mark.parametrize("width", [2, 4, 0])
def test_accesses_that_touch_a_harmless_register_in_part(width):
    data = space()
    given = reads("02:00.0", data, range(1, 4092), width)
    before, after = redacted(lists("02:00.0", data) + given)
    assert_only(after, before, [*HEADER, *CAPABILITIES])


@pytest.mark.parametrize("width", [1, 2, 4, 0])
def test_without_a_list_only_the_header_stays(width):
    """The headers of capabilities are there: no list leads to them."""
    data = space()
    data[0x34] = 0
    data[0x100:0x104] = bytes(4)
    start = reads("02:00.0", data, range(4), 4).splitlines()[0] + "\n"
    before, after = redacted(start + reads("02:00.0", data, range(0x34, 4096, width or 4), width))
    assert_only(after, before, HEADER)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("03000100", [(0x100, 0x104)]),  # serial number
        ("03000200", [(0x100, 0x104)]),  # of a version that does not exist
        ("0b000100", [(0x100, 0x104)]),  # vendor-specific
        ("01000100", [(0x100, 0x11C), (0x12C, 0x138)]),  # AER: put together, the header says what it is
    ],
)
def test_an_extended_header_read_in_bytes_or_words(header, shown, width):
    data = space()
    data[0x34] = 0
    data[0x100:0x104] = bytes.fromhex(header)
    start = reads("02:00.0", data, range(4), 4).splitlines()[0] + "\n"
    before, after = redacted(start + reads("02:00.0", data, range(0x34, 4096, width), width))
    assert_only(after, before, [*HEADER, *shown])


def test_a_function_that_no_scan_found():
    """Another function is enumerated; of this one the lists are read, and its product data."""
    data = space()
    scan = "r 00:00.0 0.l 29c08086\nr 00:00.0 e.b 0\n"
    before, after = redacted(scan + lists("02:00.0", data)[len("r 02:00.0 0.l 15108086\n") :]
                             + reads("02:00.0", data, range(0x40, 4096, 4), 4))  # fmt: skip
    assert_only(after, before, [*HEADER, *CAPABILITIES])


@pytest.mark.parametrize(("vendor", "shown"), [("86801015", CAPABILITIES), ("78563412", [])])
def test_lists_of_another_boot_hold_for_the_same_device_only(vendor, shown):
    data = space()
    first = lists("02:00.0", data)
    data[0x00:0x04] = bytes.fromhex(vendor)
    rest = [reads("02:00.0", data, range(1), 4), reads("02:00.0", data, range(0x40, 0x100, 4), 4),
            reads("02:00.0", data, range(0x104, 4096, 4), 4)]  # fmt: skip
    second = len(first.splitlines())
    before, after = redacted(first + "\n".join(rest), second)
    assert_only(after[second:], before[second:], [*HEADER, *shown])


def test_a_capability_of_version_1_ends_early():
    data = space()
    data[0x52:0x54] = bytes.fromhex("4100")
    before, after = redacted(lists("02:00.0", data) + "r 02:00.0 52.w 41\n"
                             + reads("02:00.0", data, range(0, 4096, 4), 4))  # fmt: skip
    ranges = [(0x50, 0x74) if part == (0x50, 0x8C) else part for part in CAPABILITIES]
    assert_only(after, before, [*HEADER, *ranges])


def test_a_register_is_the_later_capability_s():
    """Product data inside the 60 bytes of a PCI Express capability."""
    data = space()
    data[0x34] = 0x50
    data[0x50:0x54] = bytes.fromhex("10600200")
    data[0x60:0x64] = bytes.fromhex("03004711")
    given = [reads("02:00.0", data, range(at, at + 1), width)
             for at, width in ((0, 4), (0x34, 1), (0x50, 2), (0x60, 2))]  # fmt: skip
    before, after = redacted("\n".join([*given, reads("02:00.0", data, range(0x40, 0x100, 4), 4)]))
    assert_only(after, before, [*HEADER, (0x50, 0x60), (0x60, 0x62)])


@pytest.mark.parametrize(
    ("width", "value", "kept"),
    [("l", 0xFFFFFFFF, True), ("w", 0xFFFF, True), ("?", 0xFFFFFFFF, True), ("?", 0xFFFF, True),
     ("b", 0xFF, False), ("l", 0xFFFF, False), ("?", 0xFF, False)],
)  # fmt: skip
def test_reads_that_nobody_answered_stay(width, value, kept):
    _, after = redacted(f"r 02:00.0 0.l 15108086\nr 02:00.0 800.{width} {value:x}")
    assert after["value"][-1] == (value if kept else 0)
    _, after = redacted(f"r 02:00.0 0.l 15108086\nw 02:00.0 800.{width} {value:x}")
    assert after["value"][-1] == 0


def test_bits_beyond_the_width_go():
    frame = table("r 02:00.0 4.w 0006")
    secret = Capture("x", [], "native", frame.with_columns(value=frame["value"] + 0x47110000), Notes("x"))
    assert redact(secret).capture.accesses["value"].to_list() == [6]


@pytest.mark.parametrize("widths", [True, False])
def test_a_simulated_live_update_keeps_its_registers(widths):
    """What two kernels read and write of a machine: all that the proof compares is there."""
    recording = Recording(one_port(ari_device(0, 1, 8, 9)), widths=widths)
    recording.firmware()
    recording.boot(Kernel())
    recording.kexec()
    recording.boot(Kernel())
    capture = recording.capture()
    result = redact(capture)
    before, after = capture.accesses["value"].to_numpy(), result.capture.accesses["value"].to_numpy()
    assert result.values == np.count_nonzero(before != after)
    assert (after & ~before == 0).all()
