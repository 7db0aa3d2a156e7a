"""The version of this program, as installed."""

from __future__ import annotations

NAME = "aritrace"


def version() -> str:
    """Return the version of the installed distribution, or ``unknown`` when run from bare sources."""
    # importlib.metadata costs 10 ms: only where a version is printed.
    from importlib import metadata

    try:
        return metadata.version(NAME)
    except metadata.PackageNotFoundError:
        return "unknown"
