"""How one access is written down as evidence."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from analyzer.results import Evidence
from analyzer.verdicts.evidence import EvidenceBuilder, log_line
from schemas.registers import BRIDGE_CONTROL, DEVCTL2, Register

#: A word read of DEVCTL2, a write of unknown width, a byte in a second file, a read of unknown width.
INDEX = SimpleNamespace(
    width=np.array([2, 0, 1, 0]),
    offset=np.array([0x74, 0x3E, 0x7C, 0x34]),
    file=np.array([0, 0, 1, 0]),
    seq=np.array([4001, 4002, 4003, 4004]),
    where=np.array([0x100, 0x140, 0x20, 0x180]),
    is_write=np.array([False, True, False, False]),
    function=np.array([0x020B, 0x020B, 0x1_020B, 0x020B]),
    value=np.array([0x20, 0x42, 0x5, 0x5]),
    time_at=lambda row: None if row == 2 else 1_000 + row,
    is_whole=lambda row: True,  # noqa: ARG005
)
FILES = [SimpleNamespace(path="first.bin"), SimpleNamespace(path="second.bin")]


def builder(*, files: int = 2) -> EvidenceBuilder:
    return EvidenceBuilder(INDEX, FILES[:files])


def function(start: int = 0x4C) -> SimpleNamespace:
    return SimpleNamespace(start_of=lambda base: 0 if base == "HEADER1" else start)


def test_a_value_of_which_only_some_bits_are_shown_is_left_out() -> None:
    index = SimpleNamespace(**{**vars(INDEX), "is_whole": lambda row: row != 0})
    found = EvidenceBuilder(index, FILES).access(0, DEVCTL2, "why", function())
    assert (found.register, found.value) == ("CAP_EXP+28.w", None)


def plain(size: int) -> Register:
    return Register("CAP_EXP", 0, "NAME", size, None)


def test_a_register_of_a_capability() -> None:
    assert builder().access(0, DEVCTL2, "why", function()) == Evidence(
        4001, "first.bin", 0x100, 1_000, "read", "0000:02:01.3", "CAP_EXP+28.w", "0x0020", "why"
    )


def test_a_register_of_its_own_name() -> None:
    assert builder().access(1, BRIDGE_CONTROL, "why", function()) == Evidence(
        4002, "first.bin", 0x140, 1_001, "write", "0000:02:01.3", "BRIDGE_CONTROL", "0x0042", "why"
    )


@pytest.mark.parametrize(
    ("row", "size", "register", "value"),
    [
        (0, 4, "CAP_EXP+04.w", "0x0020"),  # the recorded width counts
        (2, 4, "CAP_EXP+0c.b", "0x05"),
        (1, 1, "CAP_EXP+-32.b", "0x42"),
        (1, 2, "CAP_EXP+-32.w", "0x0042"),
        (1, 4, "CAP_EXP+-32.l", "0x00000042"),
    ],
)
def test_widths(row: int, size: int, register: str, value: str) -> None:
    found = builder().access(row, plain(size), "", function(0x70))
    assert (found.register, found.value) == (register, value)


@pytest.mark.parametrize(("files", "name"), [(2, "second.bin"), (1, "")])
def test_files(files: int, name: str) -> None:
    found = builder(files=files).access(2, plain(1), "", function())
    assert (found.file, found.time_ns, found.bdf) == (name, None, "0001:02:01.3")


@pytest.mark.parametrize(("row", "number"), [(0, 4001), (2, 4003), (None, None)])
def test_numbers_as_the_user_knows_them(row: int | None, number: int | None) -> None:
    assert builder().number(row) == number


def test_a_log_line() -> None:
    assert log_line("said", "dmesg", 7, 8) == Evidence(7, "dmesg", None, 8, None, None, None, None, "said")
    assert log_line("said", "dmesg") == Evidence(None, "dmesg", None, None, None, None, None, None, "said")
