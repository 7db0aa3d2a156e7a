"""Snapshots as people have them: quoted, indented, logged; blobs and hex dumps of one config file."""

from __future__ import annotations

import bz2
import io
import re
import tarfile
from typing import TYPE_CHECKING

import lspci_texts
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_dumps import dump

from analyzer import bdf
from analyzer.errors import LimitExceededError, UnsupportedFormatError
from analyzer.options import Options
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ["domain", "bus", "devfn", "offset", "width", "value", "absent"]
DUMP = dump(size=4096)
#: Text without hex.
TEXT = lspci_texts.text(lspci_texts.PORT, lspci_texts.FIRST, lspci_texts.EIGHTH)
#: Prefixes of lines; none of them belongs to lspci.
PREFIXES = {
    "quoted": "> ",
    "quoted twice": "> > ",
    "quoted, no blank": ">",
    "quoted in an indented paragraph": "   > ",
    "indented": "    ",
    "indented by a tab": "\t",
    "printk": "[   12.345678] ",
    "syslog": "Nov  5 12:00:01 host17 support[77]: ",
    "rsyslog": "2026-09-22T07:14:04.123456+02:00 host17 root: ",
    "docker": "2026-09-22T07:14:04.123456789Z ",
    "cri": "2026-09-22T07:14:04.123456789Z stdout F ",
    "grep": "/var/log/lspci.txt:",
    "quoted and indented": ">     ",
}
ENDS = {"lf": "\n", "crlf": "\r\n", "cr cr lf": "\r\r\n", "doubled": "\n\n", "doubled crlf": "\r\n\r\n"}
MARK = "\ufeff"


def write(text: str, prefix: str = "", end: str = "\n", begin: str = "") -> bytes:
    return (begin + "".join(prefix + line + end for line in text.split("\n")[:-1])).encode()


def read(tmp_path: Path, data: bytes, name: str = "dump.txt", options: Options | None = None):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    capture = open_capture(str(path), options)
    notes = capture.notes
    return (
        capture.accesses.select(COLUMNS).rows(),
        capture.format,
        (
            notes.missing_dwords,
            notes.truncated,
            sorted({problem.kind for problem in notes.problems}),
        ),
    )


@pytest.mark.parametrize("text", [DUMP, TEXT], ids=["dump", "text"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
def test_a_pasted_dump_reads_as_the_plain_one(text, prefix, end, tmp_path):
    assert read(tmp_path, write(text, prefix, end)) == read(tmp_path, write(text))


@pytest.mark.parametrize("text", [DUMP, TEXT], ids=["dump", "text"])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: MARK.encode() + data,
        lambda data: MARK.encode() + data.replace(b"\n", b"\r\n"),
        lambda data: re.sub(rb"(?m)^([0-9a-f]{2,3}:) ", rb"\1\t", data),
        lambda data: data.replace(b": ", b":\xc2\xa0"),
        lambda data: data.replace(b" 00 ", b"\xc2\xa000\xc2\xa0"),
        lambda data: data.replace(b"\n", b" \t\n"),
        lambda data: data.replace(b"00:03.0", b"\x1b[1;32m00:03.0\x1b[0m"),
        lambda data: b"".join(b"\x1b[K" + line + b"\x1b[m\n" for line in data.split(b"\n")[:-1]),
        bz2.compress,
    ],
    ids=["mark", "mark, crlf", "tab", "no-break", "no-break bytes", "trailing", "colour", "colours", "bzip2"],
)
def test_a_changed_dump_reads_as_the_plain_one(text, change, tmp_path):
    data = write(text)
    assert read(tmp_path, change(data)) == read(tmp_path, data)


@given(
    st.lists(st.sampled_from(sorted(PREFIXES)), max_size=3),
    st.sampled_from(sorted(ENDS)),
    st.booleans(),
    st.sampled_from(["", " ", "\t "]),
)
def test_any_mixture_of_prefixes_reads_as_the_plain_dump(tmp_path_factory, prefixes, end, mark, trailing):
    folder = tmp_path_factory.mktemp("pasted")
    prefix = "".join(PREFIXES[name] for name in prefixes)
    text = dump()
    pasted = write(text, prefix, trailing + ENDS[end], MARK * mark)
    assert read(folder, pasted) == read(folder, write(text))


