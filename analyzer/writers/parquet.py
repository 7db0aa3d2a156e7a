"""Write a capture as Parquet: the access table, and everything else as JSON in the key-value metadata."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from analyzer.undecodable import all_encodable
from analyzer.writers.atomic import replacing

if TYPE_CHECKING:
    import polars as pl

    from analyzer.capture import Capture

#: Key of the metadata. Its value is a JSON object with ``schema`` (the number below), ``path``, ``format``,
#: ``files`` and ``notes``.
METADATA_KEY: Final = "aritrace"
METADATA_SCHEMA: Final = 1
#: Bytes that show whether a stream takes any more: beyond what a file system keeps for a started block.
_MORE: Final = 1 << 20


def write_parquet(capture: Capture, path: str | os.PathLike[str]) -> None:
    """Write the access table (``accesses.SCHEMA``) with the notes of the capture; whole or not at all.

    Raises:
        UsageError: the operating system refuses to write there.
    """
    with replacing(path) as stream:
        put_table(capture.accesses, stream, {METADATA_KEY: _metadata(capture)}, level=9)


def put_table(
    table: pl.DataFrame, stream: BinaryIO, metadata: dict[str, str], *, level: int | None = None
) -> None:
    """Write a table as Parquet, compressed with zstd.

    Raises:
        OSError: the stream takes no more. polars has errors of its own for that, which do not always say so.
    """
    from polars.exceptions import PolarsError

    try:
        table.write_parquet(stream, compression="zstd", compression_level=level, metadata=metadata)
        stream.flush()
    except PolarsError:
        # Where there is no room, there is none for this either: the system says so itself.
        stream.write(bytes(_MORE))
        stream.flush()
        os.fsync(stream.fileno())
        raise


def _metadata(capture: Capture) -> str:
    about = {
        "schema": METADATA_SCHEMA,
        "path": capture.path,
        "format": capture.format,
        "files": [dataclasses.asdict(file) for file in capture.files],
        "notes": dataclasses.asdict(capture.notes),
    }
    return json.dumps(all_encodable(about), default=_hex, ensure_ascii=True)


def _hex(value: Any) -> str:
    """JSON of what it does not know itself: raw dumps, as hex."""
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"no JSON for {type(value).__name__}")
