"""The rows of lspci's text: which function, register and bits each line becomes, and where it stands.

Lines are those of lspci 3.9 in lspci_texts.py, or derived from them.
"""

from __future__ import annotations

import io

import lspci_texts as texts
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analyzer.capture import Notes, accesses
from analyzer.options import Options
from analyzer.readers.snapshot import lspci_text
from analyzer.readers.unwrap import ByteStream

ONES = 0xFFFFFFFF
#: Domain, bus, devfn.
Function = tuple[int, int, int]
PORT, FIRST, SECOND = (0, 0, 0x18), (0, 1, 0), (0, 1, 8)
HEAD = "00:03.0 X\n"


def frames(text: str) -> list[pl.DataFrame]:
    notes = Notes("lspci.txt")
    return list(lspci_text.read(ByteStream(notes.path, io.BytesIO(text.encode())), notes, Options()))


def read(text: str) -> dict[Function, dict[int, tuple[int, int, int]]]:
    """Function -> offset -> value, known bits, place: of dwords of which some bit is known."""
    found: dict[Function, dict[int, tuple[int, int, int]]] = {}
    for frame in frames(text):
        columns = ("domain", "bus", "devfn", "offset", "value", accesses.KNOWN, "where")
        for domain, bus, devfn, offset, *dword in frame.select(columns).rows():
            function = found.setdefault((domain, bus, devfn), {})
            if dword[1]:
                function[offset] = tuple(dword)
    return found


def bits(text: str) -> dict[int, tuple[int, int]]:
    """Offset -> value and known bits, of a single function."""
    ((_, dwords),) = read(text).items()
    return {offset: (value, known) for offset, (value, known, _) in dwords.items()}


@pytest.mark.parametrize(
    ("line", "function"),
    [
        ("00:03.0 X", PORT),
        ("0000:10:1f.7 X", (0, 0x10, 0xFF)),
        ("10000:e1:00.0 X", (0x10000, 0xE1, 0)),
        ("ABCD:FF:0A.1 X", (0xABCD, 0xFF, 0x51)),
    ],
)
def test_addresses(line: str, function: Function) -> None:
    assert list(read(f"{line}\n\n")) == [function]


@pytest.mark.parametrize("line", ["00:03.8 X", "00:20.0 X", "00:03.0", "123:00:03.0 X", "X", ""])
def test_lines_that_are_no_address(line: str) -> None:
    assert read(f"{line}\n\tFlags: fast devsel\n\n") == {}


EXPRESS = "Capabilities: [40] Express (v2) Root Port (Slot+), MSI 00"


