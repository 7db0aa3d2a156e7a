"""Kernel command lines, split as the kernel splits them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.kernel_logs import cmdline


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("quiet", [("quiet", None)]),
        ("  root=/dev/sda1   ro ", [("root", "/dev/sda1"), ("ro", None)]),
        ("a=1 -- b=2", [("a", "1")]),
        ('dyndbg="file pci.c +p" x', [("dyndbg", "file pci.c +p"), ("x", None)]),
        ('"dyndbg=file pci.c +p" x', [("dyndbg", "file pci.c +p"), ("x", None)]),
        ('"quiet"', [("quiet", None)]),
        ('a"b c" d', [('a"b c"', None), ("d", None)]),  # quotes go where they are around the whole
        ('a="never closed b=2', [("a", "never closed b=2")]),
        ("a==b", [("a", "=b")]),
        ("a=\tb", [("a", ""), ("b", None)]),
    ],
)
def test_parameters(text: str, expected: list[tuple[str, str | None]]) -> None:
    assert cmdline.parameters(text) == expected


@pytest.mark.parametrize(
    ("text", "noari", "pcie_scan_all"),
    [
        ("root=/dev/sda1", False, False),
        ("pci=noari", True, False),
        ("pci=nomsi,noari,earlydump", True, False),
        ("pci=nomsi pci=noari", True, False),
        ("pci=noari pci=nomsi", True, False),
        ('pci="noari"', True, False),
        ("pci=noari,pcie_scan_all", True, True),
        ("pci=pcie_scan_all", False, True),
        ("pci=noaris", True, False),
        ("pci=noar", False, False),
        ("pci=xnoari", False, False),
        ("noari", False, False),
        ("PCI=noari", False, False),
        ("lab_pci=noari", False, False),
        ("xpci=noari pcie=noari", False, False),
        ("init=/bin/sh -- pci=noari", False, False),
        ('append="pci=noari"', False, False),
    ],
)
def test_pci_options(text: str, noari: bool, pcie_scan_all: bool) -> None:
    options = cmdline.pci_options(text)
    assert (options.noari, options.pcie_scan_all) == (noari, pcie_scan_all)


@pytest.mark.parametrize(("text", "expected"), [("pci=assign-busses", True), ("pci=assign-busses2", False)])
def test_assign_busses(text: str, expected: bool) -> None:
    assert cmdline.pci_options(text).assign_busses is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("irqpoll nr_cpus=1 reset_devices elfcorehdr=867700K", True),
        ("elfcorehdr=1M@0x100", True),
        ("crashkernel=256M", False),
        ("", False),
    ],
)
def test_crash_kernel(text: str, expected: bool) -> None:
    assert cmdline.is_crash_kernel(text) is expected


@given(st.text(max_size=200))
def test_any_text_is_split(text: str) -> None:
    assert all(isinstance(name, str) for name, _ in cmdline.parameters(text))
