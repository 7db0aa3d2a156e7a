"""What an outgoing kernel handed over: pages of real memory, and what is wrong with pages that are not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import zstandard
from handover_pages import memory_of

from analyzer.lab import handover
from analyzer.lab.process import LabRunError
from schemas.luo import KexecMetadata, LuoFile, LuoFlb, LuoFlbHeader, LuoSer, LuoSession

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
#: Of the pages: physical addresses that Linux 7.3.4 chose.
TREE, METADATA, STATE, FLBS = 0x30_C000, 0x31_3000, 0x2F45_B000, 0x2F45_0000
MAGIC_DATA = 0xFEEDF00DCAFEBEE0


def unpacked(name: str) -> bytes:
    return zstandard.decompress((FORMATS / name).read_bytes())


@pytest.fixture(scope="module")
def pages() -> bytes:
    return unpacked("live-update-handover.tar.zst")


def changed(pages: bytes, address: int, content: bytes) -> handover.Memory:
    """The same memory with other bytes at one place."""
    read = memory_of(pages)

    def other(start: int, size: int) -> bytes:
        data = bytearray(read(start, size))
        for place, byte in enumerate(content, start=address - start):
            if 0 <= place < size:
                data[place] = byte
        return bytes(data)

    return other


def test_real_memory(pages: bytes) -> None:
    assert handover.decode(memory_of(pages), TREE) == handover.HandedOverState(
        kho="kho-v4",
        number=1,
        previous_release="7.3.4-aritrace-lab",
        kexec_count=1,
        sessions={"aritrace": [("memfd-v2", 0x1234)]},
        flbs=[(f"liveupdate-test-flb-v{number}", MAGIC_DATA + number, 1) for number in range(3)],
    )


def test_the_incoming_kernel_got_the_same_device_tree(pages: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(unpacked("live-update-kho.tar.zst"))) as debugfs:
        shown = {member.name: debugfs.extractfile(member) for member in debugfs if member.isfile()}
        tree, metadata = shown["./in/fdt"].read(), shown["./in/sub_fdts/kexec-metadata"].read()
    read = memory_of(pages)
    assert read(TREE, len(tree)) == tree
    assert read(METADATA, len(metadata)) == metadata
    values = {path: int.from_bytes(value, "little") for path, value in handover.device_tree(tree)}
    assert (values["/LUO/preserved-data"], values["/LUO/blob-size"]) == (STATE, LuoSer.sizeof())
    assert values["/kexec-metadata/blob-size"] == KexecMetadata.sizeof() == len(metadata)


def test_the_device_tree_is_found(pages: bytes) -> None:
    image = bytes(0x2000) + memory_of(pages)(TREE, 4096)
    assert handover.find_tree(image, base=0x4000_0000) == 0x4000_2000


@pytest.mark.parametrize("copies", [0, 2])
def test_one_device_tree_is_expected(pages: bytes, copies: int) -> None:
    image = bytes(4096) + memory_of(pages)(TREE, 4096) * copies
    with pytest.raises(LabRunError, match=f"expected one device tree of KHO .* found {copies}"):
        handover.find_tree(image)


def test_the_pages_are_all_that_decoding_needs(pages: bytes) -> None:
    read = memory_of(pages)
    assert handover.pages_of(read, TREE) == pages


@pytest.mark.parametrize(
    ("address", "content", "message"),
    [
        (STATE, b"luo-v6", "expected 'luo-v5', found 'luo-v6'"),
        (STATE + 16, (1 << 40).to_bytes(8, "little"), "no page with address 0x10000000000"),
        (FLBS + 8, (64).to_bytes(8, "little"), "expected up to 63 FLBs, found 64"),
        (TREE, b"\0", "expected b"),
        (TREE + 4, b"\xff", "expected a device tree of up to 1048576 bytes"),
    ],
)
def test_other_memory(pages: bytes, address: int, content: bytes, message: str) -> None:
    with pytest.raises(LabRunError, match=r"does not hold what Linux 7\.3 hands over"):
        handover.decode(changed(pages, address, content), TREE)
    with pytest.raises(LabRunError, match=message):
        handover.decode(changed(pages, address, content), TREE)


def test_a_cycle_of_blocks_ends(pages: bytes) -> None:
    sessions = int.from_bytes(memory_of(pages)(STATE + 16, 8), "little")
    with pytest.raises(LabRunError, match="expected an end of the chain of KHO blocks, found none"):
        handover.decode(changed(pages, sessions, sessions.to_bytes(8, "little")), TREE)


@pytest.mark.parametrize(
    ("layout", "size"),
    [(LuoSer, 32), (LuoSession, 80), (LuoFile, 64), (LuoFlbHeader, 16), (LuoFlb, 64), (KexecMetadata, 73)],
)
def test_sizes(layout, size: int) -> None:
    assert layout.sizeof() == size
