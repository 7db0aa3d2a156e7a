import os

import pytest
from unprivileged import unprivileged

from analyzer.errors import UsageError
from analyzer.readers.sources import expand

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
@pytest.mark.parametrize(
    ("arguments", "found", "left_out"),
    [
        # As a shell lists them: sidecars and .toml of a capture that is named, too.
        (["a.log", "a.log.dmesg", "a.toml", "b.log"], ["a.log", "b.log"], ["a.log.dmesg", "a.toml"]),
        (["a.toml", "a.log.preserved", "a.log"], ["a.log"], ["a.toml", "a.log.preserved"]),
        (["../traces/a.toml", "a.log"], ["a.log"], ["../traces/a.toml"]),
        (["*"], ["a.log", "b.log", "sub/c.log"], ["a.log.dmesg", "a.log.preserved", "a.toml"]),
        # Without that capture each is what the user wants to know about.
        (["a.toml"], ["a.toml"], []),
        (["a.toml", "a.log.dmesg"], ["a.toml", "a.log.dmesg"], []),
        (["b.log", "a.log.dmesg"], ["b.log", "a.log.dmesg"], []),
        (["sub/c.log", "c.toml"], ["sub/c.log", "c.toml"], []),
    ],
)
def test_sidecars_beside_named_captures(arguments, found, left_out, traces, monkeypatch):
    monkeypatch.chdir(traces)
    sources = expand(arguments)
    assert sources.paths == found
    assert (sources.left_out.names, sources.left_out.number) == (left_out, len(left_out))


@pytest.mark.usefixtures("traces")
def test_every_piece_of_a_join_is_meant():
    pieces = ["traces/a.log", "traces/a.log.dmesg", "traces/a.toml"]
    sources = expand(pieces, join=True)
    assert (sources.paths, sources.left_out.number) == (pieces, 0)


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
    sources = expand(["traces"])
    assert [source.path for source in sources.found] == ["traces/a.log", "traces/b.log", "traces/sub/c.log"]
    names = ["traces/nowhere", "traces/pipe", "traces/sub/loop (a link to a directory)"]
    assert sorted(sources.left_out.names) == names


def test_standard_input_twice_is_wrong_usage():
    with pytest.raises(UsageError, match="once only"):
        expand(["-", "a", "-"])


def test_a_nul_in_a_name_is_left_to_the_reader():
    assert paths("a\0b") == ["a\0b"]


def test_files_of_a_directory_that_are_no_captures_are_named(traces):
    (traces / "notes.txt").write_text("nothing to see here\n")
    (traces / "dmesg.txt").write_text("[    0.000000] Linux version 7.3.4\n")
    (traces / "empty.log").write_text("")
    sources = expand(["traces"])
    assert sources.paths == ["traces/a.log", "traces/b.log", "traces/empty.log", "traces/sub/c.log"]
    assert sorted(sources.left_out.names) == ["traces/dmesg.txt", "traces/notes.txt"]


def test_only_the_first_names_are_kept_but_all_are_counted(traces):
    for number in range(9):
        (traces / f"notes{number}.txt").write_text("nothing to see here\n")
    left_out = expand(["traces"]).left_out
    assert (left_out.number, len(left_out.names)) == (9, 5)


def test_a_named_file_is_never_left_out(traces):
    (traces / "notes.txt").write_text("nothing to see here\n")
    sources = expand(["traces/notes.txt"])
    assert (sources.paths, sources.left_out.number) == (["traces/notes.txt"], 0)


@pytest.mark.usefixtures("traces")
def test_a_directory_of_which_nothing_remains_is_an_error_row_in_its_place(tmp_path):
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "notes.txt").write_text("nothing to see here\n")
    sources = expand(["traces/b.log", "papers", "traces/a.log"])
    assert [source.path for source in sources.found] == ["traces/b.log", "papers", "traces/a.log"]
    assert sources.found[1].error.kind == "empty"
    assert sources.left_out.names == ["papers/notes.txt"]


def test_a_directory_that_may_not_be_listed_is_an_error_row(traces, tmp_path):
    (traces / "sub").chmod(0)
    with unprivileged(tmp_path):
        found = expand(["traces"]).found
    (traces / "sub").chmod(0o755)
    assert [source.error.kind for source in found if source.error] == ["unreadable"]
