"""Texts without names: what goes, and what must stay for the kernel log to be read the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture import LogLine, Notes
from analyzer.converting.redaction_text import Scrubber
from analyzer.kernel_logs import kernel_log

FORMATS = Path(__file__).parents[1] / "traces" / "formats"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mac 52:54:00:12:34:56 up", "mac (removed) up"),
        ("eui 00:11:22:33:44:55:66:77", "eui (removed)"),
        ("52-54-00-12-34-56", "(removed)"),
        ("root=UUID=01234567-89ab-cdef-0123-456789abcdef ro", "root=UUID=(removed) ro"),
        ("from 192.168.7.1 and fe80::1:2", "from (removed) and (removed)"),
        ("(build@host7.example)", "((removed))"),
        ("on HV17.fleet.example, hv17: up", "on (removed), (removed): up"),
        # Addresses of functions, releases, register values and times stay.
        ("pci 0000:03:00.0: BAR 0 [mem 0xfe200000-0xfe200fff]", None),
        ("10000:e1:00.0 ready 1023ms after bus reset", None),
        ("Linux 6.12.95+deb12-amd64", None),
        ("hv170 and myhv17", None),
    ],
)
def test_texts(text, expected):
    assert Scrubber("hv17.fleet.example").text(text) == (text if expected is None else expected)


def lines(*given, host=None, keep_times=False):
    scrubber = Scrubber(host)
    notes = Notes("x", log=[LogLine(line) for line in given])
    return [line.text for line in scrubber.notes(notes, "capture", keep_times=keep_times).log], scrubber


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("[    1.000000] usb 1-1: SerialNumber: ABC123", []),
        ("Nov 22 09:06:18 hv17 kernel: [    1.5] nvme nvme0: serial", []),
        ("Nov 22 09:06:18 hv17 kernel: pcieport 0000:03:00.0: pciehp: Slot(7): Link Down",
         ["pcieport 0000:03:00.0: pciehp: Slot(7): Link Down"]),
        ("2026-11-22T09:06:18.1+00:00 hv17 kernel: Linux version 6.1.0.7 (me@hv17) (gcc 12) #1 SMP",
         ["Linux version 6.1.0.7 ((removed)) (gcc 12) #1 SMP"]),
        ("[    0.000000] Command line: BOOT_IMAGE=/vm root=/dev/sda hostname=hv17 pci=noari,nomsi quiet",
         ["[    0.000000] Command line: pci=noari,nomsi (removed)"]),
        ("[    0.000000] Kernel command line: root=/dev/sda ip=10.0.0.1 intel_iommu=on kho=on",
         ["[    0.000000] Kernel command line: intel_iommu=on kho=on (removed)"]),
        ('[    0.000000] Command line: pci="noari" secret="a b" -- pci=noari',
         ["[    0.000000] Command line: pci=noari (removed)"]),
        ("[    0.000000] Command line: quiet", ["[    0.000000] Command line: (removed)"]),
        ("-- Boot 0123456789abcdef0123456789abcdef --", [f"-- Boot {'0' * 32} --"]),
        ('BdsDxe: loading Boot0001 "UEFI Disk S/N 4711" from PciRoot(0x0)', ["BdsDxe: "]),
        ("[    9.000000] Kernel panic - not syncing: hv17 is dead",
         ["[    9.000000] Kernel panic - not syncing"]),
    ],
)  # fmt: skip
def test_log_lines(line, kept):
    found, scrubber = lines(line)
    assert found == kept
    assert scrubber.left_out == (not kept)


def test_times_can_be_kept_where_a_dump_is_told_by_them():
    found, scrubber = lines("[    1.000000] secret", "no time", "[    2.000000] more", keep_times=True)
    assert found == ["[    1.000000] (removed)", "[    2.000000] (removed)"]
    assert scrubber.left_out == 1


@pytest.mark.parametrize(
    "name", ["console-healed-by-stock-kernel.txt.zst", "console-hidden-after-secondary-bus-reset.txt.zst"]
)
def test_a_real_console_says_the_same_without_the_rest(name):
    data = zstandard.ZstdDecompressor().decompressobj().decompress((FORMATS / name).read_bytes())
    found, scrubber = lines(*data.decode("utf-8", "replace").split("\n"), keep_times=True)
    before, after = kernel_log.parse(data), kernel_log.parse_lines(found)
    assert scrubber.left_out > 10
    assert len(before.runs) == len(after.runs) == 2
    for one, two in zip(before.runs, after.runs, strict=True):
        assert (one.release, one.entered_by, one.ended) == (two.release, two.entered_by, two.ended)
        assert (one.was_preserved, one.will_be_preserved, one.finished) == (
            two.was_preserved, two.will_be_preserved, two.finished,
        )  # fmt: skip
        assert (one.noari, one.liveupdate_number, one.series) == (
            two.noari,
            two.liveupdate_number,
            two.series,
        )
        assert [(event.kind, event.function) for event in one.events] == [
            (event.kind, event.function) for event in two.events
        ]


@given(st.text(max_size=300))
def test_no_text_is_too_strange(text):
    Scrubber("host").text(text)
    lines(text, f"[    1.000000] Command line: {text}", host="host")
