import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.escaping import LIMIT, all_encodable, encodable, inert


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text ~", "plain text ~"),
        ("", ""),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("two\nlines\r\t", "two\\x0alines\\x0d\\x09"),
        ("nul\0del\x7fcsi\x9b", "nul\\x00del\\x7fcsi\\x9b"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        ("iso\u2066late\u2069", "iso\\u2066late\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("undecodable\udcff", "undecodable\\xff"),
        ("lone\ud800", "lone\\ud800"),
        ("caf\u00e9 \u65e5\u672c", "caf\u00e9 \u65e5\u672c"),
        ("[bold]markup[/bold]", "[bold]markup[/bold]"),
    ],
)
def test_what_could_deceive_becomes_an_escape(text, shown):
    assert inert(text) == shown


def test_ascii_only_escapes_the_rest_too():
    assert inert("caf\u00e9 \u65e5", ascii_only=True) == "caf\\xe9 \\u65e5"


def test_long_texts_are_cut_and_say_so():
    shown = inert("x" * (LIMIT + 1))
    assert shown == "x" * LIMIT + f"... ({LIMIT + 1} characters)"


@given(st.text(st.characters(exclude_categories=[])))
def test_the_result_can_always_be_printed(text):
    shown = inert(text)
    shown.encode("utf-8")
    assert shown.isprintable()
    assert inert(text, ascii_only=True).isascii()


@pytest.mark.parametrize(
    ("text", "stored"),
    [("a\udcff", "a\\xff"), ("lone\ud800", "lone\\ud800"), ("evil\u202e\x1b", "evil\u202e\x1b")],
)
def test_what_no_encoder_takes_becomes_an_escape(text, stored):
    assert encodable(text) == stored
    assert all_encodable({"a": [text, (text, 1)]}) == {"a": [stored, (stored, 1)]}
