"""The tool's own proof: differences between prediction and observation, explained or standing."""

from __future__ import annotations

import polars as pl
import pytest
from simulator import Machine, one_port, one_switch
from stories import tell

from analyzer.analysis import analyze_capture
from analyzer.options import Options

PORT = "0000:00:01.0"
NAMES = ("0000:01:00.0", "0000:01:00.1", "0000:01:01.0", "0000:01:01.1")


def unseen(boundary: int) -> pl.Expr:
    """Accesses to 01:01.1 by the incoming kernel."""
    return (pl.col("seq") >= boundary) & (pl.col("bus") == 1) & (pl.col("devfn") == 9)


def test_a_healthy_capture_has_none() -> None:
    assert tell(one_port(), preserve=NAMES).kexec.divergences == []


def test_a_function_whose_accesses_are_missing_stands_unexplained() -> None:
    story = tell(one_port(), preserve=NAMES)
    boundary = story.kexec.at_access
    capture = story.recording.capture()
    capture.accesses = capture.accesses.filter(~unseen(boundary))
    result = analyze_capture(capture, Options(preserved=",".join(NAMES)))
    (divergence,) = result.kexecs[0].divergences
    assert (divergence.bdf, divergence.predicted, divergence.explained) == ("0000:01:01.1", True, False)
    assert result.verdict == "undetermined"


@pytest.mark.parametrize("share", [0.55, 0.6, 0.7, 0.8])
def test_a_cut_capture_explains_what_it_does_not_reach(share: float) -> None:
    story = tell(one_switch(), preserve=())
    whole = story.recording.capture()
    cut = story.recording.capture(upto=int(whole.accesses.height * share))
    result = analyze_capture(cut)
    assert all(item.explained for kexec in result.kexecs for item in kexec.divergences)
    assert result.verdict in ("undetermined", "no-kexec")


def test_a_function_that_dies_during_its_setup_is_an_explanation() -> None:
    def dying(machine: Machine) -> None:
        machine.answer("0000:01:00.0", "06.w", 0xFFFF)
        for offset in ("34.b", "08.l", "04.w", "100.l"):
            machine.answer("0000:01:00.0", offset, 0xFFFFFFFF)

    story = tell(one_port(), preserve=NAMES, blackout=dying)
    assert story.kexec.observed.discovered == story.incoming.enumerated
    assert all(item.explained for item in story.kexec.divergences)


def test_a_hot_plug_message_is_an_explanation() -> None:
    story = tell(one_port(), preserve=NAMES)
    boundary = story.kexec.at_access
    story.recording.kernel.say(f"pcieport {PORT}: pciehp: Slot(1): Link Down")
    capture = story.recording.capture(log=True)
    capture.accesses = capture.accesses.filter(~unseen(boundary))
    result = analyze_capture(capture, Options(preserved=",".join(NAMES)))
    (divergence,) = result.kexecs[0].divergences
    assert divergence.explained
    assert "hot-plug" in divergence.note
    # Explained, yet not discovered: the replay is right, and the device is lost all the same.
    lost = [(item.bdf, item.reason) for item in result.kexecs[0].devices if item.verdict == "stranded"]
    assert lost == [("0000:01:01.1", "no-response")]
    assert result.verdict == "findings"


@pytest.mark.parametrize("lack", ["dropped", "missing_dwords"])
def test_a_dropped_record_or_a_missing_dword_is_never_clean(lack: str) -> None:
    story = tell(one_port(), preserve=NAMES)
    capture = story.recording.capture()
    setattr(capture.notes, lack, 1)
    assert analyze_capture(capture, Options(preserved=",".join(NAMES))).verdict == "undetermined"
