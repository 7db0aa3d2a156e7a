"""Small files beside a capture NAME that belong to it: NAME.preserved, NAME.flb, NAME.dmesg."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.capture import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

SUFFIXES = (".preserved", ".flb", ".dmesg")
_ONE_GUEST = re.compile(r"\[(?:pid [0-9]+|host)\]$")


def beside(captures: Iterable[str], suffix: str) -> list[str]:
    """The sidecars of one kind that exist, at most one for each capture.

    Args:
        captures: paths of the pieces that one capture was joined from, or of the one that it is.
        suffix: one of :data:`SUFFIXES`.

    Returns:
        their paths; NAME is the path of a capture, whole or less one or two suffixes, the longest first.
        A link that leads out of its folder is never one (:func:`not_followed`).
    """
    followed = ([name for name in _existing(path, suffix) if not _leads_out(name)] for path in captures)
    return [found[0] for found in followed if found]


def not_followed(captures: Iterable[str]) -> list[Problem]:
    """A problem for each file that would be a sidecar, but is a link to a file outside of its folder.

    A folder may come from somebody else: what its links lead to is not its content.
    """
    return [
        Problem(
            "not-followed",
            name,
            None,
            "this sidecar is a link that leads out of the capture's folder: it was not followed; copy the"
            " file there, or name it with an option",
        )
        for path in captures
        for name in every(path)
        if _leads_out(name)
    ]


def _leads_out(path: str) -> bool:
    folder = os.path.realpath(Path(path).parent)
    return not Path(os.path.realpath(path)).is_relative_to(folder)


def every(capture: str) -> list[str]:
    """Every sidecar of a capture that exists, of all kinds, also those that another one goes before."""
    return [path for suffix in SUFFIXES for path in _existing(capture, suffix)]


def names(capture: str) -> list[str]:
    """What NAME can be for a capture: its file name, whole or less one or two suffixes, the longest first.

    That of one guest of a recording is its whole name (``host.dat[pid 4242]``): a file beside the recording
    does not say which guest it is of.
    """
    found = [capture]
    if _ONE_GUEST.search(capture):
        return found
    for _ in range(2):
        dot = found[-1].rfind(".")
        if 0 < dot < len(found[-1]) - 1:  # as PurePath.stem of Python 3.11
            found.append(found[-1][:dot])
    return found


def name_of(sidecar: str) -> str:
    """NAME of a sidecar, or of another file NAME.SUFFIX beside a capture."""
    return sidecar.rpartition(".")[0]


def _existing(capture: str, suffix: str) -> list[str]:
    """Paths are joined as text: a fleet asks this several times of each capture."""
    folder, slash, name = capture.rpartition("/")
    if name in ("", "-", ".", ".."):
        return []
    candidates = (f"{folder}{slash}{stem}{suffix}" for stem in names(name))
    return [candidate for candidate in candidates if os.path.isfile(candidate)]  # noqa: PTH113 (as above)
