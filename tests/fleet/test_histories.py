"""Histories of several files: named by a manifest or found by a pattern, one row each."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import polars as pl
import pytest
from fleet_runs import CLEAN, LOST
from small_dumps import END, FIRST, OFF, PORT, dump

import analyzer
from analyzer.errors import UsageError
from analyzer.fleet import asking, histories, history_rows, manifest, parquet_rows
from analyzer.options import Options
from analyzer.readers.sources import LeftOut

BEFORE = dump(size=4096, rows=END)
AFTER = {"kept": BEFORE, "lost": dump(PORT, FIRST, size=4096, rows=OFF)}


def fill(folder: Path, hosts: dict[str, str]) -> None:
    """A directory for each host, with one dump before the kexec and one after."""
    for host, became in hosts.items():
        (folder / host).mkdir(parents=True)
        (folder / host / "before.txt").write_text(BEFORE)
        (folder / host / "after.txt").write_text(AFTER[became])


def listed(**asked) -> list[manifest.Entry]:
    _, wanted = asking.asked(asked.pop("sources", ()), **asked)
    return list(wanted.entries("out", LeftOut()))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


LOG = "[    0.000000] Linux version 6.1\n[    0.1] pci 0000:00:03.0: x\n"
FORMS = {
    "csv": b"host,pieces,time,kexec-at\nh1,h1/before.txt; h1/after.txt,2026-03-31T12:00:00Z,access:7\n",
    "jsonl": (
        b'{"host": "h1", "pieces": ["h1/before.txt", "h1/after.txt"], "time": "2026-03-31T14:00:00+02:00",'
        b' "kexec_at": ["access:7"]}\n'
    ),
}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_three_forms_say_the_same(form, folder):
    if form == "parquet":
        values = json.loads(FORMS["jsonl"])
        pl.DataFrame([values]).write_parquet(folder / "m")
    else:
        (folder / "m").write_bytes(FORMS[form])
    (entry,) = listed(manifests=["m"])
    assert entry == manifest.Entry(
        b"h1/before.txt + h1/after.txt",
        pieces=[b"h1/before.txt", b"h1/after.txt"],
        options='{"kexec_at": ["access:7"]}',
        host="h1",
        time_ns=1_774_958_400_000_000_000,
        stated_by="manifest",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found nothing"),
        (b"root:x:0:0:secret:/root\n", "expected a header with a column 'pieces' in line 1, found 1 column"),
        (b"pieces\n", "expected a row for each history, found none"),
        (b"pieces,host\na\n", "expected 2 values in line 2, as many as the header has columns, found 1"),
        (b"pieces,pieces\n", "expected each column once in line 1, found 'pieces' twice"),
        (b'pieces\n"a\n', "expected CSV in line 2"),
        (b"pieces\n\xff\n", "expected UTF-8 text, found another byte in line 2"),
        (b"host,pieces\nh1, ; \n", "expected a path in column 'pieces' of line 2, found none"),
        (b"host,pieces\nh1,\n", "expected at least one file in line 2, found none"),
        (b"pieces,size\na,1\n", "expected a known column in column 'size' of line 2, found 'size'"),
        (b"pieces\n\n../a\n", "expected a path below . in column 'pieces' of line 3, found '../a'"),
        (b"pieces\n/etc/shadow\n", "expected a path below . in column 'pieces' of line 2"),
        (b"pieces\nb/../../a\n", "expected a path below ."),
        (b"pieces,seed\na,../s\n", "expected a path below . in column 'seed' of line 2"),
        (b"pieces,preserved\na,@/etc/shadow\n", "expected a path below . in column 'preserved' of line 2"),
        (b"pieces,cmdline\na,@../c\n", "expected a path below . in column 'cmdline' of line 2"),
        (b"pieces\ns3://bucket/a\n", "expected a path below the manifest's directory in column 'pieces'"),
        (b"pieces\nfile:///etc/shadow\n", "found the URL 'file:///etc/shadow'"),
        (b"pieces\n" + b"a" * 5000 + b"\n", "expected a path of at most 4096 bytes in column 'pieces'"),
        (b"pieces\n" + b";".join([b"a"] * 1001) + b"\n", "expected at most 1000 pieces"),
        (b"pieces\na;b\nc\na;b\n", "found the one of line 4 also in line 2 of m"),
        (b"pieces,time\na,yesterday\n", "expected a date or time of ISO 8601 in column 'time' of line 2"),
        (b"pieces,time\na,9999-12-31\n", "expected a date or time of ISO 8601 in column 'time' of line 2"),
        (
            b'{"pieces": "a", "preserved": [1]}\n',
            "expected a text in column 'preserved' of line 1, found int",
        ),
        (b'{"pieces": "a", "time": [1]}\n', "expected a date or time of ISO 8601 in column 'time' of line 1"),
        (b"pieces,kexec_at\na,7\n", "expected access:N or time:NS in column 'kexec_at' of line 2, found '7'"),
        (b"pieces,preserved\na,99\n", "column 'preserved' in line 2: --preserved:"),
        (b"pieces,map\na,devfn\n", "column 'map' in line 2: --map: expected FIELD=NAME"),
        (b"pieces,ecam_base\na,0x7\n", "column 'ecam_base' in line 2: --ecam-base: expected a multiple of"),
        (b"pieces,guest\na,-1\n", "expected a whole number in column 'guest' of line 2, found '-1'"),
        (b"pieces,assume_preserved\na,maybe\n", "expected true or false in column 'assume_preserved'"),
        (b"pieces,series\na,v0\n", "expected one of v4, v5"),
        (b"pieces,flb_name\na,x\n", "in column 'flb_name' of line 2, found 'x'"),
        (b'{"pieces": ["a"]}\n[]\n', "expected a JSON object in line 2, found something else"),
        (b'{"pieces": ["a"]\n', "expected a JSON object in line 1"),
        (b'{"pieces": "a"}\n' + b'{"a":' * 100_000 + b"\n", "expected a JSON object in line 2"),
        (b'{"pieces": [1]}\n', "expected a text in column 'pieces' of line 1, found int"),
        (b'{"pieces": ["\\ud800"]}\n', "found half of a character"),
        (b'{"pieces": ["a\\u0000"]}\n', "found a zero byte"),
        (b'{"pieces": {"a": 1}}\n', "expected at least one file in column 'pieces' of line 1, found none"),
        (b"PAR1 and then nothing", "this Parquet file cannot be read"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_line(content, message, folder):
    (folder / "m").write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        listed(manifests=["m"])
    assert "secret" not in str(caught.value)
    assert caught.value.path == "m"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"host": ["a"]}, "expected a column 'pieces', found 1 column without it"),
        ({"pieces": ["a"], "size": [1.5]}, "found Float64 in 'size'"),
        ({"pieces": [["a"], ["../a"]]}, "expected a path below . in column 'pieces' of row 2, found '../a'"),
        ({"pieces": ["a" * (600 << 20)]}, "this Parquet file cannot be read with 256 MiB of memory"),
    ],
    ids=["no pieces", "a fraction", "a path", "600 MiB in 50 kB"],
)
def test_a_bad_parquet_file_is_refused_and_costs_no_memory(columns, message, folder, monkeypatch):
    monkeypatch.setattr(parquet_rows, "MEMORY_LIMIT", 256 << 20)
    pl.DataFrame(columns).write_parquet(folder / "m", compression="zstd", statistics=False)
    with pytest.raises(UsageError, match=re.escape(message)):
        listed(manifests=["m"])


def test_reading_parquet_imports_nothing_from_the_current_directory(folder):
    for name in ("json", "polars", "resource", "analyzer"):
        (folder / f"{name}.py").write_text("open('imported', 'w')")
    pl.DataFrame({"pieces": ["a"]}).write_parquet(folder / "m")
    assert [entry.name for entry in listed(manifests=["m"])] == ["a"]
    assert not (folder / "imported").exists()


def test_what_is_too_much_is_refused(folder, monkeypatch):
    (folder / "m").write_bytes(b"pieces\n" + b"".join(b"%d\n" % number for number in range(20)))
    monkeypatch.setattr(history_rows, "ROWS_LIMIT", 10)
    with pytest.raises(UsageError, match="at most 10 rows"):
        listed(manifests=["m"])
    monkeypatch.setattr(history_rows, "MANIFEST_LIMIT", 10)
    with pytest.raises(UsageError, match="at most 10 bytes"):
        listed(manifests=["m"])


def test_paths_are_relative_to_the_manifest_or_the_root(folder):
    (folder / "lists").mkdir()
    (folder / "lists" / "m").write_text("pieces\nh1/a.txt;./h1/b.txt\n")
    assert [entry.name for entry in listed(manifests=["lists/m"])] == ["lists/h1/a.txt + lists/h1/b.txt"]
    (entry,) = listed(manifests=["lists/m"], manifest_root=str(folder))
    assert entry.name == f"{folder}/h1/a.txt + {folder}/h1/b.txt"
    (entry,) = listed(manifests=["lists/m"], manifest_root="s3://bucket/day")
    assert entry.name == "s3://bucket/day/h1/a.txt + s3://bucket/day/h1/b.txt"
    (folder / "lists" / "m").write_text("pieces\ns3://other/a.txt\n")
    with pytest.raises(UsageError, match="a path or URL below s3://bucket/"):
        listed(manifests=["lists/m"], manifest_root="s3://bucket")


def test_what_a_manifest_names_is_no_row_of_its_own(folder):
    fill(folder / "captures", {"h1": "kept"})
    (folder / "captures" / "alone.txt").write_text(BEFORE)
    (folder / "captures" / "dmesg.txt").write_text(
        "[    0.0] Linux version 6.1\n[    0.1] pci 0000:00:03.0: x\n"
    )
    (folder / "captures" / "letter.txt").write_text("Dear Sir or Madam,\n")
    (folder / "captures" / "m.csv").write_text("pieces,dmesg\nh1/before.txt;h1/after.txt,dmesg.txt\n")
    _, wanted = asking.asked(["captures"], manifests=["captures/m.csv"])
    left_out = LeftOut()
    names = [entry.name for entry in wanted.entries("out", left_out)]
    assert left_out.names == ["captures/letter.txt"]
    assert names == ["captures/h1/before.txt + captures/h1/after.txt", "captures/alone.txt"]


def test_a_name_that_is_not_utf8(folder):
    (folder / "m").write_text('{"pieces": ["\\udcff.txt", "b.txt"], "host": "\\udcff"}\n')
    (entry,) = listed(manifests=["m"])
    assert entry.location == b"\xff.txt + b.txt"
    assert entry.host == "\\xff"


@pytest.mark.parametrize(
    ("names", "options", "pieces"),
    [
        (["h1/k2.txt", "h1/k10.txt", "h1/k1.txt"], {}, [["h1/k1.txt", "h1/k2.txt", "h1/k10.txt"]]),
        (
            ["h1/after.txt", "h1/before.txt"],
            {"group_order": "before,after"},
            [["h1/before.txt", "h1/after.txt"]],
        ),
        (
            ["h1/a-9.txt", "h1/b-8.txt", "h2/a-1.txt"],
            {"group_by": r"(?P<host>h\d)/.*-(?P<order>\d)"},
            [["h1/b-8.txt", "h1/a-9.txt"], ["h2/a-1.txt"]],
        ),
    ],
)
def test_pieces_are_in_a_documented_order(names, options, pieces, folder):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(BEFORE)
    entries = listed(sources=["h*"], **{"group_by": "h[0-9]+/"} | options)
    assert [[os.fsdecode(one) for one in entry.piece_locations] for entry in entries] == pieces


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["after.txt", "before.txt"], {}, "the order of names puts h/after.txt before h/before.txt"),
        (["new-1.txt", "old-2.txt"], {}, "say the order of the pieces: --group-order old,new"),
        (["a.txt", "before.txt"], {"group_order": "before,after"}, "found none of them"),
        (["before-after.txt", "before.txt"], {"group_order": "before,after"}, "found before and after"),
        (["1.txt", "2.txt"], {"group_order": "before"}, "expected at least 2 words, found 'before'"),
        (["1.txt"], {"group_by": "("}, "--group-by: not a regular expression"),
        (["1.txt"], {"group_by": None, "group_order": "a,b"}, "--group-order needs --group-by"),
        (["1.txt"], {"group_by": "(?P<time>h)/"}, "expected a date or time in the group 'time', found 'h'"),
    ],
)
def test_an_order_that_is_not_known_is_refused(names, options, message, folder):
    (folder / "h").mkdir()
    for name in names:
        (folder / "h" / name).write_text(BEFORE)
    with pytest.raises(UsageError, match=re.escape(message)):
        listed(sources=["h"], **{"group_by": "h/"} | options)


def test_the_path_says_host_and_time(folder):
    fill(folder / "2026-03-31", {"h7": "kept"})
    pattern = "(?P<time>[^/]+)/(?P<host>[^/]+)/"
    (entry,) = listed(sources=["2026-03-31"], group_by=pattern, group_order="before,after")
    assert (entry.host, entry.time_ns, entry.stated_by) == ("h7", 1_774_915_200_000_000_000, "path")


def test_a_kernel_log_below_a_directory_is_a_piece(folder):
    (folder / "h").mkdir()
    (folder / "h" / "1.txt").write_text(BEFORE)
    (folder / "h" / "2.log").write_text(LOG)
    (folder / "other.log").write_text(LOG)
    assert [entry.name for entry in listed(sources=["."], group_by="h/")] == ["./h/1.txt + ./h/2.log"]
    assert [entry.name for entry in listed(sources=["."])] == ["./h/1.txt"]


@pytest.mark.parametrize("way", ["manifest", "pattern"])
def test_a_history_is_one_row_that_says_what_the_main_job_says(way, fleet):
    hosts = {"h1": "kept", "h2": "lost", "h3": "kept"}
    fill(fleet.captures, hosts)
    if way == "manifest":
        rows = "".join(f"{host},{host}/before.txt;{host}/after.txt\n" for host in hosts)
        (fleet.captures / "m.csv").write_text("host,pieces\n" + rows)
        asked = ["--manifest", fleet.captures / "m.csv"]
    else:
        asked = ["--group-by", "(?P<host>h[0-9])/", "--group-order", "before,after"]
    fleet.run(*asked)
    found = fleet.rows("captures")
    assert [(row["host"], row["host_source"]) for row in found] == [
        (host, "manifest" if way == "manifest" else "path") for host in hosts
    ]
    for row, host in zip(found, hosts, strict=True):
        pieces = [f"{fleet.captures}/{host}/{name}.txt" for name in ("before", "after")]
        (result,) = analyzer.analyze(pieces, Options(join=True)).captures
        assert (row["path"], row["pieces"], row["verdict"]) == (result.path, pieces, result.verdict)
        assert row["files"] == [vars(file) for file in result.files]
    assert [row["ari"] for row in fleet.rows("kexecs")] == ["kept", "lost", "kept"]
    status, out, _ = fleet("report", fleet.out)
    assert status == 1
    assert out.startswith("LOST: ARI Forwarding at 1 of 3 decided kexecs")


def test_options_of_a_row_hold_for_it_alone(fleet):
    """A preserved set, a boundary outside of the capture, and a piece that is not there."""
    fill(fleet.captures, {"h1": "lost", "h2": "lost"})
    rows = [
        {"pieces": ["h1/before.txt", "h1/after.txt"], "preserved": "01:01.0"},
        {"pieces": ["h2/before.txt", "h2/after.txt"]},
        {"pieces": ["h2/before.txt", "h2/gone.txt"]},
        {"pieces": ["h1/before.txt"], "kexec_at": "access:999999"},
    ]
    (fleet.captures / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, _, err = fleet("run", "--manifest", fleet.captures / "m.jsonl", "-o", fleet.out, "-j", 1)
    assert status == 0, err
    assert [row["preserved_source"] for row in fleet.rows("kexecs")] == ["option", "assumed"]
    outcomes = {row["path"].rpartition("captures/")[2]: row["reason"] for row in fleet.rows("captures")}
    assert "h2/gone.txt: piece 2 of 2: there is no such file" in outcomes["h2/gone.txt"]
    assert "an option of this history alone: --kexec-at access:999999" in outcomes["h1/before.txt"]


def test_a_seed_of_a_row(fleet):
    fleet.add("a.bin", LOST)
    fleet.add("seed.txt", BEFORE.encode())
    (fleet.captures / "m.csv").write_text("pieces,seed\na.bin,seed.txt\n")
    fleet.run("--manifest", fleet.captures / "m.csv")
    (row,) = fleet.rows("captures")
    assert [Path(file["path"]).name for file in row["files"]] == ["seed.txt", "a.bin"]


def test_a_changed_manifest_means_another_run(fleet):
    fleet.add("a.bin", CLEAN)
    fleet.add("b.bin", CLEAN)
    (fleet.captures / "m.csv").write_text("pieces\na.bin\n")
    fleet.run("--manifest", fleet.captures / "m.csv")
    (fleet.captures / "m.csv").write_text("pieces\na.bin\nb.bin\n")
    status, _, err = fleet("run", fleet.captures, "--manifest", fleet.captures / "m.csv", "-o", fleet.out)
    assert status == 2
    assert "manifests was" in err


def test_a_time_without_a_zone_is_utc():
    assert histories.nanoseconds("1970-01-02") == histories.nanoseconds("1970-01-02T01:00+01:00")
    assert histories.nanoseconds("1969-12-31T23:59:59.5Z") == -500_000_000
