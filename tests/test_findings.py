from dataclasses import replace

import pytest
import result_samples as samples
from result_samples import ABOVE_EIGHT, PORT, bridge, device, kexec

from analyzer.results import Divergence, Secondary
from analyzer.verdicts import findings

PLAIN = {"kind": "plain", "observed_policy": "stock", "preserved_source": "assumed"}


def codes(result, **more):
    return [(finding.code, finding.severity, finding.bdf) for finding in findings.for_kexec(result, **more)]


def test_a_loss_names_the_bridge_and_each_stranded_device():
    (result,) = samples.lost().kexecs
    assert codes(result) == [
        ("ARI001", "error", PORT),
        *(("ARI007", "error", bdf) for bdf in ABOVE_EIGHT),
    ]
    assert findings.for_kexec(result)[0].text == "ARI Forwarding lost on 0000:02:00.0 (explicit-write)"


@pytest.mark.parametrize(
    ("verdict", "code", "severity"),
    [
        ("lost", "ARI001", "error"),
        ("healed", "ARI002", "warning"),
        ("unconfigured", "ARI003", "error"),
        ("renumbered", "ARI004", "warning"),
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


def test_losses_of_a_merely_assumed_set_are_notes():
    result = kexec([bridge(PORT, "lost")], ABOVE_EIGHT[:1], **PLAIN)
    assert codes(result) == [("ARI001", "note", PORT), ("ARI007", "note", ABOVE_EIGHT[0])]
    assert codes(result, assume_preserved=True)[0] == ("ARI001", "error", PORT)


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
        ("ARI012", "warning", PORT),
        ("ARI014", "note", PORT),
    ]
