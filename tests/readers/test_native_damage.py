"""Damage to native files: it costs what is damaged, it is named, and nothing is invented."""

import re

import pytest
import zstandard
from native_samples import (
    EMPTY,
    FULL,
    FULL_NOTES,
    access,
    chunk,
    chunks_of,
    kinds_of,
    read,
    record,
    small_file,
)

from analyzer.capture import Notes
from analyzer.errors import AritraceError, LimitExceededError, UnsupportedFormatError
from analyzer.readers.native import chunks
from analyzer.readers.native import records as native_records
from analyzer.readers.native.ledger import Ledger
from analyzer.readers.tallies import MOST_LISTED
from schemas.native import CHUNK_HEADER, FILE_HEADER, MAGIC, MAX_RAW, ChunkType


@pytest.mark.parametrize("level", [0, 3])
def test_cut_at_every_byte_gives_a_prefix_and_says_so(level: int) -> None:
    data = small_file(level)
    header = FILE_HEADER.parse(data).header_size
    end = len(data) - 24 - 40  # where the trailer begins
    longest = 0
    for size in range(len(data)):
        if size < header:
            with pytest.raises(AritraceError):
                read(data[:size])
            continue
        found, notes = read(data[:size])
        assert found.equals(FULL[: found.height]), size
        assert notes.truncated, size
        assert kinds_of(notes)[-1] == "truncated", size
        assert notes.boundaries == FULL_NOTES.boundaries[: len(notes.boundaries)]
        assert notes.dropped == 0
        longest = max(longest, found.height)
        assert found.height == 12 or size < end
    assert longest == 12


def test_every_flipped_byte_costs_at_most_its_chunk_and_invents_nothing() -> None:
    data = small_file()
    head, parts = chunks_of(data)
    owner = [-1] * len(head) + [number for number, part in enumerate(parts) for _ in part]
    whole = {row["value"]: row for row in FULL.drop("where").to_dicts()}
    held = [
        set(range(start, start + 4)) if kind == ChunkType.ACCESSES else set()
        for kind, start in ((CHUNK_HEADER.parse(p).type, CHUNK_HEADER.parse(p).first_access) for p in parts)
    ]
    for position in range(len(data)):
        for flip in (1 << position % 8, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= flip
            try:
                found, notes = read(bytes(damaged))
            except UnsupportedFormatError:
                assert position < len(MAGIC)
                continue
            rows = found.drop("where").to_dicts()
            assert all(whole[row["value"]] == row for row in rows), position
            lost = set(whole) - {row["value"] for row in rows}
            assert lost <= (held[owner[position]] if owner[position] >= 0 else set()), position
            assert len(lost) == notes.dropped, position
            assert {line.text for line in notes.log} <= {"start", "line"}
            assert {mark.release for mark in notes.boundaries} <= {"6.0", "6.1", "6.2"}
            assert {dump.data for dump in notes.preserved} <= {b"\1\2\3"}
            assert {event.text for event in notes.events} <= {"corrected"}
            assert notes == FULL_NOTES or "damaged" in kinds_of(notes), position


@pytest.mark.parametrize("place", [0, 20, 39, 40, 100])
def test_damage_of_one_chunk_moves_later_positions_but_not_their_accesses(place: int) -> None:
    head, parts = chunks_of(small_file())
    part = bytearray(parts[7])  # accesses 4 to 7: header and payload
    part[place] ^= 0xFF
    found, notes = read(head + b"".join([*parts[:7], bytes(part), *parts[8:]]))
    assert found["value"].to_list() == [0, 1, 2, 3, 8, 9, 10, 11]
    assert notes.dropped == 4
    assert [mark.seq for mark in notes.boundaries] == [0, 4, 4]
    assert [event.seq for event in notes.events] == [4]  # its access 6 is lost: the next one that is left
    assert not notes.truncated


def test_a_missing_chunk_is_named_and_its_accesses_count_as_dropped() -> None:
    head, parts = chunks_of(small_file())
    found, notes = read(head + b"".join(parts[:5] + parts[6:]))
    assert found["value"].to_list() == list(range(4, 12))
    assert notes.dropped == 4
    assert kinds_of(notes) == ["foreign", "damaged", "dropped"]
    assert "accesses 0 to 3 are missing" in notes.problems[2].message


def test_a_repeated_chunk_is_not_read_twice() -> None:
    head, parts = chunks_of(small_file())
    found, notes = read(head + b"".join([*parts[:6], parts[4], parts[5], *parts[6:]]))
    assert found.drop("where").equals(FULL.drop("where"))
    assert notes.boundaries == FULL_NOTES.boundaries
    assert sum("repeated" in problem.message for problem in notes.problems) == 2


@pytest.mark.parametrize("removed", [1, 3, 8, 40])
def test_bytes_lost_inside_a_payload_cost_that_chunk_only(removed: int) -> None:
    head, parts = chunks_of(small_file())
    short = parts[5][:50] + parts[5][50 + removed :]
    found, notes = read(head + b"".join([*parts[:5], short, *parts[6:]]))
    assert found["value"].to_list() == list(range(4, 12))
    assert notes.dropped == 4
    assert not notes.truncated


def test_bytes_lost_in_the_last_access_chunk_are_not_taken_for_a_cut() -> None:
    head, parts = chunks_of(small_file())
    short = (
        parts[-2][:45] + parts[-2][80:]
    )  # what is left of the file is shorter than this chunk claims to be
    found, notes = read(head + b"".join([*parts[:-2], short, parts[-1]]))
    assert found["value"].to_list() == list(range(8))
    assert (notes.dropped, notes.truncated) == (4, False)


def test_an_unknown_chunk_is_skipped_and_counted() -> None:
    data = EMPTY + chunk(99, b"x" * 13, 5) + chunk(99, b"", 1, number=1) + chunk(7000, b"y", 1, number=2)
    data += chunk(ChunkType.ACCESSES, access(), 1, number=3)
    found, notes = read(data + chunk(ChunkType.TRAILER, (1).to_bytes(24, "little"), 1, first=1, number=4))
    assert found.height == 1
    assert [(p.kind, p.message, p.offset_bytes) for p in notes.problems] == [
        ("unknown-chunk", "2 chunks of unknown type 99 left out", len(EMPTY)),
        ("unknown-chunk", "1 chunk of unknown type 7000 left out", len(EMPTY) + 40 + 16 + 40),
    ]


def test_bytes_behind_the_trailer_are_named() -> None:
    found, notes = read(small_file() + small_file())
    assert found.equals(FULL)
    assert notes.problems[-1].kind == "foreign"
    assert "--join" in notes.problems[-1].message


def test_a_file_without_an_intact_header_keeps_its_chunks() -> None:
    data = bytearray(small_file())
    data[10] = 0xFF  # header_size
    found, notes = read(bytes(data))
    assert found["value"].to_list() == list(range(12))
    assert notes.host is None
    assert kinds_of(notes)[0] == "damaged"


# Impossible content behind correct checksums


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (access(offset=4096), "offset up to 4095, found 4096 in access 1"),
        (access(width=3), "width 0, 1, 2 or 4, found 3 in access 1"),
        (access(width=8), "width 0, 1, 2 or 4, found 8 in access 1"),
        (access(flags=5 << 1), "status up to 4, found 5 in access 1"),
    ],
)
def test_impossible_accesses_cost_their_chunk(bad: bytes, message: str) -> None:
    data = EMPTY + chunk(ChunkType.ACCESSES, access() + bad, 2)
    data += chunk(ChunkType.ACCESSES, access(value=7), 1, first=2, number=1)
    found, notes = read(data)
    assert found["value"].to_list() == [7]
    assert notes.dropped == 2
    assert message in notes.problems[0].message


