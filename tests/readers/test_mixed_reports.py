"""What a report holds besides what is read from it: named with its lines."""

from __future__ import annotations

import lspci_texts
import pytest
from small_dumps import dump
from small_logs import log

from analyzer.errors import EmptyInputError, UnsupportedFormatError
from analyzer.options import Options
from analyzer.readers import open_capture
from analyzer.readers.mixed_reports import parts

DUMP = dump()  # 53 lines: 3 functions of 17, each with the empty line after it
TEXT = lspci_texts.text(lspci_texts.PORT)
LOG = log()
EVENT = "4242@1700000000.000001:pci_cfg_read nvme 03:00.0 @0x0 -> 0x101b36\n"
HEADER = "=== lspci ===\n"


def quoted(text: str, prefix: str) -> str:
    return "".join(f"{prefix}{line}\n" for line in text.splitlines())


def named(text: str) -> list[tuple[str, int, int]]:
    return [(part.form.name, part.first, part.last) for part in parts(text.encode())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEADER + DUMP, [("lspci-dump", 2, 54)]),
        (TEXT, [("lspci-text", 1, 29)]),
        (TEXT + DUMP, [("lspci-text", 1, 29), ("lspci-dump", 31, 83)]),
        (LOG + HEADER + TEXT, [("dmesg", 1, 11), ("lspci-text", 13, 41)]),
        (HEADER + DUMP + LOG + DUMP, [("lspci-dump", 2, 54), ("dmesg", 56, 66), ("lspci-dump", 67, 119)]),
        (EVENT * 3 + DUMP, [("qemu-log", 1, 3), ("lspci-dump", 4, 56)]),
        (quoted(LOG + DUMP, "> "), [("dmesg", 1, 11), ("lspci-dump", 12, 64)]),
        (quoted(DUMP, "[    1.000000] "), [("lspci-dump", 1, 53)]),
        (DUMP.replace("\n", "\n\n"), [("lspci-dump", 1, 105)]),
        ("00:03.0 is what I mean\n\n[ 1.0] no\n", []),
    ],
)
def test_what_is_recognised_in_a_text(text, expected):
    assert named(text) == expected


def read(tmp_path, text: str, options: Options | None = None):
    path = tmp_path / "report.txt"
    path.write_text(text)
    capture = open_capture(str(path), options)
    return capture.format, [
        problem.message for problem in capture.notes.problems if problem.kind == "foreign"
    ]


def test_a_kernel_log_does_not_win_over_a_dump(tmp_path):
    message = (
        "this file is read as lspci hex dump (lines 12 to 64); also recognised, and not used: kernel log"
        " (lines 1 to 11); cut that out (sed -n 1,11p) and give it as a capture, or with --dmesg"
    )
    assert read(tmp_path, LOG + DUMP) == ("lspci-dump", [message])


def test_a_kernel_log_does_not_win_over_the_text_of_lspci(tmp_path):
    form, [message] = read(tmp_path, LOG + TEXT)
    assert form == "lspci-text"
    assert "kernel log (lines 1 to 11)" in message
    form, [message] = read(tmp_path, DUMP + TEXT)
    assert form == "lspci-dump"
    assert "text of lspci without hex dump (lines 55 to 83)" in message


def test_a_plain_dump_holds_nothing_else(tmp_path):
    assert read(tmp_path, DUMP) == ("lspci-dump", [])
    assert read(tmp_path, TEXT) == ("lspci-text", [])


OTHER = "IN: \n0x7c00:  ea 5b e0 00 f0   ljmpw $0xf000:$0xe05b\n\n"


@pytest.mark.slow
@pytest.mark.parametrize("mib", [2, 17])
@pytest.mark.parametrize(
    ("text", "form"),
    [(EVENT, "qemu-log"), (f"> {EVENT}", "qemu-log"), (DUMP, "lspci-dump"), (TEXT, "lspci-text")],
)
@pytest.mark.parametrize("before", [OTHER, "[    0.512345] usb 1-1: new device\n"], ids=["other", "log"])
def test_the_format_is_found_after_much_other_output(text, form, mib, before, tmp_path):
    assert read(tmp_path, before * (mib * (1 << 20) // len(before) + 1) + text)[0] == form


@pytest.mark.slow
def test_it_says_how_far_it_looked(tmp_path):
    with pytest.raises(
        UnsupportedFormatError, match="found in its first 32 MiB 33554432 bytes of text"
    ) as caught:
        read(tmp_path, OTHER * (33 * (1 << 20) // len(OTHER)) + EVENT)
    assert "--input-format" in caught.value.advice


@pytest.mark.slow
def test_a_named_format_is_read_wherever_it_begins(tmp_path):
    far = OTHER * (33 * (1 << 20) // len(OTHER)) + EVENT
    assert read(tmp_path, far, Options(input_format="qemu-log"))[0] == "qemu-log"


def test_a_named_format_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(
        EmptyInputError, match=r"found none in this QEMU log \(the format is that of --input-format"
    ):
        read(tmp_path, DUMP, Options(input_format="qemu-log"))


def test_libvirts_header_is_no_kernel_log(tmp_path):
    header = (
        "2026-09-22 07:14:04.125+0000: starting up libvirt version: 11.3.0, package: 3, qemu version: 10.0.3,"
        " kernel: 6.12.0, hostname: host17\nLC_ALL=C \\\n-name guest=vm \\\n-trace pci_cfg_*\n"
    )
    with pytest.raises(EmptyInputError, match="found none in this QEMU log"):
        read(tmp_path, header)
    assert read(tmp_path, header + OTHER * 30_000 + EVENT)[0] == "qemu-log"
