"""What single kernel messages say."""

from __future__ import annotations

from typing import Any

import pytest

from analyzer import bdf
from analyzer.kernel_logs import log_facts
from analyzer.kernel_logs.log_facts import Fact

BUS_NUMBERS_LOST = (
    "Not assigning bus numbers, preserved bridge 0000:02:00.0 lost its bus number configuration"
)


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    """Answers are remembered: here each test asks anew."""
    log_facts.read.cache_clear()


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
def test_series_evidence(line: str, series: tuple[str, ...]) -> None:
    fact = log_facts.read(line)
    assert fact is not None
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
def test_events(line: str, kind: str | None, function: str) -> None:
    fact = log_facts.read(line)
    if kind is None:
        assert fact is None or fact.event is None
    else:
        assert fact is not None
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
def test_facts(line: str, kind: str, text: str) -> None:
    fact = log_facts.read(line)
    assert fact is not None
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
def test_panics_over_the_data(text: str, over_data: bool) -> None:
    assert log_facts.panics_over_data(f"Kernel panic - not syncing: {text}") is over_data


V8, V9, V8_V9 = frozenset({"v8"}), frozenset({"v9"}), frozenset({"v8", "v9"})


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("KHO: found kexec handover data.", ("kho", None, "KHO: found kexec handover data.")),
        (
            "Reserving 4KB of memory at 0x1ff0000 for elfcorehdr",  # arm64
            ("elfcorehdr", None, "Reserving 4KB of memory at 0x1ff0000 for elfcorehdr"),
        ),
        ("luo: Retrieved live update data, liveupdate number: 17", ("liveupdate", None, "17")),
        (
            "Kernel panic - not syncing: 2 preserved device(s) were never finished!",
            (
                "panic",
                None,
                "Kernel panic - not syncing: 2 preserved device(s) were never finished!",
                "panic",
                V9,
            ),
        ),
        ("kexec_core: Starting new kernel", ("kexec", None, "kexec_core: Starting new kernel")),
        ("reboot: Restarting system", ("reboot", None, "reboot: Restarting system")),
        ("SeaBIOS (version 1.16.2)", ("firmware", None, "SeaBIOS (version 1.16.2)")),
        (
            "PCI: liveupdate: 0000:03:01.0 was never finished!",
            ("never-finished", 0x308, "PCI: liveupdate: 0000:03:01.0 was never finished!", None, V9),
        ),
        # a text of the series, without a function
        (
            "PCI: liveupdate: Incoming PCI FLB version (v1) is incompatible with this kernel (v2)",
            (
                "event",
                None,
                "PCI: liveupdate: Incoming PCI FLB version (v1) is incompatible with this kernel (v2)",
                None,
                V8,
            ),
        ),
        # and with one
        (
            "vfio-pci 0000:03:10.0: Cannot preserve Virtual Functions",
            ("event", 0x380, "Cannot preserve Virtual Functions", None, V8_V9),
        ),
    ],
)
def test_everything_that_a_message_says(line: str, fact: tuple[Any, ...]) -> None:
    assert log_facts.read(line) == Fact(*fact)


@pytest.mark.parametrize(
    "line",
    [
        "pcieport 0000:00:03.0: AER: enabled with IRQ 24",
        "PM: Image reading error",
        "Reserving 256MB of memory for the crash kernel, error -12",
        "No memory for elfcorehdr",
    ],
)
def test_what_says_nothing(line: str) -> None:
    assert log_facts.read(line) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[8086:1572] type 00 class 0x020000 PCIe Endpoint", ("8086:1572", 0, 0x020000, "PCIe Endpoint")),
        ("[8086:1572] type 01 class 0x060400", ("8086:1572", 1, 0x060400, "")),  # before Linux 6.11
        ("[8086:1572] type 7f class 0xffffff", ("8086:1572", 0x7F, 0xFFFFFF, "")),
        ("[8086:1572] typ", None),
    ],
)
def test_the_line_of_a_function(text: str, said: tuple[str, int, int, str] | None) -> None:
    assert log_facts.enumerated(text) == said


@pytest.mark.parametrize(
    ("text", "release"),
    [("Linux version 7.3.4-hv (root@vm) #2", "7.3.4-hv"), ("Linux version", None), ("7.3.4", None)],
)
def test_release(text: str, release: str | None) -> None:
    assert log_facts.release(text) == release


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nothing of it", []),
        ("Failed to retrieve incoming FLB data", ["Failed to retrieve incoming FLB data"]),
        # The shorter text of versions 4 to 6 is in it, too.
        ("Failed to retrieve incoming FLB data (-22)", ["Failed to retrieve incoming FLB data ("]),
        (
            "Cannot preserve Virtual Functions; Device is finished participating in Live Update",
            ["Device is finished participating in Live Update", "Cannot preserve Virtual Functions"],
        ),
    ],
)
def test_fixed_texts(text: str, parts: list[str]) -> None:
    assert log_facts.fixed_texts(text) == parts
