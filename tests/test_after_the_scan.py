"""What happens on preserved bridges after the incoming kernel's scan: finish, remove, rescan, hot-plug.

A bridge stays incoming until the last preserved device below it is finished; until then each new function 0
inherits, afterwards the stock rule runs (series v4 to v9; docs/replay.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simulator import Kernel, Machine, Recording, one_port
from stories import tell

from analyzer.analysis import analyze_capture
from analyzer.options import Options
from analyzer.questions.explain.function import explain_capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from stories import Story

PORT = "0000:00:01.0"
FUNCTIONS = tuple(f"0000:01:{number >> 3:02x}.{number & 7}" for number in (0, 1, 8, 9))
DEVCTL2 = "CAP_EXP+28.w"


def lose(machine: Machine) -> None:
    machine.clear(PORT, DEVCTL2, 0x20)


def replug(recording: Recording) -> None:
    for name in FUNCTIONS[:2]:
        recording.remove(name)
    recording.rescan()


def finish_and_replug(recording: Recording) -> None:
    recording.kernel.finish()
    replug(recording)


def bit(story: Story) -> int:
    return story.recording.getpci(PORT, DEVCTL2) >> 5 & 1


@pytest.mark.parametrize(
    ("afterwards", "bit_then", "found_then"),
    [
        pytest.param(replug, 0, FUNCTIONS[:2], id="re-plug before finish: inherits what is there"),
        pytest.param(finish_and_replug, 1, FUNCTIONS, id="re-plug after finish: stock rule, ARI on again"),
    ],
)
def test_the_verdict_is_about_the_scan_whatever_comes_later(
    afterwards: Callable[[Recording], None], bit_then: int, found_then: tuple[str, ...]
) -> None:
    story = tell(one_port(), preserve=FUNCTIONS, blackout=lose, afterwards=afterwards)
    here_now = [device.name for device in story.incoming.devices if device.name.startswith("0000:01:")]
    assert (bit(story), tuple(here_now)) == (bit_then, found_then)
    assert story.verdict(PORT).startswith("lost selective-loss")
    assert story.stranded == list(FUNCTIONS[2:])
    assert story.kexec.policies["inherit"].discovered == story.kexec.observed.discovered
    assert story.kexec.divergences == []
    assert story.kexec.observed_policy == "inherit"


def test_a_device_without_ari_below_an_incoming_bridge_with_ari_shows_function_0_only() -> None:
    """Another device is plugged in before the finish: the bridge inherits again, whatever sits below it."""

    def swap(recording: Recording) -> None:
        for name in FUNCTIONS:
            recording.remove(name)
        recording.machine.answer(FUNCTIONS[0], "100.l", 0xFFFFFFFF)
        recording.rescan()

    story = tell(one_port(), preserve=FUNCTIONS, afterwards=swap)
    assert [name for name in story.incoming.hardware if name.startswith("0000:01:")] == list(FUNCTIONS)
    assert [device.name for device in story.incoming.devices if device.name.startswith("0000:01:")] == [
        FUNCTIONS[0]
    ]
    assert (story.verdict(PORT), story.stranded) == ("kept high", [])


def test_the_next_kexec_goes_by_what_the_kernel_used_last() -> None:
    """Finished and re-plugged: ARI is on again, so that a second loss is a loss once more."""
    recording = Recording(one_port())
    recording.firmware()
    recording.boot(Kernel())
    handed_over = recording.preserve(*FUNCTIONS)
    for afterwards in (finish_and_replug, None):
        recording.kexec()
        recording.blackout(lose)
        recording.boot(Kernel(policy="inherit", preserved=handed_over))
        if afterwards is not None:
            afterwards(recording)
            recording.preserve(*FUNCTIONS)
    result = analyze_capture(recording.capture(), Options(preserved=",".join(FUNCTIONS)))
    ports = [next(bridge for bridge in kexec.bridges if bridge.bdf == PORT) for kexec in result.kexecs]
    assert [(port.ari_before, port.ari_after, port.verdict) for port in ports] == [(True, False, "lost")] * 2
    assert [port.stranded for port in ports] == [list(FUNCTIONS[2:])] * 2


def test_the_story_of_the_bridge_tells_both_decisions() -> None:
    story = tell(one_port(), preserve=FUNCTIONS, blackout=lose, afterwards=finish_and_replug)
    told = explain_capture(story.recording.capture(), PORT, Options(preserved=",".join(FUNCTIONS)))
    assert [(entry.boot, entry.note) for entry in told.timeline if entry.kind == "decides"] == [
        (1, "stock rule: ARI Forwarding switched on"),
        (2, "inherit rule: taken as it is"),
        (2, "stock rule: ARI Forwarding switched on"),
    ]
