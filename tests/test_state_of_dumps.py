"""The state watch on dumps alone: what differs is shown, and who changed it is not claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from small_dumps import FIRST, PORT, dump

from analyzer.analysis import analyze
from analyzer.options import Options
from analyzer.questions.tables.stages import tables

if TYPE_CHECKING:
    from pathlib import Path

Rows = dict[tuple[str, int], str | None]
DEVICE = "0000:01:00.0"
BAR: Rows = {(FIRST, 0x10): "00 00 00 fd 00 00 00 00 00 00 00 00 00 00 00 00"}
#: ATS (on, STU 1), then PASID (on), PRI (on) and an SR-IOV capability with two VFs.
ON: Rows = {
    (FIRST, 0x100): "0f 00 01 11 00 00 01 80 00 00 00 00 00 00 00 00",
    (FIRST, 0x110): "1b 00 01 12 00 00 01 00 00 00 00 00 00 00 00 00",
    (FIRST, 0x120): "13 00 01 14 01 00 00 00 00 00 00 00 00 00 00 00",
    (FIRST, 0x140): "10 00 01 00 00 00 00 00 09 00 00 00 04 00 04 00",
    (FIRST, 0x150): "02 00 00 00 08 00 01 00 00 00 00 00 00 00 00 00",
}
OFF: Rows = {
    (FIRST, 0x100): "0f 00 01 11 00 00 00 00 00 00 00 00 00 00 00 00",
    (FIRST, 0x110): "1b 00 01 12 00 00 00 00 00 00 00 00 00 00 00 00",
    (FIRST, 0x120): "13 00 01 14 00 00 00 00 00 00 00 00 00 00 00 00",
    (FIRST, 0x140): "10 00 01 00 00 00 00 00 00 00 00 00 04 00 04 00",
    (FIRST, 0x150): "00 00 00 00 08 00 01 00 00 00 00 00 00 00 00 00",
}
MASTER: Rows = {(PORT, 0x00): "86 80 48 a0 03 04 10 00 01 00 04 06 00 00 01 00"}


def paths(folder: Path, before: Rows, after: Rows) -> list[str]:
    names = []
    for name, rows in (("before", before), ("after", after)):
        (folder / f"{name}.txt").write_text(dump(size=512, rows=rows))
        names.append(str(folder / f"{name}.txt"))
    return names


@pytest.mark.parametrize(
    ("before", "after", "registers"),
    [
        ({}, {}, []),
        (BAR, {}, ["BASE_ADDRESS_0"]),
        (
            ON,
            OFF,
            ["ECAP_SRIOV+08.w", "ECAP_SRIOV+10.w", "ECAP_ATS+06.w", "ECAP_PASID+06.w", "ECAP_PRI+04.w"],
        ),
        (ON, ON, []),
    ],
)
def test_what_differs_is_undetermined(
    tmp_path: Path, before: Rows, after: Rows, registers: list[str]
) -> None:
    """Lost, cleared by the incoming kernel, cleared later by its user: two dumps cannot tell them apart."""
    options = Options(join=True, preserved=DEVICE)
    (capture,) = analyze(paths(tmp_path, before, after), options).captures
    (kexec,) = capture.kexecs
    assert kexec.state == []
    assert [one.register for one in kexec.state_undetermined] == registers
    for one in kexec.state_undetermined:
        assert (one.bdf, one.verdict, one.severity, one.code) == (DEVICE, "undetermined", "note", None)
        assert one.note is not None
        assert "dumps alone" in one.note
    assert [item for item in kexec.findings if item.code.startswith("STATE")] == []


def test_a_shutdown_is_in_no_dump(tmp_path: Path) -> None:
    """Bus Master off in the second dump: the outgoing kernel may have cleared it on its way down."""
    (capture,) = analyze(paths(tmp_path, {}, MASTER), Options(join=True, preserved=DEVICE)).captures
    (one,) = capture.kexecs[0].state_undetermined
    assert (one.register, one.before, one.after) == ("COMMAND", "0x0004", "0x0000")
    assert one.note == "how the outgoing kernel left it at its shutdown is not in the capture"


def test_the_table_has_what_was_kept_too(tmp_path: Path) -> None:
    found = tables(paths(tmp_path, ON, ON), Options(join=True), ["state"])["state"]
    rows = {row["register"]: row["verdict"] for row in found.iter_rows(named=True) if row["bdf"] == DEVICE}
    assert rows["ECAP_ATS+06.w"] == rows["ECAP_SRIOV+10.w"] == "kept"
    assert rows["COMMAND"] == "undetermined"
