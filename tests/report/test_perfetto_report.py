from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import result_samples as samples
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

from analyzer.analysis import analyze
from analyzer.questions.explain import lanes
from analyzer.questions.explain.explanation import TimelineEntry
from analyzer.questions.explain.lanes import Lane, Lanes, Stretch
from analyzer.report.perfetto_report import perfetto_trace

CORPUS = Path(__file__).parents[2] / "traces"
BEGIN, END, INSTANT = TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END, TrackEvent.TYPE_INSTANT


class Read:
    """A trace read back: tracks by their path of names, each a list of (start, end, name, args)."""

    def __init__(self, data):
        self.trace = Trace()
        self.trace.ParseFromString(data)
        self.names, self.about, self.tracks = {}, {}, {}
        opened = {}
        for packet in self.trace.packet:
            if packet.HasField("track_descriptor"):
                track = packet.track_descriptor
                parent = self.names.get(track.parent_uuid, ())
                self.names[track.uuid] = (*parent, track.name)
                self.about[self.names[track.uuid]] = track.description
                self.tracks[self.names[track.uuid]] = []
                continue
            event, name = packet.track_event, self.names[packet.track_event.track_uuid]
            args = {note.name: note for note in event.debug_annotations}
            if event.type == BEGIN:
                assert name not in opened
                opened[name] = (packet.timestamp, event.name, args)
            elif event.type == END:
                start, title, told = opened.pop(name)
                self.tracks[name].append((start, packet.timestamp, title, told))
            else:
                assert event.type == INSTANT
                self.tracks[name].append((packet.timestamp, packet.timestamp, event.name, args))
        assert opened == {}

    def spans(self, *name):
        return [row[:3] for row in self.tracks[name]]


@pytest.fixture(scope="module", params=["lost-explicit-write", "hidden-after-secondary-bus-reset"])
def studied(request):
    taken = []
    path = str(CORPUS / f"{request.param}.bin")
    analyze(
        [path],
        studied=lambda capture, study: taken.append(
            (study.result, lanes.gather(capture, study, everything=True))
        ),
    )
    result, found = taken[0]
    return result, found, Read(perfetto_trace(result, found))


def test_a_track_for_each_bridge_below_that_of_the_capture(studied):
    result, found, read = studied
    assert [name[0] for name in read.tracks] == [result.path] * len(read.tracks)
    bridges = [name[1] for name in read.tracks if len(name) == 2 and name[1] not in ("boots", "events")]
    verdicts = {bridge.bdf: bridge.verdict for bridge in result.kexecs[0].bridges}
    assert bridges == [f"{lane.bdf} {lane.port_type} {verdicts[lane.bdf]}" for lane in found.lanes]


def test_slices_of_a_track_follow_each_other(studied):
    for rows in studied[2].tracks.values():
        assert all(start <= end for start, end, _, _ in rows)
        assert all(before[1] <= after[0] for before, after in pairwise(rows))


def test_boots_and_the_blackout_fill_their_track(studied):
    result, _, read = studied
    first, rest = result.boots[0], result.boots[1:]
    rows = read.spans(result.path, "boots")
    assert [title for _, _, title in rows] == [
        "boot 0: firmware",
        "boot 1: kernel, Linux 7.3.4",
        "blackout of kexec 0 (live-update)",
        "boot 2: kernel, Linux 7.3.4",
    ]
    assert rows[0][:2] == (0, first.end_ns - first.start_ns)
    assert rows[2][1] - rows[2][0] == result.kexecs[0].blackout_ns
    assert rows[3][1] == rest[1].end_ns - first.start_ns


def test_the_bit_of_each_bridge_is_a_lane_and_each_access_an_instant(studied):
    result, found, read = studied
    start = result.boots[0].start_ns
    for lane in found.lanes:
        name = next(name for name in read.tracks if len(name) == 2 and name[1].startswith(lane.bdf))
        states = {True: "ARIFwd+", False: "ARIFwd-", None: "ARIFwd?"}
        assert [title for _, _, title in read.spans(*name)] == [states[part.state] for part in lane.stretches]
        accesses = read.tracks[(*name, "accesses")]
        assert [row[0] for row in accesses] == [entry.time_ns - start for entry in lane.entries]
        assert [row[3]["access"].int_value for row in accesses] == [entry.access for entry in lane.entries]


def test_an_instant_says_what_was_accessed_and_where_it_stands_in_the_file():
    taken = []
    path = str(CORPUS / "lost-explicit-write.bin")
    analyze([path], studied=lambda capture, study: taken.append((study.result, lanes.gather(capture, study))))
    read = Read(perfetto_trace(*taken[0]))
    track = (path, "0000:02:00.0 switch-downstream lost", "accesses")
    (row,) = [row for row in read.tracks[track] if row[3]["access"].int_value == 15004]
    assert row[2] == "write CAP_EXP+28.w = 0x0000"
    args = row[3]
    assert (args["byte offset"].string_value, args["value"].string_value) == ("0x5a500", "0x0000")
    assert args["time_ns"].int_value == 1795328052840954000
    assert not args["ARI Forwarding"].bool_value
    assert read.about[path,] == f"{read.about[path,].partition(';')[0]}; time axis: time of the capture"


def lane_of(*accesses):
    entries = [
        TimelineEntry(access, time, 0, "shows", op="read", bdf=samples.PORT, ari=True)
        for access, time in accesses
    ]
    stretch = Stretch(accesses[0][0], accesses[-1][0], state=True)
    return Lanes([Lane(samples.PORT, "switch-downstream", 3, entries, [stretch])])


@pytest.mark.parametrize("times", [[5, 6], [None, None], [10, 9]])
def test_without_times_that_only_grow_access_numbers_stand_for_them(times):
    result = samples.lost()
    if times != [5, 6]:
        result.boots = [replace(boot, start_ns=None, end_ns=None) for boot in result.boots]
    if times == [10, 9]:
        start = [1_000, 500, 2_000]
        result.boots = [
            replace(boot, start_ns=at, end_ns=at) for boot, at in zip(result.boots, start, strict=True)
        ]
    read = Read(perfetto_trace(result, lane_of((2000, None), (12000, None))))
    by_time = times == [5, 6]
    assert ("access numbers, 1 us each" in read.about[result.path,]) != by_time
    (span,) = read.spans(result.path, f"{samples.PORT} switch-downstream lost")
    assert span[:2] == ((1_000_000_000, 10_250_000_000) if by_time else (2_000_000, 12_000_000))


def test_hostile_text_is_inert_and_the_same_input_gives_the_same_bytes():
    result = samples.lost("\x1b[2J\udcff")
    found = lane_of((2000, None), (2001, None))
    assert perfetto_trace(result, found) == perfetto_trace(result, found)
    assert ("\\x1b[2J\\xff",) in Read(perfetto_trace(result, found)).tracks


def test_the_program_writes_one_timeline(tmp_path, capsys):
    from analyzer.cli.application import run

    target = tmp_path / "t.pftrace"
    capture = str(CORPUS / "clean-inherit.bin")
    assert run([capture, "--perfetto", str(target)]) == 0
    kinds = Counter(len(name) for name in Read(target.read_bytes()).tracks)
    assert kinds[1] == 1
    assert kinds[3] > 2
    assert run([capture, capture, "--perfetto", str(tmp_path / "two")]) == 2
    assert "--perfetto shows one capture, found several" in capsys.readouterr().err
    assert run([capture, "--perfetto", "-"]) == 2
    assert run([capture, "--perfetto", capture]) == 2
    assert run([capture, "-o", str(target), "--perfetto", str(target)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["t.pftrace"]