@pytest.mark.parametrize(
    ("lines", "dwords"),
    [
        # A register goes on until the next label, title or line of the kernel.
        (["Control: I/O+ Mem+", "BusMaster-", "Status: Cap-", "FastB2B+"], {0x04: (0x800003, 0x900007)}),
        (["BridgeCtl: Parity- SERR+", "PriDiscTmr+", "SecDiscTmr+"], {0x3C: (0x03020000, 0x03030000)}),
        (["Control: I/O+", "Latency: 0", "Mem+"], {0x04: (1, 1)}),
        (["Control: I/O+", "Kernel driver in use: x", "Mem+"], {0x04: (1, 1)}),
        (["Control: I/O+", "Kernel modules: x", "Mem+"], {0x04: (1, 1)}),
        (["Secondary status: 66MHz+ FastB2B-", "ParErr-"], {0x1C: (0x200000, 0x01A00000)}),
        # Below a capability "Control" and "Changed" are of its register; above it they are not.
        ([EXPRESS, "SltCtl: Enable: AttnBtn+ PwrFlt-", "Control: AttnInd Off, Power- Interlock+"],
         {0x58: (0x0801, 0x0C03)}),
        ([EXPRESS, "SltSta: Status: AttnBtn+ PowerFlt-", "Changed: MRL+ PresDet-", "LinkState+"],
         {0x58: (0x01050000, 0x010F0000)}),
        (["Changed: I/O+", "Control: I/O+", "Changed: Mem+"], {0x04: (1, 1)}),
        ([EXPRESS, "DevCtl2: LTR+", "Kernel driver in use: x", "ARIFwd+"], {0x68: (0x400, 0x400)}),
        ([EXPRESS, "DevCtl2: LTR+", "Capabilities: <chain broken>", "ARIFwd+"], {0x68: (0x400, 0x400)}),
        ([EXPRESS, "DevCtl2: LTR+", "Capabilities: [60] MSI: Enable-", "ARIFwd+"], {0x68: (0x400, 0x400)}),
        ([EXPRESS, "Capabilities: [80] Power Management version 3", "Status: D3 NoSoftRst+", "Bridge: PM-"],
         {0x84: (0xB, 0xB)}),
        # Registers of the header are read above the first capability alone; none has so many lines.
        ([EXPRESS, "Secondary status: 66MHz+"], {}),
        (["Control: I/O+", *["x"] * 30, "Mem+", "BusMaster+"], {0x04: (3, 3)}),
    ],
)  # fmt: skip
def test_lines_of_a_register(lines: list[str], dwords: dict[int, tuple[int, int]]) -> None:
    text = "".join(f"\t{line}\n" for line in lines)
    lists = {0x04: (0x100000, 0x100000)} if EXPRESS in lines else {}
    found = bits(f"{HEAD}{text}\n")
    titles = (0x0C, 0x34, 0x40, 0x60, 0x80)
    assert {at: dword for at, dword in found.items() if at not in titles} == lists | dwords


@pytest.mark.parametrize(
    ("lines", "dwords"),
    [
        (["Capabilities: [40] Null", "Capabilities: [fc] A later one"],
         {0x34: (0x40, 0xFC), 0x40: (0xFC00, 0xFCFF), 0xFC: (0, 0xFC00)}),
        # Versions have four bits.
        ([EXPRESS, *(f"Capabilities: [{place}] Null" for place in ("100 v15", "104 v16", "ffc v0"))],
         {0x34: (0x40, 0xFC), 0x40: (0x01420010, 0x01FFFCFF), 0x100: (0x104F0000, 0xFFCFFFFF),
          0x104: (0xFFC00000, 0xFFC0FFFF), 0xFFC: (0, 0xFFCFFFFF)}),
        # A list that lspci gave up: at its beginning, or within.
        (["Capabilities: <access denied>"], {}),
        ([EXPRESS, "Capabilities: [100 v1] <chain looped>"],
         {0x34: (0x40, 0xFC), 0x40: (0x01420010, 0x01FF00FF)}),
        ([EXPRESS, "Capabilities: [50] <unreadable>"],
         {0x34: (0x40, 0xFC), 0x40: (0x01420010, 0x01FF00FF)}),
    ],
)  # fmt: skip
def test_titles_of_capabilities(lines: list[str], dwords: dict[int, tuple[int, int]]) -> None:
    text = "".join(f"\t{line}\n" for line in lines)
    found = bits(f"{HEAD}{text}\n")
    assert {at: dword for at, dword in found.items() if at not in (0x04, 0x0C)} == dwords


@pytest.mark.parametrize(
    ("line", "layout"),
    [
        ("!!! Unknown header type 03", 3),
        ("!!! Unknown header type 83", 3),
        ("!!! Invalid class 0604 for header type 01", 1),
        ("!!! Header type 01", 0),
    ],
)
def test_header_types_that_lspci_complains_about(line: str, layout: int) -> None:
    assert bits(f"{HEAD}\t{line}\n\n") == {0x0C: (layout << 16, 0x7F0000)}


