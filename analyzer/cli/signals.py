"""Ctrl-C and polite kills: an exception where one can travel, so that half-written files are removed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

# What type checkers read as typing.TYPE_CHECKING: the less is imported before let_go, the better.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM)
#: Packages whose compiled code calls Python and takes no exception out of it: polars panics where numpy's
#: version is asked for, and a module whose import was broken off is in pieces.
_UNBREAKABLE = frozenset({"importlib", "numpy", "polars"})
#: Seconds between two looks at an unbreakable call, and after how many the exception is raised all the same.
_STEP, _PATIENCE = 0.01, 2.0

_raised: list[int] = []
_first_seen: list[float] = []


def take() -> None:
    """From now on SIGINT and SIGTERM raise :class:`SystemExit`; what the parent had ignored stays so."""
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    sys.unraisablehook = _not_lost


def let_go() -> None:
    """From now on both end the process at once and silently: there is nothing to tidy up."""
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def status() -> int | None:
    """Exit status of the signal that ended the work, 128 + its number; None if none did."""
    return 128 + _raised[0] if _raised else None


def _end(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    _first_seen.append(now)
    if _unbreakable(frame) and now - _first_seen[0] < _PATIENCE:
        _again(number)
        return
    _raised.append(number)
    sys.exit(128 + number)


def _unbreakable(frame: FrameType | None) -> bool:
    """Tell whether what runs was called, directly or not, by a call that no exception may leave."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package in _UNBREAKABLE:
            return True
        if package == "analyzer":
            return False
        frame = frame.f_back
    return False


def _again(number: int) -> None:
    timer = threading.Timer(_STEP, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def _not_lost(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise once more what struck a finaliser, where Python drops every exception."""
    if _raised and isinstance(unraisable.exc_value, SystemExit):
        _again(_raised[-1])
    else:
        sys.__unraisablehook__(unraisable)
