"""The ARI bit of each bridge over a capture: stretches between accesses, and the lanes of real captures."""

from pathlib import Path

import pytest
from simulator import Kernel, Recording, lab_topology

from analyzer.analysis import study
from analyzer.capture import Event
from analyzer.options import Options
from analyzer.questions.explain import lanes
from analyzer.questions.explain.explanation import TimelineEntry
from analyzer.questions.explain.lanes import Stretch, gather, stretches
from analyzer.questions.explain.working import MOST_QUIET, MOST_REPORTED, DetailsGatherer, of_study
from analyzer.readers import open_capture

TRACES = Path(__file__).parents[1] / "traces"
PORT, ROOT = "0000:02:00.0", "0000:00:03.0"


def entries(text):
    """``5r+ 7w- 9x 11e``: reads, writes, dead reads and events by access number, with the bit they show."""
    kinds = {"r": "shows", "w": "changes", "x": "shows", "e": "event"}
    states = {"+": True, "-": False}
    return [
        TimelineEntry(
            access=int("".join(c for c in word if c.isdigit())),
            time_ns=None,
            boot=0,
            kind=next(kinds[c] for c in word if c in kinds),
            op="write" if "w" in word else "read",
            ari=states.get(word[-1]),
        )
        for word in text.split()
    ]


@pytest.mark.parametrize(
    ("accesses", "reboots", "expected"),
    [
        ("", [], []),
        ("5r+", [], [Stretch(5, 5, True)]),
        ("5r+ 9r+", [], [Stretch(5, 9, True)]),
        ("5r+ 9w-", [], [Stretch(5, 9, True), Stretch(9, 9, False)]),
        ("5r+ 9r-", [], [Stretch(5, 9, None), Stretch(9, 9, False)]),
        ("5w+ 9r-", [], [Stretch(5, 9, None), Stretch(9, 9, False)]),
        ("5r+ 9r+ 12r-", [], [Stretch(5, 9, True), Stretch(9, 12, None), Stretch(12, 12, False)]),
        ("5r+ 7e 9r+", [], [Stretch(5, 9, True)]),
        ("5r+ 9x 12r+", [], [Stretch(5, 12, None), Stretch(12, 12, True)]),
        ("5r- 9r-", [7], [Stretch(5, 9, None), Stretch(9, 9, False)]),
        ("5r- 9w+", [7], [Stretch(5, 9, None), Stretch(9, 9, True)]),
        ("5r- 9r-", [5], [Stretch(5, 9, False)]),
    ],
)
def test_between_two_accesses_nothing_is_filled_in(accesses, reboots, expected):
    assert stretches(entries(accesses), reboots) == expected


def of_trace(name):
    capture = open_capture(str(TRACES / f"{name}.bin"), Options())
    return {lane.bdf: lane for lane in gather(capture, study(capture)).lanes}


def test_an_explicit_write_ends_the_bit_at_that_access():
    lane = of_trace("lost-explicit-write")[PORT]
    assert lane.stretches == [
        Stretch(3598, 3599, False),
        Stretch(3599, 15004, True),
        Stretch(15004, 26843, False),
    ]
    assert [entry.access for entry in lane.entries if entry.kind == "changes"] == [15004]
    assert (lane.port_type, lane.secondary, lane.left_out) == ("switch-downstream", 3, 0)


def test_a_loss_in_the_blackout_lies_somewhere_between_two_reads():
    lane = of_trace("lost-selective-in-blackout")[PORT]
    assert [(s.state, s.first < 15115 < s.last) for s in lane.stretches if s.state is None] == [(None, True)]


def test_bridges_with_a_finding_come_first_then_what_caused_it():
    found = of_trace("hidden-after-secondary-bus-reset")
    assert list(found)[:4] == ["0000:01:00.0", PORT, "0000:02:01.0", ROOT]
    resets = [entry.note for entry in found[ROOT].entries if entry.kind == "event"]
    assert resets == ["Secondary Bus Reset asserted", "Secondary Bus Reset released"]
    assert any("bus numbers are 0" in entry.note for entry in found["0000:01:00.0"].entries)


def test_events_of_the_capture_are_on_the_lane_of_their_bridge_or_beside_all():
    capture = open_capture(str(TRACES / "clean-inherit.bin"), Options())
    capture.notes.events += [
        Event("link", 15000, (0, 2, 0), "Link Down", 7),
        Event("aer", 15001, (0, 0x77, 0), "Surprise Down", 8),
    ]
    found = gather(capture, study(capture))
    (own,) = (lane for lane in found.lanes if lane.bdf == PORT)
    assert [(e.access, e.boot, e.note) for e in own.entries if e.kind == "event"] == [
        (15000, 1, "link: Link Down")
    ]
    assert [(e.access, e.bdf) for e in found.events] == [(15001, "0000:77:00.0")]


def test_a_capture_without_a_kexec_has_lanes_too():
    recording = Recording(lab_topology())
    recording.firmware()
    recording.boot(Kernel())
    capture = recording.capture()
    assert PORT in {lane.bdf for lane in gather(capture, study(capture)).lanes}


def test_a_lane_has_room_for_so_many_accesses(monkeypatch):
    monkeypatch.setattr(lanes, "MOST_ENTRIES", 6)
    lane = of_trace("lost-explicit-write")[PORT]
    assert len(lane.entries) == 6
    assert lane.left_out == 3
    assert lane.stretches[-1] == Stretch(15004, 26843, False)


def test_a_working_tells_what_the_outgoing_kernel_had_and_the_rules_for_each_finding():
    capture = open_capture(str(TRACES / "lost-explicit-write.bin"), Options())
    result = study(capture)
    (kexec,) = of_study(capture, result).kexecs
    assert len(kexec.had) == 19
    assert kexec.moved == {}
    assert list(kexec.explained) == [PORT]
    assert [d.policy for d in kexec.explained[PORT].decisions if d.runs] == ["inherit"]


def test_only_so_many_workings_are_kept():
    capture = open_capture(str(TRACES / "clean-inherit.bin"), Options())
    result = study(capture)
    gatherer = DetailsGatherer(Options(), reported=MOST_REPORTED, quiet=MOST_QUIET - 1)
    gatherer(capture, result)
    gatherer(capture, result)
    assert len(gatherer.kept) == 1
    assert gatherer.of(result.result) is not None
