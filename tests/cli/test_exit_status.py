from dataclasses import replace

import pytest
import result_samples as samples
from result_samples import ABOVE_EIGHT, OTHER, PORT, bridge, capture, kexec

from analyzer.cli import exit_status
from analyzer.results import Divergence

PLAIN = {"kind": "plain", "observed_policy": "stock", "policy": "stock", "preserved_source": "assumed"}
UNEXPLAINED = Divergence("0000:03:01.0", True, False, "", explained=False)
EXPLAINED = Divergence("0000:03:01.0", True, False, "it died", explained=True)


def one(verdict, **more):
    return capture("x.bin", [kexec([bridge(OTHER, "kept"), bridge(PORT, verdict)], **more)])


def one_not_preserved(verdict, **more):
    there = replace(bridge(PORT, verdict), preserved=False)
    return capture("x.bin", [kexec([bridge(OTHER, "kept"), there], **more)])


def stranded(**more):
    return capture("x.bin", [kexec([bridge(PORT, "kept")], ABOVE_EIGHT, "chain-broken", **more)])


CASES = [
    # captures, plain status, status with --strict
    ([samples.clean()], 0, 0),
    ([samples.lost()], 1, 1),
    ([samples.hidden()], 1, 1),
    ([samples.undetermined()], 3, 3),
    ([samples.unreadable()], 3, 3),
    ([samples.clean(), samples.unreadable()], 3, 3),
    ([samples.lost(), samples.unreadable()], 1, 1),
    ([samples.unreadable(), samples.lost()], 1, 1),
    ([capture("x.bin", [], "no-kexec")], 0, 0),
    # every verdict of a preserved bridge
    ([one("lost")], 1, 1),
    ([one("unconfigured")], 1, 1),
    ([one("hidden")], 1, 1),
    ([one("gone")], 1, 1),
    ([one("healed")], 0, 1),
    ([one("renumbered")], 1, 1),
    ([one("cleared")], 0, 0),
    ([one("ignored")], 0, 0),
    ([one("gained")], 0, 0),
    ([one("off")], 0, 0),
    ([one("not-applicable")], 0, 0),
    ([one("undetermined")], 3, 3),
    # of one that is not preserved
    ([one_not_preserved("lost")], 0, 0),
    ([one_not_preserved("gone")], 0, 0),
    ([one_not_preserved("healed")], 0, 0),
    # devices
    ([stranded()], 1, 1),
    # divergences
    ([samples.clean(divergences=[UNEXPLAINED])], 3, 3),
    ([samples.clean(divergences=[EXPLAINED])], 0, 0),
    ([samples.lost(divergences=[UNEXPLAINED])], 1, 1),
    # a preserved set that is only assumed
    ([one_not_preserved("lost", **PLAIN)], 0, 0),
    ([one_not_preserved("undetermined", **PLAIN)], 0, 0),
    ([one_not_preserved("undetermined", **PLAIN | {"kind": "unknown"})], 3, 3),
    ([one("healed", **PLAIN)], 0, 0),
    ([one("lost", **PLAIN | {"kind": "live-update"})], 1, 1),
    ([one("lost", **PLAIN | {"observed_policy": "inherit"})], 1, 1),
    ([one("lost", **PLAIN | {"observed_policy": "heal"})], 1, 1),
    ([one("lost", **PLAIN | {"kind": "unknown"})], 3, 3),
    ([stranded(**PLAIN | {"kind": "unknown"})], 3, 3),
    ([one("lost", **PLAIN | {"preserved_source": "option"})], 1, 1),
    ([one("healed", **PLAIN | {"preserved_source": "sidecar"})], 0, 1),
]


@pytest.mark.parametrize(("captures", "status", "strict"), CASES)
def test_exit_status(captures, status, strict):
    assert exit_status.of_analysis(samples.analysis(*captures)) == status
    assert exit_status.of_analysis(samples.analysis(*captures, strict=True)) == strict
    assert exit_status.of_analysis(samples.analysis(*captures, strict=True), exit_zero=True) == 0


def test_assume_preserved_makes_an_assumed_set_count():
    analysis = samples.analysis(one("lost", **PLAIN), assume_preserved=True)
    assert exit_status.of_analysis(analysis) == 1


@pytest.mark.parametrize(
    ("selected", "status"),
    [({"ARI001", "ARI007"}, 1), ({"ARI007"}, 1), ({"ARI001"}, 1), ({"ARI003"}, 0), (set(), 0)],
)
def test_only_selected_findings_count(selected, status):
    analysis = samples.analysis(samples.lost(), selected=frozenset(selected))
    assert exit_status.of_analysis(analysis) == status


@pytest.mark.parametrize(
    ("result", "selected", "status"),
    [
        (samples.undetermined(), None, 3),
        (samples.undetermined(), {"ARI010"}, 3),
        (samples.undetermined(), {"ARI001"}, 0),
        (samples.unreadable(), {"ARI001"}, 3),
    ],
)
def test_a_doubt_counts_unless_its_code_is_left_out(result, selected, status):
    chosen = None if selected is None else frozenset(selected)
    assert exit_status.of_analysis(samples.analysis(result, selected=chosen)) == status
