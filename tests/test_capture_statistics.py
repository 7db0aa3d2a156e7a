from pathlib import Path

import numpy as np
import polars as pl

from analyzer.capture import Capture, Notes, accesses
from analyzer.questions.statistics import describe
from analyzer.readers import open_capture

LOG = Path(__file__).parents[1] / "traces" / "formats" / "qemu-log-dialect-c.log.zst"


def capture(**columns):
    rows = len(columns["offset"])
    defaults = {
        "bus": np.zeros(rows, np.uint8),
        "devfn": np.zeros(rows, np.uint8),
        "op": np.zeros(rows, np.uint8),
        "value": np.zeros(rows, np.uint32),
        "where": np.arange(rows, dtype=np.uint64),
    }
    frame = accesses.from_columns({**defaults, **columns}, rows)
    keyed = frame.select(
        pl.lit(0, accesses.SCHEMA["capture"]).alias("capture"),
        pl.lit(0, accesses.SCHEMA["file"]).alias("file"),
        pl.int_range(rows, dtype=pl.UInt64, eager=True).alias("seq"),
        pl.all(),
    )
    return Capture("x.bin", [], "native", keyed, Notes("x.bin"))


def test_counts():
    found = describe(
        capture(
            offset=np.array([0, 4, 0x100, 0x104], np.uint16),
            op=np.array([0, 1, 0, 0], np.uint8),
            devfn=np.array([0, 0, 8, 16], np.uint8),
            absent=np.array([False, False, False, True]),
            width=np.array([4, 2, 4, 4], np.uint8),
            time_ns=pl.Series("time_ns", [100, 200, 5000, None], dtype=pl.Int64),
        )
    )
    assert (found.accesses, found.reads, found.writes) == (4, 3, 1)
    assert (found.absent, found.extended, found.functions) == (1, 2, 2)
    assert found.widths_known
    assert (found.start_ns, found.end_ns) == (100, 5000)
    assert [(gap.after_access, gap.duration_ns) for gap in found.gaps] == [(1, 4800), (0, 100)]


def test_what_is_missing_is_named():
    found = describe(capture(offset=np.array([0], np.uint16)))
    named = " ".join(found.missing)
    for word in ("time stamps", "widths", "absent", "0xff", "kernel log", "preserved set", "kexec"):
        assert word in named


def test_a_real_capture():
    found = describe(open_capture(str(LOG)))
    assert found.accesses == 27586
    assert [boot.kind for boot in found.boots] == ["firmware", "kernel", "kernel"]
    assert [kexec.at_access for kexec in found.kexecs] == [found.boots[2].first_access]
    assert found.kexecs[0].blackout_ns == max(
        gap.duration_ns for gap in found.gaps if gap.after_access == found.boots[1].last_access
    )
