"""Write a capture as Parquet: the access table, and everything else as JSON in the key-value metadata."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

from analyzer.escaping import all_encodable
from analyzer.results.parquet import put_table
from analyzer.writing import replacing

if TYPE_CHECKING:
    import os

    from analyzer.capture import Capture

#: ``schema`` in the metadata; beside it are ``path``, ``format``, ``files`` and ``notes``.
METADATA_SCHEMA: Final = 1


def write_parquet(capture: Capture, path: str | os.PathLike[str]) -> None:
    """Write the access table (``accesses.SCHEMA``) with the notes of the capture, atomically.

    Raises:
        UsageError: the operating system refuses to write there.
    """
    with replacing(path) as stream:
        put_table(capture.accesses, stream, _metadata(capture), level=9)


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
    """Raw dumps as hex, for which JSON has no type."""
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"no JSON for {type(value).__name__}")
