import os

import pytest
from unprivileged import unprivileged

from analyzer.errors import UsageError
from analyzer.sources import expand, leave_out_others

QEMU_LINE = "pci_cfg_read mch 00:00.0 @0x0 -> 0x8086\n"


@pytest.fixture
def traces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "traces" / "sub").mkdir(parents=True)
    for name in ("b.log", "a.log", "sub/c.log", ".hidden", "a.log.dmesg", "a.log.preserved", "a.toml"):
        (tmp_path / "traces" / name).write_text(QEMU_LINE)
    return tmp_path / "traces"


def paths(*arguments):
    return [source.path for source in expand(arguments).found]


@pytest.mark.usefixtures("traces")
@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["traces"], ["traces/a.log", "traces/b.log", "traces/sub/c.log"]),
        (["./traces/"], ["./traces/a.log", "./traces/b.log", "./traces/sub/c.log"]),
        (["traces/b.log", "traces/a.log"], ["traces/b.log", "traces/a.log"]),
        (["traces/*.log"], ["traces/a.log", "traces/b.log"]),
        (["traces/**/c.log"], ["traces/sub/c.log"]),
        (["traces/s*"], ["traces/sub/c.log"]),
        (["-"], ["-"]),
        (["nothing"], ["nothing"]),
        (["traces/.hidden"], ["traces/.hidden"]),
        (["traces/a.toml"], ["traces/a.toml"]),
    ],
)
def test_arguments_become_captures(arguments, found):
    assert paths(*arguments) == found


@pytest.mark.usefixtures("traces")
def test_what_the_shell_lists_beside_captures_is_left_out_and_counted():
    sources = expand(["traces/a.log", "traces/a.log.dmesg", "traces/a.toml", "traces/b.log"])
    assert sources.paths == ["traces/a.log", "traces/b.log"]
    assert sources.left_out == 2


def test_a_file_named_like_a_pattern_is_that_file(traces):
    (traces / "x[1].log").write_text(QEMU_LINE)
    assert paths("traces/x[1].log") == ["traces/x[1].log"]


@pytest.mark.usefixtures("traces")
def test_a_pattern_without_match_is_an_error_row():
    (source,) = expand(["traces/*.pcap"]).found
    assert source.error.kind == "unreadable"
    assert source.error.path == "traces/*.pcap"


def test_a_directory_without_captures_is_an_error_row(tmp_path):
    (source,) = expand([str(tmp_path)]).found
    assert (source.path, source.error.kind) == (str(tmp_path), "empty")


def test_links_cannot_loop_and_links_to_nowhere_are_passed_over(traces):
    (traces / "sub" / "loop").symlink_to(traces)
    (traces / "nowhere").symlink_to(traces / "missing")
    os.mkfifo(traces / "pipe")
    assert paths("traces") == ["traces/a.log", "traces/b.log", "traces/sub/c.log"]


def test_standard_input_twice_is_wrong_usage():
    with pytest.raises(UsageError, match="once only"):
        expand(["-", "a", "-"])


def test_a_nul_in_a_name_is_left_to_the_reader():
    assert paths("a\0b") == ["a\0b"]


def test_files_of_a_directory_that_are_no_captures_are_counted(traces):
    (traces / "notes.txt").write_text("nothing to see here\n")
    (traces / "dmesg.txt").write_text("[    0.000000] Linux version 7.3.4\n")
    (traces / "empty.log").write_text("")
    sources = leave_out_others(expand(["traces"]))
    assert sources.paths == ["traces/a.log", "traces/b.log", "traces/empty.log", "traces/sub/c.log"]
    assert sources.left_out == 2


def test_a_named_file_is_never_left_out(traces):
    (traces / "notes.txt").write_text("nothing to see here\n")
    sources = leave_out_others(expand(["traces/notes.txt"]))
    assert (sources.paths, sources.left_out) == (["traces/notes.txt"], 0)


@pytest.mark.usefixtures("traces")
def test_a_directory_of_which_nothing_remains_is_an_error_row_in_its_place(tmp_path):
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "notes.txt").write_text("nothing to see here\n")
    sources = leave_out_others(expand(["traces/b.log", "papers", "traces/a.log"]))
    assert [source.path for source in sources.found] == ["traces/b.log", "papers", "traces/a.log"]
    assert sources.found[1].error.kind == "empty"
    assert sources.left_out == 1


def test_a_directory_that_may_not_be_listed_is_an_error_row(traces, tmp_path):
    (traces / "sub").chmod(0)
    with unprivileged(tmp_path):
        found = expand(["traces"]).found
    (traces / "sub").chmod(0o755)
    assert [source.error.kind for source in found if source.error] == ["unreadable"]
