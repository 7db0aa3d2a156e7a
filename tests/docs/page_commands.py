"""The commands of a page: lines of its shell blocks, and commands in its sentences and tables.

What a command needs that a test has not is said in the page (CONTRIBUTING.md, "Commands in these pages"):
``needs: X`` in a comment of its line or block, in the paragraph before the block, in its own paragraph or
row, or in a paragraph that begins with "Needs:", for the rest of the section.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = [
    *("README.md", "CONTRIBUTING.md", "SECURITY.md"),
    *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")),
]
#: What a command may need, and what that means.
NEEDS = {
    "root": "root's rights, on the machine that is looked at",
    "hardware": "a machine, adapter or analyser that is not everywhere",
    "QEMU": "QEMU and a kernel to run in it",
    "network": "a package index, an object store or another host",
    "cluster": "Slurm, Kubernetes or Dask",
    "time": "more than a minute",
}
_NEEDS = re.compile(r"\bneeds:\s(\w+(?:,\s\w+)*)", re.IGNORECASE)
#: First words of a line that make a block without a language a block of commands.
_PROGRAMS = re.compile(r"(?:\w+=\S+ )*(?:analyze|sudo|python3?|pip|pytest|export)\b ")
_INLINE = re.compile(r"`((?:analyze|python bench/run\.py|record\.py|iconv|drgn) [^`]+)`")
_OPERATORS = {"&&", "|", ">", ">>", ";", "<", "(", ")", "|&", "||", ";;"}


@dataclass(frozen=True)
class PageCommand:
    """A command as a page has it.

    Attributes:
        line: of the page, from 1.
        text: without the comment after it.
        block: it is a line of a block; otherwise it stands in a sentence or table.
        needs: what the page says that it needs, None if nothing.
    """

    page: str
    line: int
    text: str
    block: bool
    needs: str | None

    def __str__(self) -> str:
        """As in ``docs/fleet.md:8: analyze fleet run ...``."""
        return f"{self.page}:{self.line}: {self.text}"

    @property
    def is_synopsis(self) -> bool:
        """Whether it shows what may be left out, in brackets."""
        return not self.block and " [" in self.text

    @property
    def calls(self) -> list[list[str]]:
        """The words of each program that the line starts, without redirections."""
        if self.is_synopsis:
            return [[word.strip("[]").partition("|")[0] for word in self.text.split()]]
        calls: list[list[str]] = [[]]
        words = iter(split(self.text))
        for word in words:
            if word in (">", ">>", "<"):
                next(words, None)
            elif word in _OPERATORS:
                calls.append([])
            else:
                calls[-1].append(word)
        return [call for call in calls if call]


def split(line: str) -> list[str]:
    """The words and operators of a line, without its comment."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def commands(page: str) -> list[PageCommand]:
    """Every command of a page, in its order."""
    found: list[PageCommand] = []
    sections: dict[int, str] = {}  # level of the heading -> what its section needs
    level, above = 1, ""
    for part in _parts(text_of(page).splitlines()):
        first, lines = part[0][0], [line for _, line in part]
        if lines[0].lstrip().startswith("```"):
            needs = _need(above) or _of_section(sections)
            found += _of_block(page, lines[0].strip()[3:], part[1:-1], needs)
            continue
        above = "\n".join(lines)
        if lines[0].startswith("#"):
            level = len(lines[0]) - len(lines[0].lstrip("#"))
            sections = {deeper: need for deeper, need in sections.items() if deeper < level}
        elif above.startswith("Needs: "):
            sections[level] = _need(above) or ""
        needs = _need(above) or _of_section(sections)
        for match in _INLINE.finditer(above):
            number = first + above[: match.start()].count("\n")
            found.append(PageCommand(page, number, " ".join(match[1].split()), False, needs))
    return found


def _parts(lines: list[str]) -> Iterator[list[tuple[int, str]]]:
    """Headings, blocks, paragraphs, items of lists and rows of tables, each as its numbered lines."""
    part: list[tuple[int, str]] = []
    fenced = False
    for number, line in enumerate(lines, start=1):
        fence = line.lstrip().startswith("```")
        alone = not line.strip() or fence or line.startswith(("#", "|", "* ", "- ")) or part[:1] == []
        if not fenced and part and (alone or part[-1][1].startswith("#")):
            yield part
            part = []
        if fenced or line.strip():
            part.append((number, line))
        if fence:
            fenced = not fenced
            if not fenced:
                yield part
                part = []
    if part:
        yield part


def _need(text: str) -> str | None:
    found = _NEEDS.search(text)
    return " ".join(found[1].split()) if found else None


def _of_section(sections: dict[int, str]) -> str | None:
    return sections[max(sections)] if sections else None


def _of_block(page: str, language: str, lines: list[tuple[int, str]], needs: str | None) -> list[PageCommand]:
    if language != "sh" and not (language == "" and any(_PROGRAMS.match(line) for _, line in lines)):
        return []
    for _, line in lines:
        if line.startswith("# ") and _need(line):
            needs = _need(line)
    found = []
    held, first = "", 0
    for number, line in lines:
        if line.endswith("\\"):
            held, first = held + line[:-1], first or number
            continue
        whole = (held + line).strip()
        if whole and not whole.startswith("#") and whole != "..." and not whole.startswith("... "):
            bare = re.sub(r"\s+# .*", "", whole)
            found.append(PageCommand(page, first or number, bare, True, _need(whole) or needs))
        held, first = "", 0
    return found
