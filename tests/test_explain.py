"""``explain``: the bit's life, the decisions with their citations, and the walk to a function."""

from __future__ import annotations

import pytest

from analyzer.errors import UsageError
from analyzer.questions.explain.function import explain

LOST = "traces/lost-explicit-write.bin"


def test_the_life_of_a_lost_bit() -> None:
    story = explain(LOST, "02:00.0")
    bit = [
        (entry.boot, entry.op, entry.ari, entry.kind)
        for entry in story.timeline
        if entry.register == "CAP_EXP+28.w"
    ]
    assert bit == [
        (1, "read", False, "shows"),
        (1, "write", True, "decides"),
        (1, "read", True, "shows"),
        (1, "read", True, "shows"),
        (1, "read", True, "shows"),
        (1, "write", False, "changes"),
        (2, "read", False, "decides"),
        (2, "read", False, "shows"),
        (2, "read", False, "shows"),
    ]
    assert story.kexecs[0].conclusion == "0000:02:00.0 is lost, cause explicit-write"
    assert story.path_from_root == ["0000:00:03.0", "0000:01:00.0"]


def test_registers_are_decoded_field_by_field() -> None:
    story = explain(LOST, "02:00.0")
    entry = next(entry for entry in story.timeline if entry.kind == "decides")
    assert {field.name: (field.bits, field.value, field.text) for field in entry.fields}["ARIFwd"] == (
        "5",
        1,
        "ARIFwd+",
    )


def test_every_policy_decides_with_a_citation() -> None:
    decisions = {item.policy: item for item in explain(LOST, "0000:03:01.0").kexecs[0].decisions}
    assert {name: (item.ari, item.discovered, item.runs) for name, item in decisions.items()} == {
        "stock": (True, True, False),
        "inherit": (False, False, True),
        "serialize": (True, True, False),
        "heal": (True, True, False),
    }
    assert all(item.source for item in decisions.values())


def test_why_an_endpoint_is_not_discovered_step_by_step() -> None:
    kexec = explain(LOST, "03:01.0").kexecs[0]
    assert kexec.conclusion == ("0000:03:01.0 is stranded: only ARI can address it and ARI is off")
    assert [step.bdf for step in kexec.walks["inherit"]] == [f"0000:03:00.{number}" for number in range(8)]
    assert [(step.bdf, step.next_function) for step in kexec.walks["stock"]] == [
        ("0000:03:00.0", 1),
        ("0000:03:00.1", 8),
        ("0000:03:01.0", 9),
        ("0000:03:01.1", 16),
        ("0000:03:02.0", 0),
    ]


def test_an_endpoint_that_is_discovered() -> None:
    assert explain("traces/clean-inherit.bin", "03:02.0").kexecs[0].conclusion == "0000:03:02.0 is discovered"


def test_a_bridge_without_bus_numbers() -> None:
    kexec = explain("traces/hidden-after-port-reset-in-blackout.bin", "03:00.0").kexecs[0]
    inherit = next(item for item in kexec.decisions if item.policy == "inherit")
    assert (inherit.ari, inherit.discovered) == (None, False)
    assert "nothing below is scanned" in inherit.rule


@pytest.mark.parametrize("function", ["07:00.0", "1:00:00.0"])
def test_an_unknown_function_is_named(function: str) -> None:
    with pytest.raises(UsageError, match="found function"):
        explain(LOST, function)


def test_a_write_in_the_blackout_is_said_to_be_one() -> None:
    """The monitor of QEMU clears the bit after the kernel's own last access (scenario healed-in-blackout)."""
    found = explain("traces/healed-in-blackout.bin", "02:00.0")
    notes = {entry.access: entry.note for entry in found.timeline}
    assert (notes[3688], notes[4351]) == ("", "in the blackout")
