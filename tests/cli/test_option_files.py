"""Files that options name, and sidecars: what is wrong with them is said, blamed on them, never quoted."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import polars as pl
import pytest
import zstandard

from analyzer.cli.application import run
from analyzer.readers import opening

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "traces" / "lost-explicit-write.bin"
SNAPSHOT = ROOT / "traces" / "formats" / "lspci-xxxx-vvv.txt.zst"
CONSOLE = ROOT / "traces" / "formats" / "console-hidden-after-secondary-bus-reset.txt.zst"
OTHER_TEXT = "root:x:0:0:correct horse battery staple:/root:/bin/bash\n"
#: A log of the kernels of CAPTURE.
LOG = "[    0.000000] Linux version 7.3.4 (x@y) #1\n[    1.000000] reboot: Restarting system\n"
SET = "0000:02:00.0  # a comment\n"
PACK = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "gz.xz": lambda data: lzma.compress(gzip.compress(data)),
}
#: Every option that names a file, what it may hold, and where the file stands in its value.
OPTIONS = {
    "--dmesg": (LOG, "{}"),
    "--preserved": (SET, "@{}"),
    "--cmdline": ("quiet pci=noari\n", "@{}"),
    "--flb": (b"", "{}"),
    "--seed": (b"", "{}"),
}
TEXTS = ("--dmesg", "--preserved", "--cmdline")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(CAPTURE, "a.bin")
    return tmp_path


@pytest.fixture
def answer(capsys):
    """Run the main job with JSON; status, the only capture, and everything that was said."""

    def answered(*words: str) -> tuple[int, dict, str]:
        status = run([*words, "--format", "json"])
        said = capsys.readouterr()
        (capture,) = json.loads(said.out)["captures"]
        return status, capture, said.out + said.err

    return answered


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda _path: None, "there is no such file"),
        (lambda path: path.mkdir(), "found a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "found a device or socket"),
        (lambda path: path.touch(), "found no"),
        (os.mkfifo, "nothing was written to it"),
        (lambda path: path.write_text(OTHER_TEXT), "expected "),
        (lambda path: path.write_bytes(OTHER_TEXT.encode() * 3 + bytes(range(256))), "expected "),
        (lambda path: path.write_bytes(gzip.compress(LOG.encode() * 9)[:-20]), "expected "),
    ],
)
def test_a_file_at_fault_is_the_one_that_is_blamed(option, make, problem, answer, monkeypatch):
    monkeypatch.setattr(opening, "PIPE_PATIENCE_S", 0.05)
    make(Path("named"))
    status, capture, said = answer("a.bin", option, OPTIONS[option][1].format("named"))
    if status == 1:  # a command line may be any line of text
        assert option == "--cmdline"
        assert "horse" not in said
        return
    (error,) = capture["errors"]
    assert status == 3
    assert (capture["path"], capture["verdict"], error["file"]) == ("a.bin", "unreadable", "named")
    assert error["message"].startswith(f"{option} named")
    assert problem in error["message"]
    assert "horse" not in said
    assert f"error: {option} named" in said
    assert "(a.bin was not analysed)" in said


def test_every_format_blames_the_right_file(capsys):
    Path("log").write_text(OTHER_TEXT)
    blame = "--dmesg log: expected a kernel log, found text of 1 line, none of them a kernel message"
    said = {}
    for form in ("text", "json", "jsonl", "csv", "junit", "sarif"):
        assert run(["a.bin", "--dmesg", "log", "--format", form]) == 3
        said[form] = capsys.readouterr().out
    assert run(["a.bin", "--dmesg", "log", "--format", "parquet", "-o", "t", "--html", "h", "-q"]) == 3
    assert said["text"].startswith(f"UNREADABLE: {blame}")
    assert "(a.bin was not analysed)" in said["text"]
    assert json.loads(said["jsonl"])["errors"][0]["file"] == "log"
    assert blame in said["csv"]
    (error,) = ET.fromstring(said["junit"]).iter("error")  # noqa: S314 our own
    assert error.get("message", "").startswith(blame)
    (notification,) = json.loads(said["sarif"])["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert notification["message"]["text"].startswith(blame)
    place = notification["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "log"}
    assert blame in pl.read_parquet("t")["text"][0]
    assert blame in Path("h").read_text()


@pytest.mark.parametrize(
    "command", [["explain", "a.bin", "0000:02:00.0"], ["convert", "a.bin", "-o", "b.bin"]]
)
def test_other_commands_blame_it_too(command, folder, capsys):
    Path("log").write_text(OTHER_TEXT)
    assert run([*command, "--dmesg", "log"]) == 3
    assert "analyze: error: --dmesg log: expected a kernel log" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["a.bin", "log"]


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("option", TEXTS)
def test_texts_are_unpacked_as_captures_are(option, pack, answer):
    content, value = OPTIONS[option]
    Path("plain").write_text(content)
    Path("packed").write_bytes(PACK[pack](content.encode()))
    plain = answer("a.bin", option, value.format("plain"))
    assert plain[1]["verdict"] == "findings"
    assert answer("a.bin", option, value.format("packed"))[:2] == plain[:2]


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize(("suffix", "content"), [(".dmesg", LOG), (".preserved", SET)])
def test_sidecars_are_unpacked_as_captures_are(suffix, content, pack, answer):
    Path(f"a{suffix}").write_text(content)
    plain = answer("a.bin")
    Path(f"a{suffix}").write_bytes(PACK[pack](content.encode()))
    assert answer("a.bin") == plain
    assert plain[1]["verdict"] == "findings"


def test_compressions_that_captures_cannot_have_are_named(answer):
    Path("log").write_bytes(b"\x04\x22\x4d\x18" + LOG.encode())
    _, capture, _ = answer("a.bin", "--dmesg", "log")
    assert "found lz4 data; pipe it in: lz4 -dc" in capture["errors"][0]["message"]


@pytest.mark.parametrize("option", TEXTS)
def test_a_bomb_is_refused(option, answer, monkeypatch):
    from analyzer.preservation import preserved
    from analyzer.readers import small_files

    assert small_files.LOG_LIMIT == 256 << 20
    monkeypatch.setattr(small_files, "LOG_LIMIT", 10_000)
    monkeypatch.setattr(small_files, "COMMAND_LINE_LIMIT", 10_000)
    monkeypatch.setattr(preserved, "_TEXT_LIMIT", 10_000)
    Path("packed").write_bytes(gzip.compress(b"\n" * 10_001))
    _, capture, _ = answer("a.bin", option, OPTIONS[option][1].format("packed"))
    assert capture["errors"][0]["kind"] == "too-large"
    assert "of at most 10000 bytes, found more" in capture["errors"][0]["message"]


@pytest.mark.parametrize("option", TEXTS)
def test_a_pipe_is_read_once_for_all_captures(option, capsys):
    shutil.copy(CAPTURE, "b.bin")
    content, value = OPTIONS[option]
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_text, args=[content])
    writer.start()
    status = run(["a.bin", "b.bin", option, value.format("pipe"), "--format", "json"])
    writer.join()
    captures = json.loads(capsys.readouterr().out)["captures"]
    assert status == 1
    assert [capture["verdict"] for capture in captures] == ["findings", "findings"]


def test_process_substitution_of_a_shell():
    command = 'exec "$0" -c "from analyzer.cli import main; main()" a.bin --dmesg <(sleep 0.2; cat log)'
    Path("log").write_text(LOG)
    done = subprocess.run(
        ["bash", "-c", command, sys.executable],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr


def test_a_seed_from_a_pipe(capsys):
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_bytes, args=[SNAPSHOT.read_bytes()])
    writer.start()
    status = run(["a.bin", "--seed", "pipe", "--format", "json"])
    writer.join()
    assert status in (0, 1, 3)
    assert len(json.loads(capsys.readouterr().out)["captures"][0]["files"]) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_a_console_log_is_a_kernel_log(packed, answer):
    log = CONSOLE
    if not packed:
        log = Path("console")
        log.write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(CONSOLE.read_bytes()))
    assert answer("a.bin", "--dmesg", str(log))[1]["verdict"] == "findings"


def test_an_address_on_the_command_line_is_quoted(capsys):
    assert run(["a.bin", "--preserved", "0000:0g:00.0"]) == 2
    assert "found '0000:0g:00.0'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SET + OTHER_TEXT, "expected [KEXEC:]dddd:bb:dd.f in line 2, found other text; write"),
        (OTHER_TEXT + SET + OTHER_TEXT, "in line 1, found other text (and in 1 more of 3 lines)"),
        ("# nothing\n\n", "expected at least one [KEXEC:]dddd:bb:dd.f, found none in 2 lines"),
    ],
)
@pytest.mark.parametrize("words", [["--preserved", "@a.preserved"], []], ids=["option", "sidecar"])
def test_a_list_is_blamed_by_its_line(words, content, message, answer):
    Path("a.preserved").write_text(content)
    _, capture, said = answer("a.bin", *words)
    assert message in capture["errors"][0]["message"]
    assert capture["errors"][0]["file"] == "a.preserved"
    assert "horse" not in said


@pytest.mark.parametrize("suffix", [".preserved", ".dmesg", ".flb"])
def test_a_link_that_leads_out_is_not_followed(suffix, answer, tmp_path_factory):
    plain = answer("a.bin")
    elsewhere = tmp_path_factory.mktemp("home") / "secret"
    elsewhere.write_text(OTHER_TEXT)
    Path(f"a{suffix}").symlink_to(elsewhere)
    status, capture, said = answer("a.bin")
    (problem,) = capture.pop("errors")
    plain[1].pop("errors")
    assert (status, capture) == plain[:2]
    assert (problem["kind"], problem["file"]) == ("not-followed", f"a{suffix}")
    assert "leads out of the capture's folder: it was not followed" in problem["message"]
    assert "horse" not in said
    assert run(["convert", "a.bin", "-o", "b.bin", "-q"]) == 0
    assert b"horse" not in Path("b.bin").read_bytes()


def test_links_within_the_folder_are_followed(answer):
    Path("sets").mkdir()
    Path("sets/one").write_text(SET)
    Path("a.preserved").symlink_to("sets/one")
    _, capture, _ = answer("a.bin")
    assert capture["errors"] == []
    assert capture["kexecs"][0]["preserved_source"] in ("capture", "sidecar")


def test_a_capture_that_is_a_link_has_the_sidecars_of_its_name(answer, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    Path("a.bin").rename(store / "object")
    Path("a.bin").symlink_to(store / "object")
    Path("a.preserved").write_text(OTHER_TEXT)
    assert answer("a.bin")[1]["errors"][0]["file"] == "a.preserved"


def test_a_file_that_is_no_capture_is_not_quoted(answer):
    Path("link.bin").symlink_to("passwd")
    Path("passwd").write_text(OTHER_TEXT)
    _, capture, said = answer("link.bin")
    assert "of text without any line of these" in capture["errors"][0]["message"]
    assert "horse" not in said
    assert "root:" not in said
