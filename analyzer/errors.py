"""Every error that aritrace raises on purpose, with one root.

An error says what was expected, what was found, in which file, at which byte, and what to do about it. The
parts are attributes, so that a report can show them in its own way and a fleet run can put them into columns.
"""

from __future__ import annotations

from dataclasses import dataclass


class AritraceError(Exception):
    """Root of all expected errors.

    Attributes:
        kind: short stable word for machine output (``damaged``, ``unsupported``, ...).
        message: what was expected and what was found, in one sentence.
        path: the file as the user named it, or None when no file is involved.
        offset: byte offset in the uncompressed stream of that file, or None.
        advice: what the user can do, or an empty string.
        details: what else is known, a sentence each.
        option: the option that named the file (``--dmesg``), or None.
    """

    kind = "error"
    option: str | None = None

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        offset: int | None = None,
        advice: str = "",
        details: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.path = path
        self.offset = offset
        self.advice = advice

    @property
    def place(self) -> str:
        """Option, file and byte, as far as they are known."""
        place = " ".join(word for word in (self.option, self.path) if word)
        return place if self.offset is None else f"{place} at byte {self.offset:#x}"

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}; {self.advice}" if self.advice else text


class UnreadableInputError(AritraceError):
    """The operating system did not give us the bytes (missing, no permission, I/O error)."""

    kind = "unreadable"


class EmptyInputError(AritraceError):
    """A file, directory or stream holds nothing to analyse."""

    kind = "empty"


class UnsupportedFormatError(AritraceError):
    """The content is not a supported capture, or a version that is refused; the message says why."""

    kind = "unsupported"


@dataclass(frozen=True)
class Guest:
    """One of the machines whose accesses are in a recording.

    Attributes:
        pid: its process, or the first of its threads; 0 is the machine that recorded.
        threads: the threads that play its CPUs.
        accesses: how many they made.
    """

    pid: int
    threads: frozenset[int]
    accesses: int

    def has(self, pid: int) -> bool:
        """Whether a user may mean it by ``pid``."""
        return pid == self.pid or pid in self.threads


class SeveralGuestsError(UnsupportedFormatError):
    """A recording is of several machines, each of which has a history of its own.

    Attributes:
        guests: the machines, none if the recording does not say which access is of which.
    """

    def __init__(
        self, message: str, *, path: str | None = None, advice: str = "", guests: tuple[Guest, ...] = ()
    ) -> None:
        super().__init__(message, path=path, advice=advice)
        self.guests = guests


class DamagedInputError(AritraceError):
    """The format is recognised, but the bytes contradict it, so that nothing in the file can be used."""

    kind = "damaged"


class LimitExceededError(AritraceError):
    """A size or count from the input is beyond a stated limit."""

    kind = "too-large"


class UsageError(AritraceError):
    """An option or argument is not valid as written."""

    kind = "usage"
