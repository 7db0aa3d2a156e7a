"""The version of this program, as installed, and where its faults are reported."""

from __future__ import annotations

from typing import Final

NAME = "aritrace"
#: Address of the issue tracker, and the only place that has it; a placeholder (RFC 2606) until one is public.
ISSUES: Final = "https://aritrace.example/issues"


def version() -> str:
    """Return the version of the installed distribution, or ``unknown`` when run from bare sources."""
    # importlib.metadata costs 10 ms: only where a version is printed.
    from importlib import metadata

    try:
        return metadata.version(NAME)
    except metadata.PackageNotFoundError:
        return "unknown"
