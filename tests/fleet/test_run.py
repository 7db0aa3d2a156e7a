"""``fleet run`` on small fleets: every input has its row, with what the main job says of it."""

import json
from pathlib import Path

import pytest
from fleet_runs import CLEAN, LOST, RESET, STOCK, tree
from unprivileged import unprivileged

import analyzer
from analyzer.fleet import rows as table_rows


def test_the_tables_say_what_the_main_job_says(fleet):
    paths = [str(fleet.add(path.name, path)) for path in (CLEAN, LOST, RESET)]
    fleet.run()
    expected = {capture.path: capture for capture in analyzer.analyze(sorted(paths)).captures}
    captures = fleet.rows("captures")
    assert [row["path"] for row in captures] == sorted(paths)
    for row in captures:
        capture = expected[row["path"]]
        assert (row["outcome"], row["verdict"], row["capture_verdict"], row["accesses"]) == (
            "ok", capture.verdict, capture.verdict, capture.accesses,
        )  # fmt: skip
        assert row["files"] == [vars(file) for file in capture.files]
        assert row["boots"] == [vars(boot) for boot in capture.boots]
    for row in fleet.rows("kexecs"):
        kexec = expected[row["path"]].kexecs[row["kexec"]]
        assert row["policies"] == {name: vars(outcome) for name, outcome in kexec.policies.items()}
        assert row["findings"] == [vars(finding) for finding in kexec.findings]
        for name in ("kind", "series", "policy", "noari", "blackout_ns", "preserved_source"):
            assert row[name] == getattr(kexec, name)
    bridges = [
        (path, bridge)
        for path in sorted(paths)
        for kexec in expected[path].kexecs
        for bridge in kexec.bridges
    ]
    for row, (path, bridge) in zip(fleet.rows("bridges"), bridges, strict=True):
        assert row["path"] == path
        assert row["evidence"] == [vars(one) for one in bridge.evidence]
        assert row["window"] == (vars(bridge.window) if bridge.window else None)
        for name in ("bdf", "verdict", "cause", "cause_bdf", "stranded", "secondary", "ari_before"):
            assert row[name] == getattr(bridge, name)
    assert len(fleet.rows("devices")) == sum(
        len(kexec.devices) for capture in expected.values() for kexec in capture.kexecs
    )


