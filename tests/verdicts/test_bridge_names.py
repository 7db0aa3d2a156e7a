"""The verdict's word for before, after and decided, and the missing access where that is open."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from analyzer.observed.decisions import Decision
from analyzer.observed.register_state import OutgoingState
from analyzer.observed.registers.functions import BusNumbers
from analyzer.observed.registers.samples import Sample
from analyzer.replay.enumeration import Prediction
from analyzer.replay.world import Node
from analyzer.verdicts import bridges
from analyzer.verdicts.state_at_kexec import StateAtKexec
from schemas.inherited_state import ARI_FORWARDING

BRIDGE, BELOW, NAME = (0, 8), (0, 8, 0), "0000:00:01.0"
READ_OFF = Sample(row=70, write=False, value=0, mask=0xFFFF, dead=False)
READ_DEAD = Sample(row=70, write=False, value=0xFFFF, mask=0xFFFF, dead=True)


def facts(
    before: bool | None,
    after: bool | None,
    decided: bool | None,
    rule: str | None = None,
    read: Sample | None = None,
    node: Node | None = None,
) -> bridges._Facts:
    shown = (None, False) if read is None else (read.row, read.dead)
    decision = None if rule is None else Decision(8, 0x100, rule, decided, 80, 75, *shown)
    first = None if after is None else Sample(90, write=False, value=after << 5, mask=0xFFFF, dead=False)
    ari = StateAtKexec(ARI_FORWARDING, None, None, OutgoingState(before), first)
    return bridges._Facts(node or Node(BRIDGE, outgoing=8), ari, decision, decided)


@pytest.mark.parametrize(
    ("before", "after", "decided", "expected"),
    [
        (True, True, True, "kept"),
        (True, False, True, "healed"),
        (True, False, False, "lost"),
        (True, True, False, "ignored"),
        (False, False, False, "off"),
        (False, False, True, "gained"),
        (False, True, True, "gained"),
        (False, True, False, "ignored"),
        (None, True, True, "kept"),
        (None, True, False, "ignored"),
        (None, False, False, "undetermined"),
        (None, False, True, "undetermined"),
        (None, None, None, "undetermined"),
        (None, None, True, "undetermined"),
        (None, True, None, "undetermined"),
        (True, None, None, "undetermined"),
        (True, None, True, "undetermined"),
        (True, None, False, "undetermined"),
        (True, True, None, "undetermined"),
        (True, False, None, "undetermined"),
        (False, None, None, "off"),
        (False, None, False, "off"),
        (False, False, None, "off"),
        (False, None, True, "undetermined"),
        (False, True, None, "undetermined"),
    ],
)
def test_before_after_decided(
    before: bool | None, after: bool | None, decided: bool | None, expected: str
) -> None:
    assert bridges._ari_name(facts(before, after, decided)) == expected


@pytest.mark.parametrize(
    ("before", "after", "decided", "rule", "read", "expected"),
    [
        (True, True, False, "clear", READ_OFF, "cleared"),
        (False, True, False, "clear", READ_OFF, "cleared"),
        (True, True, False, "untouched", None, "ignored"),
        (True, False, False, "clear", READ_OFF, "lost"),
        # off when the kernel took it over, whatever it read before
        (True, True, False, "inherit", READ_OFF, "lost"),
        (True, None, False, "inherit", READ_OFF, "lost"),
        (True, True, False, "inherit", READ_DEAD, "ignored"),
        (True, True, False, "inherit", None, "ignored"),
        (False, True, False, "inherit", READ_OFF, "ignored"),
        (None, True, False, "inherit", READ_OFF, "ignored"),
        (True, True, True, "inherit", READ_OFF, "kept"),
        (True, True, None, "inherit", READ_OFF, "undetermined"),
        (True, True, False, "set", READ_OFF, "ignored"),
    ],
)
def test_the_rule_that_the_kernel_followed(
    before: bool | None,
    after: bool | None,
    decided: bool | None,
    rule: str,
    read: Sample | None,
    expected: str,
) -> None:
    assert bridges._ari_name(facts(before, after, decided, rule, read)) == expected


def node(**more: object) -> Node:
    made = Node(BRIDGE, outgoing=8, is_bridge=True, is_pcie=True, ari_supported=True)
    made.outgoing_numbers = BusNumbers(0, 1, 1, row=0)
    made.children = {0: Node(BELOW, outgoing=0x100)}
    for attribute, value in more.items():
        setattr(made, attribute, value)
    return made


def kexec_context(
    numbers: str | None = "use",
    *,
    certain: bool = True,
    possible: bool = False,
    preserved: tuple[int, ...] = (),
) -> SimpleNamespace:
    prediction = Prediction(
        certain={BRIDGE} if certain else set(),
        possible={BRIDGE} if possible else set(),
        numbers={} if numbers is None else {BRIDGE: numbers},
    )
    boot = SimpleNamespace(boot=SimpleNamespace(scan=1), logged=None)
    return SimpleNamespace(
        prediction=prediction, preserved=frozenset(preserved), outgoing=boot, incoming=boot
    )


UNNUMBERED = {"outgoing_numbers": None}
NO_FUNCTION_0 = {"children": {8: Node((0, 8, 8), outgoing=0x108)}}


@pytest.mark.parametrize(
    ("changes", "context", "expected"),
    [
        ({}, kexec_context(), "kept"),
        ({"present": False}, kexec_context(), "gone"),
        ({"present": False, "unroutable": True}, kexec_context(), "hidden"),
        ({}, kexec_context(certain=False), "hidden"),
        ({}, kexec_context(certain=False, possible=True), "kept"),
        ({}, kexec_context("refuse"), "unconfigured"),
        (UNNUMBERED, kexec_context("refuse"), "kept"),  # the outgoing kernel had given it none
        (UNNUMBERED | {"outgoing": None}, kexec_context("refuse"), "unconfigured"),
        ({}, kexec_context("assign"), "renumbered"),
        (UNNUMBERED, kexec_context("assign"), "kept"),
        ({}, kexec_context("unknown"), "undetermined"),
        ({}, kexec_context(None), "kept"),
        ({"ari_supported": False}, kexec_context(), "not-applicable"),
        ({"ari_supported": False}, kexec_context("refuse"), "unconfigured"),
        ({"ari_supported": None}, kexec_context(), "kept"),
        (NO_FUNCTION_0, kexec_context(), "not-applicable"),
        (NO_FUNCTION_0, kexec_context(preserved=(0x108,)), "kept"),
        (NO_FUNCTION_0, kexec_context(preserved=(0x109,)), "not-applicable"),
        ({"children": {}}, kexec_context(preserved=(0x108,)), "not-applicable"),
    ],
)
def test_what_comes_before_the_question_of_ari(
    changes: dict[str, object], context: SimpleNamespace, expected: str
) -> None:
    assert bridges._name(context, facts(True, True, True, node=node(**changes))) == expected


@pytest.mark.parametrize(
    ("numbers", "before", "after", "expected"),
    [
        (
            "unknown",
            None,
            None,
            f"the incoming kernel's visit of {NAME} and of the bridges beside it (0x18.l in both passes)",
        ),
        (
            "use",
            None,
            None,
            f"the outgoing kernel's ARI decision on {NAME} (CAP_EXP+28.w written or read during its scan)",
        ),
        ("use", True, None, "a read of CAP_EXP+28.w of 0000:00:01.0 by the incoming kernel"),
        ("use", True, True, "the incoming kernel's ARI decision on 0000:00:01.0"),
        ("use", False, False, "the incoming kernel's ARI decision on 0000:00:01.0"),
    ],
)
def test_the_access_that_would_tell(
    numbers: str, before: bool | None, after: bool | None, expected: str
) -> None:
    assert bridges._missing_access(kexec_context(numbers), facts(before, after, None)) == expected


@pytest.mark.parametrize(("is_pcie", "expected"), [(False, "pci"), (True, None), (None, None)])
def test_kind_of_a_bridge_whose_port_type_was_not_read(is_pcie: bool | None, expected: str | None) -> None:
    assert bridges._conventional(Node(BRIDGE, is_pcie=is_pcie)) == expected
