"""The bridges that a kexec touched and the functions below them, as a tree in the words of ``lspci -t``.

It shows the bridges with a finding, the path to them from the root bus, and the functions directly below. The
rest is only counted, so that the page of a host with thousands of functions still fits on a screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from analyzer.plurals import count
from analyzer.report.page import Span
from analyzer.report.wording import on_off
from analyzer.results import CHANGES, LASTING_LOSSES, hierarchy
from analyzer.results.rules import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.report.page import Page, Style
    from analyzer.results import BridgeVerdict, BridgeVerdictName, DeviceVerdict, KexecResult

#: The bridge verdicts that a tree points out, and the sign of each.
MARKS: Final[dict[BridgeVerdictName, Literal["bad", "warn", "unknown"]]] = {
    **dict.fromkeys(CHANGES, "warn"),
    **dict.fromkeys(LASTING_LOSSES, "bad"),
    "undetermined": "unknown",
}
#: Functions listed one by one below a bridge, and reachable ones among them, before the rest is counted.
_MOST_HARMED, _MOST_REACHABLE = 40, 8


@dataclass(frozen=True)
class _Row:
    mark: str
    label: str
    text: str
    style: Style


def add_tree(page: Page, kexec: KexecResult, *, everything: bool = False, indent: int = 2) -> bool:
    """Add the tree of one kexec to the page.

    Args:
        page: the page to add to.
        kexec: verdicts of one kexec.
        everything: show every bridge and every function, not only what has a finding.
        indent: columns before the tree.

    Returns:
        False if there was nothing to show.
    """
    rows = list(_TextTree(page, kexec, everything).rows())
    width = max((len(row.label) for row in rows), default=0)
    for row in rows:
        mark = Span(f"{page.glyph(row.mark) if row.mark else ' ':2}", row.style)
        page.line(" " * indent, mark, row.label.ljust(width), "  ", Span(row.text, row.style))
    return bool(rows)


class _TextTree:
    """Which bridges and functions are below which bridge, and which of them get a line."""

    def __init__(self, page: Page, kexec: KexecResult, everything: bool) -> None:
        self.page = page
        self.everything = everything
        self.kept = "assumed preserved" if kexec.preserved_source == "assumed" else "preserved"
        self.tree = hierarchy.of_kexec(kexec)
        self.shown = self._shown()

    def _shown(self) -> set[str]:
        """Return the bridges with a finding or a harmed function below, and all bridges above them."""
        if self.everything:
            return set(self.tree.bridges)
        shown: set[str] = set()
        for bdf, bridge in self.tree.bridges.items():
            interesting = bridge.verdict in MARKS and (bridge.preserved or bridge.verdict != "undetermined")
            if not (interesting or self._harmed(bdf)):
                continue
            step: str | None = bdf
            while step is not None and step not in shown:
                shown.add(step)
                step = self.tree.above[step]
        return shown

    def _harmed(self, bdf: str) -> bool:
        """A function right below was not found."""
        return any(f.verdict in {"stranded", "missing"} for f in self.tree.functions.get(bdf, ()))

    def rows(self) -> Iterator[_Row]:
        """Yield the lines from the root bus down; a cycle of bus numbers in damaged data is cut."""
        seen: set[str] = set()
        for bdf in (*self.tree.below.get(None, ()), *self.tree.bridges):
            yield from self._bridge(bdf, "", "", seen)

    def _bridge(self, bdf: str, lead: str, below: str, seen: set[str]) -> Iterator[_Row]:
        if bdf not in self.shown or bdf in seen:
            return
        seen.add(bdf)
        bridge = self.tree.bridges[bdf]
        mark = MARKS.get(bridge.verdict, "")
        style: Style = "bad" if mark == "bad" else "warn" if mark and bridge.verdict != "gained" else ""
        yield _Row(mark, f"{lead}{bdf}{_buses(bridge)}", self._describe(bridge), style)
        in_full = self.everything or bridge.verdict in MARKS or self._harmed(bdf)
        functions = list(self._functions(bdf)) if in_full else []
        children = [one for one in self.tree.below.get(bdf, ()) if one in self.shown and one not in seen]
        for number, row in enumerate(functions):
            last = number == len(functions) - 1 and not children
            glyph = self.page.glyph("corner" if last else "tee")
            yield _Row(row.mark, f"{below}{glyph}{row.label}", row.text, row.style)
        for number, child in enumerate(children):
            last = number == len(children) - 1
            yield from self._bridge(
                child,
                below + self.page.glyph("corner" if last else "tee"),
                below + ("  " if last else self.page.glyph("bar")),
                seen,
            )

    def _describe(self, bridge: BridgeVerdict) -> str:
        parts = [(bridge.port_type or "bridge").replace("-", " ")]
        arrow = f" {self.page.glyph('arrow')} "
        if bridge.verdict != "not-applicable" and (bridge.ari_before, bridge.ari_after) != (None, None):
            states = [on_off(bridge.ari_before), on_off(bridge.ari_after)]
            if bridge.ari_decided is not None and bridge.ari_decided != bridge.ari_after:
                states.append(on_off(bridge.ari_decided))
            parts.append(arrow.join(states))
        if bridge.verdict == "unconfigured":
            parts.append(f"bus numbers{arrow}none")
        elif bridge.verdict == "renumbered" and bridge.new_secondary is not None:
            parts.append(f"bus {bridge.secondary or 0:02x}{arrow}{bridge.new_secondary:02x}")
        if bridge.verdict in MARKS:
            parts.append(bridge.verdict.upper())
        elif bridge.verdict != "not-applicable":
            parts.append(bridge.verdict)
        if bridge.preserved:
            parts.append(self.kept)
        return "  ".join(parts)

    def _functions(self, bdf: str) -> Iterator[_Row]:
        functions = self.tree.functions.get(bdf, ())
        harmed = [f for f in functions if f.verdict != "reachable"]
        reachable = [f for f in functions if f.verdict == "reachable"]
        if not self.everything and len(reachable) > _MOST_REACHABLE:
            left_out = {f.bdf for f in reachable[_MOST_REACHABLE - 1 :]}
        else:
            left_out = set()
        if not self.everything and len(harmed) > _MOST_HARMED:
            left_out |= {f.bdf for f in harmed[_MOST_HARMED - 1 :]}
        for function in functions:
            if function.bdf not in left_out:
                yield self._function(function)
        more = self.page.glyph("more")
        found = sum(f.bdf in left_out for f in reachable)
        if found:
            yield _Row("", f"{more} {count(found, 'more function')} found (-v)", "", "")
        lost = sum(f.bdf in left_out for f in harmed)
        if lost:
            yield _Row("bad", f"{more} {count(lost, 'more function')} not found (-v)", "", "bad")

    def _function(self, function: DeviceVerdict) -> _Row:
        ids = f"[{function.vendor_device}]  " if function.vendor_device else ""
        kept = f"{self.kept}, " if function.preserved else ""
        why = f": {REASONS[function.reason]}" if function.reason else ""
        if function.was is not None and function.was.text:
            why += f"; was {function.was.text}"
        if function.verdict == "stranded":
            return _Row("bad", function.bdf, f"{ids}STRANDED{why}", "bad")
        if function.verdict == "missing":
            return _Row("warn", function.bdf, f"{ids}missing, not in the preserved set{why}", "warn")
        if function.verdict == "undetermined":
            return _Row("unknown", function.bdf, f"{ids}{kept}undetermined{why}", "warn")
        return _Row("", function.bdf, f"{ids}{kept}found", "")


def _buses(bridge: BridgeVerdict) -> str:
    """Return a bridge's buses as ``lspci -t`` prints them: ``-[03]``, ``-[02-04]``."""
    if bridge.secondary is None:
        return ""
    last = bridge.subordinate
    if last is None or last == bridge.secondary:
        return f"-[{bridge.secondary:02x}]"
    return f"-[{bridge.secondary:02x}-{last:02x}]"
