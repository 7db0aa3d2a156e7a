"""Whether the capture shows the faults that were done, at the time they were done."""

import pytest

from analyzer.lab.faults import Blackout, ConfigWrite, doubts
from analyzer.testing import table

CLEAR = ConfigWrite("0000:02:00.0", 0xB8, 2, 0)
BLACKOUT = Blackout(5_000_400, 8_000_000, (CLEAR,))
BEFORE = "@4000000 r 00:00.0 04.w 0107\n"
ALONE = "blackout 0: expected these writes only while the guest was stopped: 0000:02:00.0 0xb8 width 2 <- 0x0"
WRITE = "@5000000 w 02:00.0 b8.w 0000\n"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (WRITE + "@9000000 r 02:00.0 b8.w 0000\n@9100000 w 02:00.0 b8.w 0020", []),
        (WRITE + "@9000000 w 02:00.0 b8.w 0020", []),
        (WRITE, []),
        (
            WRITE + "@9000000 r 02:00.0 b8.w 0020",
            ["blackout 0: 0000:02:00.0 register 0xb8: wrote 0x0, the next kernel read 0x20"],
        ),
        (
            "@9000000 r 02:00.0 b8.w 0000",
            [f"{ALONE}; found []"],
        ),
        (
            WRITE + "@6000000 r 00:00.0 00.l 29c08086",
            [
                f"{ALONE}; found [('write', 2, 0, 184, 0), ('read', 0, 0, 0, 700481670)]",
            ],
        ),
    ],
)
def test_doubts(rows, expected):
    assert doubts(table(BEFORE + rows), [BLACKOUT]) == expected
