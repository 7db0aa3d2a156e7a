"""What is said of a capture as a whole: its boots, what is missing, what it does to the exit status."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hand_made import Part

from analyzer.capture import Capture, LoggedScan, Notes, Problem, SourceFile
from analyzer.errors import LimitExceededError
from analyzer.observed import boots
from analyzer.observed.boots import BootSpan
from analyzer.observed.index import AccessIndex
from analyzer.options import Options
from analyzer.results import Boot
from analyzer.testing import TraceBuilder, table
from analyzer.verdicts import captures
from schemas.inherited_state import ARI_FORWARDING

SPANS = [BootSpan(0, "firmware", 0, 1, "start"), BootSpan(1, "kernel", 2, 4, "reboot", release="6.1.7")]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, [[3], [4], [2], [5]]),
        (6, [[3], [4, 2], [5]]),
        (7, [[3, 4], [2, 5]]),
        (8, [[3, 4], [2, 5]]),
        (9, [[3, 4, 2], [5]]),
        (14, [[3, 4, 2, 5]]),
    ],
)
def test_captures_are_taken_together_up_to_so_many_accesses(most, expected):
    given = [SimpleNamespace(accesses=SimpleNamespace(height=height)) for height in (3, 4, 2, 5)]
    found = captures.batches(given, most)
    assert [[one.accesses.height for one in batch] for batch in found] == expected


def test_no_captures_make_no_batch():
    assert list(captures.batches([], 5)) == []


ACCESSES = """
r 00:01.0 00.l 12348086
r 00:01.0 04.w 7
r 00:01.0 06.w 10
r 00:01.0 04.w 7
"""


def split(*, kexec_at: tuple[str, ...] = (), **notes: object):
    accesses = table(ACCESSES)
    capture = Capture("place", [], "native", accesses, Notes("place", **notes))
    return captures._split(capture, AccessIndex(accesses), Options(kexec_at=kexec_at))


def test_a_capture_is_cut_where_the_user_says():
    found = split(kexec_at=("access:2",))
    assert [(one.boot.first, one.boot.last, one.boot.entered_by) for one in found] == [
        (0, 1, "start"),
        (2, 3, "kexec"),
    ]


def test_too_many_boots_are_refused_by_name(monkeypatch):
    monkeypatch.setattr(boots, "MAX_BOOTS", 1)
    with pytest.raises(LimitExceededError) as refused:
        split(kexec_at=("access:2",))
    assert refused.value.path == "place"


@pytest.mark.parametrize(
    ("first", "end", "logged"),
    [
        (2, 4, [False, True]),
        (0, 2, [True, False]),
        (0, 9, [True, True]),
        (3, 9, [False, False]),  # begins within the second boot
        (1, 3, [False, False]),  # and ends within it
        (2, 3, [False, False]),
    ],
)
def test_a_boot_that_lies_in_the_scan_of_a_log_is_that_log(first, end, logged):
    scan = LoggedScan("log", first, end, (0, 1), frozenset({0}))
    found = split(kexec_at=("access:2",), scans=[scan])
    assert [one.logged is scan for one in found] == logged


def topology(span: BootSpan, *, cut: bool = False, snapshot: bool = False, orphans: dict | None = None):
    return SimpleNamespace(boot=span, scan_is_cut=cut, is_snapshot=snapshot, orphans=orphans or {})


INDEX = SimpleNamespace(
    seq=np.array([100, 101, 102, 103, 104]), time_at=[None, 1001, 1002, 1003, 1004].__getitem__
)
LOGS = SimpleNamespace(
    run_of=lambda boot: [None, SimpleNamespace(release="6.1.8", cmdline="quiet")][boot], warnings=["told"]
)


def test_boots():
    """Numbers and times are of the accesses; the capture's release goes before that of the log."""
    first, last = (captures._boot(INDEX, span, LOGS) for span in SPANS)
    assert first == Boot(0, "firmware", None, None, 100, 101, None, 1001)
    assert last == Boot(1, "kernel", "6.1.7", "quiet", 102, 104, 1002, 1004)
    nameless = BootSpan(1, "kernel", 2, 4, "reboot", end=3)
    assert captures._boot(INDEX, nameless, LOGS) == Boot(1, "kernel", "6.1.8", "quiet", 102, 103, 1002, 1003)


