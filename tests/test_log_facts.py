"""What single kernel messages say."""

import pytest

from analyzer import bdf
from analyzer.kernel_logs import log_facts

BUS_NUMBERS_LOST = (
    "Not assigning bus numbers, preserved bridge 0000:02:00.0 lost its bus number configuration"
)


@pytest.mark.parametrize(
    ("line", "series"),
    [
        ("pci 0000:02:00.0: Cannot reconfigure bridge during Live Update!", ("v4", "v5")),
        ("pci 0000:02:00.0: Downstream devices will not be enumerated!", ("v4", "v5")),
        ("pci 0000:02:00.0: Cannot reconfigure bridge during Live Update, skipping", ("v6", "v7")),
        ("pci 0000:02:01.0: " + BUS_NUMBERS_LOST, ("v9",)),
        ("vfio-pci 0000:03:00.0: Preserved device was never finished!", ("v8",)),
        ("Kernel panic - not syncing: Some preserved devices were never finished!", ("v8",)),
        ("PCI: liveupdate: 0000:03:01.0 was never finished!", ("v9",)),
        ("Kernel panic - not syncing: 2 preserved device(s) were never finished!", ("v9",)),
        ("vfio-pci 0000:03:10.0: Cannot preserve Virtual Functions", ("v8", "v9")),
        ("PCI: liveupdate: No incoming FLB matched pci", ("v4", "v5", "v6", "v7")),
        ("Failed to retrieve incoming FLB data", ("v4", "v5", "v6")),
        ("Kernel panic - not syncing: Failed to retrieve incoming FLB data (-22)", ("v7", "v8", "v9")),
        ("PCI: liveupdate: Incoming PCI FLB version (v1) is incompatible with this kernel (v2)", ("v8",)),
        (
            "Kernel panic - not syncing: Incoming PCI FLB version (v1) is incompatible with this kernel (v2)",
            ("v9",),
        ),
        ("Kernel panic - not syncing: Failed to allocate struct pci_flb_incoming", ("v9",)),
        (
            "Kernel panic - not syncing: Failed to insert PCI device 0000:03:00.0 into xarray (-16)",
            ("v9",),
        ),
        (
            "vfio-pci 0000:03:00.0: Refusing to preserve device that relies on ACS quirks",
            ("v5", "v6", "v7", "v8", "v9"),
        ),
        (
            "pci 0000:03:00.0: Device-specific quirk required to enable ACS!",
            ("v6", "v7", "v8", "v9"),
        ),
        ("luo: LUO state is incompatible with 'luo-v5'", ()),
        ("pci 0000:02:00.0: bridge configuration invalid ([bus 00-00]), reconfiguring", ()),
    ],
)
def test_series_evidence(line, series):
    fact = log_facts.read(line)
    assert log_facts.common_series([fact.series] if fact.series else []) == series


