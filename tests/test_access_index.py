"""The columns that everything behind the readers works on."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer.capture import accesses
from analyzer.observed.index import AccessIndex
from analyzer.readers import with_keys


@pytest.mark.parametrize(
    ("width", "value", "counts"),
    [
        (0, 0xFFFFFFFF, 0xFFFFFFFF),
        (1, 0x1FF, 0xFF),
        (2, 0xFFFFFFFF, 0xFFFF),
        (2, 0x12345678, 0x5678),
        (4, 0xFFFFFFFF, 0xFFFFFFFF),
    ],
)
def test_only_the_bytes_of_an_access_count(width, value, counts):
    """A native file may hold more; an all-ones answer would look alive."""
    table = accesses.from_columns(
        {
            "bus": np.zeros(1, np.uint8),
            "devfn": np.zeros(1, np.uint8),
            "offset": np.array([4], np.uint16),
            "width": np.array([width], np.uint8),
            "op": np.zeros(1, np.uint8),
            "value": np.array([value], np.uint32),
            "where": np.zeros(1, np.uint64),
        },
        1,
    )
    assert AccessIndex(with_keys(table, 0)).value.tolist() == [counts]
