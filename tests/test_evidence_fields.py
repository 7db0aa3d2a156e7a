"""Registers of evidence decoded from their text alone, as a page shows them."""

from dataclasses import replace

import pytest
import result_samples as samples

from analyzer.analysis import analyze
from analyzer.questions.explain.decode import of_evidence


def fields(register, value):
    found = of_evidence(replace(samples.FIRST_READ, register=register, value=value))
    return {field.name: field for field in found}


@pytest.mark.parametrize(
    ("register", "value", "name", "bits", "text"),
    [
        ("CAP_EXP+28.w", "0x0020", "ARIFwd", "5", "ARIFwd+"),
        ("CAP_EXP+28.w", "0x0000", "ARIFwd", "5", "ARIFwd-"),
        ("CAP_EXP+28.l", "0x00000020", "ARIFwd", "5", "ARIFwd+"),
        ("BRIDGE_CONTROL", "0x0042", ">Reset", "6", ">Reset+"),
        ("PRIMARY_BUS.l", "0x00030302", "SECONDARY_BUS", "", "SECONDARY_BUS 0x3"),
        ("COMMAND", "0x0004", "BusMaster", "2", "BusMaster+"),
        ("ECAP_ARI+04.w", "0x0100", "Next Function", "15:8", "Next Function 1"),
    ],
)
def test_a_register_named_by_its_text_is_decoded(register, value, name, bits, text):
    found = fields(register, value)
    assert (found[name].bits, found[name].text) == (bits, text)


@pytest.mark.parametrize(
    ("register", "value"),
    [
        (None, "0x0"),
        ("CAP_EXP+28.w", None),
        ("NO_SUCH+28.w", "0x1"),
        ("nonsense", "0x1"),
        ("CAP_EXP+zz", "0x1"),
    ],
)
def test_what_names_no_register_has_no_fields(register, value):
    assert fields(register, value) == {}


def test_all_evidence_of_the_corpus_is_decoded(request):
    traces = sorted((request.config.rootpath / "traces").glob("*.bin"))
    for capture in analyze([str(path) for path in traces]).captures:
        for bridge in capture.kexecs[0].bridges:
            for item in bridge.evidence:
                assert item.register is None or of_evidence(item), item
