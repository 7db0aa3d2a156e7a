"""Where a report goes: standard output, or a file that is written atomically."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from analyzer.errors import UsageError
from analyzer.report import page as pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.report.page import Page


def new_page(output: str | None) -> Page:
    """Return an empty page for standard output, or for a file (plain, ASCII)."""
    return pages.new_page(sys.stdout if output is None else None)


def put_page(page: Page, output: str | None) -> None:
    """Put a page out to standard output (in colour on a terminal) or to a file."""
    if output is None:
        with _stdout() as stream:
            pages.show(page, stream)
        return
    with _file(output) as stream:
        stream.write(pages.plain(page))


def put_text(pieces: Iterable[str], output: str | None) -> None:
    """Put text out as it is, piece by piece."""
    if output is None:
        with _stdout() as stream:
            for piece in pieces:
                stream.write(piece)
        return
    with _file(output) as stream:
        for piece in pieces:
            stream.write(piece)


def put_bytes(data: bytes, path: str) -> None:
    """Write a binary report to a file atomically."""
    from analyzer.writing import replacing

    with replacing(path) as stream:
        stream.write(data)


@contextmanager
def _stdout() -> Iterator[TextIO]:
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        from analyzer.writing import refusal

        raise UsageError(f"cannot write to standard output: {refusal(error)}") from error


@contextmanager
def _file(path: str) -> Iterator[TextIO]:
    from io import TextIOWrapper

    from analyzer.writing import replacing

    with replacing(path) as raw:
        # backslashreplace: an undecodable byte in a name must not cost the report.
        stream = TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n")
        yield stream
        stream.flush()
        stream.detach()
