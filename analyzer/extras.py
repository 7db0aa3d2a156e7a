"""Packages that only some work needs: what is missing is said before that work starts, with what installs it.

pyproject.toml lists them as extras. The project is on no package index: an extra is installed from a clone.
"""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from typing import Literal

from analyzer.errors import UsageError

Extra = Literal["fleet", "report"]


def advice(extra: Extra) -> str:
    """Return what installs an extra beside the program that runs."""
    python = shlex.quote(sys.executable) if sys.executable else "PYTHON"
    return f"in a clone of aritrace run {python} -m pip install '.[{extra}]'"


def installed(module: str) -> bool:
    """Whether a module of an extra can be imported; it is not imported for that."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def require(purpose: str, module: str, package: str, extra: Extra) -> None:
    """Make sure that a package of an extra is installed.

    Args:
        purpose: what needs it, as the subject of a sentence in the singular.
        module: what is imported.
        package: what pip installs.
        extra: the extra that lists it.

    Raises:
        UsageError: it is not installed.
    """
    if not installed(module):
        raise UsageError(
            f"{purpose} needs the Python package {package}, which is not installed", advice=advice(extra)
        )