@pytest.mark.parametrize(
    ("kind", "payload", "message"),
    [
        (ChunkType.BOUNDARIES, record(ChunkType.BOUNDARIES, kind=6), "kind 1 to 5, found 6"),
        (ChunkType.BOUNDARIES, record(ChunkType.BOUNDARIES, kind=1, release_length=9), "expected 9 bytes"),
        (ChunkType.LOG, record(ChunkType.LOG, text_length=0xFFFFFFFF), "expected 4294967295 bytes"),
        (ChunkType.LOG, record(ChunkType.LOG) + b"rest", "expected 0 bytes after the records, found 4"),
        (ChunkType.PRESERVED, record(ChunkType.PRESERVED, kexec=-2), "kexec number or -1, found -2"),
        (ChunkType.SNAPSHOTS, record(ChunkType.SNAPSHOTS, data_length=3) + b"abc", "in dwords, found 3"),
        (ChunkType.SNAPSHOTS, record(ChunkType.SNAPSHOTS, data_length=4100) + bytes(4100), "found 4100"),
        (ChunkType.PROBLEMS, record(ChunkType.PROBLEMS, offset=1 << 63, flags=1), "below 2\\*\\*63"),
        (ChunkType.TRAILER, record(ChunkType.TRAILER, dropped=1 << 63), "counts up to"),
        (ChunkType.TRAILER, record(ChunkType.TRAILER) + b"more", "nothing after the records"),
    ],
)
def test_impossible_records_cost_their_chunk(kind: ChunkType, payload: bytes, message: str) -> None:
    counted = (len(payload) - 24) // 4 if kind == ChunkType.SNAPSHOTS else 0
    tail = chunk(ChunkType.ACCESSES, access(), 1, first=counted, number=1)
    found, notes = read(EMPTY + chunk(kind, payload, 1) + tail)
    assert found.height == (0 if kind == ChunkType.TRAILER else 1)
    assert notes.boundaries == notes.log == notes.preserved == []
    assert re.search(message, notes.problems[0].message), notes.problems


