"""What fuzzing found stays mended, and a short random run without a fuzzer finds nothing."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import fuzz_targets
import pytest
from fuzz_oracle import allowed

FINDS = Path(__file__).parent / "finds"
SEED = 8


def run(target, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        allowed(target.run, data)


@pytest.mark.parametrize(
    "path", sorted(FINDS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_find_stays_mended(path):
    run(fuzz_targets.TARGETS[path.parent.name], path.read_bytes())


@pytest.mark.parametrize("name", fuzz_targets.TARGETS)
def test_changed_captures_are_an_answer_or_a_reason(name):
    target = fuzz_targets.TARGETS[name]
    seeds = target.seeds()
    rng = random.Random(SEED)  # noqa: S311 - repeatable, nothing secret
    for seed in seeds:
        run(target, seed)
    for _ in range(target.rounds):
        run(target, target.mutate(rng.choice(seeds), rng, rng.choice(seeds)))