def test_a_row_that_cannot_be_read_is_counted(tmp_path):
    _, _, losses = read(tmp_path, write(DUMP, "> ").replace(b"> 60: ", b"> 60; ", 1))
    assert losses == (4, False, ["damaged"])


def test_utf_16_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(UnsupportedFormatError, match="UTF-16 text") as caught:
        read(tmp_path, DUMP.encode("utf-16"))
    assert "iconv -f UTF-16" in caught.value.advice


# One config file.

FUNCTION = (
    bytes.fromhex("f41a01100704100000000002000080 00".replace(" ", ""))
    + bytes(32)
    + bytes.fromhex("00000000 40000000 00000000 0b010000")
)
WHOLE = bytes.fromhex("868048a0070410000100040600000100") + bytes(48) + bytes(range(192))
KEY = bdf.parse("00:06.0")


def hexdump(data: bytes, *, elide: bool = True) -> str:
    """What ``hexdump -C`` prints (util-linux 2.38; as its output was seen)."""
    return rows(
        data, lambda place, row: f"{place:08x}  {row[:8].hex(' ')}  {row[8:].hex(' ')}  |{'.' * 16}|", elide
    ) + (f"{len(data):08x}\n")


def od(data: bytes, base: str = "o") -> str:
    """What ``od -t x1`` prints, with octal addresses, or with ``-A x``."""
    width = {"o": "07o", "x": "06x"}[base]
    return rows(data, lambda place, row: f"{place:{width}} {row.hex(' ')}") + f"{len(data):{width}}\n"


def xxd(data: bytes, group: int = 2) -> str:
    """What ``xxd`` prints, or ``xxd -g1``; it leaves no row out."""
    return rows(data, lambda place, row: f"{place:08x}: {row.hex(' ', -group)}  {'.' * 16}", elide=False)


def rows(data: bytes, line, elide: bool = True) -> str:
    found, before = [], None
    for place in range(0, len(data), 16):
        row = data[place : place + 16]
        same = elide and row == before
        if not same or found[-1] != "*":
            found.append("*" if same else line(place, row))
        before = row
    return "".join(f"{line}\n" for line in found)


WAYS = {
    "hexdump -C": hexdump,
    "hexdump -Cv": lambda data: hexdump(data, elide=False),
    "xxd": xxd,
    "xxd -g1": lambda data: xxd(data, 1),
    "od -t x1": od,
    "od -A x -t x1": lambda data: od(data, "x"),
    "quoted": lambda data: write(hexdump(data), "> ").decode(),
    "after a prompt": lambda data: "# hexdump -C /sys/bus/pci/devices/0000:00:06.0/config\n" + hexdump(data),
}


@pytest.mark.parametrize("data", [FUNCTION, WHOLE, WHOLE + bytes(3840)], ids=len)
@pytest.mark.parametrize("way", WAYS)
def test_the_hex_dump_of_a_config_file_reads_as_the_file(way, data, tmp_path):
    plain = read(tmp_path, data, "0000:00:06.0/config")
    text = WAYS[way](data).encode()
    found, form, losses = read(tmp_path, text, "dump.txt", Options(bdf=KEY))
    assert (found, form, losses) == (plain[0], "config-hex-dump", plain[2])
    assert read(tmp_path, text, "0000_00_06.0.txt") == (found, form, losses)


def test_a_hex_dump_without_a_function_says_what_to_do(tmp_path):
    with pytest.raises(UnsupportedFormatError, match="expected the address of the function") as caught:
        read(tmp_path, hexdump(WHOLE).encode())
    assert "--bdf" in caught.value.advice


def test_hex_dumps_of_two_files_are_refused(tmp_path):
    with pytest.raises(UnsupportedFormatError, match="found address 0x0 after 0x100"):
        read(tmp_path, hexdump(WHOLE).encode() * 2, options=Options(bdf=KEY))
    with pytest.raises(LimitExceededError, match="more than 4096 lines"):
        read(tmp_path, hexdump(WHOLE).encode() * 400, options=Options(bdf=KEY))


