from analyzer.capture import Problem
from analyzer.questions.statistics import CaptureStatistics, Gap, KexecMark
from analyzer.report.page import Page, plain
from analyzer.report.stat_report import fill
from analyzer.results import Boot


def test_a_block_for_each_capture():
    found = CaptureStatistics(
        path="x.log",
        format="qemu-log",
        accesses=3000,
        reads=2900,
        writes=100,
        functions=20,
        start_ns=0,
        end_ns=2_500_000_000,
        boots=[
            Boot(0, "kernel", "7.3.4", None, 0, 999, 0, 1),
            Boot(1, "kernel", None, None, 1000, 2999, 2, 3),
        ],
        kexecs=[KexecMark(1000, 900_000_000, "live-update")],
        gaps=[Gap(999, 900_000_000)],
        truncated=True,
        dropped=7,
        missing=["kernel log"],
        errors=[Problem("dropped", "x.log", 64, "7 records lost")],
    )
    lost = CaptureStatistics("y.log", error="y.log: there is no such file")
    dump = CaptureStatistics("z.txt", format="lspci-dump", missing_dwords=1)
    assert "losses     1 dword of the dump missing\n" in plain(fill(Page(), [dump]))
    text = plain(fill(Page(), [found, lost]))
    assert text.startswith("x.log\n  format        qemu-log\n")
    assert "3,000 (2,900 reads, 100 writes; 0 beyond 0xff, 0 to absent functions)" in text
    assert "0.000000 to 2.500000 (2.500 s)" in text
    assert "900.000 ms after access 999" in text
    assert "boot 1  kernel  accesses 1000 to 2999" in text
    assert "by kexec (live-update), blackout 900.000 ms" in text
    assert "losses        cut short, 7 records missing or unusable" in text
    assert "dropped at byte 0x40: 7 records lost" in text
    assert "    - kernel log" in text
    assert text.endswith("\ny.log\n  unreadable: y.log: there is no such file\n")
