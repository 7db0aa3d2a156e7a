"""What kind of function each is in counts of the state watch, and where another device sits in its place."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer.observed.registers.first_reads import NONE
from analyzer.verdicts import state_counts, watched_functions

FACTS = ("vendor", "device", "header_type", "is_pcie", "pcie_type")


def columns(*rows: tuple[int, ...]) -> dict[str, np.ndarray]:
    return dict(zip(FACTS, np.array(rows, np.int64).T, strict=True))


@pytest.mark.parametrize(
    ("header", "is_pcie", "pcie_type", "expected"),
    [
        (0x00, 1, 0, "endpoint"),
        (0x80, 1, 0, "endpoint"),  # multi-function
        (0x00, 0, NONE, "endpoint"),
        (0x00, NONE, NONE, "endpoint"),
        (0x00, 1, 9, "rc-endpoint"),
        (0x00, 1, 10, "rc-event-collector"),
        (0x01, 1, 4, "root-port"),
        (0x81, 1, 5, "switch-upstream"),
        (0x01, 1, 6, "switch-downstream"),
        (0x01, 0, NONE, "pci"),
        (0x01, 1, NONE, None),
        (0x01, NONE, NONE, None),
        (0x02, 1, 4, None),
        (NONE, 1, 0, None),
    ],
)
def test_port_types(header: int, is_pcie: int, pcie_type: int, expected: str | None) -> None:
    facts = columns((0x8086, 0x1572, header, is_pcie, pcie_type))
    first = np.array([0])
    found = state_counts.kinds(facts, first, first, np.array([True]))
    assert found.kinds == [("8086:1572", expected, True)]


def test_what_the_outgoing_boot_does_not_show_the_incoming_one_does() -> None:
    facts = columns(
        (0x8086, NONE, 0, 1, 0),
        (0x1AF4, 0x1000, 1, 0, 4),
        (NONE, 0x1572, NONE, NONE, NONE),
        (NONE, NONE, NONE, NONE, NONE),
    )
    was, now = np.array([0, 2, 3, 0]), np.array([1, 3, 3, 1])
    found = state_counts.kinds(facts, was, now, np.array([True, True, False, False]))
    assert [found.kinds[one] for one in found.of.tolist()] == [
        ("8086:1000", "endpoint", True),
        (None, None, True),
        (None, None, False),
        ("8086:1000", "endpoint", False),
    ]
    assert len(found.kinds) == 4


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((0x8086, 0x1572), (0x8086, 0x1572), False),
        ((0x8086, 0x1572), (0x8086, 0x1573), True),
        ((0x8086, 0x1572), (0x1AF4, 0x1572), True),
        ((0x8086, 0x1572), (0x1AF4, 0x1573), True),
        ((NONE, 0x1572), (0x8086, 0x1572), False),
        ((0x8086, 0x1572), (0x8086, NONE), False),
        ((NONE, 0x1572), (0x8086, 0x1573), True),
    ],
)
def test_another_device_in_its_place(before: tuple[int, int], after: tuple[int, int], expected: bool) -> None:
    facts = columns((*before, 0, 0, 0), (*after, 0, 0, 0))
    assert watched_functions._replaced(facts, np.array([0, 0]), np.array([1, 0])).tolist() == [
        expected,
        False,
    ]
