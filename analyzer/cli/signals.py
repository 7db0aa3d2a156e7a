"""SIGINT and SIGTERM: an exception where one can be raised, so that half-written files are removed."""

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
#: Packages whose compiled code calls Python and cannot pass an exception on: polars panics where it asks for
#: numpy's version, and a module whose import was interrupted is incomplete.
_UNBREAKABLE = frozenset({"importlib", "numpy", "polars"})
#: Seconds between two checks of an unbreakable call, and after how many the exception is raised anyway. For
#: the same time after that, further signals are ignored, so that half-written files can be removed.
_STEP, _PATIENCE = 0.01, 2.0


class _State:
    """What the signals to this process have caused."""

    #: Number of the one that ended the work.
    raised: int | None = None
    #: Up to when (monotonic seconds) an unbreakable call is waited for; set by the first signal.
    patient_until: float | None = None
    #: Up to when further signals are ignored.
    deaf_until: float = 0.0


_state = _State()


def take() -> None:
    """From now on SIGINT and SIGTERM raise :class:`SystemExit`, unless they were ignored at the start."""
    _handle_by(_end)
    sys.unraisablehook = _not_lost
    sys.meta_path.insert(0, _Interruptible)


def let_go() -> None:
    """From now on both end the process at once and silently: there is nothing to clean up."""
    _handle_by(signal.SIG_DFL)


def status() -> int | None:
    """Exit status of the signal that ended the work, 128 + its number; None if none did."""
    return None if _state.raised is None else 128 + _state.raised


def _handle_by(handler: signal._HANDLER) -> None:
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if now < _state.deaf_until:
        return
    if _state.patient_until is None:
        _state.patient_until = now + _PATIENCE
    if now < _state.patient_until and _unbreakable(frame):
        _again(number)
        return
    _state.raised, _state.deaf_until = number, now + _PATIENCE
    sys.exit(128 + number)


def _unbreakable(frame: FrameType | None) -> bool:
    """Whether a call that no exception may leave is on the stack."""
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


class _Interruptible:
    """Lets SIGINT still end a call that waits, such as a read from a pipe, after polars is imported.

    polars' core installs a signal handler with SA_RESTART before Python's (polars issue 21739), and then
    imports its modules, each of which is looked up here.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:  # noqa: ARG004 the protocol
        if name.startswith("polars."):
            signal.siginterrupt(signal.SIGINT, True)


def _not_lost(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise again what was raised in a finaliser, where Python drops every exception."""
    if _state.raised is not None and isinstance(unraisable.exc_value, SystemExit):
        _state.deaf_until = 0.0
        _again(_state.raised)
    else:
        sys.__unraisablehook__(unraisable)
