"""Small files that are read whole: what lies beside a capture, and what options name."""

from __future__ import annotations

from pathlib import Path

from analyzer.errors import DamagedInputError, UnreadableInputError

#: A kernel command line is a few KiB at most; more is another kind of file.
COMMAND_LINE_LIMIT = 1 << 20


def read_limited(path: str, limit: int) -> bytes:
    """Read a small file whole.

    Raises:
        UnreadableInputError: it cannot be read.
        DamagedInputError: it is larger than ``limit`` bytes.
    """
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise UnreadableInputError(
            f"cannot read it ({error.strerror})", path=path, advice="check the name and the permissions"
        ) from error
    if len(data) > limit:
        raise DamagedInputError(f"expected at most {limit} bytes, found more", path=path)
    return data


def given_text(value: str, limit: int) -> str:
    """The text of an option that takes it as such or as ``@FILE``.

    Raises:
        UnreadableInputError, DamagedInputError: as :func:`read_limited`.
    """
    return read_limited(value[1:], limit).decode("utf-8", "replace") if value.startswith("@") else value
