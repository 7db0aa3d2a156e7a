"""Measure aritrace and others on the same files in one run.

    python bench/run.py [--quick] [--long] [--profile] [--against COMMIT] [--write] [SECTION ...]

Prints tables in markdown; with --write they also take the place of the former ones in docs/performance.md.
Needs an environment with aritrace installed (``pip install -e .``). A missing program is named as such.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

import document
import earlier
import machine
from measuring import ANALYZE, Plan

#: Modules beside this one, each with a TITLE and measure(plan) -> tables. In the order of the document.
SECTIONS = ("startup", "native", "qemu_log", "simpletrace", "trace_dat", "pcap", "scaling", "fleet", "reach")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure aritrace and others on the same files in one run.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (all)")
    parser.add_argument("--quick", action="store_true", help="tiny inputs: the figures mean nothing")
    parser.add_argument("--long", action="store_true", help="also 10^8 accesses, 10 GB, 100,000 captures")
    parser.add_argument("--profile", action="store_true", help="also say where the time goes")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/performance.md")
    parser.add_argument("--against", metavar="COMMIT", help="an earlier commit, measured in the same run")
    parser.add_argument("--folder", type=Path, help="where inputs are made (--long: 15 GB)")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"expected sections of {', '.join(SECTIONS)}, found {', '.join(sorted(unknown))}")
    if arguments.write and arguments.quick:
        parser.error("--quick gives no figures worth writing: leave --quick or --write out")
    if not Path(ANALYZE).exists():
        parser.error(f"expected {ANALYZE}, found no such file: install aritrace beside this Python")
    return arguments


def main() -> None:
    """Measure the sections that were asked for, and print or write their tables."""
    arguments = _arguments()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its compiled modules
    load = os.getloadavg()[0]
    if load > machine.cores() / 4 and not arguments.quick:
        print(f"the machine is busy (load {load:.1f}): the figures will be too low", file=sys.stderr)
    table = machine.describe()
    print(table.markdown(), flush=True)
    parts = {}
    with tempfile.TemporaryDirectory(prefix="aritrace-bench-", dir=arguments.folder) as folder:
        plan = Plan(Path(folder), arguments.quick, arguments.long, arguments.profile, arguments.against)
        before = None
        if arguments.against is not None:
            (Path(folder) / "earlier").mkdir()
            before = earlier.check_out(arguments.against, Path(folder) / "earlier")
        for name in SECTIONS:
            if arguments.sections and name not in arguments.sections:
                continue
            start = time.monotonic()
            section = importlib.import_module(name)
            tables = section.measure(plan)
            if before is not None and name not in earlier.MEASURED_THERE:
                tables = earlier.beside(tables, before.seconds(name, plan), before.commit)
            parts[name] = document.part(name, section.TITLE, tables, plan)
            print(f"\n{parts[name]}", flush=True)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    if arguments.write:
        document.write(table, parts, SECTIONS)


if __name__ == "__main__":
    main()
