"""``explain``: what a function is and what is above it, where the input shows it and where it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from small_dumps import EIGHTH, FIRST, OFF, ONES, PORT, SILENT, dump

from analyzer.capture import Capture, Notes
from analyzer.errors import UsageError
from analyzer.questions.explain.function import explain, explain_capture
from analyzer.report import explain_report, json_report
from analyzer.report.page import Page, plain
from analyzer.testing import table

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.questions.explain.explanation import Explanation

FF = "every byte reads ff: powered down, or off the bus"
ROOT = "on a root bus: no bridge is above it, so it does not depend on ARI Forwarding"
BELOW = f"below 0000:{PORT}"
LED_TO = "by its bus number it would be below 0000:00:03.0 [01-01]"
NOT_SHOWN = (
    f"{LED_TO}, and whether ARI Forwarding is on there is not in the input; "
    "whether function 16 needs it is unknown: the input lacks bytes 40-ff of 0000:00:03.0"
)
UNKNOWN = "the bridge above bus 01 is not in the input: whether ARI Forwarding applies is unknown"


SWITCH = "r 05:00.0 0.l 00101b36; r 05:00.0 e.b 01; r 05:00.0 18.l 00060605"
NO_LIST = "86 80 48 a0 07 04 00 00 01 00 04 06 00 00 01 00"


def head(story: Explanation) -> list[str]:
    """The lines before the first section, without the address."""
    lines = plain(explain_report.fill(Page(width=10**6), story)).partition("\n\n")[0].splitlines()
    return [line.removeprefix(story.bdf).strip() for line in lines]


def explained(path: Path, text: str, asked: str) -> Explanation:
    file = path / "dump.txt"
    file.write_text(text)
    return explain(str(file), asked)


def header(kind: str, numbers: str = "00 01 01") -> dict[tuple[str, int], str | None]:
    """The port with another header type, and row 10 with its bus numbers."""
    return {
        (PORT, 0x00): f"86 80 48 a0 07 04 10 00 01 00 04 06 00 00 {kind} 00",
        (PORT, 0x10): f"00 00 00 00 00 00 00 00 {numbers} 00 00 00 00 00",
    }


def capability(flags: str) -> dict[tuple[str, int], str | None]:
    """The port with another port type in its PCI Express capability."""
    return {(PORT, 0x40): f"10 00 {flags} 00" + " 00" * 12}


@pytest.mark.parametrize(
    ("text", "asked", "kind", "lines"),
    [
        (dump(), PORT, "root-port", ["[8086:a048] root port", ROOT]),
        (dump(), EIGHTH, "endpoint", ["[1af4:1001] endpoint", BELOW]),
        (dump(rows=capability("52")), PORT, "switch-upstream", ["[8086:a048] switch upstream port", ROOT]),
        (
            dump(rows=capability("62")),
            PORT,
            "switch-downstream",
            ["[8086:a048] switch downstream port", ROOT],
        ),
        (dump(rows=capability("72")), PORT, "pcie-to-pci", ["[8086:a048] PCIe-to-PCI bridge", ROOT]),
        (dump(rows=capability("82")), PORT, "pci-to-pcie", ["[8086:a048] PCI-to-PCIe bridge", ROOT]),
        # no PCI Express capability: the list of capabilities is empty
        (
            dump(
                rows={
                    (PORT, 0x30): "00 " * 15 + "00",
                    (PORT, 0x00): NO_LIST,
                }
            ),
            PORT,
            "pci",
            ["[8086:a048] PCI bridge", ROOT],
        ),
        (dump(rows=header("02")), PORT, "cardbus", ["[8086:a048] CardBus bridge", ROOT]),
        (dump(rows=header("7f")), PORT, "unknown", ["[8086:a048] of an unknown header type", ROOT]),
        # 64 bytes: a bridge, and not of which kind
        (
            dump(size=64),
            PORT,
            "bridge",
            ["[8086:a048] bridge, port type unknown: the input lacks bytes 40-ff", ROOT],
        ),
        (
            dump(rows={(EIGHTH, 0x00): "f4 1a 01 10 07 04 10 00 01 00 00 02"}),
            EIGHTH,
            "unknown",
            ["[1af4:1001] unknown: the input lacks the header type (byte 0e)", BELOW],
        ),
        (
            dump(rows={(EIGHTH, 0x40): "10 00 92 00" + " 00" * 12}),
            EIGHTH,
            "rc-endpoint",
            ["[1af4:1001] root complex integrated endpoint", BELOW],
        ),
        # the bridge is not in the input
        (dump(EIGHTH), EIGHTH, "endpoint", ["[1af4:1001] endpoint", UNKNOWN]),
        (dump(FIRST, EIGHTH), FIRST, "endpoint", ["[1af4:1001] endpoint", UNKNOWN]),
        (dump(rows={(PORT, -1): ONES}), EIGHTH, "endpoint", ["[1af4:1001] endpoint", UNKNOWN]),
        # nothing answers
        (dump(rows=SILENT), EIGHTH, "silent", [FF, BELOW]),
        (dump(EIGHTH, rows=SILENT), EIGHTH, "silent", [FF, UNKNOWN]),
        (dump(rows={(PORT, -1): ONES}), PORT, "silent", [FF, ROOT]),
        (f"{EIGHTH} Device: a\n00: ff ff ff ff\n\n" + dump(PORT, FIRST), EIGHTH, "silent", [FF, BELOW]),
    ],
)
def test_what_a_dump_shows_of_a_function(
    tmp_path: Path, text: str, asked: str, kind: str, lines: list[str]
) -> None:
    story = explained(tmp_path, text, asked)
    assert (story.kind, head(story)) == (kind, lines)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (PORT, {"kind": "root-port", "port_type": "root-port", "bridge": None, "missing_bridge_bus": None}),
        (EIGHTH, {"kind": "silent", "port_type": None, "bridge": f"0000:{PORT}", "missing_bridge_bus": None}),
        ("05:00.0", {"kind": "endpoint", "port_type": None, "bridge": None, "missing_bridge_bus": 5}),
    ],
)
def test_json_says_the_same(tmp_path: Path, asked: str, expected: dict[str, object]) -> None:
    other = dump(FIRST).replace(FIRST, "05:00.0")
    read = json.loads(json_report.dumps(explained(tmp_path, dump(rows=SILENT) + other, asked)))
    assert {name: read[name] for name in expected} == expected


def test_all_ones_are_no_values(tmp_path: Path) -> None:
    text = plain(explain_report.fill(Page(width=10**6), explained(tmp_path, dump(rows=SILENT), EIGHTH)))
    assert "VENDOR_ID.l = 0xffffffff" in text
    assert f"  listed, but {FF}\n" in text
    assert "65535" not in text


def trace(text: str) -> Capture:
    return Capture("x", [], "test", table(text.replace("; ", "\n")), Notes("x"))


@pytest.mark.parametrize(
    ("text", "asked", "lines"),
    [
        # a log without the bridge; a log of bus 0
        (
            "r 03:02.0 0.l 00101b36; r 03:02.0 e.b 00",
            "03:02.0",
            [
                "[1b36:0010] endpoint",
                "the bridge above bus 03 is not in the input: whether ARI Forwarding applies is unknown",
            ],
        ),
        ("r 00:02.0 0.l 00101b36; r 00:02.0 e.b 00", "00:02.0", ["[1b36:0010] endpoint", ROOT]),
        (
            "r 00:02.0 0.l 00101b36",
            "00:02.0",
            ["[1b36:0010] unknown: the input lacks the header type (byte 0e)", ROOT],
        ),
        # the bridge above is there, and not what is above it
        (
            f"{SWITCH}; r 06:01.0 0.l 00201b36; r 06:01.0 e.b 00",
            "06:01.0",
            ["[1b36:0020] endpoint", "below 0000:05:00.0", "the bridge above bus 05 is not in the input"],
        ),
        # it answers a driver, and no scan found it
        (
            "\n".join(f"r 00:{slot:02x}.0 0.l {'00101b36' if slot == 2 else 'gone'}" for slot in range(32))
            + "; r 00:02.0 e.b 00; r 00:05.0 40.l 00000001",
            "00:05.0",
            ["answers, but the access that discovered it is not in the input", ROOT],
        ),
    ],
)
def test_what_a_trace_shows_of_a_function(text: str, asked: str, lines: list[str]) -> None:
    assert head(explain_capture(trace(text), asked)) == lines


@pytest.mark.parametrize(
    ("text", "asked", "where"),
    [
        (dump(), "01:02.0", f"{LED_TO}, where ARI Forwarding is on; function 16 needs it"),
        (dump(rows=OFF), "01:02.0", f"{LED_TO}, where ARI Forwarding is off; function 16 needs it"),
        (dump(), "01:00.7", f"{LED_TO}, where ARI Forwarding is on; function 7 does not need it"),
        (
            dump(rows=capability("52")),
            "01:02.0",
            f"{LED_TO}, where ARI Forwarding is on; function 16 does not need it",
        ),
        (dump(size=64), "01:02.0", NOT_SHOWN),
        (dump(), "00:05.0", "no bridge leads to bus 00, a root bus: ARI Forwarding does not apply"),
        (dump(), "07:00.0", "no bridge in the input leads to bus 07"),
        (dump(EIGHTH), "01:02.0", "no bridge in the input leads to bus 01"),
        (
            dump(rows={(PORT, 0x10): "00 00 00 00 00 00 00 00 00 01 04 00 00 00 00 00"}),
            "03:00.0",
            "bus 03 is below 0000:00:03.0 [01-04], but no bridge in the input has it as its secondary bus",
        ),
    ],
)
def test_a_function_that_is_not_in_the_input(tmp_path: Path, text: str, asked: str, where: str) -> None:
    with pytest.raises(UsageError) as refused:
        explained(tmp_path, text, asked)
    path = tmp_path / "dump.txt"
    assert refused.value.message == f"no kernel in {path} found function 0000:{asked}: {where}"


def test_a_slot_that_was_probed_in_vain() -> None:
    text = "r 00:02.0 0.l 00101b36; r 00:02.0 e.b 00; r 00:03.0 0.l gone; r 00:03.0 0.l gone"
    with pytest.raises(
        UsageError, match="read 2 times, without a response; no bridge leads to bus 00, a root bus"
    ):
        explain_capture(trace(text), "00:03.0")
