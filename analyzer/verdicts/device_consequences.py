"""What follows for single stranded functions: which can wait, and which cannot, each with its source.

A function that no bridge routes config requests to any more was not reset: whether it continues DMA depends
on its Bus Master bit, and whether the DMA reaches memory depends on the IOMMU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.results import Consequence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from analyzer.results import DeviceVerdict

#: Functions that a text names before it counts the rest.
_MOST: Final = 8
#: Reasons by which a function was only not looked at: nothing happened to it.
NOT_LOOKED_AT: Final = frozenset({"ari-off", "noari", "chain-broken", "function-0-not-ari"})
_BUS_MASTER = "PCI Express 7.5.1.1.3, Bus Master Enable of a function and of a bridge"
_IOMMU = (
    "IOMMU Live Update series ('iommu/vt-d: restore state of the preserved IOMMU', 'iommu: restore preserved"
    " domain and reattach'); PCI Live Update series, patch 'Do not clear Bus Master'"
)
_UNREACHABLE = "PCI Express 7.5.3.16, bit 5 of Device Control 2; 6.6.1"
_SESSIONS = (
    "Linux 7.3 luo_retrieve_file(): file by file; luo_file_finish(): every file of one session, or none;"
    " vfio-pci Live Update series v5"
)


def of_devices(
    stranded: Sequence[DeviceVerdict],
    found: Sequence[DeviceVerdict],
    was_reset: Collection[str],
    *,
    sessions: bool,
) -> Iterator[Consequence]:
    """What cannot wait first, then what can.

    Args:
        stranded: the stranded functions.
        found: preserved functions that are no bridges and were found.
        was_reset: bridges that were reset, and everything below them with them.
        sessions: a Live Update hands devices over in sessions.
    """
    ends = [device for device in stranded if device.bridge not in was_reset]
    unreached = [device for device in ends if device.reason in NOT_LOOKED_AT]
    yield from _continuing([device for device in unreached if device.bus_master])
    yield from _stopped([device for device in unreached if device.bus_master is False])
    if sessions and stranded:
        yield from _siblings(found)
    yield from _names_gone(stranded)


def virtual_machines(devices: Sequence[DeviceVerdict]) -> str:
    """The virtual machines that had functions, by name, each with its functions; empty if none is known."""
    held: dict[str, list[str]] = {}
    for device in devices:
        if device.was is not None and device.was.vm is not None:
            held.setdefault(device.was.vm, []).append(device.bdf)
    return _listed([f"{name} ({_listed(functions)})" for name, functions in sorted(held.items())])


def _continuing(devices: Sequence[DeviceVerdict]) -> Iterator[Consequence]:
    if not devices:
        return
    user = "the virtual machines that hold them" if len(devices) > 1 else "the virtual machine that holds it"
    if not any(device.was is not None and (device.was.vm or device.was.is_vfio) for device in devices):
        user = f"what uses {'them' if len(devices) > 1 else 'it'}"
    bridges = ", ".join(dict.fromkeys(device.bridge for device in devices if device.bridge))
    text = (
        f"Do this first: stop {user}: {_named(devices)}. Bus Master was on when the outgoing kernel ended,"
        " and no driver is bound: as far as the input shows DMA continues, into the memory of a virtual"
        " machine where the tables of the IOMMU were preserved too. A function-level reset cannot reach a"
        " function whose config space does not answer."
    )
    if bridges:
        text += (
            f" Clearing Bus Master of the bridge above ({bridges}: setpci COMMAND=0:4) stops DMA of every"
            " function below it, also of those that were found; so does a reset of the bus, which also clears"
            " their state."
        )
    yield _consequence("dma-continues", text, f"{_BUS_MASTER}; {_UNREACHABLE}; {_IOMMU}", devices)


def _stopped(devices: Sequence[DeviceVerdict]) -> Iterator[Consequence]:
    if devices:
        subject, them = ("They do", "them") if len(devices) > 1 else ("It does", "it")
        text = (
            f"{_named(devices)} can wait for the reboot. {subject} no DMA: Bus Master was off when the"
            f" outgoing kernel ended, and the incoming kernel, which did not find {them}, did not switch it"
            " on."
        )
        yield _consequence("dma-stopped", text, _BUS_MASTER, devices)


def _siblings(found: Sequence[DeviceVerdict]) -> Iterator[Consequence]:
    if found:
        text = (
            f"Preserved functions that were found ({_named(found)}) can be used again: a session returns its"
            " files one by one. A session without a stranded device can be finished, one with a stranded"
            " device cannot. The input does not say which session holds which device."
        )
        yield _consequence("siblings-usable", text, _SESSIONS, found)


def _names_gone(devices: Sequence[DeviceVerdict]) -> Iterator[Consequence]:
    """Interfaces and block devices of the host that are not there any more."""
    gone = [device for device in devices if device.was is not None and (device.was.net or device.was.block)]
    if gone:
        names = [
            f"{' '.join([*(device.was.net or ()), *(device.was.block or ())])} ({device.bdf})"
            for device in gone
            if device.was is not None
        ]
        text = f"Gone from this host with the functions: {_listed(names)}."
        yield _consequence("names-gone", text, "the outgoing kernel's log or sysfs", gone)


def _consequence(code: str, text: str, source: str, devices: Sequence[DeviceVerdict]) -> Consequence:
    return Consequence(code, text, source, [device.bdf for device in devices])


def _named(devices: Sequence[DeviceVerdict]) -> str:
    """Addresses, each with what it was."""
    return _listed(
        [
            f"{device.bdf} ({device.was.text})" if device.was is not None and device.was.text else device.bdf
            for device in devices
        ]
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
