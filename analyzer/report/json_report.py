"""The result for other programs: one JSON object, or one a line for each capture.

The keys are a promise (interface: JSON) and are those of :mod:`analyzer.results`, in that order; new ones
may be added. The text is ASCII, so that nothing from a capture can act on a terminal or be undecodable.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING

from analyzer.escaping import SURROGATE, encodable
from analyzer.results import SCHEMA_VERSION
from analyzer.version import NAME, version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.results import Analysis

_NOT_ASCII = re.compile(r"[^\x00-\x7e]")


def json_text(analysis: Analysis) -> str:
    """Return the whole result as one indented JSON object, ending in a newline."""
    whole = {
        "schema": SCHEMA_VERSION,
        "tool": {"name": NAME, "version": version()},
        "policy": analysis.policy,
        "captures": analysis.captures,
        "summary": analysis.summary,
    }
    return _dumps(whole, indent=2) + "\n"


def json_lines(analysis: Analysis) -> Iterator[str]:
    """Yield each capture as one JSON object on a line of its own, in the order they were given."""
    for capture in analysis.captures:
        yield _dumps(capture, indent=None) + "\n"


def json_line(value: object) -> str:
    """Return any result object as JSON on one line, with a newline."""
    return _dumps(value, indent=None) + "\n"


def dumps(value: object) -> str:
    """Return any result object (``stat``, ``explain``, ``rule``) as indented JSON text with a newline."""
    return _dumps(value, indent=2) + "\n"


def _dumps(value: object, indent: int | None) -> str:
    # A path with undecodable bytes holds lone surrogates, which are not valid JSON: they are written first.
    # The rest beyond ASCII is escaped as JSON does it, in UTF-16 units.
    text = json.dumps(value, default=_fields, indent=indent, ensure_ascii=False, allow_nan=False)
    text = SURROGATE.sub(lambda match: "\\" + encodable(match[0]), text)
    return _NOT_ASCII.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD7C0 + (code >> 10):04x}\\u{0xDC00 | code & 0x3FF:04x}"


def _fields(value: object) -> dict[str, object]:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} is not a result object")
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
