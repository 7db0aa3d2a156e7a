"""``analyze snapshot`` and the options of ``convert`` that make a capture fit to post, in process."""

from pathlib import Path

import pytest

from analyzer.cli.application import run

TRACES = Path(__file__).parents[2] / "traces"
LOST = str(TRACES / "lost-explicit-write.bin")
DUMP = str(TRACES / "formats" / "lspci-xxxx-vvv.txt.zst")


@pytest.fixture
def analyze(capsys):
    def call(*arguments):
        status = run(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_a_snapshot_of_a_boot(analyze):
    status, out, err = analyze("snapshot", LOST, "--boot", "1")
    assert (status, err) == (0, "")
    assert out.startswith("# Configuration space at the end of boot 1 (kernel 7.3.4), accesses ")
    assert "\n0000:02:00.0 0604: 104c:8233\n" in out
    assert analyze("snapshot", LOST, "--boot", "2")[1] == analyze("snapshot", LOST)[1] != out


def test_a_snapshot_into_a_file_is_a_capture(analyze, tmp_path):
    status, out, _ = analyze("snapshot", LOST, "-o", str(tmp_path / "x.txt"))
    assert (status, out) == (0, "")
    status, out, _ = analyze("stat", str(tmp_path / "x.txt"))
    assert status == 0
    assert "lspci-dump" in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--boot", "3"], 2, "holds boots 0 to 2, not 3"),
        (["--boot", "-1"], 2, "holds boots 0 to 2, not -1"),
        (["--boot", "x"], 2, "expected a whole number"),
        (["-o", LOST], 2, "would overwrite the input"),
    ],
)
def test_wrong_usage(analyze, arguments, status, message):
    found, out, err = analyze("snapshot", LOST, *arguments)
    assert (found, out) == (status, "")
    assert message in err


def test_a_snapshot_of_a_snapshot(analyze):
    status, out, _ = analyze("snapshot", DUMP)
    assert status == 0
    assert out.count("\n\n") == 16
    assert "Not captured" not in out


def test_convert_to_what_can_be_posted(analyze, tmp_path):
    target = str(tmp_path / "x.bin")
    status, _, err = analyze("convert", LOST, "--minimal", "--redact", "-o", target)
    assert status == 0
    assert "accesses of 27,586" in err
    assert "1 value blanked" in err
    status, out, _ = analyze(target)
    assert status == 1
    assert out.startswith("LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded\n")
    assert Path(target).stat().st_size * 5 < Path(LOST).stat().st_size
