import pytest
from result_samples import PORT, bridge

from analyzer.plurals import count
from analyzer.report.wording import (
    cause_text,
    clock,
    clock_name,
    duration,
    listed,
    on_off,
)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 bridges"), (1, "1 bridge"), (2, "2 bridges"), (12345, "12,345 bridges")]
)
def test_count(number, text):
    assert count(number, "bridge") == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1500, "1.500 us"),
        (921_486_000, "921.486 ms"),
        (65_500_000_000, "65.500 s"),
        (-1_000_000_000, "-1.000000 s (clock jumped)"),
    ],
)
def test_duration(nanoseconds, text):
    assert duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (1_795_328_047_501_553_000, "2026-11-22 06:14:07.501553"),
        (0, "0.000000"),
        (-1_500_000_000, "-1.500000"),
    ],
)
def test_clock(nanoseconds, text):
    assert clock(nanoseconds) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")],
)
def test_listed(names, text):
    assert listed(names, 2) == text


def test_on_off():
    assert [on_off(state) for state in (True, False, None)] == ["ARIFwd+", "ARIFwd-", "ARIFwd?"]


@pytest.mark.parametrize(
    ("clock", "time_ns", "name"),
    [
        ("realtime", 1_795_328_047_501_553_000, "UTC"),
        (None, 1_795_328_047_501_553_000, "UTC"),
        ("tai", 1_795_328_084_501_553_000, "TAI"),
        ("mixed", 1_795_328_047_501_553_000, "the clock of each piece"),
        ("boot", 12_000_000_000, ""),
        ("realtime", None, ""),
    ],
)
def test_which_clock_dates_are_in(clock, time_ns, name):
    assert clock_name(clock, time_ns) == name


def test_a_cause_has_one_name():
    assert cause_text(bridge(PORT, "lost", cause="unknown")) == "unknown: the capture does not show why"
    assert cause_text(bridge(PORT, "lost", cause="hot-reset", cause_bdf="0000:00:03.0")) == (
        "hot-reset (0000:00:03.0): the port was reset; what reset it is not in the capture"
    )
    assert cause_text(bridge(PORT, "kept", cause=None)) == ""
