"""The guest's file system: busybox, pciutils, kexec, a few modules, and the lab's init.

Archives are made by the ``cpio`` program from a directory whose names, times and owners are fixed, so that
the same parts always give the same bytes. Linux unpacks archives that follow each other, so a kernel that
kexecs gets the plain archive plus one that holds the next kernel and *its* archive.
"""

from __future__ import annotations

import os
import shutil
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.lab import parts
from analyzer.lab.arm64_packages import libraries
from analyzer.lab.process import LabRunError, MissingPartsError, output_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.lab.parts import LabParts

_GUEST_PROGRAMS = ("kexec", "lspci", "setpci")
#: Modules that a scenario may load; those that this kernel does not have (built in, or left out) are skipped.
MODULES = ("nvme", "igb", "pci-pf-stub", "virtio_mmio")


def build(found: LabParts, kernels: int, folder: Path) -> Path:
    """Build the archive for the first of ``kernels`` kernels that follow each other by kexec.

    Args:
        found: the parts.
        kernels: at least 1.
        folder: where to work; must exist.

    Returns:
        path of the archive.

    Raises:
        MissingPartsError: a module or program cannot be read.
        LabRunError: ``cpio`` or ``depmod`` failed.
    """
    base = folder / "base.cpio"
    _pack(_base_tree(found, folder / "base"), base, found.programs["cpio"])
    archive = base
    for number in range(1, kernels):
        tree = folder / f"next-{number}"
        (tree / "boot").mkdir(parents=True)
        shutil.copyfile(found.kernel.image, tree / "boot" / "vmlinuz")
        shutil.copyfile(archive, tree / "boot" / "initrd")
        following = folder / f"next-{number}.cpio"
        _pack(tree, following, found.programs["cpio"])
        archive = folder / f"level-{number}.cpio"
        archive.write_bytes(base.read_bytes() + following.read_bytes())
    return archive


def module_files(directory: Path, wanted: Sequence[str]) -> list[str]:
    """Return the files of the wanted modules and of all they need, relative to ``directory``.

    Args:
        directory: ``lib/modules/VERSION`` with ``modules.dep``.
        wanted: module names; those that do not exist there are left out.

    Raises:
        MissingPartsError: there is no ``modules.dep``.
    """
    try:
        text = (directory / "modules.dep").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise MissingPartsError(
            f"cannot read the index of modules: {error.strerror}",
            path=str(directory / "modules.dep"),
            advice="make it with depmod -b, or leave --modules out",
        ) from error
    needs = {file: rest.split() for file, _, rest in (line.partition(":") for line in text.splitlines())}
    names = {name.replace("-", "_") for name in wanted}
    files: set[str] = set()
    for file, others in needs.items():
        if Path(file).name.split(".ko")[0].replace("-", "_") in names:
            files.update([file, *others])
    return sorted(files)


def _base_tree(found: LabParts, tree: Path) -> Path:
    for name in ("bin", "lab", "proc", "sys", "dev", "tmp"):
        (tree / name).mkdir(parents=True)
    init = tree / "init"
    init.write_bytes(resources.files("analyzer.lab").joinpath("guest/init").read_bytes())
    init.chmod(0o755)
    programs = {**found.programs, **found.guest_programs}
    shutil.copy(programs["busybox"], tree / "bin" / "busybox")
    for name in _GUEST_PROGRAMS:
        shutil.copy(programs[name], tree / "lab" / name)
    if found.luo_session is not None:
        shutil.copy(found.luo_session, tree / "lab" / "luo_session")
    for library, place in _libraries(found).items():
        target = tree / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    if found.kernel.modules is not None:
        _add_modules(found, found.kernel.modules, tree)
    return tree


def _libraries(found: LabParts) -> dict[Path, Path]:
    """What the guest's programs load, and where it goes in the guest."""
    if found.guest_root is not None:
        # This host cannot ask a loader of another architecture: everything in the packages.
        return {path: path.relative_to(found.guest_root) for path in libraries(found.guest_root)}
    every = (parts.shared_libraries(found.programs[name]) for name in _GUEST_PROGRAMS)
    return {library: library.relative_to("/") for needed in every for library in needed}


def _add_modules(found: LabParts, directory: Path, tree: Path) -> None:
    target = tree / "lib" / "modules" / directory.name
    for file in module_files(directory, MODULES):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(directory / file, target / file)
    target.mkdir(parents=True, exist_ok=True)
    output_of([str(found.programs["depmod"]), "-b", str(tree), directory.name], failure=LabRunError)


def _pack(tree: Path, archive: Path, cpio: Path) -> None:
    names = sorted([".", *(str(path.relative_to(tree)) for path in tree.rglob("*"))])
    for name in names:
        # Times would differ from run to run; there are no links.
        os.utime(tree / name, (0, 0))
    command = [str(cpio), "-o", "-H", "newc", "-0", "--quiet", "--reproducible", "-R", "0:0"]
    with archive.open("wb") as output:
        given = "\0".join(names).encode()
        output_of(command, folder=tree, given=given, output=output.fileno(), failure=LabRunError)