@pytest.mark.parametrize(
    ("numbers", "kexecs", "messages"),
    [
        ([], 1, []),
        ([1], 1, ["for kexec 1, this capture holds 1 kexec (they are numbered from 0)"]),
        ([0], 0, ["for kexec 0, this capture holds 0 kexecs (they are numbered from 0)"]),
        (
            [2, 4],
            2,
            [
                "for kexec 2, this capture holds 2 kexecs (they are numbered from 0)",
                "for kexec 4, this capture holds 2 kexecs (they are numbered from 0)",
            ],
        ),
    ],
)
def test_a_list_for_kexecs_that_are_not_there(numbers, kexecs, messages):
    assert list(captures._no_such_kexec(numbers, kexecs, "place")) == [
        Problem("no-such-kexec", "place", None, f"the preserved list names functions {message}")
        for message in messages
    ]


@pytest.mark.parametrize(
    ("cut", "kexecs", "said"),
    [
        ([], [], False),
        ([False], [], False),
        ([True], [], True),
        ([False, False, True], [], True),
        ([True, True, False], [], False),
        ([False, False, True], ["a kexec"], False),
    ],
)
def test_a_capture_without_a_kexec_that_ends_within_a_scan(cut, kexecs, said):
    message = "the capture ends within the scan of its last kernel: what came after is unknown"
    found = captures._ends_in_scan([topology(SPANS[0], cut=one) for one in cut], kexecs, "place")
    assert found == ([Problem("truncated", "place", None, message)] if said else [])


def without_bridge(
    *kernels: dict[int, list[int]], kexecs: tuple[str, ...] = (), firmware: dict | None = None
):
    boots_of_it = [topology(SPANS[1], orphans=below) for below in kernels]
    if firmware is not None:
        boots_of_it.append(topology(SPANS[0], orphans=firmware))
    return list(captures._without_bridge(boots_of_it, kexecs, "place"))


def test_functions_whose_bridge_is_not_in_the_capture():
    four = [0x0300, 0x0301, 0x0302, 0x0303]
    names = "0000:03:00.0, 0000:03:00.1, 0000:03:00.2, 0000:03:00.3"
    said = without_bridge({9: [0x0900]}, {2: [0x0200]}, {3: four, 4: [*four, 0x0304]})
    assert said == [
        Problem(
            "no-bridge",
            "place",
            None,
            f"the bridge above bus {bus} is not in the capture ({names}{more} below it): whether ARI "
            "Forwarding applies there is unknown",
        )
        for bus, more in (("03", ""), ("04", " and 1 more"))
    ]


def test_many_buses_without_their_bridge_are_counted():
    many = {bus: [bus << 8] for bus in range(1, 8)}
    found = without_bridge(many)
    assert [one.message[:23] for one in found[:4]] == [f"the bridge above bus 0{bus}" for bus in range(1, 5)]
    rest = "the bridges above 3 more buses are not in the capture"
    assert found[4:] == [Problem("no-bridge", "place", None, rest)]
    assert len(without_bridge(dict(list(many.items())[:4]))) == 4


def test_bridges_are_missed_in_the_last_kernel_of_a_capture_without_a_kexec():
    one, another = {2: [0x0200]}, {3: [0x0300]}
    assert without_bridge(one, kexecs=("a kexec",)) == []
    assert without_bridge(firmware=one) == without_bridge() == without_bridge(one, {}) == []
    assert without_bridge(one, firmware=another) == without_bridge(one)


@pytest.mark.parametrize(
    ("outgoing", "incoming", "whole"),
    [
        ({}, {}, True),
        ({"cut": True}, {}, False),
        ({}, {"cut": True}, False),
        ({}, {"scan": None}, False),
        ({}, {"scan": None, "snapshot": True}, True),
        ({"scan": None}, {}, True),
    ],
)
def test_both_scans_are_whole(outgoing, incoming, whole):
    both = [
        topology(BootSpan(0, "kernel", 0, 4, "start", scan=facts.pop("scan", 2)), **facts)
        for facts in (dict(outgoing), dict(incoming))
    ]
    assert captures._both_scans_whole(*both) is whole


