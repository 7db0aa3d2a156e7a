"""The drgn script on memory made by hand: from KHO's device tree to a dump that --flb reads."""

from __future__ import annotations

import ast
import importlib.util
import io
import struct
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import preserved_dumps as dumps
import pytest
import zstandard
from handover_pages import memory_of

from analyzer.preservation import flb

SCRIPT = Path(__file__).parents[1] / "traces" / "capture" / "pci_ser_dump.py"
LUO, FLBS, SER = 0x1000_2000, 0x1000_3000, 0x1000_4000
VIRTUAL = 0xFFFF_8880_0000_0000
FORMATS = Path(__file__).parents[1] / "traces" / "formats"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("pci_ser_dump", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Program(dict):
    """What the script uses of drgn's ``prog``: constants by name, physical memory."""

    def __init__(self, page=4096):
        super().__init__(PAGE_SIZE=page)
        self.memory = {}

    def put(self, address, data):
        for at, byte in enumerate(data):
            self.memory[address + at] = byte
        return self

    def read(self, address, size, physical):
        if not physical:
            address -= VIRTUAL
        try:
            return bytes(self.memory[address + at] for at in range(size))
        except KeyError as fault:
            raise ValueError(f"memory fault at {fault.args[0]:#x}") from fault


def tree(*nodes):
    """A flattened device tree of (node path, property, value)."""
    strings, structure = b"", struct.pack(">I4x", 1)
    for node, name, value in nodes:
        place = len(strings)
        strings += name.encode() + b"\0"
        label = node.encode() + b"\0"
        structure += struct.pack(">I", 1) + label + bytes(-len(label) % 4) + struct.pack(">I", 4)
        structure += struct.pack(">III", 3, len(value), place) + value + bytes(-len(value) % 4)
        structure += struct.pack(">I", 2)
    structure += struct.pack(">II", 2, 9)
    start = 40 + 16
    strings_at = start + len(structure)
    sizes = (len(strings), len(structure))
    header = struct.pack(
        ">10I", 0xD00DFEED, strings_at + len(strings), start, strings_at, 40, 17, 16, 0, *sizes
    )
    return header + bytes(16) + structure + strings


def luo(name="pci", data=SER, others=(("memfd", 0x5000),), magic=b"luo-v5\0\0"):
    entries = [*others, (name, data)]
    flbs = struct.pack("<QQ", 1, len(entries))
    flbs += b"".join(struct.pack("<48sQQ", each.encode(), address, 1) for each, address in entries)
    return Program().put(LUO, struct.pack("<8sQQQ", magic, 3, 0, FLBS)).put(FLBS, flbs)


def with_blocks(program, dump, header, page=4096):
    """Put a dump of tests/preserved_dumps.py into memory where its own addresses say."""
    program.put(SER, dump[:header])
    address = struct.unpack_from("<Q", dump, header - 8)[0]
    for at in range(header, len(dump), page):
        program.put(address, dump[at : at + page])
        address = struct.unpack_from("<Q", dump, at)[0]
    return program


@pytest.mark.parametrize(
    ("name", "make", "header"), [("pci", dumps.h8, 16), ("pci-v2", dumps.h7, 12)], ids=["H8", "H7"]
)
@pytest.mark.parametrize("per_block", [None, 2])
def test_from_the_device_tree_to_a_dump_that_is_read(script, name, make, header, per_block, tmp_path, capsys):
    dump = make(dumps.ENTRIES, per_block=per_block)
    program = with_blocks(luo(name), dump, header)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "fdt").write_bytes(
        tree(("memblock", "preserved-data", bytes(8)), ("LUO", "preserved-data", struct.pack("<Q", LUO)))
    )
    script.main(program, ["-o", str(tmp_path / "x.flb"), "--debugfs", str(tmp_path)])
    assert (tmp_path / "x.flb").read_bytes() == dump
    assert f"--flb-name {name}" in capsys.readouterr().err
    found = flb.decode((tmp_path / "x.flb").read_bytes(), name)
    assert len(found.functions) == len(dumps.ENTRIES)


def incoming(folder):
    (folder / "in").mkdir()
    (folder / "in" / "fdt").write_bytes(tree(("LUO", "preserved-data", struct.pack("<Q", LUO))))
    return ["-o", str(folder / "x.flb"), "--debugfs", str(folder)]


def test_a_kernel_that_freed_its_state_still_has_the_list(script, tmp_path):
    program = with_blocks(luo(magic=b"\xf3} \x1fG\x04\0\xc5"), dumps.h8(dumps.ENTRIES), 16)
    program["luo_flb_global"] = SimpleNamespace(incoming=SimpleNamespace(header_ser=VIRTUAL + FLBS))
    script.main(program, incoming(tmp_path))
    assert (tmp_path / "x.flb").read_bytes() == dumps.h8(dumps.ENTRIES)


def test_without_debug_symbols_it_says_what_to_do(script, tmp_path):
    program = luo(magic=b"\xf3} \x1fG\x04\0\xc5")
    with pytest.raises(SystemExit, match="no debug symbols of it: install them, or give --flbs"):
        script.main(program, incoming(tmp_path))
    with pytest.raises(SystemExit, match="memory fault"):
        script.main(program, ["--flbs", hex(FLBS + 0x10_0000), "-o", str(tmp_path / "x.flb")])


