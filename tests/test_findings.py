from dataclasses import replace

import pytest
import result_samples as samples
from result_samples import ABOVE_EIGHT, PORT, bridge, device, kexec

from analyzer.options import Options
from analyzer.results import Divergence, Secondary
from analyzer.verdicts import findings

PLAIN = {"kind": "plain", "observed_policy": "stock", "preserved_source": "assumed"}


def codes(result):
    return [(item.code, item.severity, item.bdf) for item in samples.concluded(result).findings]


def test_a_loss_names_the_bridge_and_each_stranded_device():
    (result,) = samples.lost().kexecs
    assert codes(result) == [
        ("ARI001", "error", PORT),
        *(("ARI007", "error", bdf) for bdf in ABOVE_EIGHT),
    ]
    assert result.findings[0].text == "ARI Forwarding lost on 0000:02:00.0 (explicit-write)"


@pytest.mark.parametrize(
    ("verdict", "code", "severity"),
    [
        ("lost", "ARI001", "error"),
        ("healed", "ARI002", "warning"),
        ("unconfigured", "ARI003", "error"),
        ("renumbered", "ARI004", "error"),
        ("gone", "ARI005", "error"),
        ("hidden", "ARI006", "error"),
        ("cleared", "ARI008", "note"),
        ("ignored", "ARI009", "note"),
        ("undetermined", "ARI010", "warning"),
        ("gained", "ARI016", "note"),
    ],
)
def test_weight_of_bridge_verdicts(verdict, code, severity):
    assert codes(kexec([bridge(PORT, verdict)])) == [(code, severity, PORT)]
    other = replace(bridge(PORT, verdict), preserved=False)
    assert codes(kexec([other])) == [(code, "note", PORT)]


@pytest.mark.parametrize("verdict", ["kept", "off", "not-applicable"])
def test_no_finding_where_nothing_happened(verdict):
    assert codes(kexec([bridge(PORT, verdict)])) == []


@pytest.mark.parametrize(
    ("changes", "weight"),
    [
        ({"preserved_source": "option"}, "loss"),
        ({"kind": "live-update"}, "loss"),
        ({"observed_policy": "inherit"}, "loss"),
        ({"observed_policy": "serialize"}, "loss"),
        ({"observed_policy": "heal"}, "loss"),
        ({"kind": "unknown"}, "doubt"),
        ({"kind": "unknown", "observed_policy": "unknown"}, "doubt"),
        ({"kind": "crash"}, None),
        ({}, None),
    ],
)
def test_weight_of_a_loss(changes, weight):
    result = samples.concluded(kexec([bridge(PORT, "lost")], ABOVE_EIGHT[:1], **PLAIN | changes))
    assert [item.weight for item in result.findings] == [weight, weight]


def test_what_is_not_selected_is_kept_apart_and_weighs_nothing():
    result = samples.concluded(kexec([bridge(PORT, "lost")], ABOVE_EIGHT[:1]), Options(selected={"ARI007"}))
    assert [(item.code, item.weight) for item in result.findings] == [("ARI007", "loss")]
    assert [(item.code, item.weight) for item in result.ignored] == [("ARI001", None)]


@pytest.mark.parametrize(
    ("changes", "not_preserved", "severity"),
    [
        ({"kind": "unknown"}, set(), "warning"),
        ({"kind": "unknown"}, {PORT}, "note"),
        ({"kind": "plain"}, set(), "note"),
        ({"preserved_source": "option"}, set(), "note"),
    ],
)
def test_what_an_assumed_set_leaves_open_is_a_doubt(changes, not_preserved, severity):
    unknown = replace(bridge(PORT, "undetermined"), preserved=False)
    result = kexec([unknown], **PLAIN | changes)
    if result.preserved_source == "assumed":
        result.preservation = "none" if result.kind == "plain" else "unrecognised"
    findings.add(result, Options(), frozenset(not_preserved))
    assert [item.severity for item in result.findings] == [severity]


def test_other_findings():
    result = kexec(
        [],
        divergences=[
            Divergence("0000:05:00.0", True, False, "", explained=False),
            Divergence("0000:05:01.0", False, True, "hot-added", explained=True),
        ],
        secondary=[Secondary(PORT, "acs-lost", "ACS lost"), Secondary(PORT, "ltr-lost", "")],
        devices=[
            device("0000:04:00.0", "missing", "ari-off", preserved=False),
            device("0000:05:00.0", "undetermined", "never-seen"),
            device("0000:06:00.0", "undetermined", "not-captured", preserved=False),
        ],
    )
    assert codes(result) == [
        ("ARI015", "note", "0000:04:00.0"),
        ("ARI010", "warning", "0000:05:00.0"),
        ("ARI011", "warning", "0000:05:00.0"),
        ("ARI011", "note", "0000:05:01.0"),
        ("STATE003", "warning", PORT),
        ("ARI014", "note", PORT),
    ]
