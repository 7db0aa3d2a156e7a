import os
import subprocess
import sys
from pathlib import Path

import pytest

from analyzer.cli.application import build
from analyzer.cli.shell_completion import SCRIPTS, answer
from analyzer.results.rules import RULES

PROGRAM = Path(sys.executable).parent / "analyze"


def offered(*words, by="bash"):
    """The words that fit, and whether file names do."""
    lines = [line.split("\t") for line in answer(build(), words, by)]
    return {line[1] for line in lines if line[0] == "plain"}, ["file"] in lines


@pytest.mark.parametrize(
    ("words", "plain", "files"),
    [
        (["ex"], {"explain"}, True),
        (["traces/clean-inherit.bin"], set(), True),
        (["a.bin", ""], set(), True),
        (["-v", "--strict", "sn"], {"snapshot"}, True),
        (["--polic"], {"--policy"}, False),
        (["--policy", "s"], {"stock", "serialize"}, False),
        (["--policy=h"], {"heal"}, False),
        (["--policy", "=", "h"], {"heal"}, False),
        (["--policy", "="], {"observed", "stock", "inherit", "serialize", "heal"}, False),
        (["--dmesg", ""], set(), True),
        (["--cmdline", ""], set(), False),
        (["--select", "ari007"], {"ARI007"}, False),
        (["--ignore", "ARI001,ARI00"], {f"ARI001,{code}" for code in RULES if code < "ARI01"}, False),
        (["rule", "ARI016"], {"ARI016"}, False),
        (["explain", "a"], set(), True),
        (["explain", "--join", "a.bin", ""], set(), True),
        (["corpus", "ch"], {"check"}, False),
        (["lab", "run", "clear"], {"cleared-by-byte", "cleared-by-dword", "cleared-by-word"}, True),
        (["lab", "run", "clean"], {"clean", "clean-with-iommu"}, True),
        (["lab", "run", "clean", "all-"], {"all-built", "all-stock"}, True),
        (["convert", "a.log", "--to", ""], {"bin", "parquet"}, False),
        (["convert", "a.log", "-o", ""], set(), True),
        (["--", "x"], set(), True),
        ([], set(build().commands), True),
    ],
)
def test_what_fits(words, plain, files):
    assert offered(*words) == (plain, files)


def test_help_is_one_line_beside_each_word():
    for line in answer(build(), ["--"], "zsh"):
        kind, word, told = line.split("\t")
        assert (kind, word[:2]) == ("plain", "--")
        assert told


def test_fish_gets_the_whole_word_back():
    assert offered("--policy=h", by="fish") == ({"--policy=heal"}, False)


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_is_printed(program, shell):
    status, out, err = program("--show-completion", shell)
    assert (status, err) == (0, "")
    assert f"_ANALYZE_COMPLETE{' ' if shell == 'fish' else '='}{shell}" in out


@pytest.mark.parametrize("words", [["--nope", ""], ["corpus", "nope", "--", "x"], ["--policy"] * 3])
def test_a_line_that_cannot_be_understood_gets_no_message(program, monkeypatch, words):
    monkeypatch.setenv("_ANALYZE_COMPLETE", "bash")
    status, _, err = program(*words)
    assert (status, err) == (0, "")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "stories.log").touch()
    (tmp_path / "snap shots").mkdir()
    return tmp_path


def lines_of(command, script, folder, *arguments):
    """Run a script in a shell that finds the program and its completion, and return its lines."""
    environment = os.environ | {
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
        "COMPLETION": subprocess.run(
            [PROGRAM, "--show-completion", command[0]], capture_output=True, text=True, check=True
        ).stdout,
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [*command, script, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


BASH = """
eval "$COMPLETION"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
$(complete -p analyze | sed 's/.*-F \\([^ ]*\\).*/\\1/') "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "replies"),
    [
        (["s"], ["snapshot", "stat", "snap shots", "stories.log"]),
        (["--policy", "=", "he"], ["heal"]),
        (["--linktype"], ["--linktype-raw-tlp"]),
        # Nothing of ours: readline completes file names itself.
        (["stor"], [""]),
    ],
)
def test_bash_completes(folder, words, replies):
    found = lines_of(["bash", "-c"], BASH, folder, "bash", "analyze", *words)
    assert sorted(found) == sorted(replies)


# A terminal of zsh's own in which a tab is pressed; what it then holds is echoed.
ZSH = """
zmodload zsh/zpty
zpty line zsh -f -i
zpty -w line 'PS1=; PS2=; unset zle_bracketed_paste; autoload -Uz compinit; compinit -u; eval "$COMPLETION"'
zpty -w line 'echo go"on"'
while zpty -r line said && [[ $said != *goon* ]]; do :; done
zpty -w -n line "$1"$'\\t\\x01echo "<\\x05>"\\n'
while zpty -r line said && [[ $said != '<'* ]]; do :; done
print -r -- "${said%%$'\\r'*}"
"""


@pytest.mark.system
@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("analyze ex", "<analyze explain>"),
        ("analyze stor", "<analyze stories.log>"),
        ("analyze --policy he", "<analyze --policy heal>"),
        ("analyze --policy=he", "<analyze --policy=heal>"),
        ("analyze corpus up", "<analyze corpus update>"),
    ],
)
def test_zsh_completes(folder, typed, line):
    assert lines_of(["zsh", "-f", "-c"], ZSH, folder, "zsh", typed) == [line]


@pytest.mark.system
@pytest.mark.parametrize(
    ("typed", "replies"),
    [
        ("analyze sn", ["snap shots/", "snapshot"]),
        ("analyze stor", ["stories.log"]),
        ("analyze --policy he", ["heal"]),
        ("analyze --policy=he", ["--policy=heal"]),
        ("analyze corpus up", ["update"]),
    ],
)
def test_fish_completes(folder, typed, replies):
    script = 'eval (string collect -- "$COMPLETION"); complete -C "$argv[1]"'
    found = lines_of(["fish", "--no-config", "-c"], script, folder, typed)
    assert sorted(line.split("\t")[0] for line in found) == replies
