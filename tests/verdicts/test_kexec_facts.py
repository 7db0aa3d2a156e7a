"""Which accesses belong to a kexec, and what an assumed preserved set is worth at it."""

from __future__ import annotations

import pytest

from analyzer.verdicts.handovers import Handover
from analyzer.verdicts.loss_weight import preservation


@pytest.mark.parametrize(
    ("access", "expected"), [(None, False), (99, False), (100, True), (150, True), (200, True), (201, False)]
)
def test_the_accesses_of_both_boots_belong_to_a_kexec(access: int | None, expected: bool) -> None:
    kexec = Handover(0, None, None, {}, {}, {}, "stock", (100, 200))  # type: ignore[arg-type]
    assert kexec.covers(access) is expected


@pytest.mark.parametrize(
    ("kind", "observed", "scanned", "assume", "expected"),
    [
        ("live-update", "stock", True, False, "live-update"),
        ("unknown", "inherit", True, False, "live-update"),
        ("plain", "stock", True, True, "live-update"),
        ("plain", "stock", True, False, "none"),
        ("crash", "stock", False, False, "none"),
        ("unknown", "stock", True, False, "unrecognised"),
        ("unknown", "unknown", True, False, "unrecognised"),
        ("unknown", "unknown", False, False, "no-scan"),
    ],
)
def test_what_an_assumed_set_is_worth(
    kind: str, observed: str, scanned: bool, assume: bool, expected: str
) -> None:
    assert preservation(kind, observed, scanned=scanned, assume=assume) == expected  # type: ignore[arg-type]
