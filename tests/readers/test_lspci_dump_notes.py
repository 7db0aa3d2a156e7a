"""What the reader of lspci's hex dump says of damage: each note's kind, words and place, and what is missing.

Derived: dumps of zeros, laid out as lspci does.
"""

from __future__ import annotations

import pytest
import snapshot_samples as samples

from analyzer.capture import LACKS_FUNCTIONS
from analyzer.readers.snapshot import lspci_dump

Said = tuple[str, str, int | None]

PORT, BRIDGE, DISK = "00:03.0 PCI bridge\n", "00:04.0 CardBus bridge\n", "00:05.0 SATA controller\n"
CUT = (LACKS_FUNCTIONS, "this dump ends within a device: those after it may be missing", None)
ONE_ODD = ("short", "1 function ends after another row than lspci's last: rows may be missing", None)
TWO_ODD = ("short", "2 functions end after another row than lspci's last: rows may be missing", None)


def rows(size: int, *without: int, header_type: str = "00") -> str:
    """The rows of so many bytes, all 00, without those that begin at some offsets."""
    starts = [start for start in range(0, size, 16) if start not in without]
    text = "".join(f"{start:02x}: {'00 ' * 15}00\n" for start in starts)
    return text[:46] + header_type + text[48:]


def shows_no_more(size: int, lack: str) -> Said:
    return "short", f"no function shows more than {size} bytes: {lack}; run lspci -D -xxxx as root", None


def lacks(function: str, size: str) -> Said:
    return "damaged", f"rows of 0000:{function} are missing: {size} before its last row", None


def first_damage(what: str, where: int) -> Said:
    return "damaged", f"this {what} left out; further ones are not listed", where


def not_bytes(where: int) -> Said:
    return first_damage("is a row with something else than bytes in it and is", where)


def no_address(where: int) -> Said:
    return first_damage("is the line of a device whose address does not exist; its rows are", where)


def left_out(functions: str, where: int) -> Said:
    return LACKS_FUNCTIONS, f"{functions} left out", where


def no_line(number: str) -> Said:
    return LACKS_FUNCTIONS, f"{number} left out: the line with the function is missing", None


def no_end(where: int) -> Said:
    return "truncated", "the last line has no end and is left out", where


NO_CAPABILITIES = shows_no_more(64, "no capability can be seen, so ARI Forwarding is unknown")
NO_EXTENDED = shows_no_more(256, "ARI, SR-IOV and ACS capabilities of devices cannot be seen")
#: A device of 256 bytes with its empty line.
WHOLE = PORT + rows(256) + "\n"


