import io

import pytest

from analyzer.report.page import Page, Span, new_page, plain, show


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


class AsciiTerminal(Terminal):
    encoding = "ascii"


def sample():
    page = Page(width=40)
    page.line(Span("LOST", "bad"), ": [red]x[/red]\x1b[2J")
    return page


def test_plain_text_has_no_colour_and_no_trailing_blanks():
    page = sample()
    page.line("a  ", "  ")
    assert plain(page) == "LOST: [red]x[/red]\\x1b[2J\na\n"


def test_a_terminal_gets_colour(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    show(sample(), stream)
    assert stream.getvalue() == "\x1b[1;31mLOST\x1b[0m: [red]x[/red]\\x1b[2J\n"


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    show(sample(), stream)
    assert "31m" not in stream.getvalue()
    assert "LOST" in stream.getvalue()


def test_a_pipe_gets_plain_text(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    stream = io.StringIO()
    show(sample(), stream)
    assert stream.getvalue() == plain(sample())


@pytest.mark.parametrize(
    ("stream", "arrow"),
    [(Terminal(), "\u2192"), (AsciiTerminal(), "->"), (io.StringIO(), "->"), (None, "->")],
)
def test_glyphs_follow_the_stream(stream, arrow):
    assert new_page(stream).glyph("arrow") == arrow


@pytest.mark.parametrize(("columns", "width"), [("10", 40), ("80", 80), ("500", 120)])
def test_the_width_follows_the_terminal_within_limits(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    assert new_page(Terminal()).width == width
    assert new_page(io.StringIO()).width == 100


def test_prose_is_wrapped_and_hangs_behind_its_bullet():
    page = Page(width=40)
    page.prose("one two three four five six seven eight nine", indent=2, bullet="-")
    assert plain(page) == "  - one two three four five six seven\n    eight nine\n"


def test_columns_are_aligned():
    page = Page()
    page.table([("a", "1", "x"), ("bbb", "22", "yy"), ("c",)], indent=1, right=frozenset({1}))
    assert plain(page) == " a     1  x\n bbb  22  yy\n c\n"


def test_blank_lines_never_pile_up():
    page = Page()
    page.blank()
    page.line("a")
    page.blank()
    page.blank()
    page.line("b")
    assert plain(page) == "a\n\nb\n"
