"""``explain`` has words for everything that a capture may show."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from analyzer import analysis
from analyzer.observed.decisions import Rule
from analyzer.options import Options
from analyzer.questions.explain import derivation
from analyzer.readers import open_capture

CORPUS = sorted((Path(__file__).parents[1] / "traces").glob("*.bin"))


def test_every_rule_of_a_decision_has_words() -> None:
    assert derivation._RULES.keys() == set(get_args(Rule))


@pytest.mark.slow
def test_every_capture_of_the_corpus_is_explained() -> None:
    options = Options()
    for path in CORPUS:
        study = analysis.study(open_capture(str(path)), options)
        steps = [derivation.of_kexec(study, one, options) for one in study.kexec_analyses]
        assert all(steps), path.stem
