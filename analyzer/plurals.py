"""Numbers with their noun: one row, two rows."""

from __future__ import annotations

import re
from typing import Final

_FORMS: Final = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 bridge``, ``2 bridges``, ``20,123 accesses``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def counted(template: str, number: int) -> str:
    """Return a sentence about a number of things.

    Args:
        template: the sentence with ``{}`` for the number, and each word that depends on it as
            ``[singular|plural]``: ``{} [row is|rows are] left out``.
        number: how many there are.
    """
    return _FORMS.sub(r"\1" if number == 1 else r"\2", template).replace("{}", f"{number:,}", 1)
