"""Each branch of the replay in one sentence, with its kernel function, patch or specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import series
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from analyzer.replay.ari import Branch
    from analyzer.replay.bus_numbers import Outcome
    from analyzer.results import PolicyName

_CONFIGURE_ARI = ARI_FORWARDING.kernel


def _patch_title(words: tuple[tuple[series.Series, str], ...], rest: str, *, dated: bool) -> str:
    """Title of a patch with every first word that it had: ``'Inherit (v8: Adopt) ...'``."""
    (_, first), *later = words
    others = ", ".join(f"{row.name}: {word}" if dated else word for row, word in later)
    return f"'{first} ({others}) {rest}'" if others else f"'{first} {rest}'"


_INHERIT = "Live Update series {}, patch {}".format(
    series.dated_span(),
    _patch_title(
        series.first_words(lambda row: row.ari_title),
        "ARI Forwarding Enable on preserved bridges",
        dated=True,
    ),
)
_KEEPING = _patch_title(series.first_words(lambda row: row.bus_numbers_title), "bus numbers", dated=False)
_NEIGHBOURS = series.where(lambda row: row.bus_numbers is series.BusNumberRule.PRESERVED_BRIDGE_ON_BUS)
_PRESERVING = f"'{_NEIGHBOURS[0].bus_numbers_title}'"
_BUS = "drivers/pci/probe.c pci_scan_bridge_extend()"

#: Branch of the ARI decision -> (rule, source).
ARI: dict[Branch, tuple[str, str]] = {
    "no-function-0": (
        "function 0 does not exist, so the decision is never made and ARI stays off",
        f"{_CONFIGURE_ARI} runs from pci_init_capabilities() of function 0",
    ),
    "not-pcie": ("the bridge or function 0 is not PCI Express: ARI stays off", _CONFIGURE_ARI),
    "unsupported": (
        "DEVCAP2 bit 5 (ARI Forwarding Supported) is clear: ARI stays off",
        f"{_CONFIGURE_ARI}; PCIe 7.5.3.15",
    ),
    "noari": ("pci=noari: ARI stays off and DEVCTL2 is left alone", _CONFIGURE_ARI),
    "set": ("function 0 has an ARI capability: bit 5 is written as 1, whatever it was", _CONFIGURE_ARI),
    "clear": ("function 0 has no ARI capability: bit 5 is written as 0", _CONFIGURE_ARI),
    "inherited": ("the bridge is preserved: bit 5 is read and used as it is, nothing is written", _INHERIT),
    "restored": (
        "the bridge is preserved: the state that the outgoing kernel last used is restored",
        "variant asked about on the list in June 2026 (serialize ari_enabled); in no kernel",
    ),
    "healed": (
        "the bridge is preserved and a preserved function above 7 needs ARI: bit 5 is switched on",
        "hypothetical policy; in no kernel",
    ),
    "unknown": ("what the decision needs is not in the capture", "undetermined"),
}

#: What a scan does with the bus numbers of a bridge -> (rule, source).
NUMBERS: dict[Outcome, tuple[str, str]] = {
    "use": ("the bus numbers are valid and are used", f"Linux 7.3 {_BUS}, pass 0"),
    "assign": ("the bus numbers are invalid: new ones are assigned", f"Linux 7.3 {_BUS}, pass 1"),
    "refuse": (
        "the bus numbers are invalid and must not be changed during a Live Update: nothing below is scanned",
        f"{_BUS} with Live Update series {series.span(series.TABLE)}, patch {_KEEPING}",
    ),
    "silent": (
        "the bus numbers read all ones: broken in pass 0, set in pass 1, and neither scans below",
        f"Linux 7.3 {_BUS}",
    ),
    "unknown": (
        "the bus numbers are invalid; what happens depends on a neighbour that no access shows",
        f"{_BUS} with Live Update series {series.span(_NEIGHBOURS)}, patch {_PRESERVING}",
    ),
}

#: Policy -> what it is.
POLICIES: dict[PolicyName, str] = {
    "stock": "Linux 7.3 without the Live Update series",
    "inherit": "Linux with the Live Update series",
    "serialize": "the series with ARI state handed over and restored (not in a kernel)",
    "heal": "the series, switching ARI on where preserved functions need it (not in a kernel)",
}
