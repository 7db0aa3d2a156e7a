"""Targets of what a fleet run and the lab are given, and of what a fleet run has written and reads again."""

from __future__ import annotations

import io
import json
import os
import tempfile
from functools import cache
from pathlib import Path

import fleet_results
import fuzz_seeds as seeds
import polars as pl
from fuzz_oracle import allowed, quiet, room
from fuzz_tables import capture_of

from analyzer import fleet
from analyzer.converting.native import write_capture
from analyzer.fleet import grouping, histories, listing, manifest
from analyzer.fleet.drilldown import drill_down
from analyzer.lab import scenarios
from analyzer.options import Options
from analyzer.questions import corpus
from analyzer.readers.sources import LeftOut
from analyzer.report import corpus_report, fleet_json, fleet_prometheus, fleet_report, page
from analyzer.report.html import fleet_page

_LAB = Path(scenarios.__file__).parent / "scenarios"


def manifests(data: bytes) -> None:
    """A file of ``--manifest``: what it names stays below its directory, and becomes rows that read back."""
    path = room() / "m"
    path.write_bytes(data)
    root = None if len(data) % 4 else "s3://bucket/day"
    entries = list(histories.read([str(path)], root).entries())
    assert entries
    below = str(room()) if root is None else root
    for entry in entries:
        assert all(f"{os.fsdecode(piece)}/".startswith(f"{below}/") for piece in entry.piece_locations)
        Options(**json.loads(entry.options or "{}"))
    frame = manifest.listed(entries)
    written = io.BytesIO()
    frame.write_parquet(written)
    written.seek(0)
    assert pl.read_parquet(written, schema=manifest.SCHEMA).equals(frame)


def manifest_seeds() -> list[bytes]:
    names = "host,pieces,time,kexec-at,preserved,cmdline,series,assume_preserved,map,ecam_base,guest"
    row = 'h1,"a.txt; b.txt",2026-03-31T12:00:00Z,access:7;time:9,"02:00.0,1:0000:03:00.0",pci=noari,v9,yes'
    values = {
        "host": "h1", "pieces": ["a.txt", "\udcff.txt"], "time": "2026-03-31T14:00:00+02:00",
        "kexec_at": ["access:7"], "preserved": ["02:00.0"], "flb": "x.flb", "flb_name": "pci-v2",
        "linktype_raw_tlp": 150,
    }  # fmt: skip
    lines = f"{names},seed,dmesg\n{row},devfn=dfn,0xb0000000,42,s.txt,d.txt\nh2,c.txt,2026-03-31{',' * 10}\n"
    return [lines.encode(), (json.dumps(values) + "\n" + json.dumps({"pieces": "c"}) + "\n").encode()]


def parquet_seeds() -> list[bytes]:
    import datetime as dt

    columns = {
        "host": ["h1", None], "pieces": [["a.txt", "b.txt"], ["c.txt"]], "guest": [1, None],
        "time": [dt.datetime(2026, 3, 31, tzinfo=dt.UTC), None], "assume_preserved": [True, None],
    }  # fmt: skip
    found = []
    for frame in (pl.DataFrame(columns), pl.DataFrame({"pieces": ["a"], "time": [dt.date(2026, 3, 31)]})):
        stream = io.BytesIO()
        frame.write_parquet(stream, compression="uncompressed", statistics=False)
        found.append(stream.getvalue())
    return found


def source_list(data: bytes) -> None:
    """A file of ``@FILE`` whose lines are names and patterns below a small folder."""
    if any(word in data for word in (b"/", b"..", b"~")):
        return  # neither the file system outside nor an object store is part of this
    folder = room() / "sources"
    folder.mkdir(exist_ok=True)
    for name in ("a.bin", "b[1].txt", "x.toml"):
        (folder / name).write_bytes(b"pci_cfg_read nvme 03:00.0 @0x0 -> 0x101b36\n")
    before = Path.cwd()
    os.chdir(folder)
    try:
        (folder.parent / "list").write_bytes(data)
        source = f"@{folder.parent}/list"
        lists = listing.read_lists([source])
        frame = manifest.listed(listing.entries([source], "out", lists, LeftOut()))
        assert frame["location"].n_unique() == frame.height
    finally:
        os.chdir(before)


