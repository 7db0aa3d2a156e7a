"""Sub-commands on a real capture: the whole way, in process."""

import json
from pathlib import Path

import pytest
from small_dumps import OFF, SILENT, dump
from sriov_dumps import VIRTUAL

from analyzer.cli.application import run

LOG = str(Path(__file__).parents[2] / "traces" / "formats" / "qemu-log-dialect-c.log.zst")


@pytest.fixture
def analyze(capsys):
    def call(*arguments):
        status = run(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_the_main_job(analyze):
    status, out, err = analyze(LOG)
    assert (status, err) == (1, "")
    assert out.startswith(
        "LOST (preserved set unknown): ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded\n"
    )


def test_stat(analyze):
    status, out, _ = analyze("stat", LOG)
    assert status == 0
    assert "27,586 (25,898 reads, 1,688 writes;" in out
    status, out, _ = analyze("stat", LOG, "--format", "json")
    assert json.loads(out)[0]["accesses"] == 27586


def test_stat_of_what_cannot_be_read(analyze, tmp_path):
    status, out, err = analyze("stat", LOG, str(tmp_path / "missing"))
    assert status == 3
    assert "unreadable" in out
    assert "there is no such file" in err


def test_convert_and_judge_again(analyze, tmp_path):
    status, out, err = analyze("convert", LOG, "-o", str(tmp_path / "x.bin"))
    assert (status, out) == (0, "")
    assert "27,586 accesses in" in err
    status, out, _ = analyze(str(tmp_path / "x.bin"))
    assert status == 1
    assert out.startswith(
        "LOST (preserved set unknown): ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded\n"
    )


def test_convert_goes_on_after_a_bad_capture(analyze, tmp_path):
    bad = tmp_path / "bad.log"
    bad.write_text("no capture\n")
    status, _, err = analyze("convert", str(bad), LOG, "-o", f"{tmp_path}/out/", "-q")
    assert status == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["qemu-log-dialect-c.bin"]
    assert "bad.log" in err


def test_convert_refuses_an_input_as_output(analyze, tmp_path):
    target = tmp_path / "x.bin"
    analyze("convert", LOG, "-o", str(target))
    before = target.read_bytes()
    status, _, err = analyze("convert", str(target), "-o", str(target))
    assert status == 2
    assert "would overwrite the input" in err
    assert target.read_bytes() == before


def test_explain(analyze):
    status, out, _ = analyze("explain", LOG, "3:1.1")
    assert status == 0
    assert out.startswith("0000:03:01.1 ")
    status, out, _ = analyze("explain", LOG, "02:00.0", "--format", "json")
    assert json.loads(out)["bdf"] == "0000:02:00.0"


def test_explain_of_a_function_without_an_access(analyze):
    status, out, err = analyze("explain", LOG, "99:1f.7")
    assert (status, out) == (2, "")
    assert "0000:99:1f.7" in err


@pytest.mark.parametrize(
    ("rows", "function", "status", "said"),
    [
        ({}, "01:01.0", 0, "0000:01:01.0 [1af4:1001] endpoint\n"),
        (SILENT, "01:01.0", 0, "0000:01:01.0 every byte reads ff: powered down, or off the bus\n"),
        (VIRTUAL, "01:01.0", 0, "0000:01:01.0 looks like a virtual function\n"),
        ({}, "01:02.0", 2, ""),
    ],
)
def test_explain_of_a_dump(analyze, tmp_path, rows, function, status, said):
    path = tmp_path / "dump.txt"
    path.write_text(dump(rows=rows))
    found, out, err = analyze("explain", str(path), function)
    assert (found, out[: len(said)]) == (status, said)
    assert bool(out) != bool(err)


def test_rule_list(analyze):
    status, out, _ = analyze("rule")
    assert status == 0
    assert out.split("\n", 1)[0].split(None, 2) == ["ARI001", "error", "ARI Forwarding lost"]


def test_corpus_of_a_directory_without_cases(analyze, tmp_path):
    status, out, err = analyze("corpus", "check", str(tmp_path))
    assert (status, out) == (3, "")
    assert str(tmp_path) in err


def test_corpus_check_and_update(analyze, tmp_path):
    analyze("convert", LOG, "-o", str(tmp_path / "case.bin"))
    (tmp_path / "case.toml").write_text('# by hand\ntitle = "a write"\n')
    status, out, _ = analyze("corpus", "check", str(tmp_path))
    assert status == 1
    assert "FAIL  case  a write" in out
    status, out, _ = analyze("corpus", "update", str(tmp_path))
    assert status == 0
    assert "nothing was written" in out
    assert (tmp_path / "case.toml").read_text() == '# by hand\ntitle = "a write"\n'
    assert analyze("corpus", "update", str(tmp_path), "--write")[0] == 0
    assert (tmp_path / "case.toml").read_text().startswith("# by hand\n")
    status, out, _ = analyze("corpus", "check", str(tmp_path))
    assert status == 0
    assert "1 case, 0 not as expected" in out


def test_atrisk_as_json(analyze):
    dump = str(Path(LOG).parent / "lspci-xxxx-vvv.txt.zst")
    status, out, _ = analyze("atrisk", dump, "--format", "json")
    assert status == 0
    found = json.loads(out)
    assert (found["path"], found["preserved_source"]) == (dump, "assumed")
    assert [(port["bdf"], port["lost_with_reset"]) for port in found["ports"] if port["ari"]] == [
        ("0000:02:00.0", ["0000:03:00.0"])
    ]


def test_explain_of_an_absent_function_says_what_else_is_known(analyze, tmp_path):
    path = tmp_path / "dump.txt"
    path.write_text(dump("00:03.0", "01:00.0", size=4096))
    status, out, err = analyze("explain", str(path), "01:01.0")
    first, note = err.splitlines()
    assert (status, out) == (2, "")
    assert "below 0000:00:03.0 [01-01], where ARI Forwarding is on; function 8 needs it" in first
    assert note.startswith("analyze: note: the Next Function Number of 0000:01:00.0 names it")


def test_explain_of_joined_pieces(analyze, tmp_path):
    before, after = tmp_path / "before.txt", tmp_path / "after.txt"
    before.write_text(dump())
    after.write_text(dump("00:03.0", "01:00.0", rows=OFF))
    pieces = (str(before), str(after))
    status, out, _ = analyze("explain", "--join", *pieces, "01:01.0")
    assert status == 0
    assert "kexec 0: 0000:01:01.0 is stranded: only ARI can address it and ARI is off\n" in out
    status, out, err = analyze("explain", *pieces, "01:01.0")
    assert (status, out) == (2, "")
    assert "found 2; --join takes them" in err


@pytest.mark.parametrize(("given", "missing"), [(LOG, "BDF"), ("02:00.0", "CAPTURE")])
def test_explain_with_one_argument(analyze, given, missing):
    status, out, err = analyze("explain", given)
    assert (status, out) == (2, "")
    assert f"Missing argument '{missing}'; analyze explain CAPTURE BDF" in err
