r"""Bytes of names that are not UTF-8: lone surrogates in Python (PEP 383), ``\xNN`` in tables and JSON."""

from __future__ import annotations

import re
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


def encodable(text: str) -> str:
    r"""Return ``text`` with such a byte written as ``\xNN``, any other lone surrogate as ``\uNNNN``."""
    return _SURROGATE.sub(_written, text)


def _written(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code & 0xFF:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def all_encodable(value: Any) -> Any:
    """The same for every text in lists, tuples and the values of dictionaries; all else stays."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {name: all_encodable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(all_encodable(item) for item in value)
    return value
