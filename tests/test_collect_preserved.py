"""The preserved set in a file of ``analyze collect``: from memory after the kexec, of that kexec only."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

import preserved_dumps as dumps
import pytest
import zstandard
from fake_hosts import AFTER, BEFORE, functions, host
from kernel_memories import DIRECT, FLBS, SER, VARIABLE, core, flbs, handed

from analyzer.analysis import analyze
from analyzer.capture import PreservedDump, joining
from analyzer.converting.collection import collect
from analyzer.options import Options
from analyzer.preservation import flb
from analyzer.questions.atrisk import atrisk
from analyzer.readers import open_capture
from schemas.luo import LuoSer

#: What is preserved: the bridges above, and functions 0, 1 and 8 of bus 3, of which the host still has some.
ENTRIES = [(0, 0x0018, 3), (0, 0x0100, 3), (0, 0x0200, 3), (0, 0x0300, 1), (0, 0x0301, 1), (0, 0x0308, 1)]
SET = {key for _, key, _ in ENTRIES}
SHAPES = {
    "pci": dumps.h8(ENTRIES),
    "pci in two blocks": dumps.h8(ENTRIES, per_block=4),
    "pci-v2": dumps.h7(ENTRIES),
    "pci-v3": dumps.array(ENTRIES),
}
ONE_DEVICE = {"0000:00:03.0": bytes(64)}


def collected(tmp_path, root, moment="after"):
    found = collect(str(tmp_path / "x.bin"), Options(), moment=moment, root=root)
    return found, open_capture(str(tmp_path / "x.bin")).notes.preserved


def missing(found) -> str:
    (thing,) = [thing for thing in found.missing if "preserved" in thing.what or "hand over" in thing.what]
    return f"{thing.what}; {thing.advice}"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_set_that_this_kernel_was_handed(tmp_path, shape):
    root = host(tmp_path / "host", ONE_DEVICE)
    handed(root, SHAPES[shape], name=shape.split()[0])
    found, (dump,) = collected(tmp_path, root)
    assert flb.decode(dump.data, dump.name).functions == SET
    assert (dump.name, dump.data, found.preserved_sets) == (shape.split()[0], SHAPES[shape], 1)
    assert [thing.what for thing in found.missing if "preserved" in thing.what] == []


def test_a_kernel_without_the_variable_shows_the_list_in_debugfs(tmp_path):
    root = host(tmp_path / "host", ONE_DEVICE)
    handed(root, SHAPES["pci"], variable=False)
    _, (dump,) = collected(tmp_path, root)
    assert flb.decode(dump.data, dump.name).functions == SET


@pytest.mark.slow
def test_the_analysis_of_the_two_files_knows_what_was_preserved(tmp_path):
    before, after = str(tmp_path / "before.bin"), str(tmp_path / "after.bin")
    collect(before, Options(), moment="before", root=host(tmp_path / "a", functions(BEFORE)))
    later = host(tmp_path / "b", functions(AFTER), boot=1)
    handed(later, SHAPES["pci"])
    collect(after, Options(), moment="after", root=later)
    (capture,) = analyze([before, after], Options(join=True)).captures
    (kexec,) = capture.kexecs
    assert kexec.preserved_source == "capture"
    assert [device.bdf for device in kexec.devices if device.verdict == "stranded"] == [
        "0000:02:00.0", "0000:03:00.0", "0000:03:00.1", "0000:03:01.0",
    ]  # fmt: skip


def test_what_was_handed_over_is_not_what_the_next_kexec_hands_over(tmp_path):
    """Nothing of it makes an answer about the next kexec safer than it is."""
    root = host(tmp_path / "host", functions(BEFORE))
    handed(root, dumps.h8([(0, 0x0018, 1), (0, 0x0100, 1)]))
    found, sets = collected(tmp_path, root, "before")
    assert (sets, [thing.what for thing in found.missing if "preserved" in thing.what]) == ([], [])
    found, sets = collected(tmp_path, root, None)
    assert sets == []
    assert "say --after" in missing(found)
    found, sets = collected(tmp_path, root)
    assert len(sets) == 1
    assert atrisk(str(tmp_path / "x.bin")).preserved_source == "assumed"


def test_a_host_that_can_live_update_does_not_show_the_set_before_the_kexec(tmp_path):
    root = host(tmp_path / "host", ONE_DEVICE, kmsg="")
    Path(root, "dev/liveupdate").touch()
    found, sets = collected(tmp_path, root, "before")
    assert sets == []
    assert missing(found) == (
        "the set of functions that this kernel will hand over (it writes it at the kexec itself); give it to"
        " the analysis: --preserved @FILE"
    )


def test_without_live_update_nothing_is_missing(tmp_path):
    found, sets = collected(tmp_path, host(tmp_path / "host", ONE_DEVICE))
    assert (sets, [thing.what for thing in found.missing if "preserved" in thing.what]) == ([], [])


def changed(name: str, data: bytes):
    def change(root: str) -> None:
        Path(root, name).write_bytes(data)

    return change


def memory_of(*entries: tuple[str, int], ser: bytes = b"") -> bytes:
    variable = struct.pack("<QQB", DIRECT + FLBS, DIRECT + FLBS + 16, 1)
    pieces = {DIRECT + FLBS: (FLBS, flbs(*entries)), VARIABLE: (0x0200_0040, variable)}
    return core(pieces | ({DIRECT + SER: (SER, ser)} if ser else {}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            changed("proc/kallsyms", b"0000000000000000 d luo_flb_global\n"),
            "/proc/kallsyms: addresses are hidden",
        ),
        (changed("proc/kcore", b""), "/proc/kcore ends within what was to be read"),
        (changed("proc/kcore", bytes(4096)), "/proc/kcore is no core file"),
        (changed("proc/kcore", core({})), "/proc/kcore has no memory at 0xffffffff82000040"),
        (
            changed("proc/kcore", memory_of(("pci", SER))),
            "/proc/kcore has no memory at physical address 0x10004000",
        ),
        (
            changed("proc/kcore", memory_of(("pci", SER), ser=bytes(4096))),
            "expected a preserved set in memory",
        ),
        (
            changed("proc/kcore", memory_of(("pci-v9", SER), ser=bytes(64))),
            "has a layout that is not decoded",
        ),
        (changed("proc/kcore", memory_of()), "expected 1 to 63 FLBs in the kernel's list, found 0"),
        (
            lambda root: handed(root, SHAPES["pci"], active=0),
            "the kernel has no list of what was handed over",
        ),
        (
            lambda root: handed(root, dumps.h8([(7, 0x0018, 1), (7, 0x0100, 1)])),
            "it names no function of this host",
        ),
        (lambda root: Path(root, "proc/kcore").unlink(), "/proc/kcore: No such file or directory"),
    ],
)
def test_memory_that_holds_no_set(tmp_path, change, said):
    root = host(tmp_path / "host", ONE_DEVICE)
    handed(root, SHAPES["pci"])
    change(root)
    found, sets = collected(tmp_path, root)
    assert sets == []
    assert said in missing(found)
    assert "--flb FILE" in missing(found)


def test_memory_that_may_not_be_read(tmp_path, monkeypatch):
    root = host(tmp_path / "host", ONE_DEVICE)
    handed(root, SHAPES["pci"])
    opened = Path.open

    def refuse(self, *arguments, **more):
        if self.name == "kcore":
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    found, _ = collected(tmp_path, root)
    assert "(/proc/kcore: no permission)" in missing(found)


def test_a_chain_without_an_end(tmp_path):
    root = host(tmp_path / "host", ONE_DEVICE)
    looping = bytearray(SHAPES["pci"])
    looping[16:24] = struct.pack("<Q", 0x1_2340_0000)
    handed(root, bytes(looping))
    found, _ = collected(tmp_path, root)
    assert "the chain of KHO blocks has a cycle or no end" in missing(found)


def test_pages_of_a_real_live_update_hold_nothing_of_pci(tmp_path):
    """The list of FLBs that Linux 7.3.4 handed over at a real Live Update, which preserved memory alone."""
    pages = {int(name, 16): data for name, data in members("live-update-handover.tar.zst").items()}
    (state,) = [page[page.index(b"luo-v5") :] for page in pages.values() if b"luo-v5\0\0" in page]
    place = LuoSer.parse(state).flbs
    variable = struct.pack("<QQB", DIRECT + place, DIRECT + place + 16, 1)
    root = host(tmp_path / "host", ONE_DEVICE)
    handed(root, SHAPES["pci"])
    pieces = {DIRECT + at: (at, page) for at, page in pages.items()}
    Path(root, "proc/kcore").write_bytes(core(pieces | {VARIABLE: (0x0200_0040, variable)}))
    blob = Path(root, "sys/kernel/debug/kho/in/sub_fdts/LUO")
    blob.write_bytes(members("live-update-kho.tar.zst")["./in/sub_fdts/LUO"])
    found, sets = collected(tmp_path, root)
    names = ", ".join(f"liveupdate-test-flb-v{number}" for number in range(3))
    assert sets == []
    assert f"Live Update handed this kernel nothing of PCI (but {names})" in missing(found)
    # Of memory that the kernel has freed, which is what its debugfs shows, nothing is believed.
    Path(root, "proc/kallsyms").write_text("")
    found, sets = collected(tmp_path, root)
    assert sets == []
    assert "no struct luo_ser (luo-v5) in debugfs" in missing(found)


def members(name: str) -> dict[str, bytes]:
    data = zstandard.decompress((Path(__file__).parents[1] / "traces" / "formats" / name).read_bytes())
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}


def pieces_of(*tools: str, dump: PreservedDump):
    pieces = []
    for tool in tools:
        piece = open_capture(str(Path(__file__).parents[1] / "traces" / "clean-inherit.bin"))
        piece.accesses = piece.accesses.head(4)
        piece.notes.boundaries, piece.notes.log = [], []
        piece.notes.tool = f"aritrace 0.1.0 collect{tool}"
        piece.notes.preserved = [dump]
        pieces.append(piece)
    return joining.join(pieces, lambda _number: None).notes.preserved


@pytest.mark.parametrize(
    ("tools", "kexecs"),
    [
        ((" --before", " --after"), [0, 0]),
        ((" --before", " --after", " --before", " --after"), [0, 0, 2, 2]),
        ((" --after", " --after"), [0]),  # the first one's is of a kexec that is not in the history
        (("", " --after"), [None, None]),  # what the first piece holds is not known
    ],
)
def test_sets_belong_to_the_kexec_beside_them(tools, kexecs):
    assert [dump.kexec for dump in pieces_of(*tools, dump=PreservedDump(b"x", "pci"))] == kexecs
