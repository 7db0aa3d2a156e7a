"""Build an unchanged Linux that has the Live Update Orchestrator, and a program that uses it in the guest.

Debian's own kernels have KHO and the orchestrator off. Tried with Linux 7.3 from the backports of Debian 13,
whose orchestrator keeps a session and its memfd across a kexec.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

from analyzer.lab.build.cache import drop_others, finished, locked, prepare_tree, publish, recipe_key
from analyzer.lab.build.kernel import CONFIGURATION, compile_kernel
from analyzer.lab.build.requirements import require_packages
from analyzer.lab.build.sources import PrivateApt
from analyzer.lab.build.steps import run_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PART = "live-update"
SUITE = "trixie-backports"
_DATA = files("analyzer.lab.build") / "data"
_PROGRAM = (_DATA / "luo_session.c").read_text(encoding="utf-8")
#: What 7.3 calls otherwise, and what only the lab's own kernel has.
_RENAMED = {"CONFIG_PROC_SYSCTL=y": "CONFIG_SYSCTL=y"}
_LEFT_OUT = ("CONFIG_BOOT_CONFIG", "CONFIG_BOOTTIME_TRACING")


def configuration() -> str:
    """Return what is added to tinyconfig: a lab guest's needs and the Live Update options."""
    kept = (line for line in CONFIGURATION.splitlines() if not line.startswith(_LEFT_OUT))
    lines = [_RENAMED.get(line, line) for line in kept]
    return "\n".join(lines) + "\n" + (_DATA / "live_update.config").read_text(encoding="utf-8")


KEY = recipe_key((), configuration(), _PROGRAM)


@dataclass(frozen=True)
class LiveUpdateParts:
    """What a Live Update scenario runs on.

    Attributes:
        kernel: a bzImage with the orchestrator.
        luo_session: a static program for the guest that makes and retrieves sessions.
    """

    kernel: Path
    luo_session: Path


def built_live_update(cache: Path) -> LiveUpdateParts | None:
    """Return what the cache holds for today's recipe, or None."""
    folder = finished(cache, PART, KEY)
    return None if folder is None else LiveUpdateParts(folder / "bzImage", folder / "luo_session")


def build_live_update(cache: Path, *, progress: Callable[[str], None], jobs: int) -> LiveUpdateParts:
    """Build the kernel and the program, unless the cache has them; an interrupted build is resumed.

    Args:
        cache: the lab's cache directory; made if it is not there.
        progress: called with a line of text before each step.
        jobs: compilers at a time.

    Raises:
        BuildError: packages are missing, or a step fails.
    """
    if (parts := built_live_update(cache)) is not None:
        return parts
    require_packages()
    with locked(cache):
        work, logs = cache / "work" / f"{PART}-{KEY}", cache / "logs"
        drop_others(cache / "work", keep=(work,))
        if not work.exists():
            apt = PrivateApt((cache / "apt-backports").absolute(), logs / "sources.log")
            progress("fetching package lists")
            apt.update(SUITE)
            progress("fetching the sources of Linux")
            package = apt.newest_kernel_source()
            prepare_tree(work, apt.binary_version(package), partial(apt.unpack_kernel_source, package), ())
        log = logs / "live-update.log"
        result = compile_kernel(work, configuration(), log, progress=progress, jobs=jobs)
        source = work / "luo_session.c"
        source.write_text(_PROGRAM, encoding="utf-8")
        # The machine's own headers first: only linux/liveupdate.h is not there.
        headers = work / "source" / "include" / "uapi"
        program = str(result / "luo_session")
        command = ["gcc", "-static", "-O2", "-s", "-idirafter", str(headers), "-o", program, str(source)]
        run_step("compile luo_session", command, log=log, seconds=300)
        version = (work / "version").read_text(encoding="utf-8")
        publish(result, cache, PART, version, KEY)
        shutil.rmtree(work, ignore_errors=True)
    parts = built_live_update(cache)
    assert parts is not None  # noqa: S101 - it was published just now
    return parts
