"""The tree of bridges and functions with two columns: what the outgoing kernel had, what the incoming found.

The tree comes as a flat list of steps, so that templates need no recursion; subtrees in which nothing
happened are folds that a reader may open. The number of rows is limited; what does not fit is only counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from analyzer.plurals import count
from analyzer.report.bridge_tree import MARKS
from analyzer.report.wording import port
from analyzer.results import hierarchy
from analyzer.results.rules import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.questions.explain.working import KexecWorking
    from analyzer.results import BridgeVerdict, DeviceVerdict, KexecResult

Sign = Literal["bad", "warn", "unknown", "good", "none"]
_FOUND_SIGNS: dict[str, Sign] = {"reachable": "good", "stranded": "bad", "missing": "warn"}
#: Functions of one kind below one bridge that are shown one by one before the others are folded away.
_MOST_HARMED, _MOST_FOUND = 40, 8
#: Bridges side by side to which nothing happened, before they are folded away together.
_MOST_CALM = 8
#: Functions of both kinds that are shown together, by address.
_MOST_TOGETHER = 16
#: Levels that are indented; what is deeper (hostile bus numbers) is shown at the last one.
_DEEPEST = 20


@dataclass(frozen=True)
class TreeRow:
    """One bridge or function: its name and kind, and what either kernel had there."""

    bdf: str
    kind: str
    ids: str
    tag: str
    before: str
    sign: Sign
    word: str
    after: str


@dataclass(frozen=True)
class TreeStep:
    """What a template does next.

    ``row``: show ``row``; ``open`` and ``close``: a level of the tree; ``fold`` and ``unfold``: a part that
    is closed at first, titled ``text``; ``more``: say ``text``.
    """

    kind: Literal["row", "open", "close", "fold", "unfold", "more"]
    row: TreeRow | None = None
    text: str = ""


def steps(kexec: KexecResult, working: KexecWorking | None, most_rows: int) -> list[TreeStep]:
    """Return the tree of one kexec.

    Args:
        kexec: its verdicts.
        working: what the outgoing kernel had, and which addresses moved; None: that is not known.
        most_rows: rows that the page may show; harmed functions and bridges come before the others.
    """
    return list(_HtmlTree(kexec, working, most_rows).steps())


class _HtmlTree:
    def __init__(self, kexec: KexecResult, working: KexecWorking | None, most_rows: int) -> None:
        self.had = None if working is None else working.had
        self.moved = {} if working is None else working.moved
        self.kept = "assumed preserved" if kexec.preserved_source == "assumed" else "preserved"
        self.devices = {device.bdf: device for device in kexec.devices}
        tree = hierarchy.of_kexec(kexec)
        self.bridges, self.functions, self.below = tree.bridges, tree.functions, tree.below
        harmed = sum(device.verdict != "reachable" for device in kexec.devices)
        self.room_harmed = most_rows
        self.room_found = max(most_rows - harmed - len(self.bridges), most_rows // 4)
        self.calm: dict[str, bool] = {}
        for bdf in self.bridges:
            self._is_calm(bdf, set())

    def _is_calm(self, bdf: str, above: set[str]) -> bool:
        """Nothing happened to this bridge nor to anything below; a cycle of bus numbers counts as calm."""
        if bdf in above:
            return True
        if bdf not in self.calm:
            bridge = self.bridges[bdf]
            own = bridge.verdict not in MARKS or (bridge.verdict == "undetermined" and not bridge.preserved)
            own = own and all(f.verdict == "reachable" for f in self.functions.get(bdf, ()))
            below = [self._is_calm(child, above | {bdf}) for child in self.below.get(bdf, ())]
            self.calm[bdf] = own and all(below)
        return self.calm[bdf]

    def steps(self) -> Iterator[TreeStep]:
        """Yield the tree from the root buses down."""
        seen: set[str] = set()
        tops = self.below.get(None, [])
        # A bridge in a cycle of bus numbers (damaged data) is below no root bus: it comes last.
        yield from self._bridges(tops, 0, seen)
        yield from self._bridges([name for name in self.bridges if name not in seen], 0, seen)
        yield from self._functions(None, folded="on a root bus, not below any bridge")

    def _bridges(self, names: list[str], depth: int, seen: set[str]) -> Iterator[TreeStep]:
        """Bridges side by side; many to which nothing happened are folded away together."""
        calm = [name for name in names if self.calm[name] and name not in seen]
        together = len(calm) > _MOST_CALM
        for name in names:
            if not self.calm[name]:
                yield from self._bridge(name, depth, seen)
            elif not together:
                yield from self._if_room([name], depth, seen)
        if together:
            yield TreeStep("fold", text=f"{self._bridges_text(calm)}, all found again")
            yield from self._if_room(calm, depth, seen)
            yield TreeStep("unfold")

    def _if_room(self, names: list[str], depth: int, seen: set[str]) -> Iterator[TreeStep]:
        """Bridges to which nothing happened, as many as fit, and a line that counts the others."""
        for number, name in enumerate(names):
            if self.room_found <= 0:
                text = f"{self._bridges_text(names[number:])} found again, not listed for lack of space"
                yield TreeStep("more", text=text)
                seen.update(names[number:])
                return
            self.room_found -= 1
            yield from self._bridge(name, depth, seen)

    def _bridges_text(self, names: list[str]) -> str:
        below = self._size(*names)
        return count(len(names), "more bridge") + (f" with {below} below" if below else "")

    def _bridge(self, bdf: str, depth: int, seen: set[str]) -> Iterator[TreeStep]:
        if bdf in seen:
            return
        seen.add(bdf)
        calm = self.calm[bdf]
        yield TreeStep("row", self._bridge_row(self.bridges[bdf]))
        inside = len(self.functions.get(bdf, ())) + len(self.below.get(bdf, ()))
        if not inside:
            return
        fold = calm and inside > 1
        if depth < _DEEPEST:
            yield TreeStep("open")
        if fold:
            yield TreeStep("fold", text=f"{self._size(bdf)} below, all found again")
        yield from self._functions(bdf)
        yield from self._bridges(self.below.get(bdf, []), depth + 1, seen)
        if fold:
            yield TreeStep("unfold")
        if depth < _DEEPEST:
            yield TreeStep("close")

    def _size(self, *names: str) -> str:
        """How many functions and bridges are below some bridges."""
        functions, bridges, ahead, seen = 0, 0, list(names), set(names)
        while ahead:
            name = ahead.pop()
            functions += len(self.functions.get(name, ()))
            more = [child for child in self.below.get(name, ()) if child not in seen]
            seen.update(more)
            bridges += len(more)
            ahead += more
        parts = [count(functions, "function")] if functions else []
        return " and ".join([*parts, count(bridges, "bridge")] if bridges else parts)

    def _functions(self, bdf: str | None, folded: str = "") -> Iterator[TreeStep]:
        functions = self.functions.get(bdf, [])
        if not folded and len(functions) <= min(_MOST_TOGETHER, self.room_harmed, self.room_found):
            self.room_harmed, self.room_found = (
                room - len(functions) for room in (self.room_harmed, self.room_found)
            )
            yield from (TreeStep("row", self._function_row(function)) for function in functions)
            return
        harmed = [f for f in functions if f.verdict != "reachable"]
        found = [f for f in functions if f.verdict == "reachable"]
        self.room_harmed, shown = self.room_harmed - len(harmed), harmed[: max(self.room_harmed, 0)]
        yield from self._several(shown, _MOST_HARMED, f"{len(shown) - _MOST_HARMED:,} more not found")
        if len(harmed) > len(shown):
            yield TreeStep(
                "more", text=f"{len(harmed) - len(shown):,} more not found, not listed for lack of space"
            )
        self.room_found, shown = self.room_found - len(found), found[: max(self.room_found, 0)]
        if folded:
            yield from self._several(shown, 0, f"{count(len(shown), 'function')} {folded}, found again")
        else:
            yield from self._several(shown, _MOST_FOUND, f"{len(shown) - _MOST_FOUND:,} more found again")
        if len(found) > len(shown):
            yield TreeStep(
                "more", text=f"{len(found) - len(shown):,} more found again, not listed for lack of space"
            )

    def _several(self, functions: list[DeviceVerdict], most: int, title: str) -> Iterator[TreeStep]:
        head, tail = (
            (functions, []) if len(functions) <= most + 1 and most else (functions[:most], functions[most:])
        )
        for function in head:
            yield TreeStep("row", self._function_row(function))
        if tail:
            yield TreeStep("fold", text=title)
            yield from (TreeStep("row", self._function_row(function)) for function in tail)
            yield TreeStep("unfold")

    def _before(self, bdf: str, text: str) -> str:
        """``text`` if the outgoing kernel had the function, which is known only with the working."""
        if self.had is None:
            return text
        return text if bdf in self.had else "not there"

    def _bridge_row(self, bridge: BridgeVerdict) -> TreeRow:
        device = self.devices.get(bridge.bdf)
        before = {True: "ARI on", False: "ARI off", None: "ARI unknown"}[bridge.ari_before]
        if bridge.verdict == "not-applicable":
            before = "found"
        if bridge.secondary:
            before += f", {_buses(bridge.secondary, bridge.subordinate)}"
        sign, word, after = _after(bridge)
        if bridge.verdict not in MARKS and device is not None and device.verdict != "reachable":
            sign, word, after = self._outcome(device)
        return TreeRow(
            bridge.bdf,
            port(bridge.port_type),
            bridge.vendor_device or "",
            self.kept if bridge.preserved else "",
            self._before(bridge.bdf, before),
            sign,
            word,
            after,
        )

    def _function_row(self, device: DeviceVerdict) -> TreeRow:
        sign, word, after = self._outcome(device)
        tag = self.kept if device.preserved else ""
        before = self._before(device.bdf, "found")
        return TreeRow(device.bdf, "", device.vendor_device or "", tag, before, sign, word, after)

    def _outcome(self, device: DeviceVerdict) -> tuple[Sign, str, str]:
        why = REASONS[device.reason] if device.reason else ""
        if device.was is not None and device.was.text:
            why = "; ".join(part for part in (why, f"was {device.was.text}") if part)
        sign = _FOUND_SIGNS.get(device.verdict, "unknown")
        if device.verdict == "reachable":
            moved = self.moved.get(device.bdf)
            new = self.had is not None and device.bdf not in self.had
            return sign, "", f"found as {moved}" if moved else "found, new" if new else "found"
        if device.verdict == "stranded":
            return sign, "STRANDED", why
        if device.verdict == "missing":
            return sign, "missing", f"not in the preserved set; {why}" if why else "not in the preserved set"
        return sign, "undetermined", why


def _after(bridge: BridgeVerdict) -> tuple[Sign, str, str]:
    """Sign, word and explanation of what the incoming kernel had of a bridge."""
    sign: Sign = MARKS.get(bridge.verdict, "good")
    new = ""
    if bridge.new_secondary is not None:
        same = bridge.new_secondary == bridge.secondary
        now = "again" if same else f"is now {bridge.new_secondary:02x}"
        new = f": bus {bridge.secondary or 0:02x} {now}"
    texts = {
        "kept": "ARI on, kept",
        "lost": "ARI off",
        "healed": "ARI was off, the kernel switched it on",
        "off": "ARI off, as before",
        "gained": "ARI on",
        "cleared": "the kernel switched ARI off",
        "ignored": "ARI on, but the kernel did not use it",
        "renumbered": f"bus numbers assigned anew{new}",
        "unconfigured": "no bus numbers, nothing below was scanned",
        "hidden": "never reached: a bridge above was lost",
        "gone": "does not answer",
        "not-applicable": "found",
        "undetermined": "not in the capture",
    }
    word = bridge.verdict.upper() if bridge.verdict in MARKS else ""
    return sign, word, texts[bridge.verdict]


def _buses(first: int, last: int | None) -> str:
    return f"bus {first:02x}" if last is None or last == first else f"buses {first:02x} to {last:02x}"
