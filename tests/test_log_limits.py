"""Bounds on what a kernel log can make the program hold; what is said where one is passed."""

from __future__ import annotations

import pytest
from boot_messages import KEXEC, VERSION, at, parse

from analyzer.errors import LimitExceededError
from analyzer.kernel_logs import kernel_log, log_segments

ADVICE = "give the part of the log around the kexec in question"
LINK_DOWN = "pcieport 0000:00:03.0: pciehp: Slot(0): Link Down"


def preserved(function: int) -> str:
    return f"vfio-pci 0000:03:00.{function}: Device will be preserved across next Live Update"


@pytest.mark.parametrize(
    ("limit", "lines", "message"),
    [
        (
            "MAX_RUNS",
            [VERSION, KEXEC] * 3,
            "expected at most 2 kernels in one log, found more by line 6",
        ),
        (
            "MAX_FACTS",
            [VERSION, preserved(0), LINK_DOWN, preserved(1), LINK_DOWN, "", preserved(2), preserved(3)],
            "expected at most 2 messages about Live Update and enumeration, found more by line 7",
        ),
        (
            "MAX_MESSAGES",
            ["a", "", "b", "c", "d"],
            "expected at most 2 messages in a log, found more by line 4",
        ),
    ],
)
def test_too_much_is_refused(
    limit: str, lines: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_log, limit, 2)
    with pytest.raises(LimitExceededError) as refused:
        parse(*lines)
    assert (refused.value.message, refused.value.advice) == (message, ADVICE)


@pytest.mark.parametrize(
    ("limit", "lines"),
    [
        ("MAX_RUNS", [VERSION, KEXEC] * 2),
        # Neither a kernel's first line nor events count as facts.
        ("MAX_FACTS", [VERSION, preserved(0), *[LINK_DOWN] * 5, KEXEC, VERSION]),
        ("MAX_MESSAGES", ["a", "", "", "b"]),
    ],
)
def test_as_much_as_the_limit_is_read(limit: str, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, limit, 2)
    parse(*lines)


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        (3, [0, 1, 2]),
        (4, [0, 1, 2, 3]),
        (5, [0, 1, 3, 4]),
        (9, [0, 1, 7, 8]),
    ],
)
@pytest.mark.parametrize("has_times", [False, True])
def test_of_a_flood_of_events_both_ends_are_kept(
    count: int, kept: list[int], has_times: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_segments, "MAX_EVENTS", 2)
    flood = [f"pcieport 0000:00:03.0: AER: Corrected error received: id {n}" for n in range(count)]
    lines = [at(1_000_000 + n, line) for n, line in enumerate(flood)] if has_times else flood
    (run,) = parse(VERSION, *lines, preserved(0))
    assert [int(event.text.rpartition(" ")[2]) for event in run.events] == kept
    assert run.will_be_preserved == {0x300}  # facts are kept whatever the number of events


def test_of_many_messages_the_first_are_compared_and_all_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the first ones, a message that only the later part of a log has does not make it a boot."""
    monkeypatch.setattr(log_segments, "_EARLY", 1)
    runs = parse(VERSION, at(5_000_000, "a"), at(5_000_001, "b"), VERSION, at(5_000_001, "c"))
    assert len(runs) == 1
