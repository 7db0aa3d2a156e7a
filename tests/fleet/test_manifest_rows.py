"""Rows of a manifest as they stand in the file: columns, values, places, and what is said of a bad file."""

from __future__ import annotations

import gzip
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.errors import UsageError
from analyzer.fleet import history_rows, parquet_rows, stores
from analyzer.fleet.history_rows import ADVICE, HistoryRow, ManifestContent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Rows = list[tuple[str, dict[str, Any]]]
A, B = {"pieces": "a"}, {"pieces": "b"}
COLUMN = "expected a header with a column 'pieces'"
QUOTED = 'put a value that holds a comma in quotation marks: "02:00.0,03:00.0"'
AS_IN = 'as in {"host": "h1", "pieces": ["before.txt", "after.txt"]}'


def rows(content: bytes) -> Rows:
    return [(row.place, row.values) for row in ManifestContent("m", content).rows()]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"pieces\na\nb\n", [("line 2", A), ("line 3", B)]),
        (b"\n , \nhost,pieces\n\n,a\n ,b", [("line 5", A), ("line 6", B)]),
        (b"\xef\xbb\xbfpieces\r\na\r\nb\r\n", [("line 2", A), ("line 3", B)]),
        (b"pieces\ra\rb\r", [("line 2", A), ("line 3", B)]),
        (b'pieces, preserved\na, "1,2"\n', [("line 2", {"pieces": "a", "preserved": "1,2"})]),
        (b'pieces,cmdline\n"a","b\r\nc"\nb,\n', [("line 2", A | {"cmdline": "b\r\nc"}), ("line 4", B)]),
        (b" --Kexec-At ,PIECES\nx,a\n", [("line 2", {"kexec_at": "x", "pieces": "a"})]),
        (b"host,pieces,seed\n h ,a, \n", [("line 2", {"host": "h ", "pieces": "a"})]),
    ],
)
def test_csv(content: bytes, expected: Rows) -> None:
    assert rows(content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"pieces": "a"}\n{"pieces": "b"}', [("line 1", A), ("line 2", B)]),
        (b'\n  {"pieces": "a"}\n \n\n{"pieces": "b"}\n', [("line 2", A), ("line 5", B)]),
        (b'\xef\xbb\xbf{"pieces": "a"}\n{"pieces": "b"}\n', [("line 1", A), ("line 2", B)]),
        (b'{"pieces": "a", "host": "", "seed": null, "dmesg": [], "flb": {}}', [("line 1", A)]),
        (b'{"--Kexec-At": 0, "pieces": false}', [("line 1", {"kexec_at": 0, "pieces": False})]),
        (b'{"pieces": [""]}', [("line 1", {"pieces": [""]})]),
    ],
)
def test_json_lines(content: bytes, expected: Rows) -> None:
    assert rows(content) == expected


