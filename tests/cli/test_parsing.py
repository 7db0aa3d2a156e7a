import pytest

from analyzer.cli.parsing import first_word

VALUED = frozenset({"--format", "--output", "-o"})


@pytest.mark.parametrize(
    ("arguments", "index"),
    [
        ([], None),
        (["a.bin"], 0),
        (["-q", "a.bin"], 1),
        (["--format", "json", "a.bin"], 2),
        (["--format=json", "a.bin"], 1),
        (["-o", "out", "a.bin"], 2),
        (["-oout", "a.bin"], 1),
        (["-vo", "out", "a.bin"], 2),
        (["-qv", "a.bin"], 1),
        (["-"], 0),
        (["-q", "-"], 1),
        (["--", "explain"], None),
        (["--format", "json"], None),
        (["--unknown", "a.bin"], 1),
    ],
)
def test_first_word(arguments, index):
    assert first_word(arguments, VALUED) == index


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        (["a.bin"], ["a.bin"]),
        (["a.bin", "b.bin"], ["a.bin", "b.bin"]),
        (["--format", "json", "a.bin"], ["a.bin"]),
        (["a.bin", "--format", "json"], ["a.bin"]),
        (["a.bin", "-q", "b.bin", "--policy=stock"], ["a.bin", "b.bin"]),
        (["--", "explain"], ["explain"]),
        (["--", "-odd-name"], ["-odd-name"]),
        (["./stat"], ["./stat"]),
        (["a.bin", "stat"], ["a.bin", "stat"]),
        (["-"], ["-"]),
    ],
)
def test_these_lines_mean_the_main_job(program, arguments, paths):
    status, _, _ = program(*arguments)
    assert (status, program.paths) == (0, paths)


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("explian", "explain"),
        ("stats", "stat"),
        ("at-risk", "atrisk"),
        ("covnert", "convert"),
        ("flet", "fleet"),
    ],
)
def test_a_mistyped_command_is_suggested(program, tmp_path, monkeypatch, word, command):
    monkeypatch.chdir(tmp_path)
    status, out, err = program(word, "a.bin")
    assert (status, out) == (2, "")
    assert f"did you mean 'analyze {command}'? (./{word} is always a file)" in err
    (tmp_path / word).touch()
    assert (program(word)[0], program.paths) == (0, [word])


@pytest.mark.parametrize("word", ["host", "x", "explian.bin", "dir/explian", "captures", "lost"])
def test_other_words_are_captures(program, word):
    assert (program(word)[0], program.paths) == (0, [word])


@pytest.mark.parametrize(
    "arguments",
    [["rule", "ARI001"], ["--format", "json", "rule", "ARI001"], ["rule", "--format", "json", "ari001"]],
)
def test_these_lines_mean_a_sub_command(program, arguments):
    status, out, _ = program(*arguments)
    assert status == 0
    assert "ARI Forwarding lost" in out
    assert program.paths is None


def test_an_option_of_the_main_job_before_a_sub_command_is_refused_by_the_sub_command(program):
    status, out, err = program("--policy", "stock", "rule")
    assert (status, out) == (2, "")
    assert "No such option: --policy" in err


def test_options_reach_the_library(program):
    program(
        *("a.bin", "--policy", "heal", "--series", "v6", "--preserved", "03:00.0", "--flb", "x.flb"),
        *("--flb-name", "pci", "--dmesg", "log", "--cmdline", "pci=noari", "--assume-preserved"),
        *("--kexec-at", "access:5", "--kexec-at", "time:9"),
    )
    options = program.options
    assert (options.policy, options.series, options.preserved) == ("heal", "v6", "03:00.0")
    assert (options.flb, options.flb_name, options.dmesg, options.cmdline) == (
        "x.flb",
        "pci",
        "log",
        "pci=noari",
    )
    assert options.assume_preserved
    assert options.kexec_at == ("access:5", "time:9")


def test_defaults_reach_the_library(program):
    program("a.bin")
    assert (program.options.policy, program.options.series, program.options.kexec_at) == (
        "observed",
        None,
        (),
    )
