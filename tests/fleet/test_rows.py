"""What becomes of ARI at a kexec in one word, and other columns that are made, not copied."""

from dataclasses import replace

import pytest
import result_samples as samples
from result_samples import OTHER, PORT, ROOT, bridge, kexec

from analyzer.fleet import rows
from analyzer.fleet.analysis import AnalyzedInput, failed_input
from analyzer.fleet.manifest import Entry
from analyzer.fleet.rows import TABLES
from analyzer.results import Boot

DAY_2026_NS = 20_500 * 86_400_000_000_000


@pytest.mark.parametrize(
    ("bridges", "kind", "word"),
    [
        ([bridge(PORT, "kept"), bridge(ROOT, "off")], "live-update", "kept"),
        ([bridge(PORT, "lost"), bridge(OTHER, "kept")], "live-update", "lost"),
        ([bridge(PORT, "lost")], "unknown", "lost"),
        ([bridge(PORT, "lost")], "plain", "plain"),
        ([bridge(PORT, "lost")], "crash", "crash"),
        ([bridge(PORT, "unconfigured")], "live-update", "lost"),
        ([bridge(PORT, "hidden")], "live-update", "lost"),
        ([bridge(PORT, "gone")], "live-update", "lost"),
        ([bridge(PORT, "healed")], "live-update", "healed"),
        (
            [bridge(PORT, "renumbered", ari_before=True, ari_after=False, ari_decided=True)],
            "live-update",
            "healed",
        ),
        (
            [bridge(PORT, "renumbered", ari_before=True, ari_after=True, ari_decided=True)],
            "live-update",
            "kept",
        ),
        ([bridge(PORT, "undetermined"), bridge(OTHER, "kept")], "live-update", "undetermined"),
        ([bridge(PORT, "undetermined"), bridge(OTHER, "healed")], "live-update", "undetermined"),
        ([bridge(PORT, "undetermined"), bridge(OTHER, "lost")], "live-update", "lost"),
        (
            [bridge(PORT, "cleared", ari_before=True, ari_after=True, ari_decided=False)],
            "live-update",
            "kept",
        ),
        (
            [bridge(PORT, "renumbered", ari_before=True, ari_after=None, ari_decided=None)],
            "live-update",
            "undetermined",
        ),
        ([bridge(PORT, "off"), bridge(ROOT, "gained")], "live-update", "nothing"),
        ([bridge(PORT, "lost", preserved=False), bridge(OTHER, "kept")], "live-update", "kept"),
        ([bridge(PORT, "not-applicable", ari_before=True)], "live-update", "nothing"),
        ([], "live-update", "nothing"),
    ],
)
def test_ari_in_one_word(bridges, kind, word):
    assert rows.ari(kexec(bridges, kind=kind)) == word


def tables(result, **more):
    return rows.tables([AnalyzedInput(7, Entry(b"lost.bin", 10), result, "ok", **more)], None)


@pytest.mark.parametrize(
    ("clock", "created_ns", "time"),
    [
        ("realtime", None, (DAY_2026_NS + 10_250_000_000, "accesses")),
        ("realtime", DAY_2026_NS, (DAY_2026_NS + 10_250_000_000, "accesses")),
        ("monotonic", DAY_2026_NS, (DAY_2026_NS, "recording")),
        (None, DAY_2026_NS, (DAY_2026_NS, "recording")),
        ("local", None, (None, None)),
        (None, None, (None, None)),
    ],
)
def test_wall_clock_time_is_never_guessed(clock, created_ns, time):
    frame = tables(lost_in_2026(), clock=clock, created_ns=created_ns)["kexecs"]
    assert frame.select("time_ns", "time_source").row(0) == time


def lost_in_2026():
    result = samples.lost()
    result.boots = [replace(boot, start_ns=boot.start_ns + DAY_2026_NS) for boot in result.boots]
    return result


@pytest.mark.parametrize(
    ("stated", "created_ns", "time"),
    [
        ({}, None, (None, None)),
        ({}, 40_000_000_000, (None, None)),
        ({}, DAY_2026_NS, (DAY_2026_NS, "recording")),
        ({"time_ns": DAY_2026_NS, "stated_by": "manifest"}, None, (DAY_2026_NS, "manifest")),
    ],
)
def test_a_clock_that_was_not_set_says_no_time(stated, created_ns, time):
    """It counts from 1970: the kexec would be in no period, and a loss on no day that somebody asks for."""
    one = AnalyzedInput(
        7, Entry(b"lost.bin", 10, **stated), samples.lost(), "ok", clock="realtime", created_ns=created_ns
    )
    for table in ("kexecs", "captures"):
        assert rows.tables([one], None)[table].select("time_ns", "time_source").row(0) == time


def test_a_boot_without_times_falls_back():
    result = samples.lost()
    result.boots = [replace(boot, start_ns=None) for boot in result.boots]
    frame = tables(result, clock="realtime", created_ns=DAY_2026_NS)["kexecs"]
    assert frame.select("time_ns", "time_source").row(0) == (DAY_2026_NS, "recording")


def test_the_columns_are_the_schema():
    for name, frame in tables(samples.hidden()).items():
        assert frame.schema == TABLES[name]
        assert set(frame["capture"]) <= {7}


def test_a_kexec_says_loss_doubt_and_counts():
    row = tables(samples.lost())["kexecs"].row(0, named=True)
    assert (row["loss"], row["bridges_lost"], row["devices_stranded"]) == (False, 1, 3)  # no findings made
    assert (row["outgoing_release"], row["incoming_release"]) == ("7.3.4", "7.3.4")


def test_odd_text_becomes_valid_text():
    result = samples.lost()
    result.host = "a\udcff\x00b"
    result.boots = [Boot(1, "kernel", "\ud800", None, 0, 1, None, None), *result.boots[2:]]
    frames = tables(result)
    assert frames["captures"]["host"].to_list() == ["a\\xff\x00b"]
    assert frames["kexecs"]["outgoing_release"].to_list() == ["\\ud800"]


def test_what_took_its_worker_down_has_a_row_and_an_error():
    frames = rows.tables([failed_input(3, Entry(b"\xff.bin"), "crashed", "died of SIGSEGV")], None)
    (capture,) = frames["captures"].iter_rows(named=True)
    (error,) = frames["errors"].iter_rows(named=True)
    assert (capture["path"], capture["outcome"], capture["verdict"]) == ("\\xff.bin", "crashed", "unreadable")
    assert (error["kind"], error["message"]) == ("crashed", "died of SIGSEGV")