def test_the_place_of_a_dword() -> None:
    """It is that of the line with its first bits; of a register of several lines, the first."""
    text = (
        "X\n"
        + HEAD
        + "\tControl: I/O+\n\tStatus: Cap+\n\tCapabilities: [40] Express (v2) Root Port, MSI 00\n"
    )
    text += "\t\tDevCtl2: LTR-\n\t\tARIFwd+\n\tCapabilities: [80] Null\n\n"
    places = {
        offset: text[where:].partition("\n")[0].strip() for offset, (_, _, where) in read(text)[PORT].items()
    }
    assert places == {
        0x04: "Control: I/O+",
        0x0C: "00:03.0 X",
        0x34: "00:03.0 X",
        0x40: "Capabilities: [40] Express (v2) Root Port, MSI 00",
        0x68: "DevCtl2: LTR-",
        0x80: "Capabilities: [80] Null",
    }


def test_columns_of_a_row() -> None:
    (frame,) = frames(texts.text(texts.SILENT, texts.PORT))
    assert frame.columns == [*accesses.READER_SCHEMA, accesses.KNOWN]
    assert dict(frame.schema) == {**accesses.READER_SCHEMA, accesses.KNOWN: frame.schema[accesses.KNOWN]}
    first = frame.row(0, named=True)
    assert {name: first[name] for name in ("width", "op", "status", "value", "absent", "time_ns", "cpu")} == {
        "width": 4, "op": "read", "status": "ok", "value": ONES, "absent": True, "time_ns": None, "cpu": None,
    }  # fmt: skip
    assert frame["absent"].to_list() == [True] * 16 + [False] * (frame.height - 16)
    assert frame["width"].unique().to_list() == [4]