def test_whatever_is_no_capture_has_its_row_and_reason(fleet):
    cut = LOST.read_bytes()[: LOST.stat().st_size // 2]
    fleet.add("whole.bin", CLEAN)
    fleet.add("cut.bin", cut)
    fleet.add("empty.bin", b"")
    fleet.add("letter.bin", b"Dear Sir or Madam,\n")
    fleet.add("large.bin", bytes(3 << 20))
    fleet.run("--max-bytes", "2M")
    assert fleet.outcomes() == {
        "whole.bin": "ok",
        "cut.bin": "truncated",
        "empty.bin": "unreadable",
        "letter.bin": "unsupported",
        "large.bin": "too-large",
    }
    reasons = {Path(row["path"]).name: row["reason"] for row in fleet.rows("captures")}
    assert reasons["whole.bin"] is None
    assert all(reasons[name] for name in reasons if name != "whole.bin")
    kinds = {(Path(row["path"]).name, row["kind"]) for row in fleet.rows("errors")}
    assert kinds >= {("cut.bin", "truncated"), ("large.bin", "too-large"), ("empty.bin", "empty")}


def test_files_that_are_not_captures_are_named_once(fleet):
    fleet.add("whole.bin", CLEAN)
    fleet.add("letter.txt", b"Dear Sir or Madam,\n")
    fleet.add("whole.toml", b"")
    first, again = (fleet("run", fleet.captures, "-o", fleet.out)[2] for _ in range(2))
    assert f"note: 1 file is not analysed as a capture: {fleet.captures}/letter.txt\n" in first
    assert "letter.txt" not in again
    assert fleet.outcomes() == {"whole.bin": "ok"}


def test_a_damaged_capture_counts_for_the_report_and_not_for_the_run(fleet):
    fleet.add("whole.bin", CLEAN)
    fleet.run()
    assert fleet("report", fleet.out)[0] == 0
    fleet.add("damaged.bin", b"nothing that anybody recorded")
    again = fleet.out.with_name("again")
    fleet.run(out=again)
    assert fleet("report", again)[0] == 3


def test_equal_files_under_two_names_are_two_captures(fleet):
    fleet.add("a/one.bin", LOST)
    fleet.add("b/one.bin", LOST)
    fleet.run()
    assert [row["verdict"] for row in fleet.rows("captures")] == ["findings", "findings"]


def test_a_file_named_by_two_sources_is_one_capture(fleet):
    path = fleet.add("one.bin", CLEAN)
    assert fleet("run", path, fleet.captures, f"{fleet.captures}/*.bin", "-o", fleet.out)[0] == 0
    assert len(fleet.rows("captures")) == 1


def test_sources_of_every_kind(fleet, tmp_path):
    fleet.add("walked/a.bin", CLEAN)
    fleet.add("walked/deep/b.bin", CLEAN)
    fleet.add("walked/b.toml", b"")
    fleet.add("walked/a.dmesg", b"[    0.000000] Linux version 6.1\n")
    fleet.add("walked/.hidden.bin", CLEAN)
    fleet.add("glob-1.bin", CLEAN)
    fleet.add("listed.bin", CLEAN)
    (tmp_path / "list").write_text(f"{fleet.captures}/listed.bin\r\n\n{fleet.captures}/gone.bin\n")
    sources = [fleet.captures / "walked", f"{fleet.captures}/glob-*.bin", f"@{tmp_path}/list", "no*match"]
    assert fleet("run", *sources, "-o", fleet.out)[0] == 0
    assert fleet.outcomes() == {
        "a.bin": "ok",
        "b.bin": "ok",
        "glob-1.bin": "ok",
        "listed.bin": "ok",
        "gone.bin": "unreadable",
        "no*match": "unreadable",
    }


def test_the_output_directory_is_no_source(fleet):
    fleet.add("one.bin", CLEAN)
    out = fleet.captures / "out"
    fleet.run(out=out)
    assert list(fleet.outcomes(out)) == ["one.bin"]


def test_a_file_that_vanishes_or_changes_after_listing_has_its_row(fleet):
    from analyzer.fleet import asking, running

    doomed = fleet.add("doomed.bin", CLEAN)
    grows = fleet.add("grows.bin", CLEAN)
    fleet.add("stays.bin", CLEAN)
    fleet.out.mkdir()
    running._begin(*asking.asked([str(fleet.captures)]), str(fleet.out), None)
    doomed.unlink()
    grows.write_bytes(LOST.read_bytes())
    fleet.run()
    assert fleet.outcomes() == {"doomed.bin": "unreadable", "grows.bin": "ok", "stays.bin": "ok"}
    assert "no such file" in fleet.rows("captures")[0]["reason"]
    assert [(Path(row["path"]).name, row["kind"]) for row in fleet.rows("errors")] == [
        ("doomed.bin", "unreadable"),
        ("grows.bin", "changed"),
    ]


HOSTILE = {
    b"\xff\xfe.bin": "\\xff\\xfe.bin",
    "new\nline.bin": "new\nline.bin",
    "=cmd|' -C calc'!A0.bin": "=cmd|' -C calc'!A0.bin",
    "\u202egnp.bin": "\u202egnp.bin",
    "'); DROP TABLE captures;--.bin": "'); DROP TABLE captures;--.bin",
    "capture_verdict=clean.bin": "capture_verdict=clean.bin",
    "s3:%2F..%2F\x1b[31m.bin": "s3:%2F..%2F\x1b[31m.bin",
    '"},{"host":"x\\.bin': '"},{"host":"x\\.bin',
}


def test_hostile_names_are_only_names(fleet):
    for name in HOSTILE:
        fleet.add(name, LOST)
    fleet.run("--host-from-path", "(?s)([^/]*)[.]bin$")
    captures = fleet.rows("captures")
    assert {row["path"] for row in captures} == {f"{fleet.captures}/{shown}" for shown in HOSTILE.values()}
    assert all(row["outcome"] == "ok" and row["files"][0]["path"] == row["path"] for row in captures)
    assert {row["host"] for row in captures} == {shown[:-4] for shown in HOSTILE.values()}
    assert {path.parts[0] for path in map(Path, tree(fleet.out)) if len(path.parts) > 1} == {
        "batches", "captures", "kexecs", "bridges", "devices", "errors", "state", "replaced",
    }  # fmt: skip
    for form in ("text", "json", "prometheus"):
        status, out, err = fleet("report", fleet.out, "--format", form)
        assert (status, err) == (1, "")
        assert all(character.isprintable() or character == "\n" for character in out)
        assert "\u202e" not in out


def test_sidecars_are_found_beside_a_capture(fleet):
    fleet.add("one.bin", LOST)
    fleet.add("one.preserved", b"0000:03:00.0\n")
    fleet.run()
    assert [row["preserved_source"] for row in fleet.rows("kexecs")] != []
    assert list(fleet.outcomes()) == ["one.bin"]


def test_options_reach_the_verdicts(fleet):
    fleet.add("one.bin", STOCK)
    fleet.run("--policy", "inherit", "--assume-preserved", "--series", "v7")
    (row,) = fleet.rows("kexecs")
    assert (row["policy"], row["series"], row["loss"]) == ("inherit", "v7", True)


@pytest.mark.parametrize(
    ("pattern", "path", "host"),
    [
        ("/(?P<host>[^/]+)/[^/]*$", "data/node17/a.bin", "node17"),
        ("(node)([0-9]+)", "data/node17/a.bin", "node"),
        ("node[0-9]+", "data/node17/a.bin", "node17"),
        ("rack", "data/node17/a.bin", None),
    ],
)
def test_host_from_path(pattern, path, host):
    import re

    assert table_rows.host_of(path, re.compile(pattern)) == host


def test_hosts_of_paths(fleet):
    fleet.add("node1/a.bin", CLEAN)
    fleet.add("b.bin", CLEAN)
    fleet.run("--host-from-path", "captures/([^/]+)/")
    assert [(row["host"], row["host_source"]) for row in fleet.rows("captures")] == [
        (None, None),
        ("node1", "path"),
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "-o", "out"], "name at least one source"),
        (["run", "a.bin"], "Missing option"),
        (["run", "-", "-o", "OUT"], "not from standard input"),
        (["run", "@nowhere", "-o", "OUT"], "nowhere: cannot read this list of sources"),
        (["run", "a.bin", "-o", "OUT", "--shard", "4/4"], "no shard 4 of 4"),
        (["run", "a.bin", "-o", "OUT", "--shard", "1"], "expected I/N"),
        (["run", "a.bin", "-o", "OUT", "--max-bytes", "many"], "expected a size, found 'many'"),
        (["run", "a.bin", "-o", "OUT", "--max-seconds", "0"], "greater than 0"),
        (["run", "a.bin", "-o", "OUT", "--host-from-path", "("], "not a regular expression"),
        (["run", "a.bin", "-o", "OUT", "--batch-size", "0"], "at least 1 capture"),
        (["run", "a.bin", "-o", "OUT", "--jobs", "0"], "at least 1 process"),
        (["run", "a.bin", "-o", "OUT", "--engine", "dask"], "needs --scheduler"),
        (["run", "s3://", "-o", "OUT"], "expected the name of a bucket"),
        (["run", "a.bin", "-o", "/dev/null/out"], "cannot write in the output directory"),
    ],
)
def test_wrong_usage_is_one_message_and_status_2(fleet, arguments, complaint):
    status, out, err = fleet(*(str(fleet.out) if word == "OUT" else word for word in arguments))
    assert (status, out) == (2, "")
    assert complaint in err
    assert "Traceback" not in err


def test_a_read_only_output_directory(fleet, tmp_path, monkeypatch):
    fleet.add("one.bin", CLEAN)
    fleet.out.mkdir(mode=0o555)
    monkeypatch.chdir(tmp_path)
    fleet("run", "captures", "-o", "/dev/null/out")  # what is imported late is imported now
    with unprivileged(tmp_path):
        status, out, err = fleet("run", "captures", "-o", "out")
    assert (status, out) == (2, "")
    assert "out: cannot write in the output directory: Permission denied" in err
    assert list(fleet.out.iterdir()) == []


def test_a_batch_record_counts_its_outcomes(fleet):
    for number in range(5):
        fleet.add(f"{number}.bin", CLEAN)
    fleet.run("--batch-size", 2)
    records = [json.loads(path.read_bytes()) for path in sorted((fleet.out / "batches").iterdir())]
    assert [record["outcomes"] for record in records] == [{"ok": 2}, {"ok": 2}, {"ok": 1}]
