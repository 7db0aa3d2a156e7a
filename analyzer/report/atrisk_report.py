"""``analyze atrisk``: what a lost bit or a reset would cost at the next kexec, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.report.page import Span
from analyzer.report.wording import count

if TYPE_CHECKING:
    from analyzer.at_risk import AtRisk, PortAtRisk
    from analyzer.report.page import Page

_SOURCES = {
    "assumed": "every function below a bridge that uses ARI, for lack of a list (--preserved, --flb)",
    "option": "--preserved",
    "flb": "--flb",
    "dmesg": "--dmesg",
    "capture": "the capture itself",
    "sidecar": "a file beside the capture",
}


def fill(page: Page, found: AtRisk) -> Page:
    """Write what hangs on which bridge, most first."""
    alone = sum(len(port.lost_with_bit) for port in found.ports)
    if not found.ports:
        page.line(Span("nothing at risk", "good"), f": no function of {found.path} hangs on ARI Forwarding")
    else:
        ports = count(len(found.ports), "bridge")
        page.line(
            Span(f"AT RISK: {count(alone, 'function')}", "bad"),
            f" {'hangs' if alone == 1 else 'hang'} on bit 5 of DEVCTL2 of {ports}",
        )
    functions = count(found.functions, "function")
    page.prose(f"{functions} in {found.path}. Preserved: {_SOURCES[found.preserved_source]}.")
    for port in found.ports:
        _add(page, port)
    for missing in found.unknown:
        page.prose(f"not in the input, so not judged: {missing}", style="warn")
    return page


def _add(page: Page, port: PortAtRisk) -> None:
    page.blank()
    kind = (port.port_type or "port").replace("-", " ")
    bus = "" if port.secondary is None else f"-[{port.secondary:02x}]"
    page.line(Span(f"{port.bdf}{bus}", "strong"), f"  {kind}  ARIFwd+")
    preserved = set(port.preserved)
    if port.lost_with_bit:
        marked = (name + ("" if name in preserved else " (not preserved)") for name in port.lost_with_bit)
        names = ", ".join(marked)
        page.prose(f"without the bit, not discovered: {names}", indent=2)
    else:
        page.prose("without the bit everything below is still discovered", indent=2)
    rest = [name for name in port.lost_with_reset if name not in port.lost_with_bit]
    if rest:
        page.prose(f"if a reset takes the bus numbers too, also: {', '.join(rest)}", indent=2)
    page.line("  taken by:")
    for taker in port.takers:
        where = f": {', '.join(taker.bridges)}" if taker.bridges else ""
        what = "the bit alone" if taker.takes == "bit" else "the bit and the bus numbers"
        page.prose(f"{taker.event}{where} ({what}; {taker.source})", indent=4, bullet=page.glyph("bullet"))