@pytest.mark.parametrize(("rows", "number"), [(1, 4), (16, 4), (30, 2), (10_000, 1)])
def test_frames_of_any_size_hold_the_same(rows: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = texts.CHAIN + texts.text(texts.SILENT.replace("01:", "02:"))
    (whole,) = frames(text)
    monkeypatch.setattr(lspci_text, "_FRAME_ROWS", rows)
    parts = frames(text)
    assert len(parts) == number
    assert_frame_equal(pl.concat(parts), whole)


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t\n"])
@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_blocks_of_any_size_and_other_line_ends(
    end: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lspci_text, "_BLOCK", block)
    found = read(texts.CHAIN.replace("\n", end))
    assert {key: {at: dword[:2] for at, dword in dwords.items()} for key, dwords in found.items()} == {
        key: {at: dword[:2] for at, dword in dwords.items()} for key, dwords in read(texts.CHAIN).items()
    }


# --- what functions say of each other ---

SRIOV = """\
	Capabilities: [140 v1] Single Root I/O Virtualization (SR-IOV)
		IOVCtl:	Enable{} Migration- Interrupt- MSE+ ARIHierarchy+
		Initial VFs: 8, Total VFs: 8, Number of VFs: {}, Function Dependency Link: 00
		VF offset: {}, stride: {}, Device ID: 10ca
"""


@pytest.mark.parametrize("domain", [0, 1])
@pytest.mark.parametrize(
    ("enabled", "number", "offset", "stride", "virtual"),
    [
        ("+", 2, 8, 2, ["01:01.0", "01:01.2"]),
        ("+", 3, 8, 2, ["01:01.0", "01:01.2", "01:01.4"]),
        ("+", 2, 10, 1, ["01:01.2"]),  # 01:01.3 is not shown
        ("+", 1, 8, 0, ["01:01.0"]),
        ("+", 4, 8, 0, ["01:01.0"]),  # the stride of a single one means nothing
        ("+", 0, 8, 2, []),
        ("+", 2, 0, 8, ["01:01.0"]),  # a physical function is none
        ("+", 2, 256, 2, ["02:00.0"]),
        ("+", 65535, 8, 2, ["01:01.0", "01:01.2", "01:01.4", "02:00.0"]),  # of the same domain
        ("-", 2, 8, 2, []),
    ],
)
def test_virtual_functions(
    domain: int, enabled: str, number: int, offset: int, stride: int, virtual: list[str]
) -> None:
    """Their vendor and device IDs read all ones (PCIe 9.3.4.1.1)."""
    physical = texts.FIRST.replace("01:00.0", f"{domain:04}:01:00.0")
    others = ["01:01.0", "01:01.1", "01:01.2", "01:01.4", "02:00.0"]
    names = [f"{domain:04}:{name}" for name in others] + ["0002:01:01.0"]
    text = texts.text(texts.PORT, physical + SRIOV.format(enabled, number, offset, stride))
    found = read(text + "".join(f"{name} Ethernet controller: X\n\n" for name in names))
    shown = {function: dwords[0][:2] for function, dwords in found.items() if 0 in dwords}
    assert list(shown) == [(domain, int(name[:2]), int(name[3:5]) << 3 | int(name[6])) for name in virtual]
    assert set(shown.values()) <= {(ONES, ONES)}


def test_a_virtual_function_proves_nothing_of_its_device() -> None:
    """Not even one that is shown with memory decoding on, which virtual functions do not have."""
    text = texts.text(texts.FIRST.replace("01:00.0", "00:03.0") + SRIOV.format("+", 1, 2, 0))
    found = read(text + "00:03.2 Ethernet controller: X\n\tControl: I/O- Mem+\n\n")
    assert (found[0, 0, 0x1A][0][:2], found[PORT][0x0C][:2]) == ((ONES, ONES), (0, 0x7F0000))


ENABLED, DISABLED = "\tControl: I/O+ Mem+\n", "\tControl: I/O- Mem-\n"
WITHOUT_ARI = "\tStatus: Cap-\n"


@pytest.mark.parametrize(
    ("first", "second", "known"),
    [
        # No bridge forwards on a root bus: the kernel found function 2 by the bit of function 0.
        ("00:03.0", "00:03.2", True),
        ("00:03.0", "00:04.2", False),
        ("00:03.0", "00:04.0", False),
        ("0001:00:03.0", "0000:00:03.2", False),
        # Below a bridge only where function 0 has no ARI capability.
        ("01:00.0", "01:00.2", True),
    ],
)
def test_functions_of_one_device(first: str, second: str, known: bool) -> None:
    text = f"{first} X\n{WITHOUT_ARI}{ENABLED}\n{second} X\n{WITHOUT_ARI}{ENABLED}\n"
    dwords = next(iter(read(text).values()))
    assert dwords[0x0C][:2] == ((0x800000, 0xFF0000) if known else (0, 0x7F0000))


#: The dword with the header type: bit 23 says that the device has several functions.
SEVERAL, NOT_KNOWN = (0x800000, 0xFF0000), (0, 0x7F0000)
NO_ANSWER = "\t!!! Unknown header type 7f\n"


@pytest.mark.parametrize(
    ("first", "second", "header_type"),
    [
        # Function 2 may be a virtual one. With decoding on, as a bridge or without PCI Express it is none.
        (ENABLED, DISABLED, NOT_KNOWN),
        (ENABLED, "\tControl: I/O+ Mem-\n", SEVERAL),
        (ENABLED, "\tControl: I/O- Mem+\n", SEVERAL),
        (ENABLED, DISABLED + "\tBridgeCtl: Parity-\n", SEVERAL),
        (ENABLED, DISABLED + WITHOUT_ARI, SEVERAL),
        # One that does not answer proves nothing, nor is anything known of one.
        (ENABLED, NO_ANSWER, NOT_KNOWN),
        (NO_ANSWER, ENABLED, (ONES, ONES)),
    ],
)
def test_what_a_function_proves_of_its_device(first: str, second: str, header_type: tuple[int, int]) -> None:
    assert read(f"00:03.0 X\n{first}\n00:03.2 X\n{second}\n")[PORT][0x0C][:2] == header_type
