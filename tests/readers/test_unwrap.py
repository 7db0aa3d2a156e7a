"""Opening inputs: compression in any nesting, damage, and everything that is no file."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import zstandard
from unprivileged import unprivileged

from analyzer.errors import (
    DamagedInputError,
    EmptyInputError,
    LimitExceededError,
    UnreadableInputError,
    UnsupportedFormatError,
)
from analyzer.readers import opening, unwrap
from analyzer.readers.unwrap import ByteStream, open_stream

RANDOM = random.Random(1)  # noqa: S311 - repeatable, nothing secret
CONTENT = b"".join(b"line %d of the content, %x\n" % (n, RANDOM.getrandbits(64)) for n in range(20_000))

PACK = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "xz": lzma.compress,
    "bzip2": partial(bz2.compress, compresslevel=1),  # blocks of 100 kB: only whole ones can be unpacked
}
#: zstd checks its content only on demand; the command line tool asks for it.
CHECKED = {**PACK, "zstd": zstandard.ZstdCompressor(write_checksum=True).compress}
PACKED = sorted(set(PACK) - {"plain"})


def stream_of(data: bytes) -> ByteStream:
    return ByteStream("x", io.BytesIO(data))


def drain(stream: ByteStream, block: int = 100_000) -> bytes:
    return b"".join(iter(lambda: stream.read(block), b""))


@pytest.mark.parametrize("pack", PACK)
def test_content_offset_and_hash(pack, tmp_path):
    raw = PACK[pack](CONTENT)
    (tmp_path / "x").write_bytes(raw)
    with open_stream(str(tmp_path / "x")) as stream:
        assert stream.peek(30) == CONTENT[:30]
        assert stream.read(10) == CONTENT[:10]
        assert stream.offset == 10
        assert drain(stream) == CONTENT[10:]
        assert (stream.offset, stream.truncated, stream.reason) == (len(CONTENT), False, "")
        assert stream.sha256 == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("pack", PACK)
def test_hash_is_of_the_whole_input_even_if_reading_stopped(pack):
    raw = PACK[pack](CONTENT)
    stream = stream_of(raw)
    stream.read(1)
    assert stream.sha256 == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_reads_of_any_size_give_the_same(size):
    assert drain(stream_of(gzip.compress(CONTENT)), size) == CONTENT


@pytest.mark.parametrize("outer", PACKED)
@pytest.mark.parametrize("inner", PACKED)
def test_nested(outer, inner):
    assert drain(stream_of(PACK[outer](PACK[inner](CONTENT)))) == CONTENT


def test_nested_too_deep():
    data = CONTENT
    for _ in range(unwrap.MAX_LAYERS):
        data = gzip.compress(data)
    assert drain(stream_of(data)) == CONTENT
    with pytest.raises(UnsupportedFormatError, match="at most 3 compressions"):
        stream_of(gzip.compress(data)).peek(1)


@pytest.mark.parametrize("padding", [b"", bytes(4), bytes(5000)])
@pytest.mark.parametrize("pack", PACKED)
def test_several_members(pack, padding):
    raw = PACK[pack](CONTENT) + padding + PACK[pack](b"more") + padding
    stream = stream_of(raw)
    assert drain(stream) == CONTENT + b"more"
    assert not stream.truncated


def test_zstd_skippable_frame_first():
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    assert drain(stream_of(skippable + PACK["zstd"](CONTENT))) == CONTENT


@pytest.mark.parametrize("pack", PACKED)
def test_truncated_data_is_delivered_up_to_the_cut(pack):
    raw = PACK[pack](CONTENT)
    for keep, least in ((len(raw) // 2, 0.3), (len(raw) - 1, 0.8)):
        stream = stream_of(raw[:keep])
        got = drain(stream)
        assert CONTENT.startswith(got)
        assert len(got) > least * len(CONTENT)
        assert stream.truncated
        assert stream.damage == [("truncated", f"the {pack} data ends early, after {keep} bytes of it")]


@pytest.mark.parametrize("pack", PACKED)
def test_damaged_data_is_delivered_up_to_the_damage(pack):
    raw = bytearray(CHECKED[pack](CONTENT))
    raw[len(raw) * 3 // 4] ^= 0x10
    stream = stream_of(bytes(raw))
    got = drain(stream)
    assert got[: len(CONTENT) // 2] == CONTENT[: len(CONTENT) // 2]
    assert [kind for kind, _ in stream.damage] == ["damaged"]
    assert f"{pack} data is damaged" in stream.reason


@pytest.mark.parametrize("pack", PACKED)
def test_other_data_behind_is_not_lost_silently(pack):
    stream = stream_of(PACK[pack](CONTENT) + b"tail tail tail")
    assert drain(stream) == CONTENT
    assert stream.truncated
    assert f"other data follows the {pack} data" in stream.reason


def test_zstd_window_is_limited():
    parameters = zstandard.ZstdCompressionParameters(window_log=30)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    raw = packer.compress(CONTENT) + packer.flush()
    with pytest.raises(LimitExceededError, match="more than 128 MiB"):
        stream_of(raw).peek(1)


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(unwrap, "_BOMB_BYTES", 1 << 20)
    with pytest.raises(LimitExceededError, match="this is not a recording"):
        drain(stream_of(PACK["zstd"](bytes(64 << 20))))


@pytest.mark.parametrize("pack", PACK)
def test_empty(pack, tmp_path):
    (tmp_path / "x").write_bytes(PACK[pack](b""))
    with pytest.raises(EmptyInputError, match="found nothing"):
        open_stream(str(tmp_path / "x"))


def test_nothing_can_be_decompressed(tmp_path):
    (tmp_path / "x").write_bytes(gzip.compress(CONTENT)[:12])
    with pytest.raises(DamagedInputError, match="gzip data ends early, after 12 bytes"):
        open_stream(str(tmp_path / "x"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _path: None, "no such file"),
        (lambda path: path.mkdir(), "found a directory"),
        (lambda path: path.symlink_to(path), "cannot be opened"),
        (lambda path: path.symlink_to("/dev/null"), "device or socket"),
    ],
)
def test_unreadable(make, message, tmp_path):
    path = tmp_path / "x"
    make(path)
    with pytest.raises(UnreadableInputError, match=message) as caught:
        open_stream(str(path))
    assert caught.value.path == str(path)


def test_name_with_nul():
    with pytest.raises(UnreadableInputError):
        open_stream("a\0b")


def test_no_permission(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("x")
    path.write_bytes(b"x")
    path.chmod(0)
    with unprivileged(tmp_path), pytest.raises(UnreadableInputError, match="no permission"):
        open_stream("x")
    path.chmod(0o644)
    with unprivileged(tmp_path), open_stream("x") as stream:
        assert stream.read(9) == b"x"


def test_named_pipe_without_writer_does_not_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "PIPE_PATIENCE_S", 0.05)
    os.mkfifo(tmp_path / "x")
    with pytest.raises(UnreadableInputError, match="nothing was written"):
        open_stream(str(tmp_path / "x"))


def test_named_pipe_is_read_to_its_end(tmp_path):
    pipe = tmp_path / "x"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[CONTENT])
    writer.start()
    with open_stream(str(pipe)) as stream:
        assert stream.read(len(CONTENT) + 1) == CONTENT
    writer.join()


def test_anonymous_pipe():
    reading, writing = os.pipe()
    os.write(writing, b"content")
    os.close(writing)
    with open_stream(f"/dev/fd/{reading}") as stream:
        assert stream.read(100) == b"content"
    os.close(reading)


def test_standard_input(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(gzip.compress(CONTENT)))
    monkeypatch.setattr(sys, "stdin", stdin)
    with open_stream("-") as stream:
        assert drain(stream) == CONTENT
    assert not stdin.closed


def test_closed_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UnreadableInputError, match="closed"):
        open_stream("-")


def test_read_error_is_reported():
    class Failing(io.RawIOBase):
        def read(self, _size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(UnreadableInputError, match="Input/output error"):
        ByteStream("x", Failing()).peek(1)


def skippable(content: bytes, kind: int = 0) -> bytes:
    return (0x184D2A50 + kind).to_bytes(4, "little") + len(content).to_bytes(4, "little") + content


@pytest.mark.parametrize("size", [0, 1, 7, 8, 255, 256, 257, 100_000])
@pytest.mark.parametrize("place", ["before", "between", "behind", "everywhere"])
def test_skippable_frames_are_passed_over(size, place):
    first, second = PACK["zstd"](CONTENT[:1000]), PACK["zstd"](CONTENT[1000:])
    more = skippable((bytes(range(256)) * (size // 256 + 1))[:size], 15)
    data = {
        "before": more + first + second,
        "between": first + more + second,
        "behind": first + second + more,
        "everywhere": more + more + first + more + second + more,
    }[place]
    with stream_of(data) as stream:
        assert drain(stream) == CONTENT
        assert stream.damage == []
    with stream_of(PACK["zstd"](data)) as stream:
        assert drain(stream) == CONTENT


@pytest.mark.parametrize("cut", [1, 7, 8, 300])
def test_a_skippable_frame_that_is_cut(cut):
    frame = skippable(bytes(300))
    with stream_of(PACK["zstd"](CONTENT) + frame[:-cut]) as stream:
        assert drain(stream) == CONTENT
        assert stream.truncated
    with stream_of(frame[:-cut]) as stream:
        assert drain(stream) == b""
        assert stream.truncated


@pytest.mark.parametrize("pack", PACKED)
def test_members_that_hold_next_to_nothing_are_refused(pack, monkeypatch):
    monkeypatch.setattr(unwrap, "_MANY", 10)
    for content, members in ((b"", 10), (b"a", 10), (b"0123456789abcdef", 50)):
        with stream_of(PACK[pack](content) * members) as stream:
            assert drain(stream) == content * members
    for content in (b"", b"a", b"0123456789abcde"):
        with (
            stream_of(PACK[pack](content) * 12) as stream,
            pytest.raises(LimitExceededError, match="16 bytes"),
        ):
            drain(stream)
    # What is large on the whole may hold small members.
    mixed = PACK[pack](CONTENT) + PACK[pack](b"") * 50
    with stream_of(mixed) as stream:
        assert drain(stream) == CONTENT
