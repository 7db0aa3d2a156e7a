"""``explain`` of virtual functions: of which function, whether they need ARI, what a kexec does to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest
from small_dumps import EIGHTH, FIRST, OFF, PORT, dump
from sriov_dumps import VIRTUAL, sriov
from test_explain_places import head

from analyzer import analysis, bdf
from analyzer.observed.virtual_functions import KERNEL_RULE
from analyzer.options import Options
from analyzer.questions.explain.function import explain, explain_capture
from analyzer.readers import open_capture
from analyzer.report import json_report
from schemas import extended_capabilities as ext

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.capture import Capture

CAPTURE = "traces/inherit-virtual-functions.bin"
BELOW = f"below 0000:{PORT}"
RULE = f"{KERNEL_RULE}."
OWN_BUS = sriov(0x09, 2, 8, 1)
ON = f"that of 0000:{PORT} was on when boot 0 ended"
LOOKS = (
    "it reads ffff at its vendor ID and other values elsewhere; "
    "its physical function's SR-IOV capability is not in the input (none in the input leads to it)"
)
NO_BRIDGE = "the bridge above bus 01 is not in the input: whether ARI Forwarding applies is unknown"


def number(which: int, offset: int, count: int = 2) -> str:
    return (
        f"number {which} of physical function 0000:{FIRST} in boot 0 "
        f"(First VF Offset {offset}, VF Stride 1, NumVFs {count})"
    )


@pytest.mark.parametrize(
    ("text", "asked", "lines"),
    [
        (
            dump(size=4096, rows=OWN_BUS | VIRTUAL),
            EIGHTH,
            ["virtual function", BELOW, number(1, 8), f"it needs ARI Forwarding; {ON}", RULE],
        ),
        (  # the dump does not list it, the registers lead to it
            dump(size=4096, rows=OWN_BUS | VIRTUAL),
            "01:01.1",
            ["virtual function", BELOW, number(2, 8), f"it needs ARI Forwarding; {ON}", RULE],
        ),
        (
            dump(size=4096, rows=OWN_BUS | VIRTUAL | OFF),
            EIGHTH,
            [
                "virtual function",
                BELOW,
                number(1, 8),
                f"it needs ARI Forwarding; that of 0000:{PORT} was off when boot 0 ended",
                RULE,
            ],
        ),
        (
            dump(size=4096, rows=OWN_BUS | VIRTUAL | {(PORT, 0x60): None}),
            EIGHTH,
            [
                "virtual function",
                BELOW,
                number(1, 8),
                f"it needs ARI Forwarding; whether that of 0000:{PORT} is on is not in the input",
                RULE,
            ],
        ),
        (
            dump(size=4096, rows=sriov(0x09, 2, 1, 1)),
            "01:00.1",
            ["virtual function", BELOW, number(1, 1), f"it does not need ARI Forwarding; {ON}", RULE],
        ),
        (  # on the next bus: forwarded as Type 1
            dump(size=4096, rows=sriov(0x09, 2, 264, 1)),
            "02:01.0",
            ["virtual function", BELOW, number(1, 264), f"it does not need ARI Forwarding; {ON}", RULE],
        ),
        (
            dump(FIRST, EIGHTH, size=4096, rows=OWN_BUS | VIRTUAL),
            EIGHTH,
            ["virtual function", NO_BRIDGE, number(1, 8), "whether it needs ARI Forwarding is unknown", RULE],
        ),
        # no SR-IOV capability leads to it
        (
            dump(rows=VIRTUAL),
            EIGHTH,
            ["looks like a virtual function", BELOW, LOOKS, f"it needs ARI Forwarding; {ON}", RULE],
        ),
        (
            dump(size=4096, rows=sriov(0x08, 2, 8, 1) | VIRTUAL),
            EIGHTH,
            ["looks like a virtual function", BELOW, LOOKS, f"it needs ARI Forwarding; {ON}", RULE],
        ),
        (
            dump(EIGHTH, rows=VIRTUAL),
            EIGHTH,
            [
                "looks like a virtual function",
                NO_BRIDGE,
                LOOKS,
                "whether it needs ARI Forwarding is unknown",
                RULE,
            ],
        ),
        # the physical function is none itself
        (dump(size=4096, rows=OWN_BUS | VIRTUAL), FIRST, ["[1af4:1001] endpoint", BELOW]),
    ],
)
def test_what_a_dump_shows_of_a_virtual_function(
    tmp_path: Path, text: str, asked: str, lines: list[str]
) -> None:
    path = tmp_path / "dump.txt"
    path.write_text(text)
    assert head(explain(str(path), asked)) == lines


def test_a_virtual_function_of_a_capture() -> None:
    story = explain(CAPTURE, "04:00.3")
    read = json.loads(json_report.dumps(story))
    assert (read["kind"], read["bridge"]) == ("virtual-function", "0000:02:01.0")
    assert read["virtual_function"] == {
        "boot": 1,
        "physical": "0000:04:00.0",
        "number": 3,
        "offset": 1,
        "stride": 1,
        "count": 4,
        "needs_ari": False,
        "ari": True,
        "rule": KERNEL_RULE,
    }
    enabled = [
        (entry.boot, entry.op, entry.value, entry.note)
        for entry in story.timeline
        if entry.bdf == "0000:04:00.0" and "VF Enable" in entry.note
    ]
    assert enabled == [
        (1, "read", "0x0000", "VF Enable clear"),
        (1, "write", "0x0019", "VF Enable set"),
        (2, "read", "0x0019", "VF Enable set"),
        (2, "write", "0x0000", "VF Enable clear"),
    ]


def without_sriov() -> Capture:
    """The capture without the SR-IOV capability of the physical function."""
    capture = open_capture(CAPTURE)
    physical = analysis.study(capture).topologies[1].functions[bdf.parse("04:00.0")]
    at = physical.capabilities.extended[ext.SRIOV_ID]
    own = (pl.col("bus") == 4) & (pl.col("devfn") == 0)
    capture.accesses = capture.accesses.filter(~(own & pl.col("offset").is_between(at, at + 0x3F)))
    return capture


CLEARED = "no series preserves: the incoming kernel clears VF Enable"


@pytest.mark.parametrize(
    ("preserved", "whole", "conclusion"),
    [
        (None, True, f"is a virtual function, which {CLEARED}"),
        ("04:00.2", True, f"is stranded: it is a virtual function, which {CLEARED}"),
        (None, False, f"looks like a virtual function, which {CLEARED}"),
        ("04:00.2", False, f"is undetermined: it looks like a virtual function, which {CLEARED}"),
    ],
)
def test_what_a_kexec_does_to_it(preserved: str | None, whole: bool, conclusion: str) -> None:
    capture = open_capture(CAPTURE) if whole else without_sriov()
    story = explain_capture(capture, "04:00.2", Options(preserved=preserved))
    assert story.kexecs[0].conclusion == f"0000:04:00.2 {conclusion}"


@pytest.mark.parametrize(
    ("before", "after", "conclusion"),
    [
        (
            dump(size=4096, rows=OWN_BUS | VIRTUAL),
            dump(PORT, FIRST),
            f"is a virtual function, which {CLEARED}",
        ),
        (dump(rows=VIRTUAL), dump(PORT, FIRST), f"looks like a virtual function, which {CLEARED}"),
        (
            dump(PORT, FIRST),
            dump(rows=VIRTUAL),
            "looks like a virtual function; the input does not show it before the kexec",
        ),
    ],
)
def test_between_two_dumps(tmp_path: Path, before: str, after: str, conclusion: str) -> None:
    assert joined(tmp_path, before, after)[0].removeprefix(f"0000:{EIGHTH} ") == conclusion


def joined(path: Path, *texts: str) -> tuple[str, set[tuple[str, bool | None, str]]]:
    """The conclusion on function 8, and what is said of each policy: what it decides, discovery, rule."""
    for name, text in enumerate(texts):
        (path / f"{name}.txt").write_text(text)
    capture = analysis.open_pieces([str(path / "0.txt"), str(path / "1.txt")], Options(join=True))
    (kexec,) = explain_capture(capture, EIGHTH, Options(join=True)).kexecs
    return kexec.conclusion, {(str(item.ari), item.discovered, item.rule) for item in kexec.decisions}


def test_policies_decide_nothing_where_the_bridge_is_not_in_the_input(tmp_path: Path) -> None:
    _, decisions = joined(tmp_path, dump(EIGHTH), dump(EIGHTH))
    assert decisions == {("None", None, "the bridge above is not in the input")}
