"""A manual page in roff, with the macros of man(7) alone: sections, paragraphs, and terms with their text."""

from __future__ import annotations

from dataclasses import dataclass, field

_SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}


def text(plain: str) -> str:
    """Return text that roff prints as it is; characters beyond ASCII become their code points."""
    line = " ".join(plain.split())
    escaped = "".join(
        _SPECIAL.get(character, character) if character.isascii() else f"\\[u{ord(character):04X}]"
        for character in line
    )
    # A dot at the start of a line would be a request.
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def bold(plain: str) -> str:
    """Return text in bold, for what is typed literally."""
    return f"\\fB{text(plain)}\\fR"


def italic(plain: str) -> str:
    """Return text in italics, for what is to be replaced."""
    return f"\\fI{text(plain)}\\fR"


@dataclass
class ManPage:
    """A page under construction; lines given to the methods are roff (see :func:`text`).

    Attributes:
        name: of the program.
        package: what it belongs to, in the footer.
        lines: of the page so far.
    """

    name: str
    package: str
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines.append(f'.TH {text(self.name.upper())} 1 "" "{text(self.package)}" "User Commands"')
        # No hyphens in names of options, and lines that are even on the left only.
        self.lines += [".nh", ".ad l"]

    def section(self, title: str) -> None:
        """Begin a section."""
        self.lines.append(f'.SH "{text(title.upper())}"')

    def subsection(self, title: str) -> None:
        """Begin a part of a section."""
        self.lines.append(f'.SS "{text(title)}"')

    def paragraph(self, line: str) -> None:
        """Add a paragraph."""
        self.lines += [".PP", line]

    def term(self, term: str, line: str) -> None:
        """Add a term with its text indented below it."""
        self.lines += [".TP", term, line]

    def example(self, command: str, line: str) -> None:
        """Add a command as it is typed, with what it does."""
        self.lines += [".PP", line, ".RS 4", ".nf", bold(command), ".fi", ".RE"]

    def roff(self) -> str:
        """Return the page, ending in a newline."""
        return "\n".join(self.lines) + "\n"
