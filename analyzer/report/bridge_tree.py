"""The bridges that a kexec touched and the functions below them, as a tree in the words of ``lspci -t``.

It shows the bridges with a finding, the path to them from the root bus, and the functions directly below. The
rest is only counted, so that the page of a host with thousands of functions still fits on a screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.report.page import Span
from analyzer.report.wording import REASONS, count, on_off

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.report.page import Page, Style
    from analyzer.results import BridgeVerdict, DeviceVerdict, KexecResult

#: Verdicts that put a bridge into the tree, with the glyph and style of their line.
_MARKS: dict[str, tuple[str, Style]] = {
    "lost": ("bad", "bad"),
    "unconfigured": ("bad", "bad"),
    "hidden": ("bad", "bad"),
    "gone": ("bad", "bad"),
    "healed": ("warn", "warn"),
    "renumbered": ("warn", "warn"),
    "cleared": ("warn", "warn"),
    "ignored": ("warn", "warn"),
    "gained": ("warn", ""),
    "undetermined": ("unknown", "warn"),
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
        self.bridges = {bridge.bdf: bridge for bridge in kexec.bridges}
        by_bus = {
            (bridge.bdf.rsplit(":", 2)[0], bridge.secondary): bridge.bdf
            for bridge in kexec.bridges
            if bridge.secondary
        }
        self.below: dict[str | None, list[BridgeVerdict]] = {}
        self.functions: dict[str | None, list[DeviceVerdict]] = {}
        parents: dict[str, str | None] = {}
        above = {device.bdf: device.bridge for device in kexec.devices}
        for bridge in kexec.bridges:
            domain, bus, _ = bridge.bdf.rsplit(":", 2)
            parent = above.get(bridge.bdf) or by_bus.get((domain, int(bus, 16)))
            parents[bridge.bdf] = parent if parent in self.bridges and parent != bridge.bdf else None
            self.below.setdefault(parents[bridge.bdf], []).append(bridge)
        for device in kexec.devices:
            if device.bdf not in self.bridges:
                self.functions.setdefault(device.bridge, []).append(device)
        self.shown = self._shown(parents)

    def _shown(self, parents: dict[str, str | None]) -> set[str]:
        """Return the bridges with a finding or a harmed function below, and all bridges above them."""
        if self.everything:
            return set(self.bridges)
        shown: set[str] = set()
        for bdf, bridge in self.bridges.items():
            harmed = any(f.verdict in {"stranded", "missing"} for f in self.functions.get(bdf, ()))
            interesting = bridge.verdict in _MARKS and (bridge.preserved or bridge.verdict != "undetermined")
            if not (interesting or harmed):
                continue
            step: str | None = bdf
            while step is not None and step not in shown:
                shown.add(step)
                step = parents[step]
        return shown

    def rows(self) -> Iterator[_Row]:
        """Yield the lines from the root bus down; a cycle of bus numbers in damaged data is cut."""
        seen: set[str] = set()
        for bridge in self.below.get(None, ()):
            yield from self._bridge(bridge, "", "", seen)
        for bdf, bridge in self.bridges.items():
            if bdf not in seen:
                yield from self._bridge(bridge, "", "", seen)

    def _bridge(self, bridge: BridgeVerdict, lead: str, below: str, seen: set[str]) -> Iterator[_Row]:
        if bridge.bdf not in self.shown or bridge.bdf in seen:
            return
        seen.add(bridge.bdf)
        mark, style = _MARKS.get(bridge.verdict, ("", ""))
        yield _Row(mark, f"{lead}{bridge.bdf}{_buses(bridge)}", self._describe(bridge), style)
        harmed = bridge.verdict in _MARKS or any(
            f.verdict in {"stranded", "missing"} for f in self.functions.get(bridge.bdf, ())
        )
        functions = list(self._functions(bridge)) if harmed or self.everything else []
        children = [b for b in self.below.get(bridge.bdf, ()) if b.bdf in self.shown and b.bdf not in seen]
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
        if bridge.verdict in _MARKS:
            parts.append(bridge.verdict.upper())
        elif bridge.verdict != "not-applicable":
            parts.append(bridge.verdict)
        if bridge.preserved:
            parts.append(self.kept)
        return "  ".join(parts)

    def _functions(self, bridge: BridgeVerdict) -> Iterator[_Row]:
        functions = self.functions.get(bridge.bdf, ())
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
        if function.verdict == "stranded":
            return _Row("bad", function.bdf, f"{ids}STRANDED{why}", "bad")
        if function.verdict == "missing":
            return _Row("warn", function.bdf, f"{ids}missing, not preserved{why}", "warn")
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