BOMB = zstandard.ZstdCompressor(level=19).compress(bytes(MAX_RAW + 1))
ONE = zstandard.ZstdCompressor().compress(access())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (chunk(1, b"", 0xFFFFFFFF), "103079215080 bytes for 4294967295 records"),
        (chunk(1, access(), 2), "48 bytes for 2 records, found 24"),
        (chunk(1, access(), 0), "0 bytes for 0 records, found 24"),
        (chunk(1, access(), 1, raw_length=MAX_RAW + 24), "at most 16777216 bytes"),
        (chunk(1, access(), 1, raw_length=48), "48 bytes stored as they are, found 24"),
        (chunk(1, access(), 1, codec=2), "codec 0 or 1, found 2"),
        (chunk(1, access(), 1, codec=1), "one zstd frame"),
        (chunk(1, ONE[:-3], 1, codec=1, raw_length=24), "expected 24 bytes from zstd, found 0"),
        (chunk(1, ONE, 2, codec=1, raw_length=48), "48 bytes from zstd, found 24"),
        (chunk(4, BOMB, 1, codec=1, raw_length=100), "zstd"),
        (chunk(4, BOMB, 1, codec=1, raw_length=0xFFFFFFFF), "at most 16777216 bytes"),
    ],
)
def test_hostile_sizes_cost_the_chunk_and_little_else(data: bytes, message: str) -> None:
    tail = chunk(
        ChunkType.ACCESSES, access(value=7), 1, first=CHUNK_HEADER.parse(data).count % 1000, number=1
    )
    found, notes = read(EMPTY + data + tail)
    assert found["value"].to_list() == [7]
    assert notes.problems[0].kind == "damaged"
    assert re.search(message, notes.problems[0].message), notes.problems[0]


def test_a_file_that_decompresses_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_BOMB_BYTES", 40 << 20)
    zeros = bytes(600_000 * 24)
    packed = zstandard.ZstdCompressor().compress(zeros)
    data = EMPTY + b"".join(
        chunk(1, packed, 600_000, codec=1, raw_length=len(zeros), first=600_000 * number, number=number)
        for number in range(4)
    )
    with pytest.raises(LimitExceededError, match="at most 1000 times their size"):
        read(data)


def test_a_length_far_beyond_the_file_is_a_cut() -> None:
    found, notes = read(
        EMPTY + chunk(ChunkType.ACCESSES, access(), 600_000, stored_length=14_400_000, raw_length=14_400_000)
    )
    assert found.height == 0
    assert notes.truncated
    assert "with 600000 records, which are not used" in notes.problems[-1].message


def test_an_access_number_beyond_the_limit_is_no_header() -> None:
    found, notes = read(EMPTY + chunk(1, access(), 1, first=1 << 60) + chunk(1, access(value=7), 1, number=1))
    assert found["value"].to_list() == [7]
    assert notes.dropped == 0


def test_payloads_that_claim_each_other_are_searched_only_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunks, "MAX_SEARCHED", 1 << 20)
    nested = chunk(ChunkType.LOG, bytes(1000), 1, stored_length=MAX_RAW, raw_length=MAX_RAW) * 100
    _, notes = read(EMPTY + nested)
    assert len(notes.problems) < 20
    assert notes.truncated


def test_very_many_problems_are_counted_not_listed() -> None:
    data = EMPTY + b"".join(b"junk" + chunk(1, b"", 0, number=number) for number in range(500))
    notes = read(data)[1]
    assert len(notes.problems) == MOST_LISTED + 2
    assert notes.problems[-2].kind == "truncated"
    assert "400 more problems" in notes.problems[-1].message


def test_log_lines_beyond_the_limit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_records, "MAX_RECORDS", 3)
    line = record(ChunkType.LOG, text_length=1) * 2 + b"ab"
    _, notes = read(EMPTY + chunk(ChunkType.LOG, line, 2) + chunk(ChunkType.LOG, line, 2, number=1))
    assert [found.text for found in notes.log] == ["a", "b"]
    assert "too-large" in kinds_of(notes)


@pytest.mark.parametrize(
    ("access", "row"),
    [(0, 0), (9, 0), (10, 0), (12, 2), (14, 4), (15, 5), (20, 5), (30, 5), (31, 6), (10**18, 7)],
)
def test_positions_follow_their_access(access: int, row: int) -> None:
    ledger = Ledger(Notes(""))
    ledger.lose(10)
    ledger.deliver(3)
    ledger.deliver(2)
    ledger.lose(15)
    ledger.deliver(2)
    assert ledger.row_of(access) == row