def conclude(
    monkeypatch,
    tmp_path,
    *boots_of_it: SimpleNamespace,
    kexecs: int = 0,
    beyond: tuple[int, ...] = (),
    **notes: object,
):
    """What is said of a capture of 12 accesses, 2 of them left out; nothing is found at its kexecs."""
    monkeypatch.setattr(
        captures,
        "_conclude_kexec",
        lambda *asked: SimpleNamespace(result=SimpleNamespace(findings=[], ignored=[], of=asked[1:])),
    )
    path = str(tmp_path / "capture")
    files = [SourceFile(path, "native", "00")]
    accesses = SimpleNamespace(height=10)
    capture = Capture(path, files, "native", accesses, Notes(path, **notes), thinned=2)
    opened = SimpleNamespace(beyond=lambda number: [one for one in beyond if one >= number])
    asked = captures._CaptureAsked(
        capture, INDEX, list(boots_of_it), Options(), LOGS, opened, "builder", ["asked"] * kexecs
    )
    asked.watches.extend(["watched"] * kexecs)
    return captures._conclude(asked, ["predicted"] * kexecs)


SCANNED = BootSpan(0, "kernel", 0, 1, "start", scan=0), BootSpan(1, "kernel", 2, 4, "kexec", scan=2)


def test_everything_that_a_capture_says_of_itself(monkeypatch, tmp_path):
    boots_of_it = [topology(span) for span in SCANNED]
    problem = Problem("kind", "p", 3, "a problem")
    study = conclude(
        monkeypatch,
        tmp_path,
        *boots_of_it,
        kexecs=1,
        host="rack1",
        truncated=True,
        dropped=3,
        missing_dwords=4,
        clock="boot",
        problems=[problem],
    )
    assert (study.index, study.topologies, study.builder, study.logs) == (INDEX, boots_of_it, "builder", LOGS)
    assert [one.result.of for one in study.kexec_analyses] == [("asked", "predicted", "watched")]
    result = study.result
    assert (result.path, result.files) == (
        str(tmp_path / "capture"),
        [SourceFile(result.path, "native", "00")],
    )
    assert (result.format, result.host, result.accesses) == ("native", "rack1", 12)
    assert (result.truncated, result.dropped, result.missing_dwords, result.clock) == (True, 3, 4, "boot")
    assert [boot.first_access for boot in result.boots] == [100, 102]
    assert [kexec.of for kexec in result.kexecs] == [("asked", "predicted", "watched")]
    assert result.errors == [problem]
    assert (result.verdict, result.weight) == ("undetermined", "doubt")


@pytest.mark.parametrize(
    ("facts", "verdict", "weight"),
    [
        ({}, "clean", None),
        # What was found stands, but what is missing may hold a loss.
        ({"dropped": 1}, "undetermined", "doubt"),
        ({"beyond": (0, 1)}, "undetermined", "doubt"),
        ({"beyond": (0,)}, "clean", None),
        # Cut after the kexec's scans: all that was asked is there.
        ({"truncated": True}, "clean", None),
    ],
)
def test_nothing_lost_is_clean_where_nothing_is_missing(monkeypatch, tmp_path, facts, verdict, weight):
    boots_of_it = [topology(span) for span in SCANNED]
    result = conclude(monkeypatch, tmp_path, *boots_of_it, kexecs=1, **facts).result
    assert (result.verdict, result.weight) == (verdict, weight)


@pytest.mark.parametrize("cut", [0, 1])
def test_a_scan_that_is_cut_is_not_clean(monkeypatch, tmp_path, cut):
    boots_of_it = [topology(span, cut=span.index == cut) for span in SCANNED]
    result = conclude(monkeypatch, tmp_path, *boots_of_it, kexecs=1).result
    assert (result.verdict, result.weight, result.errors) == ("undetermined", "doubt", [])