def test_real_memory_of_a_live_update_without_a_pci_device(script):
    """Pages of Linux 7.3.4 in the blackout of its kexec: three FLBs, none of them the PCI core's."""
    read = memory_of(zstandard.decompress((FORMATS / "live-update-handover.tar.zst").read_bytes()))
    kho = zstandard.decompress((FORMATS / "live-update-kho.tar.zst").read_bytes())
    with tarfile.open(fileobj=io.BytesIO(kho)) as debugfs:
        fdt = debugfs.extractfile("./in/fdt").read()
        state = debugfs.extractfile("./in/sub_fdts/LUO").read()
    luo_ser = script.luo_address(fdt)
    assert read(luo_ser, 8) == b"luo-v5\0\0"
    assert state[:8] != b"luo-v5\0\0"  # debugfs of the incoming kernel shows memory that is freed by then
    names = ", ".join(f"liveupdate-test-flb-v{number}" for number in range(3))
    with pytest.raises(script.DumpError, match=f"no FLB of the PCI core with data among: {names}"):
        script.Memory(read, 4096).find_pci(luo_ser)


def test_an_array_is_dumped_whole(script, tmp_path):
    dump = dumps.array(dumps.ENTRIES)
    program = luo("pci-v3").put(SER, dump)
    script.main(program, ["--luo", hex(LUO), "-o", str(tmp_path / "x.flb")])
    assert (tmp_path / "x.flb").read_bytes() == dump


def test_an_empty_set(script, tmp_path):
    program = Program().put(SER, dumps.h8([]))
    script.main(program, ["--pci-ser", hex(SER), "--name", "pci", "-o", str(tmp_path / "x.flb")])
    assert flb.decode((tmp_path / "x.flb").read_bytes(), "pci").functions == frozenset()


def test_large_pages(script, tmp_path):
    dump = dumps.h8(dumps.ENTRIES, page=65536)
    program = with_blocks(Program(65536), dump, 16, 65536)
    script.main(program, ["--pci-ser", hex(SER), "--name", "pci", "-o", str(tmp_path / "x.flb")])
    assert flb.decode((tmp_path / "x.flb").read_bytes(), "pci").page_size == 65536


def chain(following, count=1):
    return (
        Program()
        .put(SER, struct.pack("<IIQ", 2, 1, 0x7000))
        .put(0x7000, struct.pack("<QQ", following, count).ljust(4096, b"\0"))
    )


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        (luo(magic=b"luo-v9\0\0"), ["--luo", hex(LUO)], "expected struct luo_ser"),
        (luo("vfio"), ["--luo", hex(LUO)], "no FLB of the PCI core with data among: memfd, vfio"),
        (luo("pci", 0), ["--luo", hex(LUO)], "no FLB of the PCI core"),
        (luo("pci-v1"), ["--luo", hex(LUO)], "use --preserved"),
        (luo(), ["--luo", "0x99"], "memory fault at 0x99"),
        (chain(0x7000), ["--pci-ser", hex(SER), "--name", "pci"], "has a cycle"),
        (chain(0, 511), ["--pci-ser", hex(SER), "--name", "pci"], "found 511 entries"),
        (chain(0, 0), ["--pci-ser", hex(SER), "--name", "pci"], "found 0 entries"),
        (chain(0x123), ["--pci-ser", hex(SER), "--name", "pci"], "next 0x123"),
        (Program().put(SER, struct.pack("<IIQ", 1, 0, 0x77)), ["--pci-ser", hex(SER), "--name", "pci"],
         "address of a page"),
        (Program().put(SER, struct.pack("<II", 1 << 30, 0)), ["--pci-ser", hex(SER), "--name", "pci-v3"],
         "slots at"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(script, program, arguments, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        script.main(program, [*arguments, "-o", str(tmp_path / "x.flb")])
    assert not (tmp_path / "x.flb").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "flattened device tree"),
        (b"\xd0\x0d\xfe\xed" + bytes(30), "flattened device tree"),
        (tree(("memblock", "preserved-data", bytes(8))), "no LUO/preserved-data"),
        (tree(("LUO", "fdt", bytes(8))), "no LUO/preserved-data"),
        (tree(("LUO", "preserved-data", bytes(8)))[:70], "no LUO/preserved-data|pci_ser_dump"),
    ],
)
def test_device_trees_of_another_kind(script, data, message, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fdt").write_bytes(data)
    with pytest.raises(SystemExit, match=message):
        script.main(Program(), ["--out", "--debugfs", str(tmp_path), "-o", str(tmp_path / "x.flb")])


def test_without_debugfs(script, tmp_path):
    with pytest.raises(SystemExit, match="No such file"):
        script.main(Program(), ["--debugfs", str(tmp_path), "-o", str(tmp_path / "x.flb")])


def test_it_needs_nothing_but_python_and_drgn():
    tree_of = ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
    names = [alias.name for node in ast.walk(tree_of) if isinstance(node, ast.Import) for alias in node.names]
    assert set(names) <= set(sys.stdlib_module_names)
