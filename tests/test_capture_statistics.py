from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyzer.analysis import analyze
from analyzer.capture import Capture, Notes, accesses
from analyzer.questions.statistics import describe, stat
from analyzer.readers import open_capture

FORMATS = Path(__file__).parents[1] / "traces" / "formats"
LOG = FORMATS / "qemu-log-dialect-c.log.zst"


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


def test_the_blackout_is_the_one_of_the_report():
    """A host wrote a register in the blackout, 6 ms after the outgoing kernel's own last access."""
    path = str(FORMATS.parent / "inherit-lost-by-write-in-blackout.bin")
    (result,) = analyze([path]).captures
    mark, kexec = stat(path).kexecs[0], result.kexecs[0]
    boots = result.boots[kexec.outgoing_boot], result.boots[kexec.incoming_boot]
    assert mark.blackout_ns == kexec.blackout_ns == boots[1].start_ns - boots[0].end_ns


@pytest.mark.parametrize(
    ("name", "absent", "functions"),
    [
        # Firmware's scan of the same machine, of which the log has no pci_cfg_* line where nothing answered.
        ("qemu-log-memory-regions.log.zst", 309, 7),
        ("trace-dat-kvm-host.dat", 309, 7),
        ("ftrace-kvm-host.txt.zst", 309, 7),
        ("trace-dat-kprobes-kernel2.dat", 8036, 16),
        ("lspci-xxxx-vvv.txt.zst", 0, 16),
    ],
)
def test_absent_functions_by_what_their_reads_return(name, absent, functions):
    found = stat(str(FORMATS / name))
    assert (found.absent, found.functions) == (absent, functions)


def test_a_function_that_is_gone_and_a_virtual_one():
    reads = np.array(
        [
            (0x10, 0, 0xC1B36),
            (0x10, 0x0E, 0),
            (0x11, 0, 0xFFFFFFFF),  # a virtual function: no vendor ID, but a capability
            (0x11, 0x34, 0x40),
            (0x10, 0, 0xFFFFFFFF),  # gone
            (0x18, 0, 0xFFFFFFFF),  # never there
        ]
    ).T
    devfn, offset, value = reads[0].astype(np.uint8), reads[1].astype(np.uint16), reads[2].astype(np.uint32)
    found = describe(capture(devfn=devfn, offset=offset, value=value, width=np.full(6, 4, np.uint8)))
    assert (found.absent, found.functions) == (2, 2)
