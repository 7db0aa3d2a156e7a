"""``analyze convert``: one line for each file written, on standard error (the output is the file)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from analyzer.escaping import inert
from analyzer.plurals import count

if TYPE_CHECKING:
    from analyzer.converting.conversion import Converted


def print_converted(converted: Converted) -> None:
    """Print what became of one capture."""
    what = [count(converted.accesses, "access", "accesses")]
    if converted.of is not None:
        what[0] += f" of {converted.of:,}"
    if converted.log_lines:
        what.append(count(converted.log_lines, "log line"))
    if converted.preserved_sets:
        what.append(count(converted.preserved_sets, "preserved set"))
    if converted.blanked is not None:
        what.append(f"{count(converted.blanked, 'value')} blanked")
    text = f"{converted.source}: {', '.join(what)} in {converted.output} ({count(converted.size, 'byte')})"
    print(inert(text), file=sys.stderr)
