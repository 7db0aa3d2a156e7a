"""The Debian packages that a lab build needs, and which of them are missing."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from analyzer.lab.build.steps import BuildError

if TYPE_CHECKING:
    from collections.abc import Collection

#: docs/lab-build.md shows the same list; a test compares them.
PACKAGES = (
    "bc",
    "bison",
    "dpkg-dev",
    "flex",
    "gcc",
    "libc6-dev",
    "libelf-dev",
    "libfdt-dev",
    "libglib2.0-dev",
    "libpixman-1-dev",
    "make",
    "meson",
    "ninja-build",
    "perl",
    "pkg-config",
    "python3",
    "python3-venv",
    "qemu-system-data",
    "seabios",
    "xz-utils",
    "zlib1g-dev",
)


def require_packages() -> None:
    """Check that this machine can build.

    Raises:
        BuildError: it is not a Debian system, or packages are missing; names all of them and the command that
            installs them.
    """
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        raise BuildError(
            "building lab parts needs a Debian system; found no apt-get or no dpkg-query",
            advice="give your own with --kernel and --qemu",
        )
    absent = missing(PACKAGES, _installed())
    if absent:
        raise BuildError(
            f"building lab parts needs {len(absent)} more Debian packages: {', '.join(absent)}",
            advice=f"install them: sudo apt-get install --no-install-recommends {' '.join(absent)}",
        )


def missing(wanted: Collection[str], installed: Collection[str]) -> list[str]:
    """Return the wanted packages that are not installed, in the order of ``wanted``."""
    return [package for package in wanted if package not in installed]


def _installed() -> set[str]:
    """Return the installed packages and what they provide (newer releases have pkgconf for pkg-config)."""
    listing = subprocess.run(
        ["dpkg-query", "-W", "-f=${db:Status-Status} ${Package} ${Provides}\n"],  # noqa: S607 - a Debian system
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    names: set[str] = set()
    for line in listing.splitlines():
        status, _, rest = line.partition(" ")
        if status == "installed":
            names.update(word.strip(",") for word in rest.split() if word[0].isalpha())
    return names
