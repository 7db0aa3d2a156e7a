"""Access tables written as text, a line per access: ``r 02:00.0 28.w 0020``, for tests of single rules.

``r`` or ``w``, the function, the register offset in hex with ``.b``, ``.w``, ``.l`` or ``.?`` (width not
recorded), the value in hex; ``gone`` is a read that nobody answers, ``error`` one whose accessor failed.
``#`` starts a comment, ``@NS`` before a line sets its time.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from analyzer import accesses, bdf
from analyzer.index import AccessIndex

_WIDTHS = {"b": 1, "w": 2, "l": 4, "?": 0}


def table(text: str) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for line in text.strip().splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        time = int(words.pop(0)[1:]) if words[0].startswith("@") else None
        op, function, register, value = words
        offset, width = register.split(".")
        key = bdf.parse(function)
        size = _WIDTHS[width]
        ones = (1 << 8 * (size or 4)) - 1
        dead = value in ("gone", "error")
        rows.append(
            {
                "time_ns": time,
                "domain": key >> 16,
                "bus": key >> 8 & 0xFF,
                "devfn": key & 0xFF,
                "offset": int(offset, 16),
                "width": size,
                "op": "read" if op == "r" else "write",
                "value": ones if dead else int(value, 16),
                "status": {"gone": "unsupported", "error": "abort"}.get(value, "ok"),
                "absent": value == "gone",
                "cpu": None,
                "where": len(rows) * 16,
            }
        )
    frame = pl.DataFrame(rows, schema=accesses.READER_SCHEMA)
    return frame.with_columns(
        capture=pl.lit(0, pl.UInt32),
        file=pl.lit(0, pl.UInt16),
        seq=pl.int_range(frame.height, dtype=pl.UInt64),
    ).select(list(accesses.SCHEMA))


def index(text: str) -> AccessIndex:
    return AccessIndex(table(text))
