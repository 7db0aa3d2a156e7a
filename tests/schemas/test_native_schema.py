"""The native format's declarations: numpy path == interpreted Construct path == docs/format.md."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import native
from schemas.bulk import dtype_of
from schemas.native import ChunkType

DOC = (Path(__file__).parents[2] / "docs" / "format.md").read_text()

LAYOUTS = {
    name: getattr(native, name)
    for name in (
        "FILE_HEADER_START",
        "CHUNK_HEADER",
        "ACCESS",
        "BOUNDARY",
        "PRESERVED",
        "LOG",
        "EVENT",
        "SNAPSHOT",
        "PROBLEM",
        "TRAILER",
    )
}
ENUMS = (
    "HeaderFlag",
    "Clock",
    "Codec",
    "ChunkType",
    "AccessFlag",
    "BoundaryKind",
    "RecordFlag",
    "ProblemFlag",
    "TrailerFlag",
)


def doc_table(name: str) -> list[list[str]]:
    """Rows of the table under the heading that ends in `name`, without its two head rows."""
    section = re.search(rf"^### [^\n]*`{name}`\n(.*?)(?=^##|\Z)", DOC, re.MULTILINE | re.DOTALL)
    assert section, f"docs/format.md has no heading for {name}"
    rows = re.findall(r"^\|(.*)\|$", section[1], re.MULTILINE)[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in rows]


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_what_the_document_says(name: str) -> None:
    dtype = dtype_of(LAYOUTS[name])
    types = {
        "i1": "i8",
        "i2": "i16",
        "i4": "i32",
        "i8": "i64",
        "u1": "u8",
        "u2": "u16",
        "u4": "u32",
        "u8": "u64",
    }
    declared = []
    for field in dtype.names:
        part, offset = dtype.fields[field][:2]
        kind = "bytes" if part.kind == "V" else types[part.str[1:]]
        label = "padding" if field.startswith("_pad") else field
        declared.append([str(offset), str(part.itemsize), kind, label])
    assert [row[:4] for row in doc_table(name)] == declared


def test_file_header_texts_are_what_the_document_says() -> None:
    fixed = len(native.FILE_HEADER_START.subcons)
    names = [part.name for part in native.FILE_HEADER.subcons[fixed:] if part.name != "text_end"]
    assert [row[0] for row in doc_table("FILE_HEADER")] == names


@pytest.mark.parametrize("name", ENUMS)
def test_codes_are_what_the_document_says(name: str) -> None:
    members = getattr(native, name).__members__
    documented = {row[1]: int(row[0]) for row in doc_table(name)}
    assert documented == {label: int(member) for label, member in members.items()}


def test_chunk_types_have_the_records_that_the_document_says() -> None:
    documented = {row[1]: getattr(native, row[2].strip("`")) for row in doc_table("ChunkType")}
    assert documented == {kind.name: record for kind, (record, _) in native.RECORDS.items()}


def test_limits_are_what_the_document_says() -> None:
    limits = dict(re.findall(r"^\| (MAX_\w+) \| (\d+) \|", DOC, re.MULTILINE))
    declared = {name: str(value) for name, value in vars(native).items() if name.startswith("MAX_")}
    assert limits == declared


@pytest.mark.parametrize("kind", ChunkType)
def test_records_are_8_aligned_and_their_heap_parts_are_fields(kind: ChunkType) -> None:
    record, lengths = native.RECORDS[kind]
    assert record.sizeof() % native.ALIGNMENT == 0
    assert set(lengths) <= {part.name for part in record.subcons}


@pytest.mark.parametrize("kind", ChunkType)
@given(data=st.data())
def test_numpy_path_equals_interpreted_path(kind: ChunkType, data: st.DataObject) -> None:
    record, _ = native.RECORDS[kind]
    count = data.draw(st.integers(0, 4))
    raw = data.draw(st.binary(min_size=count * record.sizeof(), max_size=count * record.sizeof()))
    interpreted = native.payload(kind, count).parse(raw + b"heap")
    view = np.frombuffer(raw, dtype_of(record))
    assert interpreted.heap == b"heap"
    names = [part.name for part in record.subcons if part.name]
    for name in names:
        assert view[name].tolist() == [getattr(found, name) for found in interpreted.records]


@pytest.mark.parametrize("value", range(256))
def test_access_flag_masks_equal_the_declared_bits(value: int) -> None:
    bits = native.ACCESS_FLAGS.parse(bytes([value]))
    assert bits.write == bool(value & native.AccessFlag.WRITE)
    assert bits.status == (value & native.AccessFlag.STATUS) >> native.STATUS_SHIFT
    assert bits.absent == bool(value & native.AccessFlag.ABSENT)
    assert bits.time_null == bool(value & native.AccessFlag.TIME_NULL)
    assert bits.cpu_null == bool(value & native.AccessFlag.CPU_NULL)
