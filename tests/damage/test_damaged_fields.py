"""Every length and count field set to 0, 1, its largest and one off: bounded work, and nothing invented."""

from __future__ import annotations

import damage_fields as fields
import native_chunks
import pytest
from damage_samples import judged, outcome, registers, sample, tells_more

from analyzer.errors import AritraceError
from schemas.native import CHUNK_HEADER, ChunkType

BINARY = {
    "qemu-simpletrace": fields.simpletrace,
    "pcap": fields.pcap,
    "pcapng": fields.pcapng,
    "trace-dat v7 uncompressed": fields.trace_dat_v7,
    "trace-dat v7": fields.trace_dat_v7,
    "trace-dat v6": fields.trace_dat_v6,
}


def answer(folder, data, most):
    """No answer, or one that has at most ``most`` rows and says what it lacks."""
    found = judged(folder, data)
    if isinstance(found, AritraceError):
        return None
    assert found.accesses.height <= most
    return found


@pytest.mark.parametrize("name", BINARY)
def test_wrong_numbers_of_a_binary_format(name, tmp_path):
    data = sample(name).data
    whole = outcome(tmp_path, data)
    places = BINARY[name](data)
    assert len(places) > 8
    for field in places:
        for damaged in fields.wrong_values(data, field):
            answer(tmp_path, damaged, 2 * whole.accesses.height)


@pytest.mark.parametrize("repair", [False, True])
def test_wrong_numbers_of_a_native_file(repair, tmp_path):
    data = sample("native").data
    whole = outcome(tmp_path, data)
    rows = set(registers(whole).rows())
    chunks = native_chunks.chunks(data)
    for field in fields.native(data):
        owner = max((begin for begin, _ in chunks if begin <= field.place), default=0)
        for damaged in fields.wrong_values(data, field):
            if repair:
                damaged = fields.repaired(damaged, owner)  # noqa: PLW2901 the same file, checksums right
            typed = repair and field.what.endswith(".type")  # then it is a whole chunk of another type
            found = answer(tmp_path, damaged, whole.accesses.height + 1024 * typed)
            if found is None or typed:
                continue
            assert set(registers(found).rows()) <= rows, field
            if found.accesses.height < whole.accesses.height:
                assert tells_more(found, whole), field


def test_wrong_sizes_in_an_archive(tmp_path):
    data = sample("sysfs-config archive").data
    whole = outcome(tmp_path, data)
    for damaged in fields.tar(data):
        # One byte more than there is of the register: the byte that follows is read, too.
        found = answer(tmp_path, damaged, whole.accesses.height + 2)
        if found is not None and found.accesses.height < whole.accesses.height:
            assert tells_more(found, whole)


@pytest.mark.parametrize("change", ["swapped", "dropped", "repeated"])
def test_native_chunks_out_of_place(change, tmp_path):
    data = sample("native").data
    whole = outcome(tmp_path, data)
    rows = registers(whole).rows()
    chunks = native_chunks.chunks(data)
    head, parts = data[: chunks[0][0]], [data[begin:end] for begin, end in chunks]
    for number, part in enumerate(parts):
        if change == "swapped":
            changed = [*parts[:number], *parts[number + 1 : number + 2], part, *parts[number + 2 :]]
        elif change == "dropped":
            changed = [*parts[:number], *parts[number + 1 :]]
        else:
            changed = [*parts[: number + 1], *parts[number:]]
        if changed == parts:
            continue
        found = answer(tmp_path, head + b"".join(changed), len(rows))
        assert found is not None
        left = registers(found).rows()
        assert left == [row for row in rows if row in set(left)]  # in order, and nothing twice
        assert tells_more(found, whole), number
        if CHUNK_HEADER.parse(part).type != ChunkType.ACCESSES and change != "swapped":
            assert len(left) == len(rows)
