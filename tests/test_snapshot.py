"""Config space at the end of a boot: what accesses leave behind, and the text of it, which lspci decodes."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zstandard

from analyzer import analysis, bdf
from analyzer.capture import Capture, Notes, accesses
from analyzer.capture.accesses import READ, WRITE
from analyzer.errors import UsageError
from analyzer.questions.snapshot import take, take_capture
from analyzer.readers import open_capture
from analyzer.readers.snapshot.lspci_dump import UNKNOWN_REMARK
from analyzer.report.lspci_text import lspci_text
from schemas import pcie_capability
from schemas.registers import DEVCTL2

TRACES = Path(__file__).parents[1] / "traces"
CAPTURES = sorted(TRACES.glob("*.bin"))
LOST = TRACES / "lost-explicit-write.bin"
ARI_BIT = pcie_capability.DEVCTL2_ARI


def capture(*rows):
    """A capture of one function from (op, offset, width, value) tuples."""
    op, offset, width, value = (np.array(column) for column in zip(*rows, strict=True))
    table = accesses.from_columns(
        {
            "bus": np.full(len(rows), 3, np.uint8),
            "devfn": np.full(len(rows), 0, np.uint8),
            "offset": offset.astype(np.uint16),
            "width": width.astype(np.uint8),
            "op": op.astype(np.uint8),
            "value": value.astype(np.uint32),
            "where": np.zeros(len(rows), np.uint64),
        },
        len(rows),
    )
    keys = [pl.lit(0, accesses.SCHEMA[name]).alias(name) for name in ("capture", "file")]
    table = table.select(*keys, pl.int_range(len(rows), dtype=pl.UInt64).alias("seq"), pl.all())
    return Capture("x", [], "test", table, Notes("x"))


def space(*rows):
    (function,) = take_capture(capture((READ, 0x00, 4, 0x00101B36), *rows)).functions
    return function


#: An endpoint with a PCI Express capability at 0x40 and nothing behind it, as Linux reads it.
PCIE = ((READ, 0x0E, 1, 0), (READ, 0x06, 2, 0x10), (READ, 0x34, 1, 0x40), (READ, 0x40, 2, 0x0010))


@pytest.mark.parametrize(
    ("rows", "offset", "size", "value"),
    [
        ([], 0x00, 4, 0x00101B36),
        ([], 0x04, 2, None),
        ([(READ, 0x04, 2, 7)], 0x04, 2, 7),
        ([(READ, 0x04, 2, 7), (WRITE, 0x04, 2, 3)], 0x04, 2, 3),
        ([(WRITE, 0x04, 2, 3), (READ, 0x04, 2, 7)], 0x04, 2, 7),
        ([(WRITE, 0x04, 2, 3), (WRITE, 0x05, 1, 4)], 0x04, 2, 0x0403),
        # All ones: nobody answered, but one byte of ones is a value.
        ([(READ, 0x10, 4, 0xFFFFFFFF)], 0x10, 4, None),
        ([(READ, 0x10, 4, 0xFE000000), (READ, 0x10, 4, 0xFFFFFFFF)], 0x10, 4, 0xFE000000),
        ([(READ, 0x3C, 1, 0xFF)], 0x3C, 1, 0xFF),
        # Between answered reads a register may well hold ones; they do not replace what it was seen to hold.
        ([(READ, 0x10, 4, 0xFFFFFFFF), (READ, 0x04, 2, 7)], 0x10, 4, 0xFFFFFFFF),
        ([(READ, 0x100, 4, 0xFFFFFFFF), (READ, 0x04, 2, 7)], 0x100, 4, 0xFFFFFFFF),
        ([(READ, 0x10, 4, 0xFE000000), (READ, 0x10, 4, 0xFFFFFFFF), (READ, 0x04, 2, 7)], 0x10, 4, 0xFE000000),
        # Silence: the registers of the header's start and of PCI Express cannot hold ones.
        ([(READ, 0x10, 4, 0xFFFFFFFF), (READ, 0, 4, 0xFFFFFFFF), (READ, 0x04, 2, 7)], 0x10, 4, None),
        ([*PCIE, (READ, 0x68, 2, 0xFFFF), (READ, 0x04, 2, 7)], 0x68, 2, None),
        ([*PCIE, (READ, 0xC0, 4, 0xFFFFFFFF), (READ, 0x68, 2, 0xFFFF), (READ, 0x04, 2, 7)], 0xC0, 4, None),
        ([*PCIE, (READ, 0xC0, 4, 0xFFFFFFFF), (READ, 0x04, 2, 7)], 0xC0, 4, 0xFFFFFFFF),
        # A base address is sized: written with ones, read, written back.
        ([(WRITE, 0x10, 4, 0xFFFFFFFF), (READ, 0x10, 4, 0xFFFFC000), (WRITE, 0x10, 4, 0xFE000000)],
         0x10, 4, 0xFE000000),
        # Status registers: what is written there is not what they hold.
        ([(READ, 0x06, 2, 0x0810), (WRITE, 0x06, 2, 0x0800)], 0x06, 2, 0x0810),
        ([*PCIE, (READ, 0x4A, 2, 0x0009), (WRITE, 0x4A, 2, 0x0009)], 0x4A, 2, 0x0009),
        ([*PCIE, (READ, 0x48, 2, 0x2010), (WRITE, 0x48, 2, 0x201F)], 0x48, 2, 0x201F),
        # Width not recorded: the register's own, or what the value needs.
        ([(READ, 0x04, 0, 7)], 0x04, 2, 7),
        ([(READ, 0x04, 0, 7)], 0x06, 1, None),
        ([(WRITE, 0x10, 0, 0xFFFFFFFF), (WRITE, 0x10, 0, 0)], 0x10, 4, 0),
        ([*PCIE, (WRITE, 0x68, 0, 0x20), (WRITE, 0x68, 0, 0)], 0x68, 2, 0),
        ([(READ, 0xFFE, 2, 0x1234)], 0xFFE, 2, 0x1234),
        ([(READ, 0xFFC, 0, 0x12345678)], 0xFFC, 4, 0x12345678),
    ],
)  # fmt: skip
def test_the_last_known_value_counts(rows, offset, size, value):
    assert space(*rows).value(offset, size) == value


def test_functions_that_never_answered_are_not_there():
    assert take_capture(capture((READ, 0, 4, 0xFFFFFFFF), (WRITE, 4, 2, 7))).functions == []
    assert take_capture(capture((READ, 0, 4, 0xFFFF0001))).functions == []


def test_a_boot_that_does_not_exist():
    with pytest.raises(UsageError, match="holds boots 0 to 2, not 3"):
        take(str(LOST), 3)


def test_before_and_after_the_kexec():
    before, after = ({each.function: each for each in take(str(LOST), boot).functions} for boot in (1, 2))
    port, lost = bdf.parse("00:04.0"), bdf.parse("02:00.0")
    assert before[port].value(0x54 + 0x28, 2) == after[port].value(0x54 + 0x28, 2) == ARI_BIT
    assert before[lost].value(0x90 + 0x28, 2) == after[lost].value(0x90 + 0x28, 2) == 0
    assert take(str(LOST)).boot.index == 2


def text_of(path, boot):
    return "".join(lspci_text(take(str(path), boot)))


def test_text():
    given = capture(
        (READ, 0x00, 4, 0x00101B36), (READ, 0x0A, 2, 0x0108), (READ, 0x34, 1, 0x40), (WRITE, 0x103, 1, 0xAB)
    )
    origin, text = lspci_text(take_capture(given))
    assert origin.startswith("# Configuration space at the end of boot 0 (unknown), accesses 0 to 3")
    rows = {0: "36 1b 10 00 00 00 00 00 00 00 08 01 00 00 00 00", 0x30: "00 00 00 00 40" + 11 * " 00"}
    rows[0x100] = "00 00 00 ab" + 12 * " 00"
    assert text == (
        "0000:03:00.0 0108: 1b36:0010\n"
        "\tNot captured, shown as 00: 4-9 c-33 35-102 104-fff\n"
        + "".join(f"{at:02x}: {rows.get(at, ' '.join(16 * ['00']))}\n" for at in range(0, 4096, 16))
        + "\n"
    )


def test_lines_are_short_enough_for_lspci():
    rows = [(READ, offset, 1, 1) for offset in range(0, 4096, 3)]
    lines = "".join(lspci_text(take_capture(capture((READ, 0, 4, 0x00101B36), *rows)))).splitlines()
    assert max(map(len, lines)) < 256
    assert sum(line.startswith(UNKNOWN_REMARK) for line in lines) > 20


def test_a_release_cannot_put_lines_into_the_text():
    taken = take(str(LOST))
    hostile = dataclasses.replace(taken.boot, release="6.1\n0000:00:00.0 x\x1b[2J" + "y" * 500)
    origin = next(lspci_text(dataclasses.replace(taken, boot=hostile)))
    assert origin.count("\n") == 1
    assert len(origin) < 256
    assert "\x1b" not in origin


LSPCI_DEVICE = re.compile(r"^([0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) ")
LSPCI_FIELDS = (
    ("buses", re.compile(r"\tBus: primary=([0-9a-f]+), secondary=([0-9a-f]+), subordinate=([0-9a-f]+)")),
    ("supported", re.compile(r"^\t\t\t .*ARIFwd([+-])$")),
    ("enabled", re.compile(r"\tDevCtl2: .*ARIFwd([+-])")),
    ("next", re.compile(r"\tARICap:.* Next Function: (\d+)")),
)


def lspci(path):
    """What ``lspci -vvv -D -F`` says of each function."""
    output = subprocess.run(["lspci", "-vvv", "-D", "-F", str(path)], check=True, capture_output=True).stdout
    found = {}
    for line in output.decode("utf-8", "replace").splitlines():
        device = LSPCI_DEVICE.match(line)
        if device:
            own = found[device[1]] = {}
        for name, pattern in LSPCI_FIELDS:
            match = pattern.search(line)
            if match:
                own[name] = match.groups()
    return found


#: Fewest comparisons of each kind that a capture must allow, where it is not five: its machine has few
#: functions with an ARI capability or few ports that support ARI, each read once in each kernel.
FEWEST = {
    **dict.fromkeys(
        ("arm64-clean", "arm64-healed-in-blackout", "arm64-port-reset", "arm64-recorded-in-the-guest"), 4
    ),
    "acs-cleared-in-blackout": 2,
    "command-cleared-in-blackout": 4,
    "healed-in-blackout": 4,
    "healed-with-earlydump": 2,
    "inherit-off": 1,
    "inherit-wide-lost": 4,
    "live-update-of-a-memfd": 4,
    "msi-enabled-in-blackout": 2,
    "multi-function-noari": 2,
    "nested-switch-reset-in-blackout": 4,
    "stock-rule-same-number": 4,
    "switch-reset-in-blackout": 4,
    "switch-reset-in-blackout-linux-6.12": 4,
}


@pytest.mark.system
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_lspci_decodes_what_we_do(path, tmp_path):
    study = analysis.study(open_capture(str(path)))
    compared = {"buses": 0, "supported": 0, "enabled": 0, "next": 0}
    for topology in study.topologies:
        taken = take(str(path), topology.boot.index)
        (tmp_path / "dump").write_text("".join(lspci_text(taken)))
        theirs = lspci(tmp_path / "dump")
        assert list(theirs) == [bdf.text(each.function) for each in taken.functions]
        for key, function in topology.functions.items():
            said = theirs[bdf.text(key)]
            numbers = function.bus_numbers if function.is_bridge else None
            if numbers is not None:
                ours = (numbers.primary, numbers.secondary, numbers.subordinate)
                assert tuple(int(text, 16) for text in said["buses"]) == ours
                compared["buses"] += 1
            if function.next_function is not None:
                assert int(said["next"][0]) == function.next_function
                compared["next"] += 1
            # lspci prints the field of a PCIe-to-PCI bridge not at all, even where QEMU's sets the bit.
            if function.ari_supported and function.pcie_type in pcie_capability.DOWNSTREAM_TYPES:
                assert said["supported"] == ("+",)
                compared["supported"] += 1
            # What is written in the blackout, after its last own access, is not the boot's.
            own = [sample for sample in function.accesses_to(DEVCTL2) if sample.row <= topology.boot.end]
            bits = [bit for sample in own if (bit := sample.field(0x20)) is not None]
            if bits and function.pcie_type in pcie_capability.DOWNSTREAM_TYPES:
                assert said["enabled"] == ("+" if bits[-1] else "-",)
                compared["enabled"] += 1
    assert min(compared.values()) >= FEWEST.get(path.stem, 5), compared


@pytest.mark.system
def test_lspci_agrees_with_itself_on_a_real_dump(tmp_path):
    """A snapshot of a snapshot: lspci must decode ours exactly as the dump that it was made of."""
    sample = TRACES / "formats" / "lspci-xxxx-vvv.txt.zst"
    raw = zstandard.ZstdDecompressor().decompressobj().decompress(sample.read_bytes())
    (tmp_path / "theirs").write_bytes(raw)
    (tmp_path / "ours").write_text(text_of(sample, 0))
    outputs = [
        subprocess.run(
            ["lspci", "-vvv", "-D", "-F", name], check=True, capture_output=True, cwd=tmp_path
        ).stdout
        for name in ("theirs", "ours")
    ]
    assert outputs[0] == outputs[1]
