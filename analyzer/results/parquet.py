"""Write a polars table as Parquet, so that a full disk is reported as one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    import polars as pl

#: Key of the metadata of every table that the program writes; the value is a JSON object with its ``schema``.
METADATA_KEY: Final = "aritrace"
#: Bytes that show whether a stream takes any more: beyond what a file system keeps for a started block.
_MORE: Final = 1 << 20


def put_table(table: pl.DataFrame, stream: BinaryIO, about: str, *, level: int | None = None) -> None:
    """Write a table as Parquet, compressed with zstd, with ``about`` (JSON) in the key-value metadata.

    Raises:
        OSError: the stream takes no more. polars has errors of its own for that, which do not always say so.
    """
    from polars.exceptions import PolarsError

    metadata = {METADATA_KEY: about}
    try:
        table.write_parquet(stream, compression="zstd", compression_level=level, metadata=metadata)
        stream.flush()
    except PolarsError:
        # Where there is no room, there is none for this either: the system says so itself.
        stream.write(bytes(_MORE))
        stream.flush()
        os.fsync(stream.fileno())
        raise
