"""Files that the program writes: whole or not at all, never over an input, and nothing beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fleet_results
import fleet_runs
import pytest
from limited_files import files_up_to
from unprivileged import unprivileged

from analyzer.cli.application import run

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "traces" / "lost-explicit-write.bin"
OLD = b"what was here before"
PROGRAM = [sys.executable, "-c", "from analyzer.cli import main; main()"]

#: Ways to write a file, the last word being its name.
WAYS = {
    "text": ["a.bin", "-o"],
    "json": ["a.bin", "--format", "json", "-o"],
    "csv": ["a.bin", "--format", "csv", "-o"],
    "junit": ["a.bin", "--format", "junit", "-o"],
    "sarif": ["a.bin", "--format", "sarif", "-o"],
    "parquet": ["a.bin", "--format", "parquet", "-o"],
    "html": ["a.bin", "-q", "--html"],
    "perfetto": ["a.bin", "-q", "--perfetto"],
    "convert": ["convert", "a.bin", "--to", "bin", "-o"],
    "convert to parquet": ["convert", "a.bin", "--to", "parquet", "-o"],
    "explain": ["explain", "a.bin", "0000:02:00.0", "-o"],
    "stat": ["stat", "a.bin", "-o"],
    "atrisk": ["atrisk", "a.bin", "-o"],
    "snapshot": ["snapshot", "a.bin", "--boot", "0", "-o"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(CAPTURE, "a.bin")
    Path("out").mkdir()
    return tmp_path


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def beside() -> list[str]:
    return sorted(path.name for path in Path("out").iterdir())


def said(capsys) -> str:
    text = "".join(capsys.readouterr())
    assert "Traceback" not in text
    return text


@pytest.mark.usefixtures("folder")
def test_a_file_is_written_and_nothing_beside_it(way):
    assert run([*way, "out/new"]) in (0, 1, 3)
    assert beside() == ["new"]
    assert Path("out/new").stat().st_size > 100
    assert Path("a.bin").read_bytes() == CAPTURE.read_bytes()


@pytest.mark.parametrize(
    "link", ["the name", "another spelling", "symbolic link", "link in a folder", "hard link"]
)
@pytest.mark.usefixtures("folder")
def test_an_output_over_an_input_is_refused(way, link, capsys):
    target = Path("out/link")
    if link == "the name":
        target = Path("a.bin")
    elif link == "another spelling":
        target = Path("out/../a.bin")
    elif link == "symbolic link":
        target.symlink_to("../a.bin")
    elif link == "link in a folder":
        Path("through").symlink_to(".")
        target = Path("through/a.bin")
    else:
        target.hardlink_to("a.bin")
    assert run([*way, str(target)]) == 2
    assert "overwrite" in said(capsys)
    assert Path("a.bin").read_bytes() == CAPTURE.read_bytes()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["a.bin"], ["--dmesg", "--flb", "--seed", "--preserved", "--cmdline"]),
        (["explain", "a.bin", "0000:02:00.0"], ["--dmesg", "--flb", "--preserved", "--cmdline"]),
        (["convert", "a.bin", "--to", "bin"], ["--dmesg", "--flb"]),
        (["collect"], ["--dmesg", "--flb"]),
        (["snapshot", "a.bin"], ["--dmesg"]),
        (["atrisk", "a.bin"], ["--flb", "--preserved"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_files_that_options_name_are_not_written_over_either(command, options, capsys):
    Path("given").write_bytes(OLD)
    for option in options:
        value = "@given" if option in ("--preserved", "--cmdline") else "given"
        assert run([*command, option, value, "-o", "given"]) == 2
        assert "would overwrite the input given" in said(capsys)
    assert Path("given").read_bytes() == OLD


@pytest.mark.parametrize("name", ["a.bin.dmesg", "a.dmesg", "a.bin.flb", "a.preserved"])
@pytest.mark.usefixtures("folder")
def test_what_lies_beside_a_capture_is_not_written_over(way, name, capsys):
    Path(name).write_bytes(OLD)
    assert run([*way, name]) == 2
    assert f"would overwrite the input {name}" in said(capsys)
    assert Path(name).read_bytes() == OLD


@pytest.mark.parametrize("link", ["symbolic", "hard"])
@pytest.mark.usefixtures("folder")
def test_links_to_what_lies_beside_a_capture(link, capsys):
    Path("a.bin.dmesg").write_bytes(OLD)
    Path("a.dmesg").write_bytes(OLD)  # the other one goes before it, and is somebody's log as well
    for target in ("a.bin.dmesg", "a.dmesg"):
        output = Path(f"out/{target}-{link}")
        output.symlink_to(f"../{target}") if link == "symbolic" else output.hardlink_to(target)
        assert run(["a.bin", "-o", str(output)]) == 2
        assert f"would overwrite the input {target}" in said(capsys)
        assert Path(target).read_bytes() == OLD


@pytest.mark.parametrize("link", [None, "symbolic", "hard"])
@pytest.mark.usefixtures("folder")
def test_a_file_of_a_capture_that_is_a_directory(link, capsys):
    config = Path("devices/0000:00:00.0/config")
    config.parent.mkdir(parents=True)
    config.write_bytes(bytes(256))
    output = Path("out/link") if link else config
    if link == "symbolic":
        output.symlink_to(f"../{config}")
    elif link == "hard":
        output.hardlink_to(config)
    assert run(["stat", "devices", "-o", str(output)]) == 2
    assert "would overwrite the input devices" in said(capsys)
    assert config.read_bytes() == bytes(256)
    Path("devices/0000:00:00.0/report").touch()
    assert run(["stat", "devices", "-o", "out/report"]) == 0


def test_the_file_that_standard_input_comes_from(folder):
    for output, status in (("a.bin", 2), ("out/new", 1)):
        with Path("a.bin").open("rb") as stream:
            done = subprocess.run(
                [*PROGRAM, "-", "-o", output], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=stream, capture_output=True, check=False,
            )  # fmt: skip
        assert done.returncode == status, done.stderr
    assert Path("a.bin").read_bytes() == CAPTURE.read_bytes()


@pytest.mark.usefixtures("folder")
def test_one_conversion_does_not_write_over_the_source_of_another(capsys):
    shutil.copy("a.bin", "b.bin")
    Path("out/a.bin").hardlink_to("b.bin")
    assert run(["convert", "a.bin", "b.bin", "-o", "out/"]) == 2
    assert "would overwrite the input b.bin" in said(capsys)
    assert beside() == ["a.bin"]


@pytest.mark.parametrize("first", ["-o", "--html"])
@pytest.mark.usefixtures("folder")
def test_two_outputs_are_two_files(first, capsys):
    assert run(["a.bin", first, "out/new", "--perfetto", "out/../out/new"]) == 2
    assert "overwrite the other output out/new" in said(capsys)
    assert beside() == []


@pytest.fixture
def fleet(folder):
    """A run's directory, ``fleet``, and a hard link to one of its tables elsewhere."""
    job = fleet_results.write(folder / "fleet", fleet_results.FLEET)
    Path("fleet/run.lock").touch()
    part = next(Path("fleet/captures").rglob("part-0*.parquet"))
    Path("out/part").hardlink_to(part)
    Path("out/job").symlink_to("../fleet/job.json")
    Path("through").symlink_to("fleet/batches")
    return {"MANIFEST": job.manifest, "PART": str(part.relative_to("fleet"))}


