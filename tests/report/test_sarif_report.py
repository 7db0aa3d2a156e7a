import json
from pathlib import Path

import pytest
import result_samples as samples
from sarif_pydantic import Sarif

from analyzer import analyze
from analyzer.report.sarif_report import sarif_text
from analyzer.results.rules import RULES

CORPUS = Path(__file__).parents[1].parent / "traces"


def run_of(*captures):
    return Sarif.model_validate_json(sarif_text(samples.analysis(*captures))).runs[0]


def test_a_rule_for_each_code():
    rules = run_of().tool.driver.rules
    assert [rule.id for rule in rules] == list(RULES)
    assert rules[0].default_configuration.level == "error"


def test_a_result_points_at_the_access_that_proves_it():
    lost, *stranded = run_of(samples.lost()).results
    assert (lost.rule_id, lost.rule_index, lost.level) == ("ARI001", 0, "error")
    place = lost.locations[0]
    assert place.physical_location.artifact_location.uri == "lost.bin"
    assert place.physical_location.region.byte_offset == 0x12AB34
    assert place.logical_locations[0].fully_qualified_name == samples.PORT
    assert [item.message.text for item in lost.related_locations] == [
        "clears ARI Forwarding Enable",
        "first read after the kexec",
    ]
    assert [result.rule_id for result in stranded] == ["ARI007"] * 3
    # A stranded device is proven by what happened to the bridge above it.
    assert stranded[0].locations[0].physical_location.region.byte_offset == 0x12AB34


def test_every_finding_of_a_real_capture_is_a_result():
    analysis = analyze([str(CORPUS / "hidden-after-secondary-bus-reset.bin")])
    run = Sarif.model_validate_json(sarif_text(analysis)).runs[0]
    found = analysis.captures[0].kexecs[0].findings
    assert [(result.rule_id, result.message.text) for result in run.results] == [
        (finding.code, finding.text) for finding in found
    ]
    assert run.artifacts[0].hashes == {"sha-256": analysis.captures[0].files[0].sha256}
    assert run.invocations[0].execution_successful


def test_an_input_that_could_not_be_read_is_a_notification():
    text = sarif_text(samples.analysis(samples.unreadable(), samples.clean()))
    (invocation,) = json.loads(text)["runs"][0]["invocations"]
    assert not invocation["executionSuccessful"]
    (told,) = invocation["toolExecutionNotifications"]
    assert (told["level"], told["descriptor"]) == ("error", {"id": "unsupported"})


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("a b.bin", "a%20b.bin"),
        ("/x/y.bin", "file:///x/y.bin"),
        ("c:d", "c%3Ad"),
        ("a\udcff", "a%FF"),
        ("\u00e9", "%C3%A9"),
    ],
)
def test_paths_become_uris(path, uri):
    text = sarif_text(samples.analysis(samples.clean(path)))
    assert text.isascii()
    assert json.loads(text)["runs"][0]["artifacts"][0]["location"]["uri"] == uri
