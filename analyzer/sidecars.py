"""Small files beside a capture NAME that belong to it: NAME.preserved, NAME.flb, NAME.dmesg."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SUFFIXES = (".preserved", ".flb", ".dmesg")


def beside(captures: Iterable[str], suffix: str) -> list[str]:
    """The sidecars of one kind that exist, at most one for each capture.

    Args:
        captures: paths of the pieces that one capture was joined from, or of the one that it is.
        suffix: one of :data:`SUFFIXES`.

    Returns:
        their paths; NAME is the path of a capture, whole or less one or two suffixes, the longest first.
    """
    return [found[0] for path in captures if (found := _existing(path, suffix))]


def every(capture: str) -> list[str]:
    """Every sidecar of a capture that exists, of all kinds, also those that another one goes before."""
    return [path for suffix in SUFFIXES for path in _existing(capture, suffix)]


def _existing(capture: str, suffix: str) -> list[str]:
    path = Path(capture)
    names = [path.name]
    for _ in range(2):
        stem = Path(names[-1]).stem
        if stem != names[-1]:
            names.append(stem)
    candidates = [path.with_name(name + suffix) for name in names if name and capture != "-"]
    return [str(candidate) for candidate in candidates if candidate.is_file()]
