"""Layouts of the preserved set: sizes, offsets and hand-made bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer import series
from schemas import kho_block, pci_ser
from schemas.bulk import dtype_of


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        (pci_ser.PciDevSerD1, 4),
        (pci_ser.PciDevSerD2, 8),
        (pci_ser.PciDevSerD3, 8),
        (pci_ser.PciSerH1, 8),
        (pci_ser.PciSerH2, 16),
        (pci_ser.PciSerH3, 16),
        (pci_ser.PciSerH4, 16),
        (pci_ser.PciSerH5, 8),
        (pci_ser.PciSerH6, 8),
        (pci_ser.PciSerH7, 12),
        (pci_ser.PciSerH8, 16),
        (kho_block.KhoBlockHeader, 16),
    ],
)
def test_sizes(layout, size):
    assert layout.sizeof() == size


def test_entry_bytes():
    # 10000:01:02.3, two preserved endpoints at or below it
    entry = pci_ser.PciDevSerD3.parse(bytes.fromhex("00000100 1301 0200"))
    assert (entry.domain, entry.bdf, entry.refcount) == (0x10000, 0x0113, 2)


def test_header_bytes():
    h7 = pci_ser.PciSerH7.parse(bytes.fromhex("0b000000 0010345600000000"))
    assert (h7.nr_devices, h7.devices) == (11, 0x56341000)
    h8 = pci_ser.PciSerH8.parse(bytes.fromhex("02000000 0b000000 0010345600000000"))
    assert (h8.version, h8.nr_devices, h8.devices) == (2, 11, 0x56341000)
    h6 = pci_ser.PciSerH6.parse(bytes.fromhex("40000000 0b000000"))
    assert (h6.max_nr_devices, h6.nr_devices) == (64, 11)


@pytest.mark.parametrize(("page", "entries"), [(4096, 510), (16384, 2046), (65536, 8190)])
def test_block_capacity(page, entries):
    assert kho_block.CAPACITY[page] == entries


def test_names_cover_every_layout_once():
    named = [layout for layouts in series.flb_names().values() for layout in layouts]
    assert sorted(named) == [f"H{number}" for number in range(1, 9)]
    assert {*pci_ser.ARRAY_LAYOUTS, *pci_ser.BLOCK_LAYOUTS} == set(named)
    assert all(series.users(layout) for layout in named)


@given(
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
)
def test_entry_round_trip_and_bulk_decoding_agree(domain, bdf, refcount):
    raw = pci_ser.PciDevSerD3.build({"domain": domain, "bdf": bdf, "refcount": refcount})
    parsed = pci_ser.PciDevSerD3.parse(raw)
    assert (parsed.domain, parsed.bdf, parsed.refcount) == (domain, bdf, refcount)
    (bulk,) = np.frombuffer(raw, dtype_of(pci_ser.PciDevSerD3)).tolist()
    assert bulk == (domain, bdf, refcount)
