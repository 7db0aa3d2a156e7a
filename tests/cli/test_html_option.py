import subprocess
import sys
from pathlib import Path

import pytest
import result_samples as samples

from analyzer.cli.application import run

LOST = str(Path(__file__).parents[2] / "traces" / "lost-explicit-write.bin")


@pytest.fixture
def outcome(capsys):
    def start(*arguments):
        status = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return start


def test_the_page_stands_beside_the_report(outcome, tmp_path):
    status, out, err = outcome(LOST, "--html", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert (status, err) == (1, "")
    assert out.startswith("LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded\n")
    assert "<title>LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded" in text
    assert "bit lost here" in text


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_the_other_report_may_have_any_form(outcome, tmp_path, form):
    alone = outcome(LOST, "--format", form)
    assert outcome(LOST, "--format", form, "--html", tmp_path / "page.html") == alone
    assert (tmp_path / "page.html").exists()


def test_the_same_page_a_second_time(outcome, tmp_path):
    for name in ("a.html", "b.html"):
        outcome(LOST, "--html", tmp_path / name, "-o", tmp_path / "report")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["a.bin", "--html", "-"], "--html: expected the name of a file, found '-'"),
        (["a.bin", "--html", "a.bin"], "would overwrite the input a.bin"),
        (["a.bin", "--html", "./a.bin"], "would overwrite the input a.bin"),
        (["a.bin", "--dmesg", "log", "--html", "log"], "would overwrite the input log"),
        (["a.bin", "-o", "report", "--html", "report"], "would overwrite the other output report"),
        (["a.bin", "--html"], "requires an argument"),
    ],
)
def test_a_page_without_a_file_of_its_own_is_refused(program, arguments, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.bin", "log"):
        Path(name).write_text("precious")
    status, out, err = program(*arguments)
    assert (status, out) == (2, "")
    assert complaint in err
    assert Path("a.bin").read_text() == Path("log").read_text() == "precious"


def test_a_page_that_cannot_be_written_costs_nothing_else(outcome, tmp_path):
    status, out, err = outcome(LOST, "--html", tmp_path / "no" / "page.html")
    assert status == 2
    assert out.startswith("LOST: ")
    assert "cannot write: No such file or directory" in err


def test_an_older_page_stays_where_the_new_one_fails(outcome, tmp_path, monkeypatch):
    from analyzer.report.html import page

    def broken(*_, **__):
        yield "<!doctype html>"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page, "pieces", broken)
    target = tmp_path / "page.html"
    target.write_text("old")
    status, out, _ = outcome(LOST, "--html", target)
    assert status == 2
    assert out.startswith("LOST: ")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_unreadable_capture_has_a_page_too(program, tmp_path, monkeypatch):
    monkeypatch.setattr("analyzer.analysis.analyze", lambda *_, **__: samples.analysis(samples.unreadable()))
    status, _, _ = program("bad.bin", "--html", str(tmp_path / "page.html"))
    assert status == 3
    assert "UNREADABLE" in (tmp_path / "page.html").read_text("utf-8")


def test_who_wants_no_page_pays_nothing_for_it():
    script = (
        "import sys; from analyzer.cli.application import run; "
        f"run([{LOST!r}, '-o', '/dev/null']); print('jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