def list_seeds() -> list[bytes]:
    return [b"a.bin\nb[1].txt\n\nx.toml\n", b"*.bin\r\n**\nb[!a]*\n[a\n{a,b}.bin\n", b".\n\xff\na.bin\n"]


_PATTERNS = (
    ("[^_]+_", None),
    (r"(?P<host>[^_/]*)_(?P<time>[^_/]*)_(?P<order>.*)", None),
    (r"(?P<host>[^_/]+)_", "before,after"),
    (r"(?P<time>\d{8}|x)?(?P<order>\d+)?", None),
)


def group_by(data: bytes) -> None:
    """Names of files, one on each line, grouped to histories by a pattern: nothing twice, nothing lost."""
    pattern = grouping.read(*_PATTERNS[(data[0] if data else 0) % len(_PATTERNS)])
    names = dict.fromkeys(name[:4096] for name in data[1:].split(b"\n")[:2000] if name)
    files = (manifest.Entry(name, size=1, modified_ns=at) for at, name in enumerate(names))
    found = list(pattern.grouped(files))
    assert sorted(piece for entry in found for piece in entry.piece_locations) == sorted(names)
    manifest.listed(found)


def group_seeds() -> list[bytes]:
    return [
        b"\0h1_2.txt\nh1_10.txt\nh2_1.txt\nother\n",
        b"\1h1_20260331_2\nh1_20260331_10\nh2_2026-03-31T12:00:00Z_1\n",
        b"\2h1_after.txt\nh1_before.txt\n",
        b"\3202603312\n2026033110\nx7\n",
    ]


def scenario(data: bytes) -> None:
    """A scenario of the user, with or without what the analysis must say."""
    path = room() / "mine.toml"
    path.write_bytes(data)
    for expected in (True, False):
        allowed(lambda _, expected=expected: scenarios.load(str(path), expected=expected), b"")
    allowed(lambda _: scenarios.load(str(path), scenarios.SERIES[-1]), b"")


def scenario_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(_LAB.glob("*.toml"))[::6]]


def corpus_case(data: bytes) -> None:
    """A file of what a corpus case expects, beside a capture."""
    folder = room() / "corpus"
    folder.mkdir(exist_ok=True)
    if not (folder / "a.bin").exists():
        write_capture(capture_of(seeds.simulated()), str(folder / "a.bin"))
    (folder / "a.toml").write_bytes(data)
    (case,) = corpus.check(str(folder))
    assert case.ok == (case.proposal is None)
    case.difference()
    quiet(page.plain(corpus_report.fill_check(page.Page(), [case])))
    quiet(page.plain(corpus_report.fill_update(page.Page(), [case], written=False)))


def case_seeds() -> list[bytes]:
    names = ("lost-explicit-write", "healed-by-stock-kernel", "inherit-two-losses")
    found = [(seeds.TRACES / f"{name}.toml").read_bytes() for name in names]
    return [*found, b'title = "x"\n[options]\nassume_preserved = true\nkexec_at = ["access:7"]\n[expect]\n']


@cache
def _run() -> tuple[Path, list[str]]:
    """The output directory of a small fleet, and its files."""
    folder = Path(tempfile.mkdtemp(dir=room())) / "out"
    fleet_results.write(folder, fleet_results.FLEET, 16, states=fleet_results.REGISTERS)
    files = (path for path in folder.rglob("*") if path.is_file() and "columns" not in path.name)
    return folder, sorted(str(path.relative_to(folder)) for path in files)


