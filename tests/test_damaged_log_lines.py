"""A serial console that lost a character of an address: the preserved set says that it may lack one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analyzer import bdf
from analyzer.analysis import analyze
from analyzer.kernel_logs import kernel_log
from analyzer.options import Options
from analyzer.preservation import preserved
from analyzer.readers import open_capture
from analyzer.report import headline
from analyzer.results import DeviceVerdict, rules
from analyzer.verdicts import not_in_input

if TYPE_CHECKING:
    from analyzer.kernel_logs.kernel_log import KernelRun
    from analyzer.preservation.preserved import PreservedAnswer
    from analyzer.results import CaptureResult

TRACES = Path(__file__).parent.parent / "traces"
#: As a lab run on a busy machine printed it.
DAMAGED = "nvme 000:03:00.1: Device will be preserved across next Live Update"
WHOLE = "nvme 0000:03:01.0: Device will be preserved across next Live Update"
LATER = "pci 0000:03:0.1: Device was preserved by previous kernel across Live Update"
UPDATE = "luo: Retrieved live update data, liveupdate number: 1"
END = "kexec_core: Starting new kernel"


def run_of(*lines: str) -> KernelRun:
    (run,) = kernel_log.parse("\n".join(("Linux version 6.12.0 (x) (gcc) #1 SMP", *lines)).encode()).runs
    return run


def answer(outgoing: KernelRun, incoming: KernelRun) -> PreservedAnswer | None:
    capture = open_capture(str(TRACES / "lost-selective-in-blackout.bin"))
    logs = {"dmesg": lambda _: (outgoing, incoming)}
    found = dict(preserved.sources(Options(), capture, logs).at(0))
    return found.get("dmesg")


def test_the_line_is_a_fact_of_no_function() -> None:
    run = run_of(WHOLE, DAMAGED)
    assert run.unnamed_preserved == DAMAGED
    assert [bdf.text(key) for key in run.will_be_preserved] == ["0000:03:01.0"]
    assert run_of(WHOLE).unnamed_preserved is None
    assert run_of(LATER).unnamed_preserved == LATER


def test_a_set_with_other_functions_says_that_one_may_be_missing() -> None:
    found = answer(run_of(WHOLE, DAMAGED, END), run_of(UPDATE))
    assert found is not None
    assert found.warnings == (
        (
            "the preserved set may lack a function, whose loss would be reported as not preserved: its"
            " address "
            f"in the kernel's log is damaged: '{DAMAGED}'; name it with --preserved"
        ),
    )


def test_nothing_but_damaged_lines_is_no_empty_set() -> None:
    """Without the line the same logs say that nothing was preserved."""
    assert answer(run_of(DAMAGED, END), run_of(UPDATE)) is None
    empty = answer(run_of(END), run_of(UPDATE))
    assert empty is not None
    assert (empty.keys, empty.warnings) == (frozenset(), ())


def analysed(tmp_path: Path, lines: str) -> CaptureResult:
    log = tmp_path / "console.log"
    log.write_text(lines, encoding="utf-8")
    name = str(TRACES / "inherit-lost-by-write-in-blackout.bin")
    return analyze([name], Options(dmesg=str(log))).captures[0]


@pytest.mark.parametrize(
    ("lost_lines", "missing", "text"),
    [
        ((), [], "LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded"),
        # what the damaged line names was found: nothing that was lost may have been preserved
        (("0000:05:00.0",), [], "LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded"),
        (
            ("0000:03:01.0", "0000:03:01.1", "0000:03:02.0"),
            [
                (
                    "whether 0000:03:01.0, 0000:03:01.1, 0000:03:02.0 were preserved (an address in the"
                    " kernel's log is damaged)"
                )
            ],
            "LOST: ARI Forwarding on 0000:02:00.0; no preserved device known to be stranded",
        ),
        (
            ("0000:03:02.0",),
            ["whether 0000:03:02.0 was preserved (an address in the kernel's log is damaged)"],
            "LOST: ARI Forwarding on 0000:02:00.0; 2 preserved devices stranded",
        ),
    ],
)
def test_what_was_lost_may_be_what_a_damaged_line_names(
    tmp_path: Path, lost_lines: tuple[str, ...], missing: list[str], text: str
) -> None:
    """The real log of a Live Update; a character of an address is lost."""
    capture = open_capture(str(TRACES / "inherit-lost-by-write-in-blackout.bin"))
    lines = "\n".join(line.text for line in capture.notes.log)
    for address in lost_lines:
        damaged = lines.replace(f" {address}: Device w", f" {address[1:]}: Device w")
        assert damaged != lines
        lines = damaged
    result = analysed(tmp_path, lines)
    assert result.kexecs[0].not_in_input == missing
    assert str(headline.of_capture(result)) == text
    assert sum(finding.code == rules.UNDETERMINED for finding in result.kexecs[0].findings) == len(missing)


def test_a_function_that_died_and_may_have_been_preserved_leaves_the_answer_open() -> None:
    """On a bridge that kept ARI Forwarding: without the damaged line the same is a note, exit status 0."""
    gone = [DeviceVerdict("0000:03:01.0", None, False, "0000:02:00.0", "missing", "no-response")]
    whole, damaged = (
        preserved.PreservedSet(frozenset({0x0300}), "dmesg", may_lack=may_lack) for may_lack in (False, True)
    )
    assert not_in_input.of_set(whole, gone, [], []) == []
    assert not_in_input.of_set(damaged, gone, [], []) == [
        "whether 0000:03:01.0 was preserved (an address in the kernel's log is damaged)"
    ]


def test_a_function_that_was_found_without_its_addresses_leaves_the_answer_open(tmp_path: Path) -> None:
    """The real log of a capture that is LOST because of them."""
    name = str(TRACES / "inherit-bar-cleared.bin")
    lines = "\n".join(line.text for line in open_capture(name).notes.log)
    log = tmp_path / "console.log"
    log.write_text(lines.replace(" 0000:05:00.0: Device w", " 000:05:00.0: Device w"), encoding="utf-8")
    whole, damaged = (
        analyze([name], options).captures[0] for options in (Options(), Options(dmesg=str(log)))
    )
    assert (whole.verdict, whole.weight) == ("findings", "loss")
    assert (damaged.verdict, damaged.weight) == ("undetermined", "doubt")
    assert damaged.kexecs[0].not_in_input == [
        "whether 0000:05:00.0 was preserved (an address in the kernel's log is damaged)"
    ]