@pytest.mark.parametrize("option", ["-o", "--html"])
@pytest.mark.parametrize("form", ["text", "json", "prometheus"])
@pytest.mark.parametrize(
    "target",
    [
        "fleet/job.json",
        "fleet/MANIFEST",
        "fleet/run.lock",
        "fleet/PART",
        "fleet/kexecs/new.parquet",
        "fleet/../fleet/devices/capture_verdict=clean/new.html",
        "through/new.json",
        "out/job",
        "out/part",
    ],
)
def test_a_report_is_not_written_over_the_run(target, form, option, fleet, folder, capsys):
    for word, name in fleet.items():
        target = target.replace(word, name)
    before = fleet_runs.tree(folder)
    assert run(["fleet", "report", "fleet", "--format", form, option, target]) == 2
    assert "a file of the run" in said(capsys)
    assert fleet_runs.tree(folder) == before


@pytest.mark.usefixtures("fleet")
def test_a_report_beside_the_tables_of_the_run_may_be_replaced():
    for _ in range(2):
        command = ["fleet", "report", "fleet", "--format", "json", "-o", "fleet/report.json"]
        assert run([*command, "--html", "fleet/report.html"]) == 1
    assert Path("fleet/report.json").stat().st_size > 100


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.usefixtures("folder")
def test_a_full_disk_leaves_what_was_there(way, existing, capsys):
    if existing:
        Path("out/new").write_bytes(OLD)
    with files_up_to(64):
        assert run([*way, "out/new"]) == 2
    assert "cannot write" in said(capsys)
    assert beside() == ["new"] * existing
    if existing:
        assert Path("out/new").read_bytes() == OLD


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.usefixtures("folder")
def test_a_device_that_is_full(capsys):
    assert run(["a.bin", "-o", "/dev/full"]) == 2
    assert "No space left on device" in said(capsys)
    assert Path("/dev/full").is_char_device()


def test_a_folder_that_may_not_be_written(way, folder, capsys):
    Path("out/new").write_bytes(OLD)
    Path("out").chmod(0o555)
    # An interpreter in root's home cannot be read below: what is imported late is imported now.
    run([*way, "early"])
    run([*way, "/dev/null/early"])
    said(capsys)
    with unprivileged(folder):
        assert run([*way, "out/new"]) == 2
    assert "Permission denied" in said(capsys)
    Path("out").chmod(0o755)
    assert beside() == ["new"]
    assert Path("out/new").read_bytes() == OLD


@pytest.mark.parametrize("target", ["no-such-folder/new", "a.bin/new", "out"])
@pytest.mark.usefixtures("folder")
def test_places_where_no_file_can_be(way, target, capsys):
    if "convert" in way and target == "out":
        return  # a folder is where several captures go
    if "convert" in way and target == "no-such-folder/new":
        return  # it makes the folder
    assert run([*way, target]) == 2
    said(capsys)
    assert beside() == []


def test_a_reader_that_left(folder):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*PROGRAM, "a.bin", "--format", "json"], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=write, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_files_are_closed_before_the_next_is_opened(folder):
    for number in range(100):
        Path(f"out/{number}.bin").hardlink_to("a.bin")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24));"
    done = subprocess.run(
        [sys.executable, "-c", f"{limit} {PROGRAM[2]}", "stat", "out", "--format", "json", "-o", "report"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("length", [300, 5000])
@pytest.mark.parametrize(
    "words", [["a.bin", "-o"], ["convert", "a.bin", "-o"], ["tables", "a.bin", "-o"], ["corpus", "check"]]
)
def test_a_name_that_no_system_takes_is_an_error(folder, words, length, capsys):
    assert run([*words, "x" * length + ".bin"]) in (2, 3)
    text = said(capsys)
    assert "internal error" not in text
    assert "error: xxx" in text
    assert sorted(path.name for path in folder.iterdir()) == ["a.bin", "out"]
