"""Kernels that write the ARI bit of a preserved bridge: which policy they follow, by the accesses."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from simulator import Kernel, Machine
from stories import BELOW_PORT, Story, port, tell

from analyzer.analysis import analyze_capture
from analyzer.options import Options

PORT = "0000:00:01.0"
SAVED_ON, SAVED_OFF = {PORT: True}, {PORT: False}


def lose(machine: Machine) -> None:
    machine.clear(PORT, "CAP_EXP+28.w", 0x20)


def of(incoming: Kernel, *, lost: bool = True, preserve: tuple[str, ...] = BELOW_PORT) -> Story:
    return tell(port(), preserve=preserve, blackout=lose if lost else None, incoming=incoming)


@pytest.mark.parametrize(
    ("incoming", "lost", "preserve", "policy", "verdict"),
    [
        (Kernel(policy="heal"), True, BELOW_PORT, "heal", "healed"),
        (Kernel(policy="heal"), False, BELOW_PORT, "inherit", "kept"),  # it wrote nothing
        # Both would set it here; heal is what is said of what both fit.
        (Kernel(policy="serialize", saved=SAVED_ON), True, BELOW_PORT, "heal", "healed"),
        # Heal never clears it.
        (Kernel(policy="serialize", saved=SAVED_OFF), False, BELOW_PORT, "serialize", "cleared"),
        (Kernel(policy="inherit"), True, BELOW_PORT, "inherit", "lost"),
        (Kernel(policy="stock"), True, BELOW_PORT, "stock", "healed"),
    ],
)
def test_observed_policy(
    incoming: Kernel, lost: bool, preserve: tuple[str, ...], policy: str, verdict: str
) -> None:
    story = of(incoming, lost=lost, preserve=preserve)
    assert (story.kexec.observed_policy, story.bridge(PORT).verdict) == (policy, verdict)
    if verdict == "healed":
        assert story.kexec.divergences == []
        assert story.kexec.observed.discovered == story.incoming.enumerated


def test_another_policy_than_the_one_that_ran_is_a_what_if() -> None:
    capture = of(Kernel(policy="heal")).recording.capture()
    asked = Options(policy="inherit", preserved=",".join(BELOW_PORT))
    (kexec,) = analyze_capture(capture, asked).kexecs
    assert (kexec.observed_policy, kexec.policy, kexec.is_what_if) == ("heal", "inherit", True)
    assert [item.text.startswith("Under policy inherit: ") for item in kexec.consequences] == [True] * len(
        kexec.consequences
    )
    assert kexec.consequences


def test_a_set_without_a_walk_that_was_thinned_away_is_the_stock_rule() -> None:
    """In a very long capture reads that repeat are left out: the walk of function 0 may be among them."""
    capture = of(Kernel(policy="stock")).recording.capture()
    walk = (pl.col("bus") == 1) & (pl.col("offset") >= 0x100)
    thinned = replace(capture, accesses=capture.accesses.filter(~walk))
    (kexec,) = analyze_capture(thinned, Options(preserved=",".join(BELOW_PORT))).kexecs
    assert kexec.observed_policy == "stock"
