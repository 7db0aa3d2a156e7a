"""The capability lists of lspci's text: what each entry leads to, and what a missing line leaves unknown.

Lines are those of lspci 3.9 and 3.13 on real machines; where a line is missing or broken, derived.
"""

from __future__ import annotations

from typing import Any

import pytest
from lspci_functions import AER, ARI, EXPRESS, MSI, ONES, PM, Dwords, closed, new, with_capabilities

HEADER = {0x0C: (0, 0x7F0000)}
#: Status shows a list.
LIST = {0x04: (0x100000, 0x100000)}


@pytest.mark.parametrize(
    ("titles", "dwords"),
    [
        ([(0x40, PM), (0x50, MSI)],
         {0x34: (0x40, 0xFC), 0x40: (0x5001, 0xFCFF), 0x50: (0x0005, 0xFCFF)}),
        ([(0x48, PM), (0x40, "A later one"), (0xF0, MSI)],
         {0x34: (0x48, 0xFC), 0x48: (0x4001, 0xFCFF), 0x40: (0xF000, 0xFC00), 0xF0: (0x0005, 0xFCFF)}),
        ([(0x40, EXPRESS), (0x100, AER, 2), (0x148, ARI, 1)],
         {0x34: (0x40, 0xFC), 0x40: (0x020010, 0x00FFFCFF), 0x100: (0x14820001, 0xFFCFFFFF),
          0x148: (0x0001000E, 0xFFCFFFFF)}),
        ([(0x40, EXPRESS), (0x100, AER), (0x148, "A later one", 3)],
         {0x34: (0x40, 0xFC), 0x40: (0x020010, 0x00FFFCFF), 0x100: (0x14800001, 0xFFC0FFFF),
          0x148: (0x00030000, 0xFFCF0000)}),
        ([(0x40, EXPRESS), (0xF0, "Null"), (0x100, "Null")],
         {0x34: (0x40, 0xFC), 0x40: (0x02F010, 0x00FFFCFF), 0xF0: (0, 0xFCFF), 0x100: (0, 0xFFC0FFFF)}),
    ],
)  # fmt: skip
def test_lists(titles: list[Any], dwords: Dwords) -> None:
    function = with_capabilities(*titles)
    assert closed(function, extended_is_shown=True) == HEADER | LIST | dwords
    assert function.lacking == 0
    places = {offset: where for offset, _, _, where in function.reads().T.tolist()}
    assert [places[title[0]] for title in titles] == list(range(100, 100 + len(titles)))


def test_a_list_that_may_go_on() -> None:
    """Where the text ends with the capability, what follows it is not known."""
    function = with_capabilities((0x40, EXPRESS), (0x100, AER, 1), (0x148, ARI, 1))
    dwords = closed(function, whole=False)
    assert [dwords[at] for at in (0x40, 0x100, 0x148)] == [
        (0x020010, 0x00FF00FF),
        (0x14810001, 0xFFCFFFFF),
        (0x0001000E, 0x000FFFFF),
    ]


@pytest.mark.parametrize(
    ("before", "title"),
    [
        ([(0x40, EXPRESS)], (0x42, MSI)),
        ([(0x40, EXPRESS)], (0x3C, MSI)),
        ([(0x40, EXPRESS)], (0x40, MSI)),
        ([(0x40, EXPRESS)], (0x104, AER)),
        ([(0x40, EXPRESS), (0x100, AER)], (0x50, MSI)),
        ([(0x40, EXPRESS), (0x100, AER)], (0x100, ARI)),
        ([(0x40, EXPRESS), (0x100, AER)], (0x10A, ARI)),
    ],
)
def test_titles_where_none_can_be(before: list[Any], title: Any) -> None:
    """Lines are missing: it counts, is not used, and no list has an end."""
    function = with_capabilities(*before, title)
    assert function.lacking == 1
    entry = function.current
    assert entry is not None
    assert entry.offset == before[-1][0]
    dwords = closed(function, extended_is_shown=True)
    assert dwords.keys() == closed(with_capabilities(*before)).keys()
    last, mask = before[-1][0], 0xFC00 if before[-1][0] < 0x100 else 0xFFC00000
    assert dwords[last][1] & mask == 0
    assert function.has_ari is None


def test_the_lowest_and_highest_places_of_a_list() -> None:
    function = with_capabilities((0x40, EXPRESS), (0xFC, MSI), (0x100, AER), (0xFFC, ARI))
    assert function.lacking == 0
    dwords = closed(function)
    assert [dwords[at] for at in (0xFC, 0xFFC)] == [(0x0005, 0xFCFF), (0x000E, 0xFFC0FFFF)]


def test_extended_capabilities_without_a_standard_one_lack_it() -> None:
    """lspci looks for them only where it found PCI Express: its title is missing, between any two."""
    function = with_capabilities((0x40, PM), (0x50, MSI), (0x100, AER, 1))
    dwords = closed(function)
    assert function.lacking == 1
    assert [dwords[at] for at in (0x40, 0x50, 0x100)] == [(1, 0xFF), (5, 0xFF), (0x10001, 0xFFFFF)]


