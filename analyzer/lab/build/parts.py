"""Build the two parts of the lab that no distribution has, or take them from the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.lab.build import kernel as linux
from analyzer.lab.build import qemu as emulator
from analyzer.lab.build.cache import drop_others, finished, locked
from analyzer.lab.build.kernel import build_kernel, prepare_kernel
from analyzer.lab.build.qemu import build_qemu, prepare_qemu
from analyzer.lab.build.requirements import require_packages
from analyzer.lab.build.sources import PrivateApt, debian_codename

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class BuiltParts:
    """What a scenario with built parts runs on.

    Attributes:
        qemu: ``qemu-system-x86_64`` with the NVMe option ``x-ari-next`` and port properties ``x-lab-...``.
        qemu_data: its firmware, for ``-L``.
        kernel: a bzImage with the parameters ``lab_preserved=`` and others.
    """

    qemu: Path
    qemu_data: Path
    kernel: Path


def build(cache: Path, *, progress: Callable[[str], None], jobs: int) -> BuiltParts:
    """Build the patched QEMU and kernel from Debian's sources, unless the cache has them.

    An interrupted build is resumed. What is in the cache is used without access to the network; for a newer
    source version, remove it.

    Args:
        cache: the lab's cache directory; made if it is not there.
        progress: called with a line of text before each step.
        jobs: compilers at a time.

    Returns:
        The parts, all in ``cache``.

    Raises:
        BuildError: packages are missing, this is not a Debian system, or a step fails: the message then holds
            the last lines of the log, and the path is that of the log.
        EditError: the source differs from what the edits expect.
    """
    parts = built_parts(cache)
    if parts is not None:
        return parts
    require_packages()
    codename = debian_codename(Path("/etc/os-release").read_text(encoding="utf-8"))
    with locked(cache):
        qemu_work, kernel_work = (cache / "work" / f"{part.PART}-{part.KEY}" for part in (emulator, linux))
        need_qemu, need_kernel = (found is None for found in _finished(cache))
        logs = cache / "logs"
        drop_others(cache / "work", keep=(qemu_work, kernel_work))
        if (need_qemu and not qemu_work.exists()) or (need_kernel and not kernel_work.exists()):
            apt = PrivateApt((cache / "apt").absolute(), logs / "sources.log")
            progress("fetching package lists")
            apt.update(codename)
            if need_qemu and not qemu_work.exists():
                progress("fetching the sources of QEMU")
                prepare_qemu(qemu_work, apt)
            if need_kernel and not kernel_work.exists():
                progress("fetching the sources of Linux")
                prepare_kernel(kernel_work, apt)
        if need_qemu:
            build_qemu(cache, qemu_work, logs / "qemu.log", progress=progress, jobs=jobs)
        if need_kernel:
            build_kernel(cache, kernel_work, logs / "kernel.log", progress=progress, jobs=jobs)
    parts = built_parts(cache)
    assert parts is not None  # noqa: S101 - both were published just now
    return parts


def built_parts(cache: Path) -> BuiltParts | None:
    """Return the parts that the cache holds for today's recipes, or None if one is not built."""
    qemu, kernel = _finished(cache)
    if qemu is None or kernel is None:
        return None
    return BuiltParts(qemu / "qemu-system-x86_64", qemu / "data", kernel / "bzImage")


def _finished(cache: Path) -> tuple[Path | None, Path | None]:
    """Directories of a finished QEMU and kernel of today's recipes."""
    return finished(cache, emulator.PART, emulator.KEY), finished(cache, linux.PART, linux.KEY)
