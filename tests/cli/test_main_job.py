import json

import pytest
import result_samples as samples

import analyzer.analysis
from analyzer.errors import DamagedInputError, UsageError


def test_the_report_goes_to_stdout_and_the_status_says_what_was_found(program):
    program.results["lost.bin"] = samples.lost()
    status, out, err = program("lost.bin")
    assert status == 1
    assert out.startswith("LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded\n")
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--exit-zero"], 0),
        (["--ignore", "ARI001"], 1),
        (["--ignore", "ARI001,ARI007"], 0),
        (["--ignore", "ARI0"], 0),
        (["--select", "ari007"], 1),
        (["--select", "ARI002"], 0),
        (["--select", "ARI001,ARI007", "--ignore", "ARI00"], 0),
    ],
)
def test_what_counts_can_be_chosen(program, arguments, status):
    program.results["lost.bin"] = samples.lost()
    assert program("lost.bin", *arguments)[0] == status


def test_only_selected_findings_are_in_the_json(program):
    program.results["lost.bin"] = samples.lost()
    _, out, _ = program("lost.bin", "--format", "json", "--select", "ARI001")
    assert [f["code"] for f in json.loads(out)["captures"][0]["kexecs"][0]["findings"]] == ["ARI001"]


def test_jsonl_is_one_capture_a_line(program):
    status, out, _ = program("a.bin", "b.bin", "--format", "jsonl")
    assert status == 0
    assert [json.loads(line)["path"] for line in out.splitlines()] == ["a.bin", "b.bin"]


def test_arguments_without_captures_are_rows_in_their_place(program, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    status, out, err = program("a.bin", str(empty), str(tmp_path / "no*.bin"), "b.bin", "--format", "json")
    rows = json.loads(out)["captures"]
    assert status == 3
    assert [row["path"] for row in rows] == ["a.bin", str(empty), str(tmp_path / "no*.bin"), "b.bin"]
    assert [row["verdict"] for row in rows] == ["clean", "unreadable", "unreadable", "clean"]
    assert [row["errors"][0]["kind"] for row in rows[1:3]] == ["empty", "unreadable"]
    assert json.loads(out)["summary"] == {
        "captures": 4,
        "kexecs": 2,
        "bridges_lost": 0,
        "devices_stranded": 0,
        "undetermined": 0,
        "unreadable": 2,
    }
    assert "expected captures in this directory, found none" in err


def test_warnings_go_to_stderr_where_a_machine_reads_the_report(program):
    program.results["a.bin"] = samples.clean("a.bin", warnings=["preserved sets disagree"])
    assert (
        program("a.bin", "--format", "json")[2]
        == "analyze: warning: a.bin: kexec 0: preserved sets disagree\n"
    )
    assert program("a.bin", "--format", "json", "-q")[2] == ""
    assert program("a.bin")[2] == ""


def test_output_file_is_written_and_stdout_left_empty(program, tmp_path):
    target = tmp_path / "report.txt"
    status, out, _ = program("a.bin", "-o", str(target))
    assert (status, out) == (0, "")
    assert target.read_text().startswith("clean: 1 kexec")
    assert list(tmp_path.iterdir()) == [target]


def test_output_dash_is_stdout(program):
    assert program("a.bin", "-o", "-")[1].startswith("clean")


def test_output_over_an_input_is_refused(program, tmp_path):
    capture, link = tmp_path / "a.bin", tmp_path / "link"
    capture.write_bytes(b"precious")
    link.symlink_to(capture)
    for target in (capture, link):
        status, out, err = program(str(capture), "-o", str(target))
        assert (status, out) == (2, "")
        assert "would overwrite the input" in err
    assert capture.read_bytes() == b"precious"


def test_output_over_a_kernel_log_is_refused(program, tmp_path):
    log = tmp_path / "dmesg"
    log.write_text("precious")
    status, _, err = program("a.bin", "--dmesg", str(log), "-o", str(log))
    assert status == 2
    assert "would overwrite the input" in err


def test_output_that_cannot_be_written_is_wrong_usage(program, tmp_path):
    status, _, err = program("a.bin", "-o", str(tmp_path / "no" / "such" / "file"))
    assert status == 2
    assert "cannot write" in err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UsageError("--preserved: expected a function address", advice="write bb:dd.f"), 2, "write bb:dd.f"),
        (DamagedInputError("expected X, found Y", path="log", offset=16), 3, "log at byte 0x10: expected X"),
        (RuntimeError("a surprise"), 2, "please report it"),
        (MemoryError(), 2, "not enough memory"),
        (RecursionError("deep"), 2, "please report it"),
        (EOFError("marshal data too short"), 2, "EOFError at "),
    ],
)
def test_failures_are_messages_with_a_status(program, monkeypatch, error, status, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(analyzer.analysis, "analyze", fail)
    found, out, err = program("a.bin")
    assert (found, out) == (status, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("switch", [["-vv"], ["-v", "-v"], ["--verbose", "--verbose"], ["-qvv"]])
def test_a_crash_shows_its_trace_with_vv(program, monkeypatch, switch):
    def fail(*_, **__):
        raise RuntimeError("a surprise")

    monkeypatch.setattr(analyzer.analysis, "analyze", fail)
    status, _, err = program("a.bin", *switch)
    assert status == 2
    assert "Traceback" in err
    assert "RuntimeError at " in err


def test_a_crash_message_is_inert(program, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("\x1b[2Jgone")

    monkeypatch.setattr(analyzer.analysis, "analyze", fail)
    assert "\x1b" not in program("a.bin")[2]


def test_ctrl_c_ends_quietly_with_130(program, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(analyzer.analysis, "analyze", interrupt)
    status, out, err = program("a.bin")
    assert (status, out, err) == (130, "", "")
