"""``analyze collect``: what went into the file, what did not and why that matters, on standard error."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from analyzer.escaping import inert
from analyzer.plurals import count
from analyzer.report.problems import complain

if TYPE_CHECKING:
    from analyzer.converting.collection import Collected


def print_collected(collected: Collected) -> None:
    """Print what was collected, a warning for each thing that was not, and the next step."""
    what = [count(collected.functions, "function")]
    if collected.log_lines:
        what.append(count(collected.log_lines, "log line"))
    if collected.preserved_sets:
        what.append(count(collected.preserved_sets, "preserved set"))
    if collected.blanked is not None:
        what.append(f"{count(collected.blanked, 'value')} blanked")
    of = f" of Linux {collected.release}" if collected.release and collected.blanked is None else ""
    text = f"{', '.join(what)}{of} in {collected.output} ({count(collected.size, 'byte')})"
    print(inert(text), file=sys.stderr)
    for thing in collected.missing:
        complain(f"not collected: {thing.what}; {thing.matters}; {thing.advice}", "warning")
    name = shlex.quote(collected.output)
    if collected.moment == "after":
        complain(f"what the kexec changed: analyze --join BEFORE.bin {name}", "hint")
    elif collected.moment == "before":
        complain(f"what a kexec can clear: analyze atrisk {name}", "hint")
