"""Which faults around a Live Update kexec cost what, under each kernel: the tables of docs/study.md.

    python bench/study.py [--machines N] [--seed N] [--write]

Simulates the kexecs and analyses them, and analyses the captures of traces/. The same seed gives the same
tables. With --write they take the place of the former ones in docs/study.md. Needs an environment with
aritrace installed (``pip install -e .``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from typing import TYPE_CHECKING

from measuring import ROOT

from analyzer.writing import replacing

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = ROOT / "docs" / "study.md"
COMMAND = "python bench/study.py --write"
SEED = 20260930
#: Machines of each kind.
MACHINES = 6


def begin(name: str) -> str:
    """The line before a generated table."""
    return f"<!-- begin of {name}, written by `{COMMAND}` -->"


def end(name: str) -> str:
    """The line after it."""
    return f"<!-- end of {name} -->"


def tables(machines: int, seed: int) -> dict[str, str]:
    """Name of each generated part -> its markdown."""
    sys.path.append(str(ROOT / "tests"))  # the simulator
    import study_captures
    import study_kexecs
    import study_tables

    kexecs, ports = study_kexecs.run(machines, seed)
    day = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")
    run = (
        f"{kexecs.height:,} simulated kexecs on {kexecs['machine'].n_unique()} machines. "
        f"`{COMMAND}`, seed {seed}, {day}."
    )
    parts = {
        "machines": study_tables.machines(kexecs),
        "stranded": study_tables.stranded(kexecs),
        "registers": study_tables.registers(ports),
        "remedies": study_tables.remedies(kexecs),
        "agreement": study_tables.agreement(kexecs),
        "captures": study_captures.table(),
    }
    return {"run": run} | {name: table.markdown() for name, table in parts.items()}


def write(document: Path, parts: dict[str, str]) -> None:
    """Replace the generated parts of the document.

    Raises:
        ValueError: it lacks the two lines of a part.
    """
    text = document.read_text(encoding="utf-8")
    for name, part in parts.items():
        before, first, rest = text.partition(begin(name))
        _, last, after = rest.partition(end(name))
        if not (first and last):
            raise ValueError(f"{document}: expected the lines {begin(name)!r} and {end(name)!r}, found none")
        text = f"{before}{first}\n\n{part}\n\n{last}{after}"
    with replacing(document) as stream:
        stream.write(text.encode())


def main() -> None:
    """Make the tables, and print or write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--machines", type=int, default=MACHINES, help=f"of each kind ({MACHINES})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of machines and faults ({SEED})")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/study.md")
    arguments = parser.parse_args()
    if arguments.machines < 1:
        parser.error(f"expected at least 1 machine of each kind, found {arguments.machines}")
    if arguments.write and (arguments.machines, arguments.seed) != (MACHINES, SEED):
        parser.error(
            "the tables of docs/study.md are those of the default options: leave them or --write out"
        )
    start = time.monotonic()
    parts = tables(arguments.machines, arguments.seed)
    print("\n\n".join(parts.values()))
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    if arguments.write:
        write(DOCUMENT, parts)


if __name__ == "__main__":
    main()
