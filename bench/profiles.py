"""Where the time goes: one run under Python's profiler, by functions of this program.

A function's time is its own and that of the libraries it calls (numpy, polars, zstd, ...), but not that of
other functions of this program. What polars does in threads of its own is the time somebody waits for it.
"""

from __future__ import annotations

import cProfile
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import Table

import analyzer
import schemas

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

_ROWS = 8
#: Installed or not: where the packages of this program are, and this folder.
_PACKAGES = [Path(str(module.__file__)).parent for module in (analyzer, schemas)]
_OURS = tuple(f"{folder}/" for folder in (*_PACKAGES, Path(__file__).parent))


def where_the_time_goes(what: str, job: Callable[[], object]) -> Table:
    """Run ``job`` once and list the functions that took most time."""
    profile = cProfile.Profile()
    profile.runcall(job)
    # Read like this, the profile has a row per function, and in it a row per function that it called.
    shares = _Shares(profile.getstats())
    found = sorted(shares.of_ours(), key=lambda row: -row[1])
    whole = sum(seconds for _, seconds, _ in found)
    rows = [
        (f"`{_place(code)}`", f"{seconds / whole:.0%}", f"`{_place(most)}`" if most else "itself")
        for code, seconds, most in found[:_ROWS]
    ]
    return Table(f"Where the time goes: {what}", ("function", "time", "most of it in"), rows)


class _Shares:
    """Divides the time of a profile among the functions of this program.

    Args:
        entries: of ``cProfile.Profile.getstats()``.
    """

    def __init__(self, entries: list[Any]) -> None:
        self._entries = {entry.code: entry for entry in entries}
        self._inside: dict[CodeType | str, float] = {}

    def of_ours(self) -> list[tuple[CodeType | str, float, CodeType | str | None]]:
        """Return functions, their seconds, and what they called that took most of it (None: themselves)."""
        rows = []
        for code, entry in self._entries.items():
            if not _is_ours(code):
                continue
            parts: list[tuple[float, CodeType | str | None]] = [(entry.inlinetime, None)]
            parts += [
                (call.totaltime * (1 - self._ours_within(call.code)), call.code)
                for call in entry.calls or ()
                if not _is_ours(call.code)
            ]
            rows.append((code, sum(seconds for seconds, _ in parts), max(parts, key=lambda part: part[0])[1]))
        return rows

    def _ours_within(self, code: CodeType | str) -> float:
        """Return which part of a library function's time passes in functions of this program below it."""
        if code not in self._inside:
            self._inside[code] = 0.0  # for one that calls itself
            entry = self._entries[code]
            ours = sum(
                call.totaltime * (1.0 if _is_ours(call.code) else self._ours_within(call.code))
                for call in entry.calls or ()
            )
            self._inside[code] = min(1.0, ours / entry.totaltime) if entry.totaltime else 0.0
        return self._inside[code]


def _is_ours(code: CodeType | str) -> bool:
    return not isinstance(code, str) and code.co_filename.startswith(_OURS)


def _place(code: CodeType | str) -> str:
    if isinstance(code, str):  # "<built-in method zlib.crc32>", "<method 'sort' of 'list' objects>"
        method = re.fullmatch("<method '(.+)' of '(.+)' objects>", code)
        return ".".join(method.group(2, 1)) if method else code.strip("<>").removeprefix("built-in method ")
    path = Path(code.co_filename)
    home = next((Path(folder).parent for folder in _OURS if code.co_filename.startswith(folder)), None)
    if home is not None:
        return f"{path.relative_to(home)}: {code.co_name}"
    parts = path.parts
    start = parts.index("site-packages") + 1 if "site-packages" in parts else len(parts) - 1
    return f"{'/'.join(parts[start:])}: {code.co_name}"
