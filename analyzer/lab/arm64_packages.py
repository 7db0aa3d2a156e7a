"""Debian's kernel and programs for an Arm guest, unpacked into the lab's cache, never installed.

They come with an apt of its own state, so that the host need not know a second architecture.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.lab import kernel_package
from analyzer.lab.build.cache import fresh_folder
from analyzer.lab.build.sources import PrivateApt, debian_codename
from analyzer.lab.build.steps import run_step
from analyzer.lab.process import MissingPartsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from analyzer.lab.kernel_package import Kernel

ARCHITECTURE = "arm64"
#: Debian's package that always names its current kernel.
DEFAULT_PACKAGE = "linux-image-arm64"
#: Program -> the Debian package that has it.
PROGRAMS = {"busybox": "busybox-static", "kexec": "kexec-tools", "lspci": "pciutils", "setpci": "pciutils"}
_FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin")
_LIBRARY_PREFIXES = ("lib", "zlib")
_MOST_PACKAGES = 100


def arm64_parts(
    depmod: Path, package: str, *, progress: Callable[[str], None]
) -> tuple[Kernel, dict[str, Path], Path]:
    """Return the kernel, the guest's programs by name, and the directory that they were unpacked into.

    Args:
        depmod: the program that indexes modules.
        package: one with a kernel, or one that depends on it; of the backports if they have it.
        progress: called with a line of text before a download.

    Raises:
        BuildError: this is not a Debian system, or apt fails.
        MissingPartsError: a package is not what it should be.
    """
    cache = (kernel_package.cache_directory() / ARCHITECTURE).absolute()
    codename = debian_codename(Path("/etc/os-release").read_text(encoding="utf-8"))
    # Probes that see what reads return need Linux 6.9, which Debian 12 has in its backports only.
    releases = (codename,) if codename == "sid" else (codename, f"{codename}-backports")
    apt = PrivateApt(cache / "apt", cache / "logs" / "apt.log", ARCHITECTURE, prefer=releases[-1])
    kernel = kernel_package.cached(cache / "kernel" / package)
    root = cache / "programs"
    if kernel is None or not root.exists():
        progress(f"fetching package lists for {ARCHITECTURE}")
        apt.update(*releases)
    if not root.exists():
        progress(f"downloading busybox, kexec-tools and pciutils for {ARCHITECTURE} (once)")
        with fresh_folder(root) as folder:
            debs = apt.download(with_libraries(set(PROGRAMS.values()), apt.depends), folder / "debs")
            for deb in debs:
                run_step(f"unpack {deb.name}", ["dpkg-deb", "-x", deb, folder], log=apt.log, seconds=300)
            shutil.rmtree(folder / "debs")
    if kernel is None:
        real = next((name for name in apt.depends(package) if name.startswith("linux-image-")), package)
        progress(f"downloading {real} (90 MB or more, once)")
        folder = cache / "kernel" / package
        folder.mkdir(parents=True, exist_ok=True)
        with fresh_folder(cache / "download") as new:
            (archive,) = apt.download([real], new)
            kernel = kernel_package.unpacked(archive, folder, depmod)
        shutil.rmtree(cache / "download")
    return kernel, {name: _program(root, name) for name in PROGRAMS}, root


def with_libraries(packages: Collection[str], depends: Callable[[str], list[str]]) -> list[str]:
    """Return packages and all libraries that they need, sorted; what else they depend on is left out.

    Args:
        packages: names.
        depends: returns what a package depends on directly.
    """
    found, left = set(packages), list(packages)
    while left and len(found) < _MOST_PACKAGES:
        needed = [name for name in depends(left.pop()) if name.startswith(_LIBRARY_PREFIXES)]
        left += [name for name in dict.fromkeys(needed) if name not in found]
        found.update(needed)
    return sorted(found)


def libraries(root: Path) -> list[Path]:
    """Return the shared libraries below a directory of unpacked packages, the loader included."""
    folders = [
        root / "lib",
        root / "usr/lib",
        *root.glob("lib/*-linux-gnu"),
        *root.glob("usr/lib/*-linux-gnu"),
    ]
    return sorted(path for folder in folders for path in folder.glob("*.so*") if path.is_file())


def _program(root: Path, name: str) -> Path:
    for folder in _FOLDERS:
        if (root / folder / name).is_file():
            return root / folder / name
    raise MissingPartsError(
        f"package {PROGRAMS[name]} for {ARCHITECTURE} has no program {name}", path=str(root)
    )
