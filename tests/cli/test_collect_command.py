"""``analyze collect`` as a user runs it: what it says, and its exit status."""

import pytest
from fake_hosts import BANNER, BEFORE, functions, host

from analyzer.cli.application import run

KMSG = f"5,0,0,-;{BANNER}\n6,1,0,-;Command line: root=/dev/vda1\n"

SHORT = (
    "analyze: warning: not collected: of 19 of 19 functions more than the first 64 bytes of config space,"
    " which the kernel shows to root only; no capability of them can be seen, so ARI Forwarding of bridges is"
    " unknown: where there are bridges, atrisk answers CANNOT TELL and --join is undetermined; run it as root"
)
NO_LOG = (
    "analyze: warning: not collected: the kernel's log (/dev/kmsg: No such file or directory); it lists the"
    " preserved functions, and shows resets and links that went down; give the log: --dmesg FILE"
)


@pytest.fixture(scope="module")
def spaces():
    return functions(BEFORE)


@pytest.fixture
def collect(tmp_path, capsys):
    def call(*arguments):
        status = run(["collect", "--root", str(tmp_path / "host"), *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err.replace(str(tmp_path), "TMP")

    return call


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ([], None),
        (["--before"], "analyze: hint: what a kexec can clear: analyze atrisk TMP/x.bin"),
        (["--after"], "analyze: hint: what the kexec changed: analyze --join BEFORE.bin TMP/x.bin"),
    ],
)
def test_a_whole_file(collect, spaces, tmp_path, option, hint):
    host(tmp_path / "host", spaces, kmsg=KMSG)
    status, out, err = collect("-o", str(tmp_path / "x.bin"), *option)
    assert (status, out) == (0, "")
    first, *others = err.splitlines()
    assert first.startswith("19 functions, 3 log lines of Linux 6.12.95+deb13-amd64 in TMP/x.bin (")
    assert others == ([hint] if hint else [])
    assert collect("-q", "-o", str(tmp_path / "x.bin"), *option) == (0, "", "")


def test_what_was_not_collected_is_said_with_what_it_means(collect, spaces, tmp_path):
    host(tmp_path / "host", {name: data[:64] for name, data in spaces.items()})
    status, _, err = collect("-o", str(tmp_path / "x.bin"))
    assert status == 3
    assert err.splitlines()[1:] == [SHORT, NO_LOG]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["-o", "-"], 2, "expected a file to write, found -"),
        (["-o", "x.bin", "--before", "--after"], 2, "exclude each other"),
        ([], 2, "Missing option '--output'"),
        (["-o", "x.bin"], 3, "expected PCI functions in this directory, found none that can be read"),
        (["-o", "x.bin", "--flb", "missing"], 3, "expected PCI functions"),
    ],
)
def test_refusals(collect, tmp_path, monkeypatch, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    found, out, err = collect(*arguments)
    assert (found, out) == (status, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_are_shown_inert(collect, spaces, tmp_path):
    host(tmp_path / "host", spaces, kmsg="6,0,0,-;\\x1b[31mred\n")
    (tmp_path / "host/proc/sys/kernel/osrelease").write_text("6.1\x1b[2J\n")
    status, _, err = collect("-o", str(tmp_path / "x.bin"))
    assert status == 0
    assert "\x1b" not in err
