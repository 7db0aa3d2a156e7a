r"""Text from captures made safe to show and to store.

Host names, kernel releases, log lines and paths come from whoever made the capture. Control characters would
drive the terminal, bidirectional controls reorder what is read, zero-width ones hide in a name, and lone
surrogates (undecodable bytes of a path, PEP 383) stop every encoder. Two rules, for two kinds of readers:

* :func:`inert`, for people: whatever is not visibly itself becomes an escape, and long texts are cut.
* :func:`encodable`, for programs (tables, JSON): only what no encoder takes becomes an escape.

Both write an undecodable byte as that byte, ``\xNN``.
"""

from __future__ import annotations

import re
from typing import Any

#: Longest text from a capture that a line of a report shows.
LIMIT = 2000

_PLAIN = re.compile(r"[\x20-\x7e]*")
SURROGATE = re.compile("[\ud800-\udfff]")


def inert(text: str, *, ascii_only: bool = False) -> str:
    r"""Return ``text`` with every character that is not visibly itself written as ``\xNN`` or ``\uNNNN``.

    Args:
        text: anything; what is beyond :data:`LIMIT` characters is cut, and the result says so.
        ascii_only: escape all but printable ASCII, for streams that take no more.
    """
    if len(text) > LIMIT:
        text = f"{text[:LIMIT]}... ({len(text)} characters)"
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_visible(character, ascii_only) for character in text)


def _visible(character: str, ascii_only: bool) -> str:
    code = ord(character)
    # Not printable: control, format (bidi, zero width), surrogate, private, unassigned, and odd blanks.
    if 0x20 <= code < 0x7F or (code >= 0x7F and not ascii_only and character.isprintable()):
        return character
    return _escape(code)


def encodable(text: str) -> str:
    r"""Return ``text`` with undecodable bytes written as ``\xNN``, other lone surrogates as ``\uNNNN``."""
    return SURROGATE.sub(lambda match: _escape(ord(match[0])), text)


def all_encodable(value: Any) -> Any:
    """The same for every text in lists, tuples and the values of dictionaries; all else stays."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {name: all_encodable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(all_encodable(item) for item in value)
    return value


def _escape(code: int) -> str:
    if code < 0x100 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
