"""The generated part of docs/performance.md: the machine, and a part for each section that was measured."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from measuring import ROOT

from analyzer.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from measuring import Plan, Table

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN = "<!-- begin of what `python bench/run.py --write` writes -->"
END = "<!-- end of what `python bench/run.py --write` writes -->"


def part(name: str, title: str, tables: Iterable[Table], plan: Plan) -> str:
    """Return the markdown of one section, between marks of its own."""
    day = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")
    options = "".join(f" --{option}" for option in ("quick", "long", "profile") if getattr(plan, option))
    options += f" --against {plan.against}" if plan.against is not None else ""
    blocks = [f"### {title}", *(table.markdown() for table in tables)]
    blocks.append(f"`python bench/run.py{options} {name}`, {day}.")
    return "\n\n".join([_begin(name), *blocks, _end(name)])


def write(machine: Table, parts: Mapping[str, str], order: Sequence[str]) -> None:
    """Replace the machine and the parts that were measured; parts of other sections stay as they are.

    Raises:
        ValueError: the document has no two marks to write between.
    """
    text = DOCUMENT.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{DOCUMENT}: expected the lines {BEGIN!r} and {END!r}, found no such pair")
    known = {name: found for name in order if (found := _find(old, name))}
    whole = [machine.markdown(), *({**known, **parts}[name] for name in order if name in {**known, **parts})]
    with replacing(DOCUMENT) as stream:
        stream.write("\n\n".join([before + BEGIN, *whole, END + after]).encode())


def _find(text: str, name: str) -> str | None:
    found = re.search(re.escape(_begin(name)) + ".*?" + re.escape(_end(name)), text, re.DOTALL)
    return found and found.group()


def _begin(name: str) -> str:
    return f"<!-- section {name} -->"


def _end(name: str) -> str:
    return f"<!-- end of section {name} -->"
