"""Text from captures made harmless: what could mislead a terminal or a reader becomes an escape.

Host names, kernel releases, log lines and paths come from whoever made the capture. Control characters would
drive the terminal, bidirectional controls reorder what is read, zero-width ones hide in a
name, lone surrogates (undecodable bytes of a path) stop the encoder.
"""

from __future__ import annotations

import re

#: Longest text from a capture that a line of a report shows.
LIMIT = 2000

_PLAIN = re.compile(r"[\x20-\x7e]*")


def inert(text: str, *, ascii_only: bool = False) -> str:
    r"""Return ``text`` with every character that is not visibly itself written as ``\xNN`` or ``\uNNNN``.

    A lone surrogate that stands for an undecodable byte (PEP 383) is written as that byte.

    Args:
        text: anything; what is beyond :data:`LIMIT` characters is cut and its length added.
        ascii_only: escape all but printable ASCII, for streams that take no more.
    """
    if len(text) > LIMIT:
        text = f"{text[:LIMIT]}... ({len(text)} characters)"
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_visible(character, ascii_only) for character in text)


def _visible(character: str, ascii_only: bool) -> str:
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return character
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    # Not printable: control, format (bidi, zero width), surrogate, private, unassigned, and odd blanks.
    if not ascii_only and character.isprintable():
        return character
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