def _reported(folder: Path) -> None:
    """Every form of the report."""
    report = fleet.report(str(folder), most_named=10)
    json.loads(fleet_json.text(report))
    shown = fleet_page.shown_part(report)
    for text in (
        fleet_json.text(report),
        fleet_prometheus.text(report),
        page.plain(fleet_report.fill(page.Page(), report, everything=True)),
        "".join(fleet_page.pieces(shown, drill_down(shown))),
    ):
        quiet(text)


def fleet_file(data: bytes) -> None:
    """One file of a fleet run with other bytes: its job, a batch's record, its manifest, or a table."""
    folder, names = _run()
    path = folder / names[(data[0] if data else 0) % len(names)]
    original = path.read_bytes()
    path.write_bytes(data[1:])
    try:
        _reported(folder)
    finally:
        path.write_bytes(original)


def file_seeds() -> list[bytes]:
    folder, names = _run()
    chosen = {name.partition("/")[0]: number for number, name in enumerate(names)}  # one of each table
    return [bytes([number]) + (folder / names[number]).read_bytes() for number in chosen.values()]


_TABLES = ("captures", "kexecs", "bridges", "devices", "state")
_NUMBERS = (None, 0, 1, -1, 7, (1 << 62), -(1 << 63), (1 << 63) - 1, 253_402_300_800_000_000_000 >> 8)
_TEXTS = (None, "", "lost", "kept", "\x1b[2J", "=1+1", "<b>", "0000:02:00.0", "x" * 5000, "{{7*7}}", "\n")


def fleet_cells(data: bytes) -> None:
    """Tables of a fleet run in which cells hold other values of their type: four bytes name one each."""
    folder, names = _run()
    edits: dict[str, list[bytes]] = {}
    for at in range(0, len(data) - 3, 4):
        edit = data[at : at + 4]
        edits.setdefault(_TABLES[edit[0] % len(_TABLES)], []).append(edit)
    originals = {}
    try:
        for table, cells in edits.items():
            parts = [name for name in names if name.startswith(f"{table}/")]
            for number in {cell[0] // len(_TABLES) % len(parts) for cell in cells}:
                path = folder / parts[number]
                originals[path] = path.read_bytes()
                own = [cell for cell in cells if cell[0] // len(_TABLES) % len(parts) == number]
                _changed(originals[path], own, path)
        _reported(folder)
    finally:
        for path, content in originals.items():
            path.write_bytes(content)


def _changed(content: bytes, cells: list[bytes], path: Path) -> None:
    frame = pl.read_parquet(io.BytesIO(content))
    about = pl.read_parquet_metadata(io.BytesIO(content))["aritrace"]
    for _, column, row, value in cells:
        name = frame.columns[column % frame.width]
        values = frame[name].to_list()
        values[row % len(values)] = _cell(frame.schema[name], value)
        frame = frame.with_columns(pl.Series(name, values, frame.schema[name], strict=False))
    frame.write_parquet(path, metadata={"aritrace": about})


def _cell(dtype: pl.DataType, value: int) -> object:
    """A value of a type: one of its edges, null, or of a structure some of its fields."""
    if isinstance(dtype, pl.List):
        return None if not value % 3 else [_cell(dtype.inner, value // 3)] * (value % 5)
    if isinstance(dtype, pl.Struct):
        fields = {one.name: _cell(one.dtype, value // 2 + place) for place, one in enumerate(dtype.fields)}
        return fields if value % 2 else None
    if dtype == pl.Boolean:
        return (None, True, False)[value % 3]
    if dtype == pl.String:
        return _TEXTS[value % len(_TEXTS)]
    if dtype.is_float():
        return (None, 0.0, -1.0, float("nan"), float("inf"), 1e308)[value % 6]
    return _NUMBERS[value % len(_NUMBERS)]


def cell_seeds() -> list[bytes]:
    return [b"\0\0\0\0", bytes(range(48)), bytes(range(255, 127, -1))]
