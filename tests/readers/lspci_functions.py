"""One function of lspci's text, built line by line, and what is then known of it."""

from __future__ import annotations

from analyzer.readers.snapshot.lspci_function import FunctionText

ETHERNET, BRIDGE, CARDBUS = "Ethernet controller: X", "PCI bridge: X", "CardBus bridge: X"
PM, MSI, EXPRESS = "Power Management version 3", "MSI: Enable- Count=1/1", "Express (v2) Endpoint, MSI 00"
AER, ARI = "Advanced Error Reporting", "Alternative Routing-ID Interpretation (ARI)"
KEY, AT = 0x0108, 5
ONES = 0xFFFFFFFF

#: Offset: value and known bits of a dword.
Dwords = dict[int, tuple[int, int]]


def new(first: str = ETHERNET) -> FunctionText:
    return FunctionText(KEY, first, AT)


def known(function: FunctionText) -> Dwords:
    """The dwords of which some bit is known."""
    rows = function.reads().T.tolist()
    return {offset: (value, mask) for offset, value, mask, _ in rows if mask}


def closed(function: FunctionText, *, whole: bool = True, extended_is_shown: bool = False) -> Dwords:
    """The same at the end of the text."""
    function.whole = whole
    function.close(extended_is_shown=extended_is_shown)
    return known(function)


def with_capabilities(*titles: tuple[int, str] | tuple[int, str, int | None]) -> FunctionText:
    """Each title with its offset, and the version of an extended one; they stand at 100, 101 and so on."""
    function = new()
    for number, title in enumerate(titles):
        function.capability(title[0], title[1], title[2] if len(title) > 2 else None, 100 + number)
    return function
