"""``analyze atrisk``: what a lost bit or a reset would cost at the next kexec, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.observed.registers import missing_bytes
from analyzer.observed.virtual_functions import KERNEL_RULE
from analyzer.plurals import count
from analyzer.questions.should_be_on import RULE
from analyzer.report.hints import command
from analyzer.report.page import Span
from analyzer.report.wording import listed, on_off

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from analyzer.questions.atrisk import AtRisk, Verdict
    from analyzer.questions.ports_at_risk import LossMechanism, PortAtRisk
    from analyzer.questions.should_be_on import PortShouldBeOn
    from analyzer.report.page import Page, Style

WORDS: dict[Verdict, str] = {
    "safe": "SAFE",
    "at-risk": "AT RISK",
    "already-lost": "ALREADY LOST",
    "cannot-tell": "CANNOT TELL",
}
_STYLES: dict[Verdict, Style] = {
    "safe": "good",
    "at-risk": "warn",
    "already-lost": "bad",
    "cannot-tell": "warn",
}
_SOURCES = {
    "assumed": "everything, for lack of a list (--preserved, --flb)",
    "option": "--preserved",
    "flb": "--flb",
    "dmesg": "--dmesg",
    "capture": "the capture itself",
    "sidecar": "a file next to the capture",
}
#: Functions without an answer, and names in a list, before the rest is counted.
_MOST_UNKNOWN, _MOST_NAMED = 12, 16
_AS_ROOT = "as root, 'lspci -D -xxxx' shows every byte (without root it shows 64 of each function)"


def fill(page: Page, found: AtRisk) -> Page:
    """Write the verdict and why, what depends on which bridge (most first), and what is not in the input."""
    style = "warn" if found.verdict == "safe" and found.should_be_on else _STYLES[found.verdict]
    said = f"{_headline(found)}{_off_besides(found)}"
    page.line(Span(f"{WORDS[found.verdict]}:", style), " ", Span(said, "strong"))
    functions = count(found.functions, "function")
    page.prose(f"{functions} in {found.path}. Preserved: {_SOURCES[found.preserved_source]}.")
    if found.truncated:
        page.prose("The input is cut short: this is the machine up to the cut.", style="warn")
    for problem in found.problems[:_MOST_UNKNOWN]:
        page.prose(f"{problem.kind}: {problem.message}", style="warn")
    _add_unknown(page, found)
    at_stake = [port for port in found.ports if port.dependent]
    for port in at_stake:
        _add(page, port)
    _add_virtual(page, found)
    _add_should_be_on(page, found)
    if at_stake:
        page.blank()
        page.line("What can clear ARI Forwarding")
        for text in _mechanisms(found):
            page.prose(text, indent=2, bullet=page.glyph("bullet"))
    return page


def _headline(found: AtRisk) -> str:
    lost = [port for port in found.ports if port.already_lost]
    ports = lost or [port for port in found.ports if port.dependent]
    functions = sum(len(port.dependent) for port in ports)
    depend = (
        f"{count(functions, 'function')} {'depends' if functions == 1 else 'depend'} on ARI Forwarding of "
        f"{listed([port.bdf for port in ports], 4)}"
    )
    if found.verdict == "already-lost":
        return f"{depend}, and the bit is off in hardware: a kernel that inherits it does not find them"
    if found.verdict == "at-risk":
        if not ports:
            return "the preserved list names virtual functions, which no kernel preserves"
        return f"{depend}, which is on"
    if found.verdict == "cannot-tell":
        return f"the input lacks what would exclude a loss: {_missing(found)}"
    return "no function to be preserved depends on ARI Forwarding"


def _off_besides(found: AtRisk) -> str:
    """Ports whose bit is off for a reason that the headline does not say yet."""
    lost = {port.bdf for port in found.ports if port.already_lost}
    names = [port.bdf for port in found.should_be_on if port.bdf not in lost]
    return f"; ARI Forwarding is off at {listed(names, 4)}, where a stock kernel sets it" if names else ""


def _missing(found: AtRisk) -> str:
    return listed(list(_unknown_texts(found)), 2)


def _unknown_texts(found: AtRisk) -> Iterator[str]:
    """What is missing, a text for each function."""
    of_each: dict[str | None, list[str]] = {}
    for item in found.unknown:
        of_each.setdefault(item.bdf, []).append(item.missing)
    for bdf, missing in of_each.items():
        if bdf is None:
            yield from missing
        elif missing == [missing[0]] and " " in missing[0]:
            yield f"{bdf}: {missing[0]}"
        else:
            yield f"{missing_bytes.in_words(missing)} of {bdf}"


def _add_unknown(page: Page, found: AtRisk) -> None:
    if not found.unknown:
        return
    page.blank()
    page.line("Not in the input")
    texts = list(_unknown_texts(found))
    for text in texts[:_MOST_UNKNOWN]:
        page.prose(text, indent=2, bullet=page.glyph("unknown"))
    if len(texts) > _MOST_UNKNOWN:
        page.line(f"  {page.glyph('more')} and {len(texts) - _MOST_UNKNOWN:,} more (--format json lists all)")
    page.prose(f"To get it: {_AS_ROOT}.", indent=2)


def _add(page: Page, port: PortAtRisk) -> None:
    page.blank()
    kind = (port.port_type or "port").replace("-", " ")
    bus = "" if port.secondary is None else f"-[{port.secondary:02x}]"
    state = f"{on_off(port.ari_hardware)} in hardware"
    if port.ari_kernel is not None and port.ari_kernel != port.ari_hardware:
        state += f", {on_off(port.ari_kernel)} for the running kernel"
    page.line(Span(f"{port.bdf}{bus}", "strong"), f"  {kind}  {state}")
    preserved = set(port.preserved)
    uses = {one.bdf: one.use.text for one in port.uses}
    if port.lost_with_bit:
        marked = [name + _remark(name, port, preserved, uses) for name in port.lost_with_bit]
        said = "the next kernel does not find" if port.already_lost else "without the bit, not discovered"
        page.prose(f"{said}: {listed(marked, _MOST_NAMED)}", indent=2)
    if port.not_seen:
        page.prose(
            f"named by a Next Function Number but not in the input: {listed(port.not_seen, _MOST_NAMED)}",
            indent=2,
        )
    if port.not_found:
        page.prose(f"preserved, but not in the input: {listed(port.not_found, _MOST_NAMED)}", indent=2)
    if port.chain_unknown:
        missing = listed(port.chain_unknown, 4)
        page.prose(f"the chain of Next Function Numbers is not in the input: {missing}", indent=2)
    rest = [
        name + (f" ({uses[name]})" if uses.get(name) else "")
        for name in port.lost_with_reset
        if name not in port.lost_with_bit
    ]
    if rest:
        page.prose(f"if a reset clears the bus numbers too, also: {listed(rest, _MOST_NAMED)}", indent=2)
    if port.reset_costs:
        costs = ", ".join(
            f"{cost.name} on {count(len(cost.functions), 'function')}" for cost in port.reset_costs
        )
        page.prose(f"a reset would also clear: {costs}", indent=2)


def _remark(name: str, port: PortAtRisk, preserved: set[str], uses: Mapping[str, str]) -> str:
    remarks = [uses[name]] if uses.get(name) else []
    remarks += [
        text
        for text, holds in (
            ("every byte reads ff", name in port.silent),
            ("not preserved", bool(preserved) and name not in preserved),
        )
        if holds
    ]
    return f" ({', '.join(remarks)})" if remarks else ""


def _add_virtual(page: Page, found: AtRisk) -> None:
    if not found.virtual_functions:
        return
    page.blank()
    page.line("Virtual functions")
    for one in found.virtual_functions:
        need = f"; {count(len(one.need_ari), 'of them needs', 'of them need')} ARI Forwarding"
        page.prose(
            (
                f"{one.physical}: {count(one.count, 'virtual function')} (First VF Offset {one.offset}, "
                f"VF Stride {one.stride}): {listed(one.functions, _MOST_NAMED)}{need if one.need_ari else ''}"
            ),
            indent=2,
            bullet=page.glyph("bullet"),
        )
    page.prose(f"{KERNEL_RULE}.", indent=2)


def _add_should_be_on(page: Page, found: AtRisk) -> None:
    """Each port that a stock kernel switches on and that is off: why that may be, and what tells."""
    if not found.should_be_on:
        return
    page.blank()
    page.line("Off, and should be on under a stock kernel")
    for port in found.should_be_on[:_MOST_UNKNOWN]:
        bus = "" if port.secondary is None else f"-[{port.secondary:02x}]"
        page.prose(
            f"{port.bdf}{bus}: it supports ARI Forwarding, and function 0 below it, {port.function_0}, has "
            f"the ARI capability{_why(port)}",
            indent=2,
            bullet=page.glyph("bullet"),
        )
    if len(found.should_be_on) > _MOST_UNKNOWN:
        more = len(found.should_be_on) - _MOST_UNKNOWN
        page.line(f"  {page.glyph('more')} and {more:,} more (--format json lists all)")
    page.prose(f"{RULE}.", indent=2)
    for port in [port for port in found.should_be_on if len(port.explanations) == 1][:1]:
        page.line("  Each access that shows or changes the bit:")
        page.line(f"    {command('explain', found.path, port.bdf)}")
    unexplained = [port for port in found.should_be_on if len(port.explanations) > 1]
    if not unexplained:
        return
    page.line("  So one of these is true:")
    for text in unexplained[0].explanations:
        page.prose(text, indent=4, bullet=page.glyph("bullet"))
    page.line("  What tells them apart:")
    for text in _distinctions(unexplained[0].bdf, found.path):
        page.prose(text, indent=4, bullet=page.glyph("bullet"))


def _why(port: PortShouldBeOn) -> str:
    if len(port.explanations) > 1:
        return ""
    return f"; {port.explanations[0]} (the kernel's decision: access {port.access})"


def _distinctions(bridge: str, path: str) -> Iterator[str]:
    yield "/proc/cmdline: whether it has pci=noari"
    yield (
        f"the kernel log: '{bridge}: Device was preserved by previous kernel across Live Update' says that "
        "the bridge was inherited; AER, DPC, pciehp and reset lines say that something reset it. No line "
        "says whether ARI Forwarding is on"
    )
    yield f"a dump from before the kexec: {command('--join', 'BEFORE', path)}"
    yield (
        "a trace of the kernel's config accesses from its boot on shows what it decided: "
        f"{command('explain', 'TRACE', bridge)}"
    )


def _mechanisms(found: AtRisk) -> Iterator[str]:
    """Each mechanism that clears the bit once, with the bridges where it would happen."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for port in (port for port in found.ports if port.dependent):
        for way in port.takers:
            known = places.setdefault(_key(way), [])
            known.extend(name for name in way.bridges if name not in known)
    for (event, takes, source), names in places.items():
        where = f": {listed(names, _MOST_NAMED)}" if names else ""
        what = "the bit alone" if takes == "bit" else "the bit and the bus numbers"
        yield f"{event}{where} ({what}; {source})"


def _key(way: LossMechanism) -> tuple[str, str, str]:
    return way.event, way.takes, way.source