@pytest.mark.parametrize("way", ["hexdump -Cv", "xxd", "od -A x -t x1"])
def test_a_hex_dump_that_lacks_rows_says_so(way, tmp_path):
    lines = WAYS[way](WHOLE).splitlines(keepends=True)
    _, _, (missing, truncated, kinds) = read(
        tmp_path, "".join(lines[:6] + lines[8:]).encode(), options=Options(bdf=KEY)
    )
    assert (missing, truncated, "damaged" in kinds) == (8, False, True)
    _, _, (_, truncated, kinds) = read(tmp_path, "".join(lines[:5]).encode(), options=Options(bdf=KEY))
    assert truncated
    assert "lacks-functions" in kinds


@pytest.mark.parametrize(
    "name",
    [
        "0000-00-06.0.config", "0000_00_06.0.config", "00:06.0.config", "0000:00:06.0.config",
        "0000-00-06.0.config.gz", "0000-00-06.0/config",
    ],
)  # fmt: skip
def test_blobs_by_their_names(name, tmp_path):
    found, form, _ = read(tmp_path, WHOLE, name)
    assert form == "sysfs-config"
    assert found[0][:3] == (0, 0, 0x30)


def test_a_blob_of_any_name_with_its_function(tmp_path):
    assert read(tmp_path, WHOLE, "config", Options(bdf=KEY)) == read(tmp_path, WHOLE, "00:06.0.config")


@pytest.mark.parametrize("name", ["2026-11-19.0", "config", "0000-00-26.0.config", "0000-00_06.0.config"])
def test_other_names_are_of_no_function(name, tmp_path):
    with pytest.raises(UnsupportedFormatError):
        read(tmp_path, WHOLE, name)


def archive(*members: tuple[str, bytes | str]) -> bytes:
    """A tar archive; a text is where a symbolic link leads."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(b"" if isinstance(content, str) else content))
    return target.getvalue()


def test_an_archive_whose_config_files_come_late(tmp_path):
    late = archive(("sos/big", bytes(3 << 20)), ("sos/sys/bus/pci/devices/0000:00:06.0/config", WHOLE))
    plain = read(tmp_path, WHOLE, "0000:00:06.0.config")
    assert read(tmp_path, late, "sos.tar") == plain
    assert read(tmp_path, bz2.compress(late), "sos.tar.bz2") == plain


def test_an_archive_of_links_says_what_to_pack(tmp_path):
    links = archive(
        ("devices/0000:00:06.0", "../../../devices/pci0000:00/0000:00:06.0"), ("big", bytes(2 << 20))
    )
    with pytest.raises(UnsupportedFormatError, match=r"found none; .*1 symbolic link") as caught:
        read(tmp_path, links, "sysfs.tar")
    assert "tar -chf" in caught.value.advice


# Kernel logs.

OLD = """\
[    0.400001] pci 0000:00:00.0: [8086:29c0] type 00 class 0x060000
[    0.400002] pci 0000:00:00.0 config space:
""" + "".join(f"[    0.40{n:04}]   {n * 16:02x}: {WHOLE[n * 16 : n * 16 + 16].hex(' ')}\n" for n in range(16))
PORT = "[    3.400002] pcieport 0000:00:1c.0: config space:\n" + "".join(
    f"[    3.40{n:04}] {n * 16:08x}: {WHOLE[n * 16 : n * 16 + 16].hex(' ')}\n" for n in range(16)
)


@pytest.mark.parametrize(("log", "function"), [(OLD, "00:00.0"), (PORT, "00:1c.0")], ids=["old", "driver"])
@pytest.mark.parametrize("prefix", ["", "> "])
def test_dumps_of_old_kernels_and_of_drivers(log, function, prefix, tmp_path):
    found, form, losses = read(tmp_path, write(log, prefix))
    plain = read(tmp_path, WHOLE, "x.config", Options(bdf=bdf.parse(function)))
    assert (found, form) == (plain[0], "earlydump")
    assert losses == (0, False, ["short"])


def test_a_dump_of_one_row_lacks_the_others(tmp_path):
    found, _, losses = read(
        tmp_path, PORT.split("\n", 2)[0].encode() + b"\n" + PORT.split("\n", 2)[1].encode()
    )
    assert len(found) == 4
    assert losses == (60, False, ["damaged", "lacks-functions", "short"])
