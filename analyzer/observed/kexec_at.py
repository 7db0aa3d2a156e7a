"""Boundaries that the user gives: ``--kexec-at``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.errors import UsageError
from analyzer.options import explicit_boundary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.capture import Boundary
    from analyzer.observed.index import AccessIndex


def parse_kexec_at(index: AccessIndex, texts: Sequence[str]) -> list[Boundary]:
    """Boundaries given explicitly: ``access:N`` (N is the incoming kernel's first access) or ``time:NS``.

    Raises:
        UsageError: not of that form, or outside the capture.
    """
    from analyzer.capture import Boundary

    marks = []
    for text in texts:
        boundary = explicit_boundary(text)
        if boundary is None:
            raise UsageError(f"--kexec-at: expected access:N or time:NS, found {text!r}")
        word, seq = boundary
        if word == "time":
            later = np.flatnonzero(index.time_ns >= seq)
            if not later.size or not (index.time_ns >= 0).any():
                raise UsageError(
                    f"--kexec-at {text}: no access at or after that time", advice="see analyze stat"
                )
            seq = int(index.seq[later[0]])
        if index.rows == 0 or seq > int(index.seq[-1]) or seq <= int(index.seq[0]):
            last = int(index.seq[-1]) if index.rows else 0
            raise UsageError(
                f"--kexec-at {text}: expected one of accesses 1 to {last}, found {seq}",
                advice="give the number or time of the incoming kernel's first access",
            )
        marks.append(Boundary(seq, "kexec"))
    return marks
