"""Findings, weights, capture verdicts and summaries, to the letter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import result_samples as samples
from result_samples import OTHER, PORT, ROOT, bridge, capture, device, kexec

from analyzer.errors import UsageError
from analyzer.options import Options
from analyzer.results import Divergence, Finding, Secondary, Summary, rules
from analyzer.verdicts import verdict

PLAIN = {"kind": "plain", "observed_policy": "stock", "preserved_source": "assumed"}


def found_in(result: object) -> list[Finding]:
    return [replace(item, weight=None) for item in samples.concluded(result).findings]


def texts(result: object) -> list[str]:
    return [finding.text for finding in found_in(result)]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (bridge(PORT, "lost"), f"ARI Forwarding lost on {PORT}"),
        (bridge(PORT, "lost", cause="unknown"), f"ARI Forwarding lost on {PORT} (cause unknown)"),
        (bridge(PORT, "lost", cause="hot-reset"), f"ARI Forwarding lost on {PORT} (hot-reset)"),
        (
            bridge(PORT, "unconfigured", cause="secondary-bus-reset", cause_bdf=ROOT),
            (f"bridge {PORT} lost its bus numbers and was left unconfigured (secondary-bus-reset of {ROOT})"),
        ),
        (bridge(PORT, "undetermined"), f"{PORT} is undetermined"),
        (
            bridge(PORT, "undetermined", missing_access="a read of CAP_EXP+28.w"),
            f"{PORT} is undetermined, not in the capture: a read of CAP_EXP+28.w",
        ),
        (bridge(PORT, "gone", cause="unknown"), f"bridge {PORT} gone (cause unknown)"),
        (bridge(PORT, "gained"), f"ARI Forwarding gained on {PORT}"),
        (bridge(PORT, "renumbered"), f"bridge {PORT} renumbered"),
        (bridge(PORT, "hidden"), f"bridge {PORT} hidden below a lost bridge"),
    ],
)
def test_text_of_a_bridge_finding(found: object, expected: str) -> None:
    assert texts(kexec([found])) == [expected]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            device(PORT, "stranded", "ari-off"),
            ("ARI007", "error", f"preserved device {PORT} stranded (ari-off)"),
        ),
        (device(PORT, "stranded"), ("ARI007", "error", f"preserved device {PORT} stranded")),
        (device(PORT, "missing", "noari", preserved=False), ("ARI015", "note", f"{PORT} missing (noari)")),
        (
            device(PORT, "undetermined", "never-seen"),
            ("ARI010", "warning", f"{PORT} is undetermined (never-seen)"),
        ),
        (device(PORT, "undetermined", "never-seen", preserved=False), None),
        (device(PORT), None),
    ],
)
def test_text_of_a_device_finding(found: object, expected: tuple[str, str, str] | None) -> None:
    result = kexec([], devices=[found])
    assert [(item.code, item.severity, item.text) for item in found_in(result)] == (
        [] if expected is None else [expected]
    )
    assert [item.bdf for item in found_in(result)] == ([] if expected is None else [PORT])


@pytest.mark.parametrize(
    ("divergence", "expected"),
    [
        (Divergence(PORT, True, False, "", explained=False), f"{PORT} was predicted but not enumerated"),
        (Divergence(PORT, False, True, "", explained=False), f"{PORT} was enumerated but not predicted"),
        (
            Divergence(PORT, True, False, "hot-plug", explained=True),
            f"{PORT} was predicted but not enumerated: hot-plug",
        ),
    ],
)
def test_text_of_a_divergence(divergence: Divergence, expected: str) -> None:
    (found,) = found_in(kexec([], divergences=[divergence]))
    severity = "note" if divergence.explained else "warning"
    assert found == Finding("ARI011", severity, PORT, expected)


@pytest.mark.parametrize(
    ("secondary", "expected"),
    [
        (Secondary(PORT, "acs-lost", "ACS is 0"), Finding("STATE003", "warning", PORT, "ACS is 0")),
        (
            Secondary(PORT, "bus-master-lost", ""),
            Finding("STATE011", "warning", PORT, f"bus-master-lost on {PORT}"),
        ),
        (Secondary(PORT, "ltr-lost", "LTR is 0"), Finding("ARI014", "note", PORT, "LTR is 0")),
    ],
)
def test_text_of_a_secondary_finding(secondary: Secondary, expected: Finding) -> None:
    assert found_in(kexec([], secondary=[secondary])) == [expected]


@pytest.mark.parametrize(
    ("found", "changes", "plain", "strict"),
    [
        (bridge(PORT, "lost"), {}, "loss", "loss"),
        (replace(bridge(PORT, "lost"), preserved=False), {}, None, None),
        (bridge(PORT, "healed"), {}, None, "loss"),
        (bridge(PORT, "healed"), PLAIN, None, None),
        (bridge(PORT, "renumbered"), {}, "loss", "loss"),
        (bridge(PORT, "undetermined"), {}, "doubt", "doubt"),
        (replace(bridge(PORT, "undetermined"), preserved=False), {}, None, None),
        (Divergence(PORT, True, False, "", explained=False), {}, "doubt", "doubt"),
        (Divergence(PORT, True, False, "", explained=True), {}, None, None),
        (Secondary(PORT, "acs-lost", ""), {}, None, None),
    ],
)
def test_weight_on_the_exit_status(
    found: object, changes: dict[str, str], plain: str | None, strict: str | None
) -> None:
    place = {Divergence: "divergences", Secondary: "secondary"}.get(type(found), "bridges")
    for options, weight in ((Options(), plain), (Options(strict=True), strict)):
        result = kexec(**{"bridges": [], place: [found]} | changes)
        assert [item.weight for item in samples.concluded(result, options).findings] == [weight]


def test_a_healed_loss_of_an_assumed_set_weighs_if_the_user_says_so() -> None:
    asked = Options(strict=True, assume_preserved=True)
    result = samples.concluded(kexec([bridge(PORT, "healed")], **PLAIN), asked)
    assert [item.weight for item in result.findings] == ["loss"]


def with_findings(*pairs: tuple[str, str]) -> object:
    return kexec([], findings=[Finding(code, severity, PORT, "") for code, severity in pairs])


@pytest.mark.parametrize(
    ("pairs", "whole", "cut"),
    [
        ((), "clean", "undetermined"),
        ((("ARI008", "note"),), "clean", "undetermined"),
        ((("ARI001", "error"),), "findings", "findings"),
        ((("ARI002", "warning"),), "findings", "findings"),
        ((("ARI010", "warning"),), "undetermined", "undetermined"),
        ((("ARI011", "warning"),), "undetermined", "undetermined"),
        ((("ARI010", "warning"), ("ARI011", "warning")), "undetermined", "undetermined"),
        ((("ARI010", "warning"), ("STATE003", "warning")), "findings", "findings"),
        ((("ARI001", "note"), ("ARI011", "warning")), "findings", "findings"),
        ((("ARI002", "note"),), "findings", "findings"),
        ((("ARI015", "note"),), "findings", "findings"),
    ],
)
def test_the_word_for_a_capture(pairs: tuple[tuple[str, str], ...], whole: str, cut: str) -> None:
    results = [with_findings(), with_findings(*pairs)]
    assert verdict.of_capture(results, whole=True) == whole
    assert verdict.of_capture(results, whole=False) == cut


@pytest.mark.parametrize("whole", [True, False])
def test_a_capture_without_a_kexec(whole: bool) -> None:
    assert verdict.of_capture([], whole=whole) == "no-kexec"


def test_summary() -> None:
    result = kexec(
        [
            bridge(PORT, "lost"),
            bridge(ROOT, "healed"),
            replace(bridge(OTHER, "lost"), preserved=False),
            *(bridge(PORT, name) for name in ("unconfigured", "hidden", "gone", "renumbered", "kept")),
        ],
        samples.ABOVE_EIGHT,
    )
    counted = verdict.summarise(
        [
            capture("a.bin", [result, result]),
            capture("b.bin", [kexec([])], "clean"),
            samples.undetermined(),
            samples.undetermined(),
            samples.unreadable(),
            samples.unreadable(),
            samples.unreadable(),
        ]
    )
    assert counted == Summary(
        captures=7, kexecs=5, bridges_lost=10, devices_stranded=6, undetermined=2, unreadable=3
    )


@pytest.mark.parametrize("code", ["ARI001", "ari001", "Ari001"])
def test_a_rule_by_its_code(code: str) -> None:
    assert rules.rule(code) is rules.RULES["ARI001"]


def test_no_such_rule() -> None:
    with pytest.raises(UsageError) as error:
        rules.rule("ARI999")
    assert "there is no finding code 'ARI999'" in str(error.value)
    assert error.value.advice == "'analyze rule' lists them"
