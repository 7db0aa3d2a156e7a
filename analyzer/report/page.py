"""Lines of styled text, and the two ways to print them: plain for pipes and files, rich on a terminal.

Every string that goes onto a page is made inert here, so that no report can forget it. A page knows the width
it may fill and whether the reader's stream takes more than ASCII; with ASCII only, glyphs have stand-ins.
"""

from __future__ import annotations

import os
import shutil
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TextIO

from analyzer.escaping import inert

if TYPE_CHECKING:
    from collections.abc import Iterable

Style = Literal["", "bad", "warn", "good", "dim", "strong"]

_RICH_STYLES: dict[Style, str] = {
    "": "",
    "bad": "bold red",
    "warn": "yellow",
    "good": "green",
    "dim": "dim",
    "strong": "bold",
}
#: Glyphs by name: on a UTF-8 terminal, and everywhere else.
_GLYPHS = {
    "arrow": ("→", "->"),
    "bad": ("✗", "X"),
    "warn": ("!", "!"),
    "unknown": ("?", "?"),
    "good": ("✓", " "),
    "tee": ("├─", "+-"),
    "corner": ("└─", "\\-"),
    "bar": ("│ ", "| "),
    "more": ("…", "..."),
    "bullet": ("•", "-"),
}
#: Width of prose where no terminal says otherwise, and the limits that keep lines readable.
PIPE_WIDTH, NARROWEST, WIDEST = 100, 40, 120


@dataclass(frozen=True)
class Span:
    """A piece of a line in one style."""

    text: str
    style: Style = ""


@dataclass
class Page:
    """Lines to put out, each a tuple of spans.

    Attributes:
        width: columns that prose is wrapped to; evidence and trees are never wrapped.
        fancy: the stream is a UTF-8 terminal.
    """

    width: int = PIPE_WIDTH
    fancy: bool = False
    lines: list[tuple[Span, ...]] = field(default_factory=list)

    def glyph(self, name: str) -> str:
        """Return the glyph of that name for this page's stream."""
        return _GLYPHS[name][0 if self.fancy else 1]

    def line(self, *parts: str | Span) -> None:
        """Add a line of parts, made inert; plain strings have no style."""
        spans = (part if isinstance(part, Span) else Span(part) for part in parts)
        # A glyph of our own is safe and must stay itself on a fancy page; on a plain one it is ASCII already.
        self.lines.append(tuple(Span(inert(span.text), span.style) for span in spans))

    def blank(self) -> None:
        """Add an empty line, but never two in a row nor one at the top."""
        if self.lines and self.lines[-1]:
            self.lines.append(())

    def prose(self, text: str, *, indent: int = 0, bullet: str = "", style: Style = "") -> None:
        """Add a paragraph wrapped to the width; ``bullet`` comes before its first line."""
        lead = " " * indent + (f"{bullet} " if bullet else "")
        wrapped = textwrap.wrap(
            inert(text),
            width=max(self.width, NARROWEST),
            initial_indent=lead,
            subsequent_indent=" " * len(lead),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for row in wrapped or [lead.rstrip()]:
            self.lines.append((Span(row, style),))

    def table(
        self, rows: Iterable[tuple[str | Span, ...]], *, indent: int = 0, right: frozenset[int]
    ) -> None:
        """Add rows in columns, those in ``right`` aligned right; the last column is never padded."""
        spans = [[part if isinstance(part, Span) else Span(part) for part in row] for row in rows]
        widths = [
            max((len(inert(row[column].text)) for row in spans if column < len(row)), default=0)
            for column in range(max(map(len, spans), default=0))
        ]
        for row in spans:
            cells: list[Span] = [Span(" " * indent)]
            for column, span in enumerate(row):
                text = inert(span.text)
                if column in right:
                    text = text.rjust(widths[column])
                elif column < len(row) - 1:
                    text = text.ljust(widths[column])
                cells.append(Span(text, span.style))
                if column < len(row) - 1:
                    cells.append(Span("  "))
            self.line(*cells)


def new_page(stream: TextIO | None) -> Page:
    """Return an empty page fit for ``stream``; None is a file, which gets plain ASCII lines."""
    if stream is None or not stream.isatty():
        return Page()
    columns = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "").replace("_", "")
    return Page(width=min(max(columns, NARROWEST), WIDEST), fancy=encoding == "utf8")


def plain(page: Page) -> str:
    """Return the page as text without any colour, ending in a newline."""
    rows = ("".join(span.text for span in spans).rstrip() for spans in page.lines)
    return "".join(f"{row}\n" for row in rows)


def show(page: Page, stream: TextIO) -> None:
    """Write the page to ``stream``: through rich on a terminal (which respects NO_COLOR), else plain."""
    if not stream.isatty() and not os.environ.get("FORCE_COLOR"):
        stream.write(plain(page))
        return
    # rich costs 60 ms to import: only where its output is seen.
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
    for spans in page.lines:
        console.print(Text.assemble(*((span.text, _RICH_STYLES[span.style]) for span in spans)))
