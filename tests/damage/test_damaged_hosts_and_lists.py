"""What a host, a manifest and a fleet run hold, cut and damaged: the reason, or what is still certain."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import damage_fields as fields
import fleet_results
import kernel_memories
import preserved_dumps
import pytest
from damage_samples import MOST_CALLS, MOST_MEMORY
from work_done import counted

from analyzer import fleet
from analyzer.converting import handed_over
from analyzer.converting.kernel_memory import KernelMemoryError
from analyzer.errors import AritraceError, UsageError
from analyzer.fleet import histories
from analyzer.preservation import flb
from analyzer.readers.kmsg import read_kernel_messages
from schemas.elf_core import ElfHeader, ProgramHeader

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20261130
ENTRIES = [*preserved_dumps.ENTRIES, (0, 0x0300, 1)]
SETS = {
    "pci": preserved_dumps.h8(ENTRIES, per_block=3),
    "pci-v2": preserved_dumps.h7(ENTRIES),
    "pci-v3": preserved_dumps.array(ENTRIES, slots=16),
}
KMSG = b"".join(b"6,%d,%d,-;pci 0000:03:00.0: message %d\n" % (n, n * 1000, n) for n in range(40))
MANIFEST = {
    "csv": b"host,pieces,time,preserved\n"
    + b"".join(
        b'h%d,a%d.txt;b%d.txt,2026-03-31T12:00:00Z,"02:00.0,03:00.0"\n' % (n, n, n) for n in range(20)
    ),
    "jsonl": b"".join(
        json.dumps({"host": f"h{n}", "pieces": [f"a{n}.txt", f"b{n}.txt"], "kexec_at": ["access:7"]}).encode()
        + b"\n"
        for n in range(20)
    ),
}


def damaged(data: bytes, number: int):
    """The data with single damaged bytes, and cut at random bytes."""
    generator = random.Random(SEED)  # noqa: S311 - repeatable, nothing secret
    for _ in range(number):
        place = generator.randrange(len(data))
        flipped = data[place] ^ generator.choice((1 << generator.randrange(8), 0xFF))
        yield data[:place] + bytes([flipped]) + data[place + 1 :]
        yield data[: generator.randrange(len(data))]


def set_in(root: Path) -> frozenset[int] | None:
    """The functions that the memory of a host hands over; None where the reason is said why not."""
    with counted() as work:
        try:
            proc = root / "proc"
            found = handed_over.read(
                proc, root / "sys/kernel/debug/kho/in/sub_fdts/LUO", [key for _, key, _ in ENTRIES]
            )
        except KernelMemoryError as error:
            reason = str(error)
            assert reason
            return None
    assert work.calls < MOST_CALLS
    assert work.memory < MOST_MEMORY
    return None if found.dump is None else flb.decode(found.dump.data, found.dump.name).functions


@pytest.mark.parametrize("name", SETS)
def test_wrong_numbers_in_the_memory_of_a_kernel(name, tmp_path):
    (tmp_path / "proc").mkdir()
    kernel_memories.handed(str(tmp_path), SETS[name], name=name)
    whole = set_in(tmp_path)
    assert whole == {key for _, key, _ in ENTRIES}
    path = tmp_path / "proc/kcore"
    data = path.read_bytes()
    wanted = ("num", "off", "offset", "addr", "filesz", "phentsize", "type")
    places = list(fields.fields_of(ElfHeader, 0, "header", wanted))
    size = ProgramHeader.sizeof()
    for number in range(3):
        places += fields.fields_of(ProgramHeader, ElfHeader.sizeof() + number * size, "segment", wanted)
    # Behind the table of segments: pci_ser, the list of FLBs, blocks, luo_flb_global.
    places += [fields.Field("dword", at, 8) for at in range(data.index(b"memfd") - 64, len(data) - 8, 8)][:24]
    for field in places:
        for changed in fields.wrong_values(data, field):
            path.write_bytes(changed)
            set_in(tmp_path)
    for changed in damaged(data, 30):
        path.write_bytes(changed)
        set_in(tmp_path)


def test_records_of_the_kernel_log(tmp_path):
    path = tmp_path / "kmsg"
    for changed in damaged(KMSG, 100):
        path.write_bytes(changed)
        found = read_kernel_messages(str(path))
        assert len(found.lines) <= 41
        # A record that is not one any more is counted with those that were overwritten, but for the last.
        assert len(found.lines) + found.lost >= KMSG[: len(changed)].count(b"\n") - 1


@pytest.mark.parametrize("form", MANIFEST)
def test_manifests(form, tmp_path):
    path = tmp_path / "m"
    answers = 0
    for changed in damaged(MANIFEST[form], 80):
        path.write_bytes(changed)
        entries, error = answer_or_reason(lambda: list(histories.read([str(path)], None).entries()))
        if error is not None:
            assert isinstance(error, UsageError)
            assert error.path == str(path)
            continue
        answers += 1
        assert len(entries) <= 21
        pieces = [os.fsdecode(piece) for entry in entries for piece in entry.piece_locations]
        assert all(piece.startswith(f"{tmp_path}/") for piece in pieces)
    assert answers


@pytest.mark.parametrize("part", ["job.json", "batches", "captures", "kexecs", "bridges", "state"])
def test_files_of_a_fleet_run(part, tmp_path):
    out = tmp_path / "out"
    fleet_results.write(out, fleet_results.FLEET, 16, states=fleet_results.REGISTERS)
    files = [path for path in out.rglob("*") if path.is_file() and "columns" not in path.name]
    path = next(path for path in files if part in str(path.relative_to(out)))
    whole, _ = answer_or_reason(lambda: fleet.report(str(out)))
    for changed in damaged(path.read_bytes(), 3):
        path.write_bytes(changed)
        found, error = answer_or_reason(lambda: fleet.report(str(out)))
        if error is not None:
            assert error.path
        else:
            assert found.complete is False or found.kexecs == whole.kexecs


def answer_or_reason(ask):
    try:
        return ask(), None
    except AritraceError as error:
        return None, error
