"""What follows from a kexec's verdicts for the host, and what its operator should do, each with its source.

A table of texts and one pure function that chooses from it. The order is the order of the report: what is
happening, what does not help, what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import series
from analyzer.results import LIVE_UPDATE_POLICIES, LOSSES, Consequence, rules
from analyzer.verdicts import device_consequences
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.results import BridgeVerdict, DeviceVerdict, KexecResult

_FINISH = "vfio-pci Live Update series v5 (14 Jul 2026): retrieve gives -ENODEV, can_finish is false"
_PANICKING = [row.name for row in series.panicking("unfinished")]
_PANIC = "PCI Live Update series {}: panic '{}'".format(
    "/".join(_PANICKING),
    next(text.text for text in series.named(_PANICKING[-1]).log_texts if text.panic == "unfinished"),
)
_RETRIEVE = (
    f"PCI Live Update series {series.span(series.panicking('retrieve'))}, pci_liveupdate_setup_device(), "
    "pci_flb_retrieve()"
)
_ALL = f"PCI Live Update series {series.span(series.TABLE)}"
_FORWARDING = "PCI Express 7.5.3.16, bit 5 of Device Control 2: it affects configuration requests only"
_CONFIGURE_ARI = f"{_ALL}, pci_configure_ari(); Linux 7.3 pci_scan_single_device()"
_REFUSAL = f"{_ALL}, pci_scan_bridge_extend(): preserved bus numbers are never reassigned"
_RESET = "PCI Express 6.6.1: a conventional reset of a port is a hot reset for everything below it"
_REFUSING_BY_NAME = "/".join(row.name for row in series.printing("Cannot preserve Virtual Functions"))
_VIRTUAL = (
    f"PCI Live Update series {_REFUSING_BY_NAME}: 'Cannot preserve Virtual Functions' (before: -EINVAL); "
    "Linux 7.3 sriov_init(); PCI Express 9.3.3.3.1, VF Enable"
)
_SRIOV = "Linux 7.3 sriov_init(): ARI Capable Hierarchy is written from pci_ari_enabled(bus)"


def _or(words: list[str]) -> str:
    """``v8 or v9``; ``v8, v9 or v10``."""
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


_TEXTS: dict[str, tuple[str, str]] = {
    "kernel-panicked": (
        (
            "The incoming kernel panicked before it enumerated: nothing on this host runs, and preserved "
            "devices may do DMA until they are reset. Boot the host through its firmware. For the next Live "
            "Update use two kernels that know the same version of the handed-over data."
        ),
        _RETRIEVE,
    ),
    "finish-blocked": (
        (
            "Finishing the Live Update session fails with EBUSY: one stranded device blocks every other "
            "device of its session, and every bridge above it stays 'incoming'."
        ),
        _FINISH,
    ),
    "panic-unfinished": (
        (
            f"If a driver finishes the session nevertheless, a kernel with series {_or(_PANICKING)} panics: "
            "a preserved device was never finished."
        ),
        _PANIC,
    ),
    "dma-unattended": (
        (
            "The stranded functions may still do DMA with no driver bound: the input does not show whether "
            "Bus Master was off when the outgoing kernel ended, and ARI Forwarding that is off stops "
            "configuration requests, not memory requests. Do not reuse the memory of their virtual machines."
        ),
        _FORWARDING,
    ),
    "device-state-lost": (
        (
            "The reset that cleared the port's registers also reset every device below it: their state is "
            "lost, even if they were found again."
        ),
        _RESET,
    ),
    "bit-by-hand-useless": (
        (
            f"Setting the bit manually (setpci {ARI_FORWARDING.register.setpci}) and rescanning does not "
            "bring the devices back: a rescan skips the functions that it knows and does not decide on ARI "
            "Forwarding again, and a bridge that is still 'incoming' only inherits the bit. With the"
            " bit set, "
            "removing function 0 before the rescan makes the kernel decide again, at the cost of the"
            " preserved "
            "devices that are removed."
        ),
        _CONFIGURE_ARI,
    ),
    "rescan-useless": (
        (
            "A rescan does not bring the devices back: the incoming kernel refuses new bus numbers for "
            "this bridge for as long as it runs."
        ),
        _REFUSAL,
    ),
    "reboot": (
        (
            "Reboot the host: preserved devices are stranded, and only a full enumeration brings them "
            "back. Stop or move the affected virtual machines first."
        ),
        (
            "Live Update seed discussion, June 2026: the documented remedy is to notice missing devices"
            " and reboot"
        ),
    ),
    "bit-stays-off": (
        (
            "The bit stays off until the next full enumeration: devices that are added below this bridge "
            "later, and virtual functions, cannot use ARI. Plan a reboot."
        ),
        _CONFIGURE_ARI,
    ),
    "virtual-functions": (
        (
            "The incoming kernel clears VF Enable, which removes the virtual functions and resets their "
            "state, and no Live Update series preserves them. Stop the virtual machines that use them; the "
            "driver of the physical function can enable virtual functions again (sriov_numvfs). Before the "
            "next Live Update, detach them from the virtual machines."
        ),
        _VIRTUAL,
    ),
    "sriov-layout": (
        (
            "The incoming kernel sets up SR-IOV below this bridge with ARI Capable Hierarchy 0: virtual "
            "functions that are enabled later get other addresses, or fewer of them fit."
        ),
        _SRIOV,
    ),
    "healed-by-stock": (
        (
            "The incoming kernel repaired the loss. A kernel that inherits the bit for preserved "
            "bridges would not have: find the cause before this host runs one."
        ),
        _CONFIGURE_ARI,
    ),
    "addresses-changed": (
        (
            "Devices below the renumbered bridge may have other addresses than before: check everything that "
            "refers to the old addresses (VFIO, libvirt, scripts)."
        ),
        "Linux 7.3 pci_scan_bridge_extend(), second pass",
    ),
    "assign-busses": (
        (
            "The incoming kernel runs with pci=assign-busses: remove it, so that it keeps the bus numbers. "
            "A kernel that takes the handed-over data ignores the option."
        ),
        "Linux 7.3 pci_scan_bridge_extend(), pcibios_assign_all_busses()",
    ),
    "noari": (
        (
            "The incoming kernel runs with pci=noari: remove the option. With it, functions that only"
            " ARI can "
            "address are never found."
        ),
        "Linux 7.3 pci_configure_ari(), pcie_ari_disabled",
    ),
    "find-writer": (
        (
            "The register was written: find what wrote it (setpci, a vendor tool, a driver's restore) "
            "before the next Live Update; otherwise it will be written again."
        ),
        "the write named in the evidence",
    ),
    "find-bus-reset": (
        (
            "The bus was reset through a bridge above, by a write that the evidence names: find what "
            "did it (setpci, a VFIO hot reset, a driver's error recovery) before the next Live Update."
        ),
        _RESET,
    ),
    "find-reset": (
        (
            "A reset cleared the bit: before the next Live Update look for the reset, link or power event "
            "that the cause names, in the logs of the management controller and of both kernels."
        ),
        _RESET,
    ),
    "find-selective": (
        (
            "Only this bit was cleared, its neighbours kept their values: suspect firmware, SMM or the "
            "management controller, whose writes no kernel sees."
        ),
        "the first reads after the kexec: Bridge Control, Device Control and bus numbers intact",
    ),
}

#: What the operator does; the others are what follows by itself.
ACTIONS = frozenset(
    {
        "kernel-panicked",
        "dma-continues",
        "dma-stopped",
        "siblings-usable",
        "assign-busses",
        "reboot",
        "virtual-functions",
        "bit-stays-off",
        "noari",
        "find-writer",
        "find-bus-reset",
        "find-reset",
        "find-selective",
        "healed-by-stock",
    }
)
_WRITES = frozenset({"explicit-write", "restore-write", "incoming-write"})
_RESETS = frozenset(
    {"secondary-bus-reset", "upstream-link-down", "hot-reset", "power-cycle", "host-bridge-reinit"}
)


#: Losses that only a full enumeration repairs.
_REBOOT = frozenset(LOSSES) - {"lost"}
_HARMED = frozenset({*LOSSES, "healed"})


def for_kexec(kexec: KexecResult) -> list[Consequence]:
    """Return what follows from the verdicts of one kexec, in the order of the report.

    Only preserved or healed bridges and stranded devices have consequences; undetermined verdicts have none.
    """
    bridges = {
        bridge.bdf: bridge for bridge in kexec.bridges if bridge.preserved or bridge.verdict == "healed"
    }
    verdicts = {bridge.verdict for bridge in bridges.values()}
    by_option = {name for name, bridge in bridges.items() if bridge.cause_note == rules.BY_ASSIGN_BUSSES}
    causes = {
        bridge.cause
        for name, bridge in bridges.items()
        if bridge.verdict in _HARMED and name not in by_option
    }
    was_reset = bool(causes & _RESETS)
    of_bridges = {bridge.bdf for bridge in kexec.bridges}
    every = [device for device in kexec.devices if device.verdict == "stranded"]
    # No session holds a virtual function: the outgoing kernel refuses it. A reboot does not bring it back.
    virtual = [device for device in every if device.reason == "virtual-function"]
    stranded = [device for device in every if device.reason != "virtual-function"]
    panicked = any(device.reason == "kernel-panicked" for device in kexec.devices)
    ruled = kexec.observed_policy in LIVE_UPDATE_POLICIES or kexec.kind == "live-update"
    ruled = ruled and not panicked
    lost = "lost" in verdicts
    chosen = {
        "kernel-panicked": panicked,
        "finish-blocked": bool(stranded) and ruled,
        "panic-unfinished": bool(stranded) and ruled and kexec.series in _PANICKING,
        "dma-unattended": any(
            device.bus_master is None and _may_do_dma(device, bridges) for device in stranded
        ),
        "device-state-lost": was_reset and bool(verdicts & {"lost", "unconfigured", "renumbered", "healed"}),
        "bit-by-hand-useless": lost and bool(stranded) and ruled,
        "rescan-useless": "unconfigured" in verdicts and bool(stranded),
        "reboot": bool(stranded) and not panicked,
        "bit-stays-off": lost and not stranded and not verdicts & _REBOOT,
        "virtual-functions": bool(virtual),
        "sriov-layout": lost,
        "healed-by-stock": "healed" in verdicts,
        "addresses-changed": "renumbered" in verdicts,
        "assign-busses": bool(by_option),
        "noari": any(device.reason == "noari" for device in stranded),
        "find-writer": bool(causes & _WRITES),
        "find-bus-reset": "secondary-bus-reset" in causes,
        "find-reset": bool(causes & (_RESETS - {"secondary-bus-reset"})),
        "find-selective": "selective-loss" in causes,
    }
    # The kernel of a what-if did not run.
    condition = f"Under policy {kexec.policy}: " if kexec.is_what_if else ""
    reset = {name for name, bridge in bridges.items() if bridge.cause in _RESETS}
    with_functions: list[Consequence] = []
    if not panicked and not kexec.is_what_if:  # what did not happen has no DMA
        found = [
            device
            for device in kexec.devices
            if device.preserved and device.verdict == "reachable" and device.bdf not in of_bridges
        ]
        with_functions = list(device_consequences.of_devices(stranded, found, reset, sessions=ruled))
    chosen_texts = {code: _TEXTS[code] for code, holds in chosen.items() if holds}
    machines = device_consequences.virtual_machines(stranded)
    if "reboot" in chosen_texts and machines:
        text, source = chosen_texts["reboot"]
        text = f"{text.removesuffix('.')}: {machines}, as far as the input names them."
        chosen_texts["reboot"] = text, source
    texts = ((code, *said) for code, said in chosen_texts.items())
    urgent = [item for item in with_functions if item.code == "dma-continues"]
    return [
        *urgent,
        *(Consequence(code, condition + text, source) for code, text, source in texts),
        *(item for item in with_functions if item not in urgent),
    ]


def _may_do_dma(device: DeviceVerdict, bridges: Mapping[str, BridgeVerdict]) -> bool:
    """Tell whether a stranded device was only not looked at: a reset would have stopped it."""
    above = bridges.get(device.bridge or "")
    return device.reason in device_consequences.NOT_LOOKED_AT and (
        above is None or above.cause not in _RESETS
    )
