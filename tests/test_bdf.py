"""Function addresses: keys and texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer import bdf


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("0000:03:01.0", 0x0308),
        ("03:01.0", 0x0308),
        ("0000:00:1f.7", 0x00FF),
        ("10000:e1:00.0", 0x1_0000_E100),
        ("ffffffff:ff:1f.7", 0xFFFF_FFFF_FFFF),
        ("0:0:0.0", 0),
        (" 0000:03:01.0\n", 0x0308),
        ("000A:0B:0c.1", 0xA_0B61),
    ],
)
def test_parse(text, key):
    assert bdf.parse(text) == key


@pytest.mark.parametrize(
    "text",
    ["", "03", "03:01", "03:01.8", "03:20.0", "03:1f.0.0", "x:03:01.0", "100000000:03:01.0", "0003:100:01.0"],
)
def test_parse_refuses(text):
    with pytest.raises(ValueError, match="expected a function address"):
        bdf.parse(text)


@pytest.mark.parametrize(
    ("key", "text"),
    [(0x0308, "0000:03:01.0"), (0x1_0000_E100, "10000:e1:00.0"), (0x01FF, "0000:01:1f.7")],
)
def test_text(key, text):
    assert bdf.text(key) == text


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 255), st.integers(0, 255))
def test_round_trip(domain, bus, devfn):
    key = bdf.key(domain, bus, devfn)
    assert bdf.parse(bdf.text(key)) == key
