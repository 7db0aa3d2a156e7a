"""Build a small Linux with the lab's edits: tinyconfig and what a guest of the lab needs.

The kernel with the Live Update Orchestrator (:mod:`.live_update`) is compiled by the same steps.
"""

from __future__ import annotations

import shutil
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

from analyzer.lab.build.cache import prepare_tree, publish, recipe_key
from analyzer.lab.build.kernel_edits import KERNEL_CHANGES
from analyzer.lab.build.steps import BuildError, run_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from analyzer.lab.build.sources import PrivateApt

PART = "kernel"
CONFIGURATION = (files("analyzer.lab.build") / "data" / "kernel.config").read_text(encoding="utf-8")

KEY = recipe_key(KERNEL_CHANGES, CONFIGURATION)

# The console and uname show these instead of the builder's user and host.
_ENVIRONMENT = {"KBUILD_BUILD_USER": "aritrace", "KBUILD_BUILD_HOST": "lab"}


def prepare_kernel(work: Path, apt: PrivateApt) -> None:
    """Fetch and edit the newest kernel of this Debian release; see :func:`.cache.prepare_tree`."""
    package = apt.newest_kernel_source()
    unpack = partial(apt.unpack_kernel_source, package)
    prepare_tree(work, apt.binary_version(package), unpack, KERNEL_CHANGES)


def build_kernel(cache: Path, work: Path, log: Path, *, progress: Callable[[str], None], jobs: int) -> Path:
    """Configure and compile a prepared tree; resumes an interrupted build.

    Args:
        cache: gets the finished directory: ``bzImage`` and ``config``.
        work: from :func:`prepare_kernel`; removed when all is done.
        log: gets the output of every step.
        progress: called with a line of text before each step.
        jobs: compilers at a time.

    Returns:
        The finished directory.

    Raises:
        BuildError: a step fails, or Kconfig did not accept a line of the configuration.
    """
    result = compile_kernel(work, CONFIGURATION, log, progress=progress, jobs=jobs)
    version = (work / "version").read_text(encoding="utf-8")
    folder = publish(result, cache, PART, version, KEY)
    shutil.rmtree(work, ignore_errors=True)
    return folder


def compile_kernel(
    work: Path, configuration: str, log: Path, *, progress: Callable[[str], None], jobs: int
) -> Path:
    """Configure and compile a tree; return a new directory with ``bzImage`` and ``config``.

    Args:
        work: from :func:`.cache.prepare_tree`.
        configuration: what is added to tinyconfig.
        log: gets the output of every step.
        progress: called with a line of text before each step.
        jobs: compilers at a time.

    Raises:
        BuildError: a step fails, or Kconfig did not accept a line of the configuration.
    """
    tree = work / "source"

    def make(what: str, *targets: str, seconds: float) -> None:
        command = ["make", "ARCH=x86_64", f"-j{jobs}", *targets]
        run_step(what, command, log=log, seconds=seconds, folder=tree, environment=_ENVIRONMENT)

    progress("configuring Linux")
    make("configure Linux", "tinyconfig", seconds=900)
    with (tree / ".config").open("a", encoding="utf-8") as config:
        config.write(configuration)
    make("configure Linux", "olddefconfig", seconds=900)
    ignored = not_accepted(configuration, (tree / ".config").read_text(encoding="utf-8"))
    if ignored:
        raise BuildError(
            f"this kernel's Kconfig did not accept {', '.join(ignored)}",
            path=str(tree / ".config"),
            advice="see what they depend on in this version; docs/lab-build.md lists those that were tried",
        )
    progress("compiling Linux")
    make("compile Linux", "bzImage", seconds=7200)
    result = work / "result"
    shutil.rmtree(result, ignore_errors=True)
    result.mkdir()
    shutil.copy(tree / "arch" / "x86" / "boot" / "bzImage", result / "bzImage")
    shutil.copy(tree / ".config", result / "config")
    return result


def not_accepted(wanted: str, config: str) -> list[str]:
    """Return the lines of a configuration fragment that a finished .config does not have.

    Args:
        wanted: the fragment; ``CONFIG_X=n`` stands for an option that is off.
        config: text of the .config.
    """
    settings = dict(line.split("=", 1) for line in config.splitlines() if line.startswith("CONFIG_"))
    lines = [line for line in wanted.splitlines() if line.startswith("CONFIG_")]
    return [line for line in lines if settings.get(line.split("=", 1)[0], "n") != line.split("=", 1)[1]]
