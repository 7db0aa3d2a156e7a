"""A long native ``.bin``: decode and analysis, beside decompressing alone and interpreted Construct."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import construct
import long_captures
import numpy as np
import zstandard
from measuring import Contender, Plan, Table, compare, megabytes
from profiles import where_the_time_goes

import analyzer
from analyzer.readers import read_batches
from schemas.bulk import dtype_of
from schemas.native import ACCESS, ALIGNMENT, CHUNK_HEADER, FILE_HEADER_START, ChunkType, Codec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TITLE = "Native capture"
ACCESSES, FEW = 5_000_000, 100_000
SAMPLE, SMALL_SAMPLE = 100_000, 2_000


def measure(plan: Plan) -> list[Table]:
    """Measure a compressed file and the same stored raw."""
    tables = []
    for stored, level in (("compressed with zstd", 3), ("stored raw", 0)):
        path = plan.folder / f"native-{level}.bin"
        long_captures.native(path, plan.size(ACCESSES, FEW), level)
        contenders = [
            Contender("decode", partial(decode, path), 20e6),
            Contender("whole analysis", partial(analyse, path), 5e6),
            Contender("read the file and decompress it, nothing else", partial(decompress, path)),
            Contender(
                "interpreted Construct, one record after the other (a sample)",
                partial(interpret, path, plan.size(SAMPLE, SMALL_SAMPLE)),
                sample=True,
            ),
        ]
        caption = f"{stored[0].upper()}{stored[1:]}, {megabytes(path.stat().st_size)} MB"
        tables.append(compare(plan, caption, "accesses", contenders))
        if plan.profile:
            tables.append(where_the_time_goes(f"decoding, {stored}", partial(decode, path)))
            tables.append(where_the_time_goes(f"whole analysis, {stored}", partial(analyse, path)))
        path.unlink()
    return tables


def decode(path: Path) -> int:
    """Decode a capture of any format into frames of accesses, and let them go."""
    return sum(frame.height for frame in read_batches(str(path)))


def analyse(path: Path) -> int:
    """Analyse a capture from its bytes to its verdicts.

    Raises:
        RuntimeError: the kexec was not found, so less was done than should be.
    """
    (result,) = analyzer.analyze([str(path)]).captures
    if len(result.kexecs) != 1:
        raise RuntimeError(f"expected one kexec in {path}, found {len(result.kexecs)} ({result.errors})")
    return result.accesses


def decompress(path: Path) -> int:
    """Read the file chunk by chunk and decompress each, without a look at what is inside."""
    return sum(count for count, _ in _payloads(path))


def interpret(path: Path, sample: int) -> int:
    """Parse the first accesses with the declaration itself, as Construct does it."""
    done = 0
    for count, payload in _payloads(path):
        done += len(construct.Array(min(count, sample - done), ACCESS).parse(payload))
        if done >= sample:
            break
    return done


def _payloads(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number of accesses and the payload of each chunk of accesses."""
    head = dtype_of(CHUNK_HEADER)
    unpack = zstandard.ZstdDecompressor()
    with path.open("rb") as file:
        size = FILE_HEADER_START.parse(file.read(FILE_HEADER_START.sizeof())).header_size
        file.seek(size)
        while data := file.read(head.itemsize):
            chunk = np.frombuffer(data, head)[0]
            stored = int(chunk["stored_length"])
            payload = file.read(stored + -stored % ALIGNMENT)[:stored]
            if chunk["codec"] == Codec.ZSTD:
                payload = unpack.decompress(payload, max_output_size=int(chunk["raw_length"]))
            if chunk["type"] == ChunkType.ACCESSES:
                yield int(chunk["count"]), payload
