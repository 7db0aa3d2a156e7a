"""``analyze dump`` and ``analyze log`` as a user runs them."""

import json
from pathlib import Path

import pytest

from analyzer.cli.application import run
from analyzer.converting.native import write_capture
from analyzer.testing import TraceBuilder

TRACES = Path(__file__).parents[2] / "traces"
ACCESS = "write 0000:02:00.0 CAP_EXP+28.w = 0x0000  ARIFwd-"
LOST = str(TRACES / "lost-explicit-write.bin")


@pytest.fixture
def analyze(capsys):
    def call(*arguments):
        status = run(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_the_access_that_a_report_names(analyze):
    status, out, err = analyze("dump", LOST, "--access", "#15004", "--bytes")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"{'#15004':>11}  {'@0x5a500':>11}  2026-11-22 06:14:12.840954  {ACCESS}",
        "            bytes: 90 f8 e0 1c 5a 49 ea 18 00 00 00 00 00 00 00 00 b8 00 00 00 02 00 00 41",
    ]


def test_a_line_for_each_access_for_programs(analyze):
    asked = ("--register", "CAP_EXP+28.w", "--function", "2:0.0")
    status, out, _ = analyze("dump", LOST, *asked, "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [row["access"] for row in rows] == [3598, 3599, 5365, 14108, 15003, 15004, 16881, 18199, 26843]
    assert {row["register"] for row in rows} == {"CAP_EXP+28.w"}


def test_every_field(analyze):
    _, out, _ = analyze("dump", LOST, "--access", "15004", "-v")
    assert "  CTO 50us to 50ms, TimeoutDis-, ARIFwd-, ReqEn-," in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--access", "x"], 2, "--access: expected N or N-M, found 'x'"),
        (["--access", "7-3"], 2, "--access: expected N or N-M, found '7-3'"),
        (["--access", "99999999"], 2, "this capture holds accesses 0 to 27585, not 99999999"),
        (["--function", "2"], 2, "--function: expected a function address"),
        (["--register", "CAP_X"], 2, "--register: expected a register such as CAP_EXP+28.w"),
        (["--bytes"], 2, "--bytes shows at most 1,000 accesses"),
        (["--limit", "0"], 2, "--limit"),
        (["--function", "1234:00:00.0"], 0, "analyze: note: none of 27,586 accesses is selected"),
        (["-o", LOST], 2, "would overwrite the input"),
    ],
)
def test_refusals_and_notes(analyze, arguments, status, message):
    found, out, err = analyze("dump", LOST, *arguments)
    assert (found, out) == (status, "")
    assert message in err


def test_registers_that_cannot_be_placed(analyze, tmp_path):
    write_capture(TraceBuilder("r 01:00.0 00.l 1af41001\nr 01:00.0 68.w 0020").capture(), tmp_path / "x.bin")
    status, out, err = analyze("dump", str(tmp_path / "x.bin"), "--register", "DevCtl2")
    assert (status, out) == (0, "")
    assert "where DevCtl2 is in 1 function is not in the capture" in err
    assert "0000:01:00.0" in err


def test_the_kernel_log(analyze):
    status, out, err = analyze("log", LOST)
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 112
    assert "\x1b" not in out
    assert "Linux version 7.3.4" in out


def test_where_lines_of_the_log_belong(analyze, tmp_path):
    trace = TraceBuilder("r 00:03.0 68.w 0020\nlog hello \x1b[31m\nr 00:03.0 68.w 0000")
    write_capture(trace.capture(), tmp_path / "x.bin")
    assert analyze("log", "-v", str(tmp_path / "x.bin")) == (0, "         #1  hello \\x1b[31m\n", "")


def test_a_capture_without_a_log(analyze):
    status, out, err = analyze("log", str(TRACES / "formats" / "qemu-log-dialect-b.log"))
    assert (status, out) == (3, "")
    assert "expected a kernel log in this capture, found none" in err
