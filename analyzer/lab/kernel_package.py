"""Debian's kernel, downloaded by ``apt-get`` and unpacked into a cache, never installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.lab.process import MissingPartsError, output_of

if TYPE_CHECKING:
    from collections.abc import Callable

#: Debian's package that always names its current kernel.
DEFAULT_PACKAGE = "linux-image-amd64"
#: What a guest may need of the package; the rest (sound, file systems, ...) is 90 % of its 400 MB.
_WANTED = (
    "kernel/drivers/nvme/",
    "kernel/drivers/net/ethernet/intel/igb/",
    "kernel/drivers/i2c/algos/",
    "kernel/drivers/i2c/i2c-",
    "kernel/drivers/dca/",
    "kernel/drivers/ptp/",
    "kernel/drivers/pps/",
    "kernel/drivers/pci/",
    "kernel/drivers/vfio/",
    "kernel/drivers/virtio/",
    "kernel/lib/",
    "kernel/crypto/",
    "kernel/block/",
    "kernel/arch/x86/crypto/",
    "modules.",
)
_DOWNLOAD_SECONDS = 600
_NAME = re.compile(r"linux-image-[a-z0-9.+-]+")


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot.

    Attributes:
        image: bzImage.
        modules: its ``lib/modules/VERSION`` directory, or None where the kernel brings no modules.
        name: its name in the provenance.
    """

    image: Path
    modules: Path | None
    name: str


def cache_directory() -> Path:
    """Return where the lab keeps what it downloaded (``$XDG_CACHE_HOME/aritrace/lab``)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aritrace" / "lab"


def debian_kernel(
    depmod: Path, package: str = DEFAULT_PACKAGE, *, progress: Callable[[str], None] = lambda _: None
) -> Kernel:
    """Return Debian's kernel: from the cache, else downloaded and unpacked.

    Args:
        depmod: the program that indexes modules.
        package: a package with a kernel, or one that depends on it.
        progress: called with a line of text before the download.

    Raises:
        MissingPartsError: no package manager, or it does not have the package.
    """
    if not _NAME.fullmatch(package):
        raise MissingPartsError(f"expected the name of a kernel package, found {package!r}")
    folder = cache_directory() / "kernel" / package
    if (found := cached(folder)) is not None:
        return found
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise MissingPartsError(
            f"no kernel: this is not a Debian system, so {package} cannot be downloaded",
            advice="give a bzImage with --kernel (and its lib/modules/VERSION with --modules)",
        )
    real = _real_package(package)
    progress(f"downloading {real} (70 MB or more, once)")
    folder.mkdir(parents=True, exist_ok=True)
    # In a directory of its own first: a download that was interrupted never looks like a kernel.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as new:
        Path(new).chmod(0o755)
        _call(["apt-get", "download", "-q", real], folder=new)
        archive = next(iter(Path(new).glob("*.deb")), None)
        if archive is None:
            raise MissingPartsError(f"apt-get download {real} left no package")
        return unpacked(archive, folder, depmod)


def cached(folder: Path) -> Kernel | None:
    """Return the newest kernel that was unpacked into a folder, or None."""
    found = sorted(folder.glob("*/boot/vmlinuz-*"), key=lambda path: path.stat().st_mtime)
    return _kernel(found[-1]) if found else None


def unpacked(archive: Path, folder: Path, depmod: Path) -> Kernel:
    """Unpack a kernel package into a folder, as far as the lab needs it.

    Args:
        archive: the package, in a directory of its own.
        folder: gets a directory with the package's name.
        depmod: the program that indexes modules.

    Raises:
        MissingPartsError: the package holds no kernel.
    """
    new = archive.parent / "unpacked"
    _unpack(archive, new)
    image = next(iter(new.glob("boot/vmlinuz-*")), None)
    if image is None:
        raise MissingPartsError(f"{archive.name} holds no boot/vmlinuz-*")
    _call([str(depmod), "-b", str(new), image.name.removeprefix("vmlinuz-")])
    target = folder / archive.stem
    if not target.exists():
        new.replace(target)
    return _kernel(target / "boot" / image.name)


def _kernel(image: Path) -> Kernel:
    package = image.parent.parent
    modules = package / "lib" / "modules" / image.name.removeprefix("vmlinuz-")
    return Kernel(image, modules if modules.is_dir() else None, f"Debian {package.name}")


def _real_package(package: str) -> str:
    """Return the package that a meta package depends on today, or the package itself."""
    text = _call(["apt-cache", "depends", package])
    for line in text.splitlines():
        word, _, name = line.strip().partition(": ")
        if word == "Depends" and name.startswith("linux-image-"):
            return name
    return package


def _unpack(archive: Path, target: Path) -> None:
    with subprocess.Popen(  # noqa: S603 a Debian package that apt has just verified
        ["dpkg-deb", "--fsys-tarfile", str(archive)],  # noqa: S607 from the system's PATH
        stdout=subprocess.PIPE,
    ) as unpacker:
        try:
            with tarfile.open(fileobj=unpacker.stdout, mode="r|") as files:
                # Python before 3.11.4 has no filters; an archive that apt has verified needs none.
                files.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                for member in files:
                    member.name = _plain(member.name)
                    if _is_wanted(member.name):
                        files.extract(member, target)
        except (tarfile.TarError, OSError) as error:
            unpacker.kill()
            raise MissingPartsError(f"cannot unpack {archive.name}: {error}") from error
    if unpacker.returncode:
        raise MissingPartsError(f"cannot unpack {archive.name}: dpkg-deb failed")


def _plain(name: str) -> str:
    """Return a member's name as releases before the merge of ``/lib`` into ``/usr`` have it."""
    return name.removeprefix("./").removeprefix("usr/")


def _is_wanted(name: str) -> bool:
    if name.startswith("boot/"):
        return True
    parts = name.split("/", 3)
    return name.startswith("lib/modules/") and len(parts) == 4 and parts[3].startswith(_WANTED)


def _call(command: list[str], folder: str | None = None) -> str:
    advice = "run apt-get update, or give a bzImage with --kernel"
    return output_of(command, seconds=_DOWNLOAD_SECONDS, folder=folder, advice=advice)
