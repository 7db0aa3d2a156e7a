import re
from typing import get_args

import pytest

from analyzer.results import BridgeVerdictName, rules


def test_codes_are_unique_ordered_and_complete():
    assert list(rules.RULES) == sorted(rules.RULES)
    for code, rule in rules.RULES.items():
        assert re.fullmatch(r"(ARI|STATE)\d{3}", code)
        assert rule.code == code
        assert rule.severity in {"error", "warning", "note"}
        for text in (rule.title, rule.meaning, rule.source, rule.advice):
            assert text == text.strip()
            assert text


def test_every_bridge_verdict_has_a_code_or_is_unremarkable():
    assert set(get_args(BridgeVerdictName)) - set(rules.BRIDGE_CODES) == {"kept", "off", "not-applicable"}
    assert set(rules.BRIDGE_CODES.values()) <= set(rules.RULES)


@pytest.mark.parametrize(
    ("prefixes", "codes"),
    [
        (["ARI001"], {"ARI001"}),
        (["ari007", "ARI001"], {"ARI001", "ARI007"}),
        (["ARI", "STATE"], set(rules.RULES)),
        (["ARI012"], {"ARI012", "STATE003"}),
        (["ari013"], {"ARI013", "STATE011"}),
        (["STATE003"], {"STATE003"}),
        ([], set()),
    ],
)
def test_matching(prefixes, codes):
    assert rules.matching(prefixes) == codes


@pytest.mark.parametrize("prefix", ["ARI9", "", "X"])
def test_a_prefix_of_nothing_is_an_error(prefix):
    with pytest.raises(KeyError) as error:
        rules.matching(["ARI001", prefix])
    assert error.value.args == (prefix,)
