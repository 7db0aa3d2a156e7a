"""Build QEMU with the lab's edits: one target, no display, no network, no tools."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.lab.build.cache import prepare_tree, publish, recipe_key
from analyzer.lab.build.qemu_edits import QEMU_CHANGES
from analyzer.lab.build.steps import BuildError, run_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.lab.build.sources import PrivateApt

PART = "qemu"

# Debian strips firmware from its QEMU source; these packages hold it (qemu-system-x86 depends on them).
FIRMWARE_FOLDERS = tuple(map(Path, ("/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu")))
_NEEDED_FIRMWARE = ("bios-256k.bin", "linuxboot_dma.bin")

OPTIONS = (
    "--target-list=x86_64-softmmu",
    "--without-default-features",
    "--enable-tcg",
    "--enable-kvm",
    "--enable-trace-backends=log,simple",
    "--disable-docs",
    "--disable-tools",
    "--disable-werror",
    "--disable-install-blobs",
    f"--firmwarepath={':'.join(map(str, FIRMWARE_FOLDERS))}",
)

KEY = recipe_key(QEMU_CHANGES, *OPTIONS)


def prepare_qemu(work: Path, apt: PrivateApt) -> None:
    """Fetch and edit the source of QEMU; see :func:`.cache.prepare_tree`."""
    prepare_tree(work, apt.source_version(PART), partial(apt.unpack_source, PART), QEMU_CHANGES)


def build_qemu(cache: Path, work: Path, log: Path, *, progress: Callable[[str], None], jobs: int) -> Path:
    """Configure and compile a prepared tree; resumes an interrupted build.

    Args:
        cache: gets the finished directory: ``qemu-system-x86_64`` and ``data`` with the firmware.
        work: from :func:`prepare_qemu`; removed when all is done.
        log: gets the output of every step.
        progress: called with a line of text before each step.
        jobs: compilers at a time.

    Returns:
        The finished directory.

    Raises:
        BuildError: a step fails; holds the last lines of the log.
    """
    tree = work / "build"
    tree.mkdir(exist_ok=True)
    if not (tree / "build.ninja").exists():
        progress("configuring QEMU")
        configure = (work / "source" / "configure").absolute()
        run_step("configure QEMU", [configure, *OPTIONS], log=log, seconds=900, folder=tree)
    progress("compiling QEMU")
    target = "qemu-system-x86_64"
    run_step("compile QEMU", ["ninja", "-j", str(jobs), target], log=log, seconds=7200, folder=tree)
    result = work / "result"
    shutil.rmtree(result, ignore_errors=True)
    _collect_firmware(result / "data")
    shutil.copy2(tree / target, result / target)
    run_step("run the QEMU just built", [result / target, "--version"], log=log, seconds=60)
    version = (work / "version").read_text(encoding="utf-8")
    folder = publish(result, cache, PART, version, KEY)
    shutil.rmtree(work, ignore_errors=True)
    return folder


def _collect_firmware(into: Path) -> None:
    """Copy the firmware of the installed packages, so that the built QEMU does not need them."""
    into.mkdir(parents=True)
    for folder in FIRMWARE_FOLDERS:
        for pattern in ("*.bin", "efi-*.rom"):
            for file in folder.glob(pattern):
                if file.is_file() and not (into / file.name).exists():
                    shutil.copy(file, into / file.name)
    for name in _NEEDED_FIRMWARE:
        if not (into / name).exists():
            raise BuildError(
                f"expected the firmware {name} in one of {', '.join(map(str, FIRMWARE_FOLDERS))}",
                advice="install the Debian packages seabios and qemu-system-data",
            )