def test_a_title_that_is_missing_stays_so_without_an_express_capability() -> None:
    function = with_capabilities((0x40, PM), (0x100, AER, 1))
    assert not function.owned("ACSCtl")
    function.capability(0x148, ARI, 1, 9)
    dwords = closed(function)
    assert function.lacking == 2
    assert [dwords[at] for at in (0x40, 0x100, 0x148)] == [(1, 0xFF), (0x10001, 0xFFFFF), (0x1000E, 0xFFFFF)]


@pytest.mark.parametrize(
    ("titles", "extended_is_shown", "whole", "first"),
    [
        ([(0x40, EXPRESS)], True, True, (0, ONES)),
        ([(0x40, EXPRESS)], False, True, None),
        ([(0x40, EXPRESS)], True, False, None),
        ([(0x40, PM)], True, True, None),
        ([(0x40, EXPRESS), (0x100, AER, 1)], True, True, (0x10001, 0xFFCFFFFF)),
    ],
)
def test_whether_there_are_extended_capabilities(
    titles: list[Any], extended_is_shown: bool, whole: bool, first: tuple[int, int] | None
) -> None:
    function = with_capabilities(*titles)
    assert closed(function, whole=whole, extended_is_shown=extended_is_shown).get(0x100) == first


@pytest.mark.parametrize(
    ("words", "denied"), [("<access denied>", True), ("<chain looped>", False), ("<unreadable>", False)]
)
def test_a_list_that_lspci_gave_up(words: str, denied: bool) -> None:
    function = with_capabilities((0x40, EXPRESS))
    function.broken_list(words)
    assert (function.detailed, function.denied, function.lacking) == (True, denied, 0)
    dwords = closed(function, extended_is_shown=True)
    assert dwords[0x40] == (0x020010, 0x00FF00FF)
    assert 0x100 not in dwords
    function.broken_list("<chain broken>")
    assert function.denied is denied


def test_nothing_but_a_list_that_is_denied() -> None:
    function = new()
    function.broken_list("<access denied>")
    assert closed(function) == HEADER
    assert (function.denied, function.is_pcie) == (True, None)


def test_a_second_header_ends_what_is_known_of_the_lists() -> None:
    function = with_capabilities((0x40, EXPRESS), (0x100, AER, 1))
    function.second_header()
    assert function.lacking == 1
    dwords = closed(function)
    assert [dwords[at] for at in (0x40, 0x100)] == [(0x020010, 0x00FF00FF), (0x10001, 0xFFFFF)]


@pytest.mark.parametrize(
    ("titles", "label", "owned"),
    [
        ([], "Status", True),  # of a header and of power management
        ([], "Interrupt", True),  # of no register
        ([], "DevCtl2", False),
        ([(0x40, EXPRESS)], "DevCtl2", True),
        ([(0x40, EXPRESS)], "ACSCtl", False),
        ([(0x40, PM)], "DevCtl2", False),
        ([(0x40, "A later one")], "DevCtl2", True),
        ([(0x40, EXPRESS), (0x100, AER)], "UESta", True),
        ([(0x40, EXPRESS), (0x100, AER)], "RootSta", True),  # of both
        ([(0x40, EXPRESS), (0x100, AER)], "DevCtl2", False),
        ([(0x40, EXPRESS), (0x100, AER)], "L1SubCap", False),
        ([(0x40, EXPRESS), (0x100, "L1 PM Substates")], "L1SubCap", True),
    ],
)
def test_whose_a_label_can_be(titles: list[Any], label: str, owned: bool) -> None:
    function = with_capabilities(*titles)
    assert function.owned(label) is owned
    assert function.lacking == (not owned)


def test_a_title_that_is_missing_before_the_first() -> None:
    """Where the list begins is not known, nor where any goes on."""
    function = new()
    assert not function.owned("DevCtl2")
    function.capability(0x50, MSI, None, 9)
    assert closed(function) == HEADER | LIST | {0x50: (0x0005, 0xFF)}


def test_a_title_that_is_missing_between_two() -> None:
    """The capability above it leads to an unknown one; the standard list is whole, the extended one not."""
    function = with_capabilities((0x40, PM), (0x50, EXPRESS))
    assert not function.owned("ACSCtl")
    dwords = closed(function, extended_is_shown=True)
    assert [dwords[at] for at in (0x34, 0x40, 0x50)] == [
        (0x40, 0xFC),
        (0x5001, 0xFCFF),
        (0x020010, 0x00FF00FF),
    ]
    assert 0x100 not in dwords


def test_a_title_that_is_missing_in_the_extended_list() -> None:
    function = with_capabilities((0x40, EXPRESS), (0x100, AER, 1))
    assert not function.owned("ACSCtl")
    function.capability(0x148, ARI, 1, 9)
    dwords = closed(function)
    assert [dwords[at] for at in (0x40, 0x100, 0x148)] == [
        (0x020010, 0x00FFFCFF),
        (0x10001, 0xFFFFF),
        (0x1000E, 0xFFFFF),
    ]
