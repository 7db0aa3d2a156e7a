"""Sources of the replay's rules: the title of a patch that was renamed names each first word once."""

from __future__ import annotations

import pytest

from analyzer.replay import citations
from analyzer.replay.citations import ARI, NUMBERS
from analyzer.series import TABLE

OLDEST, LATER, NEWEST = TABLE[0], TABLE[3], TABLE[4]


@pytest.mark.parametrize(
    ("words", "dated", "expected"),
    [
        ([(OLDEST, "Inherit")], True, "'Inherit bus numbers'"),
        ([(OLDEST, "Inherit"), (LATER, "Keep")], False, "'Inherit (Keep) bus numbers'"),
        ([(OLDEST, "Inherit"), (LATER, "Keep")], True, "'Inherit (v7: Keep) bus numbers'"),
        (
            [(OLDEST, "Inherit"), (LATER, "Keep"), (NEWEST, "Preserve")],
            True,
            "'Inherit (v7: Keep, v8: Preserve) bus numbers'",
        ),
        (
            [(OLDEST, "Inherit"), (LATER, "Keep"), (NEWEST, "Preserve")],
            False,
            "'Inherit (Keep, Preserve) bus numbers'",
        ),
    ],
)
def test_titles(words: list[tuple[object, str]], dated: bool, expected: str) -> None:
    assert citations._patch_title(tuple(words), "bus numbers", dated=dated) == expected


def test_the_titles_that_are_cited() -> None:
    """Series v4 to v7 "Inherit ARI Forwarding Enable", v8 and v9 "Adopt"; the bus-number patch has three."""
    ari = "patch 'Inherit (v8: Adopt) ARI Forwarding Enable on preserved bridges'"
    assert ARI["inherited"][1].endswith(f" to v9 ({TABLE[-1].posted}), {ari}")
    assert NUMBERS["refuse"][1].endswith("series v4-v9, patch 'Inherit (Keep, Preserve) bus numbers'")
    assert NUMBERS["unknown"][1].endswith("series v9, patch 'Preserve bus numbers'")
