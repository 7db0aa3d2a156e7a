"""The parts of a run: QEMU, a kernel with its modules, the guest's programs, or what is missing of them.

Everything comes from Debian packages or from the developer (``--kernel``, ``--modules``, ``--qemu``); only
the package manager fetches anything, see :mod:`analyzer.lab.kernel_package`.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.lab import kernel_package
from analyzer.lab.kernel_package import Kernel
from analyzer.lab.platforms import Q35, VIRT, Platform
from analyzer.lab.process import MissingPartsError, output_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

#: Program -> the Debian package that has it. ``sbin`` may be missing from a user's PATH.
PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "kexec": "kexec-tools",
    "lspci": "pciutils",
    "setpci": "pciutils",
    "cpio": "cpio",
    "depmod": "kmod",
}
#: The same where the guest is an Arm machine; its own programs come with its kernel.
_ARM64_PACKAGES = {VIRT.emulator: "qemu-system-arm", "cpio": "cpio", "depmod": "kmod"}
_SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")


@dataclass(frozen=True)
class LabParts:
    """What a run is made of.

    Attributes:
        programs: paths by name (see :data:`PACKAGES`).
        firmware: directory of QEMU's firmware, or None where QEMU knows it by itself.
        platform: the machine.
        guest_programs: those of ``programs`` that run in the guest, where it has another architecture.
        guest_root: what they were unpacked into, with their libraries; None = the host's.
        luo_session: the program for Live Update sessions, of a built kernel that has them.
    """

    qemu: Path
    qemu_version: str
    kernel: Kernel
    programs: dict[str, Path]
    firmware: Path | None = None
    platform: Platform = Q35
    guest_programs: dict[str, Path] = field(default_factory=dict)
    guest_root: Path | None = None
    luo_session: Path | None = None


def find(
    *,
    kernel: str | None = None,
    package: str | None = None,
    modules: str | None = None,
    qemu: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> LabParts:
    """Find every part, fetching the kernel package if there is none in the cache.

    Args:
        kernel: the developer's bzImage; None = Debian's kernel.
        package: the Debian package with the kernel; None = Debian's current one.
        modules: its ``lib/modules/VERSION`` directory (with ``modules.dep``); None = no modules.
        qemu: the developer's ``qemu-system-x86_64``; None = Debian's.
        progress: called with a line of text before each slow step.

    Raises:
        MissingPartsError: anything is missing; the error names everything that is.
    """
    programs, missing = find_programs(skip={"qemu-system-x86_64"} if qemu else set())
    problems = [
        *_given("--qemu", qemu),
        *_given("--kernel", kernel),
        *_given("--modules", modules, folder=True),
    ]
    if modules and not kernel:
        problems.append("--modules says where the modules of --kernel are, but no --kernel is given")
    if package and kernel:
        problems.append("--kernel and --kernel-package are two kernels")
    _require(problems, missing)
    emulator = Path(qemu).resolve() if qemu else programs["qemu-system-x86_64"]
    version = _qemu_version(emulator)
    if kernel:
        chosen = Kernel(
            Path(kernel).resolve(), Path(modules).resolve() if modules else None, Path(kernel).name
        )
    else:
        name = package or kernel_package.DEFAULT_PACKAGE
        chosen = kernel_package.debian_kernel(programs["depmod"], name, progress=progress)
    return LabParts(emulator, version, chosen, programs)


def find_built(*, kernel: str | None = None, modules: str | None = None, qemu: str | None = None) -> LabParts:
    """Find the parts, with what ``lab build`` made instead of Debian's, unless the developer gives their own.

    Raises:
        MissingPartsError: a program is missing, or nothing has been built.
    """
    from analyzer.lab.build import built_parts

    built = built_parts(kernel_package.cache_directory())
    if built is None and not (kernel and qemu):
        raise MissingPartsError(
            "this scenario needs a kernel and a QEMU that no distribution has", advice="run analyze lab build"
        )
    found = find(
        kernel=kernel or (str(built.kernel) if built else None),
        modules=modules,
        qemu=qemu or (str(built.qemu) if built else None),
    )
    if built is None:
        return found
    if not kernel:
        found = replace(
            found, kernel=replace(found.kernel, name=f"built by the lab: {built.kernel.parent.name}")
        )
    return found if qemu else replace(found, firmware=built.qemu_data)


def find_live_update(
    *, kernel: str | None = None, modules: str | None = None, qemu: str | None = None
) -> LabParts:
    """Find the parts, with the kernel that has the Live Update Orchestrator.

    Raises:
        MissingPartsError: a program is missing, or nothing has been built.
    """
    from analyzer.lab.build import built_live_update

    built = built_live_update(kernel_package.cache_directory())
    if built is None:
        raise MissingPartsError(
            "this scenario needs a kernel with the Live Update Orchestrator, which Debian's has not",
            advice="run analyze lab build --live-update",
        )
    found = find(kernel=kernel or str(built.kernel), modules=modules, qemu=qemu)
    if not kernel:
        name = f"built by the lab, unchanged: {built.kernel.parent.name}"
        found = replace(found, kernel=replace(found.kernel, name=name))
    return replace(found, luo_session=built.luo_session)


def find_arm64(
    *,
    package: str | None = None,
    qemu: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> LabParts:
    """Find the parts of an Arm guest, fetching Debian's packages for it if they are not in the cache.

    Raises:
        MissingPartsError: anything is missing.
        BuildError: the packages cannot be fetched.
    """
    from analyzer.lab.arm64_packages import DEFAULT_PACKAGE, arm64_parts

    programs, missing = find_programs(skip={VIRT.emulator} if qemu else set(), packages=_ARM64_PACKAGES)
    _require([*_given("--qemu", qemu)], missing)
    emulator = Path(qemu).resolve() if qemu else programs[VIRT.emulator]
    kernel, guest, root = arm64_parts(programs["depmod"], package or DEFAULT_PACKAGE, progress=progress)
    version = _qemu_version(emulator)
    return LabParts(emulator, version, kernel, programs, platform=VIRT, guest_programs=guest, guest_root=root)


def find_programs(
    skip: Collection[str], path: str | None = None, packages: Mapping[str, str] = PACKAGES
) -> tuple[dict[str, Path], list[str]]:
    """Look for every program.

    Args:
        skip: programs that are given otherwise.
        path: directories to look in, colon-separated; None = PATH and the system's.
        packages: the programs, and the package of each.

    Returns:
        paths by program name, and the sorted packages of those that are missing.
    """
    if path is None:
        path = os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_DIRECTORIES])
    found: dict[str, Path] = {}
    missing = set()
    for name, package in packages.items():
        if name in skip:
            continue
        where = shutil.which(name, path=path)
        if where is None or (name == "busybox" and not _is_static(Path(where))):
            missing.add(package)
        else:
            found[name] = Path(where).resolve() if name.startswith("qemu-system-") else Path(where)
    return found, sorted(missing)


def device_models(qemu: Path) -> frozenset[str]:
    """Return the names of the device models that this QEMU has."""
    text = output_of([str(qemu), "-device", "help"])
    return frozenset(line.split('"')[1] for line in text.splitlines() if line.startswith('name "'))


def shared_libraries(program: Path) -> list[Path]:
    """Return the libraries that a program loads, its loader included; none for a static one."""
    words = output_of(["ldd", str(program)], may_fail=True).split()
    return sorted({Path(word) for word in words if word.startswith("/") and not word.endswith(":")})


def _is_static(program: Path) -> bool:
    return not shared_libraries(program)


def _require(problems: list[str], missing: list[str]) -> None:
    """Raise an error that names every problem and every missing package, if there are any."""
    if missing:
        names = " ".join(missing)
        problems = [
            *problems,
            (
                f"Debian {'packages are' if len(missing) > 1 else 'package is'} not installed: {names} "
                f"(apt-get install --no-install-recommends {names})"
            ),
        ]
    if problems:
        raise MissingPartsError("the lab cannot start: " + "; ".join(problems))


def _given(option: str, value: str | None, *, folder: bool = False) -> list[str]:
    if value is None:
        return []
    if (Path(value).is_dir() if folder else Path(value).is_file()) and os.access(value, os.R_OK):
        return []
    return [f"{option}: {value} is not a readable {'directory' if folder else 'file'}"]


def _qemu_version(qemu: Path) -> str:
    first = output_of([str(qemu), "--version"]).splitlines()[:1]
    if not first or "version" not in first[0]:
        raise MissingPartsError(
            f"expected {qemu} to print its version, found {first[0] if first else 'nothing'!r}",
            advice="give another with --qemu",
        )
    return first[0]
