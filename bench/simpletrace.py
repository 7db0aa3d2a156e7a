"""A long file of QEMU's ``simple`` trace backend, beside interpreted Construct.

QEMU's own decoder, ``scripts/simpletrace.py``, is in its sources only and in no package.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import long_captures
from measuring import Contender, Plan, Table, compare, megabytes
from native import analyse, decode
from profiles import where_the_time_goes

from schemas.simpletrace import HEADER_SIZE, LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "Simpletrace of QEMU"
RECORDS, FEW = 2_000_000, 50_000
SAMPLE, SMALL_SAMPLE = 50_000, 2_000


def measure(plan: Plan) -> list[Table]:
    """Measure one file."""
    path = plan.folder / "long.simple"
    long_captures.simpletrace(path, plan.size(RECORDS, FEW))
    sample = plan.size(SAMPLE, SMALL_SAMPLE)
    contenders = [
        Contender("decode", partial(decode, path), 1.5e6),
        Contender("whole analysis", partial(analyse, path)),
        Contender(
            "interpreted Construct, one record after the other (a sample)",
            partial(interpret, path, sample),
            sample=True,
        ),
    ]
    tables = [compare(plan, f"{megabytes(path.stat().st_size)} MB", "records", contenders)]
    if plan.profile:
        tables.append(where_the_time_goes("decoding", partial(decode, path)))
    path.unlink()
    return tables


def interpret(path: Path, sample: int) -> int:
    """Parse the first records with the declaration itself."""
    record = LAYOUTS["little"].record
    with path.open("rb") as file:
        file.seek(HEADER_SIZE)
        for _ in range(sample):
            record.parse_stream(file)
    return sample
