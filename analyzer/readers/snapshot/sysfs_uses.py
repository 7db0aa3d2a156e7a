"""What sysfs says that functions are used as: by the links and directories of their devices.

Sources: Linux ``drivers/base/dd.c`` (link ``driver``), ``drivers/iommu/iommu.c`` (link ``iommu_group``),
``Documentation/ABI/testing/sysfs-devices-vfio-dev`` (``vfio-dev/vfioN``), ``net/core/net-sysfs.c``
(``net/NAME``), ``drivers/nvme/host`` (``nvme/nvmeN/nvmeNnM``; ``nvmeNcMnK`` is a path of ``nvmeNnK``), and
``DRIVER=`` of ``uevent``. The functions of a virtio device lie one level further down (``virtioN/net/NAME``).

Of a link only its text is read: nothing is followed.
"""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING, Final

from analyzer import bdf
from analyzer.capture import PlacedUse, uses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: The last function in a path, and what follows it.
_BELOW: Final = re.compile(r"(?:.*/)?([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7])/(.+)", re.IGNORECASE)
_LINKS: Final = ("driver", "iommu_group")
_NAMES: Final = (
    ("net", re.compile(r"(?:virtio\d{1,9}/)?net/([^/]+)(?:/.*)?")),
    ("block", re.compile(r"(?:virtio\d{1,9}/)?block/([^/]+)(?:/.*)?")),
    ("block", re.compile(r"nvme/(nvme\d{1,9})(?:/.*)?")),
    ("block", re.compile(r"nvme/nvme\d{1,9}/(nvme\d{1,9}(?:c\d{1,9})?n\d{1,9})(?:/.*)?")),
    ("vfio", re.compile(r"vfio-dev/(vfio\d{1,9})(?:/.*)?")),
)
_FOLDERS: Final = ("net", "block", "nvme", "vfio-dev")
_VIRTIO: Final = re.compile(r"virtio\d{1,9}")
_CONTROLLER: Final = re.compile(r"nvme\d{1,9}")
_PATH: Final = re.compile(r"(?<=\d)c\d{1,9}(?=n\d)")
_DRIVER: Final = re.compile(rb"^DRIVER=([^\n\0]{1,255})$", re.MULTILINE)
#: A uevent of a PCI function has some 200 bytes.
MAX_UEVENT: Final = 4096


class SysfsUses:
    """Collects what is known, function by function; names beyond a limit are left out."""

    def __init__(self) -> None:
        self._facts: dict[int, dict[uses.Fact, None]] = {}

    def path(self, name: str, link: str | None = None) -> bool:
        """Take the path of a file, folder or link; True if it says something.

        Args:
            name: with the function's address in it.
            link: where a link leads; None: it is no link.
        """
        match = _BELOW.fullmatch(name.rstrip("/"))
        if match is None:
            return False
        key, below = bdf.parse(match[1]), match[2]
        if below in _LINKS:
            return link is not None and self._add(key, below, link.rstrip("/").rsplit("/", 1)[-1])
        found = False
        for kind, pattern in _NAMES:
            said = pattern.fullmatch(below)
            if said is not None:
                found |= self._add(key, kind, _PATH.sub("", said[1]) if kind == "block" else said[1])
        return found

    def uevent(self, name: str, data: bytes) -> None:
        """Take the content of a function's ``uevent``, which names the driver."""
        match = _BELOW.fullmatch(name)
        driver = _DRIVER.search(data[:MAX_UEVENT])
        if match is not None and driver is not None:
            self._add(bdf.parse(match[1]), "driver", os.fsdecode(driver[1]))

    def folder(self, name: str, device: Path, allows: Callable[[Path], bool]) -> None:
        """Take a device's folder.

        Args:
            name: of the function.
            device: its folder; every file system error means that the thing is not there.
            allows: whether a path is a regular file that may be read.
        """
        for link in _LINKS:
            try:
                self.path(f"{name}/{link}", os.readlink(device / link))  # noqa: PTH115 the text alone
            except (OSError, ValueError):
                continue
        for below in _below(device):
            self.path(f"{name}/{below}")
        if not allows(device / "uevent"):
            return
        try:
            with (device / "uevent").open("rb", buffering=0) as stream:
                self.uevent(f"{name}/uevent", stream.read(MAX_UEVENT) or b"")
        except OSError:
            return

    def placed(self) -> list[PlacedUse]:
        """What is known, as of the first access of the file."""
        found = ((key, uses.of_facts(facts, uses.SYSFS)) for key, facts in sorted(self._facts.items()))
        return [PlacedUse(key, 0, use) for key, use in found if use.is_known]

    def _add(self, key: int, kind: str, value: str) -> bool:
        facts = self._facts.setdefault(key, {})
        if len(facts) < 2 * uses.MAX_NAMES:
            facts[kind, value] = None
        return True


def is_uevent(name: str) -> bool:
    """Whether a path is that of a function's ``uevent``."""
    match = _BELOW.fullmatch(name)
    return match is not None and match[2] == "uevent"


def _below(device: Path) -> Iterator[str]:
    """Paths below a device's folder that may say something."""
    virtio = [one for one in _entries(device, _VIRTIO) if not (device / one).is_symlink()]
    for folder in [*_FOLDERS, *(f"{one}/{kind}" for one in virtio for kind in _FOLDERS)]:
        for name in _entries(device / folder):
            yield f"{folder}/{name}"
            if folder == "nvme" and _CONTROLLER.fullmatch(name):
                yield from (f"{folder}/{name}/{one}" for one in _entries(device / folder / name))


def _entries(folder: Path, wanted: re.Pattern[str] | None = None) -> list[str]:
    """Names in a folder, sorted; of a link or of what cannot be read none."""
    try:
        if folder.is_symlink() and wanted is None:
            return []
        with os.scandir(folder) as entries:
            names = (entry.name for entry in entries)
            matching = (name for name in names if wanted is None or wanted.fullmatch(name))
            return sorted(itertools.islice(matching, uses.MAX_NAMES))
    except (OSError, ValueError):
        return []