@pytest.mark.parametrize(
    ("text", "said", "missing_dwords"),
    [
        # What lspci shows, with and without -xxx.
        (PORT + rows(64) + "\n", [NO_CAPABILITIES], 0),
        (WHOLE, [NO_EXTENDED], 0),
        # Rows that are not there.
        (PORT + rows(256, 0x40) + "\n", [lacks("00:03.0", "16 bytes"), NO_EXTENDED], 4),
        (PORT + rows(64) + "41: 00\n\n", [lacks("00:03.0", "1 byte"), ONE_ODD, NO_EXTENDED], 1),
        (PORT + rows(64) + "45: 00\n\n", [lacks("00:03.0", "5 bytes"), ONE_ODD, NO_EXTENDED], 2),
        (
            PORT + rows(256, 0x40, 0x50) + "\n" + DISK + rows(256, 0x40) + "\n",
            [
                lacks("00:03.0", "32 bytes"),
                ("damaged", "rows are missing in 1 more function", None),
                NO_EXTENDED,
            ],
            12,
        ),
        (
            "".join(name + rows(256, 0x10) + "\n" for name in (PORT, BRIDGE, DISK)),
            [
                lacks("00:03.0", "16 bytes"),
                ("damaged", "rows are missing in 2 more functions", None),
                NO_EXTENDED,
            ],
            12,
        ),
        # Rows that cannot be read: they are missing, and told once.
        (PORT + rows(256, 0x40) + "40: 0g\n\n", [not_bytes(799), NO_EXTENDED], 4),
        (
            PORT + rows(256, 0x40, 0x50) + "40: 0g\n50: 0g\n\n" + DISK + rows(256, 0x40) + "40: 0g\n\n",
            [not_bytes(747), NO_EXTENDED],
            12,
        ),
        (
            PORT + rows(256, 0x40, 0x50) + "40: 0g\n\n",
            [not_bytes(747), lacks("00:03.0", "16 bytes"), NO_EXTENDED],
            8,
        ),
        (
            PORT + rows(256, 0x40) + "40: 0g\n\n" + DISK + rows(256, 0x40) + "\n",
            [not_bytes(799), lacks("00:05.0", "16 bytes"), NO_EXTENDED],
            8,
        ),
        (
            PORT + rows(64) + "ff8: 01 02 03 04 05 06 07 08 09\n\n",
            [
                first_damage("is a row beyond the 4096 bytes there are and is", 227),
                NO_CAPABILITIES,
            ],
            4,
        ),
        # Rows of nobody: their device's line cannot be read, or is not there.
        (
            WHOLE + "00:20.0 X\n" + rows(32) + "\n",
            [
                no_address(852),
                left_out("1 function of this dump is", 852),
                no_line("2 rows of bytes are"),
                NO_EXTENDED,
            ],
            12,
        ),
        (
            PORT + rows(256, 0x40) + "\n" + rows(16),
            [lacks("00:03.0", "16 bytes"), no_line("1 row of bytes is"), NO_EXTENDED],
            8,
        ),
        (
            "00:20.0 X\n" + rows(16) + "\n" + WHOLE,
            [
                no_address(0),
                left_out("1 function of this dump is", 0),
                no_line("1 row of bytes is"),
                NO_EXTENDED,
            ],
            8,
        ),
        (
            WHOLE + "00:20.0 X\n\n00:00.8 X\n\n",
            [no_address(852), left_out("2 functions of this dump are", 852), NO_EXTENDED],
            8,
        ),
        (WHOLE + "10: 0g\n", [NO_EXTENDED], 0),
        # Rows that lspci prints last are 30, f0 and ff0, of a CardBus bridge 70.
        (PORT + rows(80) + "\n" + WHOLE.replace("3.0", "5.0"), [ONE_ODD, NO_EXTENDED], 0),
        (
            PORT + rows(128) + "\n" + BRIDGE + rows(80) + "\n" + DISK + rows(256) + "\n",
            [TWO_ODD, NO_EXTENDED],
            0,
        ),
        (BRIDGE + rows(128, header_type="82") + "\n", [NO_EXTENDED], 0),
        (BRIDGE + rows(128, header_type="81") + "\n", [ONE_ODD, NO_EXTENDED], 0),
        # Ends within a device.
        (WHOLE + DISK + rows(64), [CUT, NO_EXTENDED], 0),
        (WHOLE + DISK + rows(256), [NO_EXTENDED], 0),
        (WHOLE + BRIDGE + rows(128, header_type="02"), [CUT, NO_EXTENDED], 0),
        (WHOLE + "00:05.0 SATA", [no_end(852), CUT, NO_EXTENDED], 0),
        (PORT + rows(80), [CUT, ONE_ODD, NO_EXTENDED], 0),
        (
            WHOLE + DISK + rows(64) + "40: 00 00 00",
            [no_end(1084), CUT, NO_EXTENDED],
            0,
        ),
    ],
)
def test_notes(text: str, said: list[Said], missing_dwords: int) -> None:
    _, notes = samples.read(lspci_dump, text.encode())
    assert [(one.kind, one.message, one.offset_bytes) for one in notes.problems] == said
    assert (notes.missing_dwords, notes.dropped) == (missing_dwords, 0)
