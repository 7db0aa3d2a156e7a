"""What ``atrisk`` says of dumps that lack something, and what it names: the smallest example of each."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from small_dumps import ARI_ROW, EIGHTH, END, FIRST, ONES, PORT, SILENT, VIRTUAL, ZEROS, dump

from analyzer.options import Options
from analyzer.questions.atrisk import atrisk

LOG = Path(__file__).parents[1] / "traces/formats/qemu-log-dialect-c-same-run.log.zst"
SILENT_FIRST, SILENT_PORT = {(FIRST, -1): ONES}, {(PORT, -1): ONES}
ENDS = {(FIRST, 0x100): END[EIGHTH, 0x100]}
FF = "every byte reads ff, so that nothing is known of this function"
UNREACHED = "no chain or slot in the input leads a scan to this function"
UNSET = "its bus numbers are unset, so that what is below it is hidden"
VIRTUAL_LOOKS = "it answers as virtual functions do, and no SR-IOV capability in the input names it"


@pytest.mark.parametrize(
    ("text", "preserved", "verdict", "unknown"),
    [
        # Nothing is missing.
        (dump(PORT, FIRST, size=4096, rows={(FIRST, 0x100): ZEROS}), None, "safe", []),
        (dump(PORT, FIRST, size=4096, rows=ENDS), None, "safe", []),
        (dump(size=4096, rows=END), None, "at-risk", []),
        (dump(size=4096, rows=VIRTUAL), None, "at-risk", []),
        (dump(PORT, FIRST, size=4096, rows=VIRTUAL), None, "at-risk", []),  # its registers name it
        # Silent: function 0, from which the chain goes on; a port, also where it alone is preserved.
        (dump(size=4096, rows={**END, **SILENT_FIRST}), None, "cannot-tell", [("0000:01:00.0", FF)]),
        (
            dump(rows=SILENT_PORT),
            None,
            "cannot-tell",
            [(None, "the bridge above bus 01 (0000:01:00.0, 0000:01:01.0)"), ("0000:00:03.0", FF)],
        ),
        (dump(rows=SILENT_PORT), PORT, "cannot-tell", [("0000:00:03.0", FF)]),
        (dump(rows=SILENT), None, "at-risk", []),
        # The chain leads past a function that is there.
        (dump(size=4096, rows={**END, **ENDS}), None, "cannot-tell", [("0000:01:01.0", UNREACHED)]),
        # A chain that is not known may go on.
        (dump(PORT, FIRST), None, "cannot-tell", [("0000:01:00.0", "100-fff")]),
        (
            dump(PORT, FIRST, size=4096, rows={(FIRST, 0x100): ARI_ROW[:14]}),
            None,
            "cannot-tell",
            [("0000:01:00.0", "ECAP_ARI+05.b")],
        ),
        # Virtual functions: the physical function does not show that it has them, where, or at all.
        (
            dump(size=4096, rows={**VIRTUAL, (FIRST, 0x140): None}),
            None,
            "cannot-tell",
            [("0000:01:01.0", VIRTUAL_LOOKS), ("0000:01:00.0", "140-14f")],
        ),
        (
            dump(PORT, FIRST, size=4096, rows={**VIRTUAL, (FIRST, 0x150): "01 00 00 00"}),
            None,
            "cannot-tell",
            [("0000:01:00.0", "ECAP_SRIOV+14.w"), ("0000:01:00.0", "ECAP_SRIOV+16.w")],
        ),
        (
            dump(size=4096, rows={**END, (EIGHTH, 0x00): VIRTUAL[EIGHTH, 0x00], **ENDS}),
            None,
            "cannot-tell",
            [("0000:01:01.0", VIRTUAL_LOOKS)],
        ),
        # Bus numbers: a byte is not known, or they are unset.
        (
            dump(size=4096, rows={**END, (PORT, 0x10): "00 00 00 00 00 00 00 00 00 01"}),
            None,
            "cannot-tell",
            [(None, "the bridge above bus 01 (0000:01:00.0, 0000:01:01.0)"), ("0000:00:03.0", "1a")],
        ),
        (dump(PORT, rows={(PORT, 0x10): ZEROS}), None, "cannot-tell", [("0000:00:03.0", UNSET)]),
        # What a list leads to is named with it.
        (
            dump(PORT, FIRST, size=64),
            None,
            "cannot-tell",
            [("0000:00:03.0", "40-ff"), ("0000:01:00.0", "40-ff"), ("0000:01:00.0", "100-fff")],
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(text, preserved, verdict, unknown, tmp_path):
    (tmp_path / "dump.txt").write_text(text)
    found = atrisk(str(tmp_path / "dump.txt"), Options(preserved=preserved))
    assert (found.verdict, [(one.bdf, one.missing) for one in found.unknown]) == (verdict, unknown)


@pytest.mark.parametrize(
    ("lines", "verdict", "unknown"),
    [
        (2900, "cannot-tell", "the scan of the last kernel is not in the input to its end"),
        (16400, "cannot-tell", "the scan of the last kernel is not in the input to its end"),
        (14600, "at-risk", None),
    ],
)
def test_a_log_that_ends_within_a_scan(lines, verdict, unknown, tmp_path):
    """The root bus of the first kernel is scanned in lines 2165 to 5123, of the second in 15441 to 18393."""
    data = zstandard.ZstdDecompressor().decompressobj().decompress(LOG.read_bytes())
    (tmp_path / "cut.log").write_bytes(b"".join(data.splitlines(keepends=True)[:lines]))
    found = atrisk(str(tmp_path / "cut.log"))
    assert found.verdict == verdict
    assert any(one.missing == f"functions, because {unknown}" for one in found.unknown) is (
        unknown is not None
    )