@pytest.mark.parametrize(
    ("content", "message", "advice"),
    [
        (b"pieces\n", "expected a row for each history, found none", ADVICE),
        (b"\npieces\n\xff\n\n\n", "expected UTF-8 text, found another byte in line 3", ADVICE),
        (b"\xff", "expected UTF-8 text, found another byte in line 1", ADVICE),
        (b"\nhost,pieces\na\n", "expected 2 values in line 3, as many as the header has columns, found 1",
         QUOTED),
        (b'pieces\n"a\n', "expected CSV in line 2, found something else (unexpected end of data)", ADVICE),
        (b"host\n", f"{COLUMN} in line 1, found 1 column without it", ADVICE),
        (b"\nhost,pieces--\n", f"{COLUMN} in line 2, found 2 columns without it", ADVICE),
        (b"a,b,c\n", f"{COLUMN} in line 1, found 3 columns without it", ADVICE),
        (b"host,Host,pieces\n", "expected each column once in line 1, found 'host' twice", ""),
        (b'{"pieces": "a"}\n[]\n', "expected a JSON object in line 2, found something else", AS_IN),
        (b"{\n", "expected a JSON object in line 1, found something else", AS_IN),
    ],
)  # fmt: skip
def test_what_is_said_of_a_bad_file(content: bytes, message: str, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        rows(content)
    assert (caught.value.message, caught.value.path, caught.value.advice) == (message, "m", advice)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"pieces,host\nabcd,efgh\nabcde,fghi\n", "line 3"),
        (b'{"a":1}\n{"ab":1}\n', "line 2"),
        (b"PAR1", "row 2"),
    ],
    ids=["csv", "json", "parquet"],
)
def test_a_row_that_is_too_long(content: bytes, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of 8 bytes may have just that many; the next one has one more."""
    monkeypatch.setattr(history_rows, "_ROW_LIMIT", 8)
    given = [{"pieces": "abcd", "host": 1234}, {"pieces": "abcd", "host": 12345}]
    monkeypatch.setattr(parquet_rows, "rows", lambda *_: iter(given))
    found = ManifestContent("m", content).rows()
    next(found)
    with pytest.raises(UsageError) as caught:
        next(found)
    assert (caught.value.message, caught.value.path) == (
        f"expected at most 8 bytes in {place}, found more",
        "m",
    )


@pytest.mark.parametrize("limit", [2, 3])
def test_the_number_of_rows(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_rows, "ROWS_LIMIT", limit)
    found = ManifestContent("m", b"pieces\na\nb\nc\n").rows()
    assert [next(found).values for _ in range(limit)] == [A, B, {"pieces": "c"}][:limit]
    if limit == 2:
        with pytest.raises(UsageError) as caught:
            next(found)
        assert (caught.value.message, caught.value.path) == ("expected at most 2 rows, found more", "m")
    else:
        assert next(found, None) is None


def parquet(monkeypatch: pytest.MonkeyPatch, *given: dict[str, Any]) -> list[HistoryRow]:
    """What the rows become that the process which reads a Parquet file gives."""

    def its_rows(content: bytes, path: str, most: int) -> Iterator[dict[str, Any]]:
        assert (content, path, most) == (b"PAR1", "m", history_rows.ROWS_LIMIT)
        return iter(given)

    monkeypatch.setattr(parquet_rows, "rows", its_rows)
    return list(ManifestContent("m", b"PAR1").rows())


def test_rows_of_a_parquet_file(monkeypatch: pytest.MonkeyPatch) -> None:
    found = parquet(monkeypatch, {"Pieces": ["a"], "host": None}, {"pieces": "b", "--seed": "s", "flb": ""})
    assert found == [HistoryRow("row 1", {"pieces": ["a"]}), HistoryRow("row 2", B | {"seed": "s"})]


@pytest.mark.parametrize(("columns", "found"), [(["a"], "1 column"), (["a", "b"], "2 columns")])
def test_a_parquet_file_without_pieces(
    columns: list[str], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError) as caught:
        parquet(monkeypatch, dict.fromkeys(columns, "x"))
    assert (caught.value.message, caught.value.path, caught.value.advice) == (
        f"expected a column 'pieces', found {found} without it",
        "m",
        ADVICE,
    )


# Reading the file.


def test_a_file_compressed_or_not(tmp_path: Path) -> None:
    content = b"pieces\na\n"
    (tmp_path / "m").write_bytes(content)
    (tmp_path / "m.gz").write_bytes(gzip.compress(content))
    for name in ("m", "m.gz"):
        path = str(tmp_path / name)
        assert history_rows.read(path) == ManifestContent(path, content)


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """As ``--manifest <(command)``."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"pieces\na\n",), daemon=True)
    writer.start()
    assert [row.values for row in history_rows.read(str(path)).rows()] == [A]
    writer.join()


@pytest.mark.parametrize("packed", [False, True])
def test_an_object_compressed_or_not(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"pieces\na\n"

    def download(place: object, target: Path, limit: int) -> None:
        assert limit == history_rows.MANIFEST_LIMIT
        assert place == stores._Place.of("s3://bucket/m.csv")
        target.write_bytes(gzip.compress(content) if packed else content)

    monkeypatch.setattr(stores, "_download", download)
    assert history_rows.read("s3://bucket/m.csv") == ManifestContent("s3://bucket/m.csv", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "expected a manifest of histories, found nothing"),
        (b"12345678", None),
        (b"123456789", "expected a manifest of histories of at most 8 bytes, found more"),
        (gzip.compress(b"123456789"), "expected a manifest of histories of at most 8 bytes, found more"),
    ],
    ids=["no file", "empty", "full", "too large", "too large inside"],
)
def test_what_cannot_be_read(
    content: bytes | None, message: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_rows, "MANIFEST_LIMIT", 8)
    path = tmp_path / "m"
    if content is not None:
        path.write_bytes(content)
    if message is None:
        assert history_rows.read(str(path)).content == content
        return
    with pytest.raises(UsageError) as caught:
        history_rows.read(str(path))
    assert caught.value.message == f"cannot read this manifest: {message}"
    assert (caught.value.path, caught.value.advice) == (str(path), "check the name after --manifest")