@pytest.mark.parametrize(
    ("line", "kind", "function"),
    [
        ("pcieport 0000:00:03.0: pciehp: Slot(0-1): Link Down", "hotplug", "00:03.0"),
        ("pcieport 0000:00:03.0: pciehp: Slot(0): Card not present", "hotplug", "00:03.0"),
        (
            "pcieport 0000:00:03.0: pciehp: Slot(0): Link Down/Up ignored (recovered by DPC)",
            "hotplug",
            "00:03.0",
        ),
        ("pcieport 0000:00:03.0: DPC: containment event, status:0x1f01 source:0x0000", "dpc", "00:03.0"),
        (
            "pcieport 0000:00:03.0: DPC: containment event, status:0x000d, ERR_FATAL received from 02:00.0",
            "dpc",
            "00:03.0",
        ),
        ("pcieport 0000:00:03.0: DPC: unmasked uncorrectable error detected", "dpc", "00:03.0"),
        ("pcieport 0000:00:03.0: EDR: EDR event received", "dpc", "00:03.0"),
        ("pcieport 0000:00:03.0: AER: enabled with IRQ 24", None, None),
        ("pcieport 0000:00:03.0: DPC: enabled with IRQ 24", None, None),
        (
            "pcieport 0000:00:03.0: AER: Uncorrectable (Fatal) Error message received from 0000:02:00.0",
            "aer",
            "00:03.0",
        ),
        (
            "pcieport 0000:00:03.0: AER: Multiple Uncorrectable (Non-Fatal) Error messages received",
            "aer",
            "00:03.0",
        ),
        ("pcieport 0000:00:03.0: AER: Corrected error message received from 0000:02:00.0", "aer", "00:03.0"),
        ("pcieport 0000:00:03.0: AER: Corrected error received: 0000:02:00.0", "aer", "00:03.0"),
        ("pcieport 0000:00:03.0: PCIe Bus Error: severity=Uncorrectable (Fatal), type=x", "aer", "00:03.0"),
        ("pcieport 0000:00:03.0: CXL Bus Error: severity=Corrected", "aer", "00:03.0"),
        ("pcieport 0000:00:03.0:   device [8086:1234] error status/mask=00000020/00000000", "aer", "00:03.0"),
        ("pcieport 0000:00:03.0:    [ 5] SDES                   (First)", "aer", "00:03.0"),
        ("pcieport 0000:00:03.0: AER: Root Port link has been reset (0)", "aer", "00:03.0"),
        ("pcieport 0000:00:03.0: AER: device recovery failed", "aer", "00:03.0"),
        ("nvme 0000:03:00.0: not ready 1023ms after bus reset; waiting", "reset", "03:00.0"),
        ("nvme 0000:03:00.0: ready 2047ms after FLR", "reset", "03:00.0"),
        ("pcieport 0000:00:03.0: Data Link Layer Link Active not set in 1000 msec", "reset", "00:03.0"),
        ("pci 0000:03:00.0: not ready after 65535ms; giving up", "rrs", "03:00.0"),
        ("pci 0000:03:00.0: ready after 2047ms", "rrs", "03:00.0"),
        (
            "pci 0000:00:03.0: broken device, retraining non-functional downstream link at 2.5GT/s",
            "link",
            "00:03.0",
        ),
        ("pci 0000:00:03.0: retraining failed", "link", "00:03.0"),
        ("pci 0000:02:00.0: bridge configuration invalid ([bus 00-00]), reconfiguring", "bridge", "02:00.0"),
        (
            "pci 0000:02:00.0: devices behind bridge are unusable because [bus 05] cannot be assigned",
            "bridge",
            "02:00.0",
        ),
        (
            "pci 0000:03:00.0: Max Payload Size set to 256 (was 128, max 512)",
            "payload",
            "03:00.0",
        ),
        ("pci 0000:03:00.0: Max Payload Size set to  256 (was  128, max  512)", "payload", "03:00.0"),
        (
            "pci 0000:03:00.0: Upstream bridge's Max Payload Size set to 128 (was 256, max 512)",
            "payload",
            "03:00.0",
        ),
        ("pci 0000:03:00.0: unknown header type 7f, ignoring device", None, None),
        ("nvme 0000:03:00.0: I/O 5 QID 0 timeout, error received", None, None),
        ("pci 0000:00:03.0: lab: inherited ari=0", None, None),
        ("eth0: link is ready", None, None),
    ],
)
def test_events(line, kind, function):
    fact = log_facts.read(line)
    if kind is None:
        assert fact is None or fact.event is None
    else:
        assert (fact.event, fact.function) == (kind, bdf.parse(function))


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        ("KHO: exec from: 6.12.0-hv (count 3)", "exec-from", "6.12.0-hv 3"),
        ("KHO: disabled in the kdump kernel", "kdump", "KHO: disabled in the kdump kernel"),
        (
            "luo: LUO state is incompatible with 'luo-v5'",
            "no-data",
            "luo: LUO state is incompatible with 'luo-v5'",
        ),
        (
            "PCI: liveupdate: No incoming FLB matched pci-v2",
            "no-data",
            "PCI: liveupdate: No incoming FLB matched pci-v2",
        ),
        (
            "pci 0000:03:00.0: unknown header type 7f, ignoring device",
            "ignored-header",
            "unknown header type 7f, ignoring device",
        ),
    ],
)
def test_facts(line, kind, text):
    fact = log_facts.read(line)
    assert (fact.kind, fact.text) == (kind, text)


@pytest.mark.parametrize(
    ("text", "over_data"),
    [
        ("Incoming PCI FLB version (v1) is incompatible with this kernel (v2)", True),
        ("Failed to retrieve incoming FLB data (-22)", True),
        ("Failed to insert PCI device 0000:03:00.0 into xarray (-16)", True),
        ("2 preserved device(s) were never finished!", False),
        ("sysrq triggered crash", False),
    ],
)
def test_panics_over_the_data(text, over_data):
    assert log_facts.panics_over_data(f"Kernel panic - not syncing: {text}") is over_data
