"""The finding codes of the state watch: other registers that a preserved function lost at a kexec.

The number is the register's place in the list of what must survive; ARI Forwarding (1), bus numbers (2) and
error status (4) have codes of their own in :mod:`analyzer.results.rules`.
"""

from __future__ import annotations

from analyzer.results.rule import Rule

_ISOLATED = "Treat the IOMMU groups below this port as not isolated until the host is rebooted."
_RESET = "Look for what reset the function; reset the device or reboot the host before you use it again."

TABLE = (
    Rule(
        "STATE003",
        "ACS isolation lost",
        "error",
        (
            "Bits of ACS Control of a preserved function that were on before the kexec read off after it; "
            "the finding names them. A kernel with the series keeps what it finds, silently: peer-to-peer "
            "isolation is gone, in whole or in part. A warning: the kernel set them again."
        ),
        (
            "Live Update series, the patch that inherits (adopts) ACS controls; Linux 7.3 pci_enable_acs() "
            "sets its own bits again; PCI Express 7.7.11: ACS Control defaults to 0."
        ),
        _ISOLATED,
    ),
    Rule(
        "STATE005",
        "Max Payload Size lost",
        "warning",
        (
            "Max Payload Size of a preserved function differs from what it was. A function that sends more "
            "than the port above takes causes Malformed TLP errors, which are fatal."
        ),
        "PCI Express 7.5.3.4, Device Control; Linux 7.3 drivers/pci/probe.c pci_configure_mps().",
        "Compare Max Payload Size of the function and of every port above it (lspci -vv, DevCtl).",
    ),
    Rule(
        "STATE006",
        "SR-IOV state lost",
        "warning",
        (
            "VF Enable, VF Memory Space Enable, ARI Capable Hierarchy or NumVFs of a preserved function "
            "changed: its virtual functions are gone or have other addresses. A note: the incoming kernel "
            "cleared VF Enable itself, as it does with every function that it sets up. Where it names ARI "
            "Capable Hierarchy, no ARI014 says the same of that function."
        ),
        "Linux 7.3 drivers/pci/iov.c sriov_init(); PCI Express 9.3.3.3 and 9.3.3.7.",
        "Hand over no function whose virtual functions are in use.",
    ),
    Rule(
        "STATE007",
        "ATS lost",
        "warning",
        "ATS Control of a preserved function changed: translated DMA fails, or its unit differs.",
        "Linux 7.3 drivers/pci/ats.c pci_prepare_ats(), pci_enable_ats(); PCI Express 10.5.1.3.",
        _RESET,
    ),
    Rule(
        "STATE008",
        "MSI or MSI-X Enable changed",
        "note",
        "Interrupts are not preserved; the driver sets them up again.",
        "Linux 7.3 drivers/pci/msi/pcidev_msi.c pci_msi_init(), pci_msix_init().",
        "Supports a reset as the cause; nothing to do by itself.",
    ),
    Rule(
        "STATE009",
        "addresses lost",
        "error",
        (
            "A BAR of a preserved function, or a window of a bridge (a warning), does not hold the address "
            "that it had. 0 where there was an address: the function was reset."
        ),
        (
            "Linux 7.3 drivers/pci/probe.c __pci_size_bars(): the first read is the value before the sizing; "
            "PCI Express 7.5.1.2.1: a BAR is 0 after a reset; 7.5.1.3, bridge windows."
        ),
        _RESET,
    ),
    Rule(
        "STATE010",
        "Device Control 2 changed",
        "warning",
        (
            "Bits of Device Control 2 of a preserved function, other than ARI Forwarding, changed; the "
            "finding names them."
        ),
        "PCI Express 7.5.3.16; Linux 7.3 writes LTR Mechanism Enable alone at scan (pci_configure_ltr()).",
        "Supports a reset as the cause; compare with the function's driver and the firmware's settings.",
    ),
    Rule(
        "STATE011",
        "Bus Master or address decoding lost",
        "error",
        (
            "The outgoing kernel left Bus Master on for the preserved function; it reads 0 after the kexec, "
            "or the incoming kernel cleared it: DMA stopped. A warning: Memory or I/O Space Enable."
        ),
        (
            "Live Update series, the patch that does not clear Bus Master on preserved devices at kexec; "
            "Linux 7.3 pci_device_shutdown() clears it everywhere; PCI Express 7.5.1.1.3."
        ),
        "Expect failed DMA in the device, or in the devices below; look for a reset of the port.",
    ),
    Rule(
        "STATE012",
        "PASID or page requests lost",
        "warning",
        "PASID Control or Page Request Control of a preserved function changed: any reset of it does that.",
        "Linux 7.3 drivers/pci/ats.c: nothing is written at scan; PCI Express 7.8.9.3 and 10.5.2.2.",
        _RESET,
    ),
    Rule(
        "STATE013",
        "DPC Control changed",
        "warning",
        "DPC of a preserved port is set up otherwise than before: errors below it are not contained.",
        "Linux 7.3 drivers/pci/pcie/dpc.c dpc_disable(), dpc_enable(); PCI Express 7.9.14.3.",
        "Check that the port driver is bound and that DPC is enabled (lspci -vv, DpcCtl).",
    ),
    Rule(
        "STATE014",
        "link degraded",
        "warning",
        "The link of a preserved function is narrower than before the kexec. A note: its speed differs.",
        "PCI Express 7.5.3.8, Link Status: set by the hardware when the link trains.",
        "The link was trained again: look for a reset or an error on it.",
    ),
    Rule(
        "STATE015",
        "request settings changed",
        "note",
        "Max Read Request Size, Extended Tag, Relaxed Ordering or No Snoop of a preserved function changed.",
        "Linux 7.3 drivers/pci/probe.c pci_configure_extended_tags(); PCI Express 7.5.3.4.",
        "Supports a reset as the cause; nothing to do by itself.",
    ),
)
