"""How many captures make a batch where the user does not say."""

from __future__ import annotations

import pytest

from analyzer.fleet.job import fitting_batch_size

MIB = 1 << 20


@pytest.mark.parametrize(
    ("captures", "size", "batch"),
    [
        (0, 0, 1),
        (1, 100, 128),
        (500, 50 * MIB, 128),  # small ones: the parts' files must not cost more than the work
        (500, 500 * MIB, 64),  # at most 64 MiB
        (100, 100 * 1024 * MIB, 1),  # large ones: every core has something to do
        (1_000_000, 100_000 * MIB, 977),  # at most 1024 batches
        (100_000_000, 10_000_000 * MIB, 2000),
    ],
)
def test_batch_size(captures: int, size: int, batch: int) -> None:
    assert fitting_batch_size(captures, size) == batch