@pytest.mark.parametrize(
    ("facts", "kernel", "weight", "kinds"),
    [
        ({}, {}, None, ["other-machine"]),
        # What came after the cut may hold a kexec.
        ({"truncated": True}, {}, "doubt", ["other-machine"]),
        ({}, {"cut": True}, "doubt", ["other-machine", "truncated"]),
        ({"dropped": 1}, {}, "doubt", ["other-machine"]),
        ({"beyond": (0,)}, {}, "doubt", ["other-machine", "no-such-kexec"]),
        ({}, {"orphans": {2: [0x0200]}}, None, ["other-machine", "no-bridge"]),
    ],
)
def test_a_capture_without_a_kexec(monkeypatch, tmp_path, facts, kernel, weight, kinds):
    result = conclude(monkeypatch, tmp_path, topology(SCANNED[0], **kernel), **facts).result
    assert (result.verdict, result.weight, result.kexecs) == ("no-kexec", weight, [])
    assert [one.kind for one in result.errors] == kinds
    assert {one.file for one in result.errors} == {str(tmp_path / "capture")}
    assert result.errors[0] == Problem("other-machine", result.path, None, "told")
    if "beyond" in facts:
        assert "for kexec 0, this capture holds 0 kexecs" in result.errors[1].message


def test_a_function_without_its_bridge_is_no_problem_of_a_capture_with_a_kexec(monkeypatch, tmp_path):
    boots_of_it = [topology(span, orphans={2: [0x0200]}) for span in SCANNED]
    assert conclude(monkeypatch, tmp_path, *boots_of_it, kexecs=1).result.errors == []


def test_each_capture_has_its_own_kexecs():
    """Of captures that are studied together, whose kexecs are replayed together."""
    one = TraceBuilder(ACCESSES + "boundary kexec\n" + ACCESSES).capture()
    two = TraceBuilder(ACCESSES + ("boundary plain\n" + ACCESSES) * 2).capture()
    found = [study.result.kexecs for study in captures.studies([one, two], Options())]
    assert [[kexec.kind for kexec in of_one] for of_one in found] == [["unknown"], ["plain", "plain"]]


def test_the_registers_of_all_kexecs_are_compared_at_once(monkeypatch):
    """Each capture keeps those of its own kexecs; whether accesses are missing is said with each."""

    def kexec(number, *, whole):
        return SimpleNamespace(
            handover=SimpleNamespace(outgoing=f"before {number}", incoming=f"after {number}"),
            machine=f"machine {number}",
            preserved=SimpleNamespace(keys=frozenset({number})),
            settings=SimpleNamespace(whole=whole),
        )

    given = []
    monkeypatch.setattr(
        captures.state_watch, "compare", lambda kexecs: given.extend(kexecs) or ["one", "two", "three"]
    )
    first = SimpleNamespace(kexecs=[kexec(1, whole=True)], watches=[])
    second = SimpleNamespace(kexecs=[kexec(2, whole=False), kexec(3, whole=False)], watches=[])
    captures._watch([first, second])
    assert [(one.outgoing, one.incoming, one.machine, one.preserved, one.whole) for one in given] == [
        (f"before {number}", f"after {number}", f"machine {number}", frozenset({number}), whole)
        for number, whole in ((1, True), (2, False), (3, False))
    ]
    assert (first.watches, second.watches) == (["one"], ["two", "three"])


def test_evidence_of_a_capture_names_its_accesses_and_its_file(tmp_path):
    path, accesses = str(tmp_path / "capture"), table("r 00:01.0 00.l 12348086\nr 00:01.0 a8.w 20")
    capture = Capture(path, [SourceFile("a.bin", "native", "00")], "native", accesses, Notes(path))
    asked = captures._ask(capture, AccessIndex(accesses), [], [], Options())
    found = asked.builder.access(1, ARI_FORWARDING.register, "note", Part())
    assert (found.access, found.file, found.register, found.value) == (1, "a.bin", "CAP_EXP+28.w", "0x0020")
