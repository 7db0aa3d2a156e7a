"""A serial console that lost a character of an address: the preserved set says that it may lack one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.kernel_logs import kernel_log
from analyzer.options import Options
from analyzer.preservation import preserved
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from analyzer.kernel_logs.kernel_log import KernelRun
    from analyzer.preservation.preserved import PreservedAnswer

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
