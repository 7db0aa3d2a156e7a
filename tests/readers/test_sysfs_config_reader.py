"""Config files of sysfs: one, an archive of them, hostile archives."""

from __future__ import annotations

import io
import tarfile

import pytest
import snapshot_samples as samples
from polars.testing import assert_frame_equal
from work_done import counted

from analyzer import bdf
from analyzer.errors import UnsupportedFormatError
from analyzer.readers import open_capture
from analyzer.readers.config_names import function_of, member_of
from analyzer.readers.snapshot import sysfs

CONFIG = bytes.fromhex("361b0c00 07051000 00000406 00000100") + bytes(range(240))


def read(data, path="x.tar"):
    return samples.read(sysfs, data, path)


def tar(*members, form=tarfile.GNU_FORMAT):
    """An archive of (name, content), or of prepared ``TarInfo`` objects."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, data = member
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_the_real_archive():
    data = samples.content(samples.SYSFS)
    table, notes = read(data)
    assert samples.functions(table) == samples.FUNCTIONS
    assert (notes.problems, notes.truncated) == ([], False)
    assert table["value"].to_numpy().tobytes() == b"".join(samples.config_files().values())
    for value, where in table.select("value", "where")[::101].rows():
        assert data[where : where + 4] == value.to_bytes(4, "little")


def test_it_shows_what_lspci_showed():
    table, _ = read(samples.content(samples.SYSFS))
    other = open_capture(str(samples.FORMATS / samples.LSPCI)).accesses
    assert_frame_equal(samples.registers(table), samples.registers(other))


@pytest.mark.parametrize("size", [64, 256, 4096])
@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/sys/bus/pci/devices/0000:03:00.0/config", "0000:03:00.0"),
        ("/sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0/config", "0000:01:00.0"),
        ("host7/10000:e1:1f.7.config", "10000:e1:1f.7"),
        ("/proc/bus/pci/03/00.1", "0000:03:00.1"),
        ("/proc/bus/pci/0001:03/00.1", "0001:03:00.1"),
    ],
)
def test_one_file(path, function, size):
    table, notes = read(CONFIG.ljust(4096, b"\0")[:size], path)
    key = bdf.parse(function)
    assert table.select("domain", "bus", "devfn").unique().row(0) == (key >> 16, key >> 8 & 0xFF, key & 0xFF)
    assert table["value"].to_numpy().tobytes() == CONFIG.ljust(4096, b"\0")[:size]
    assert table["where"].to_list() == list(range(0, size, 4))
    assert samples.kinds(notes) == (["short"] if size == 64 else [])


def test_one_file_without_a_name():
    with pytest.raises(UnsupportedFormatError, match="address of the function"):
        read(CONFIG, "config")


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("0000:03:00.0/config", "0000:03:00.0"),
        ("./0000:03:00.0/config", "0000:03:00.0"),
        ("host/before/0000:03:00.0/config", "0000:03:00.0"),
        ("0000:00:03.0/0000:01:00.0/config", "0000:01:00.0"),
        ("03/00.0", "0000:03:00.0"),
        ("0000:03:00.0/vendor", None),
        ("0000:03:00.0/config/x", None),
        ("0000:03:20.0/config", None),
        ("0000:03:00.0", "0000:03:00.0"),
        ("a0000:03:00.0x", None),
        ("config", None),
        ("", None),
    ],
)
def test_names_in_archives(name, function):
    key = member_of(name)
    assert (None if key is None else bdf.text(key)) == function


def test_the_last_address_of_a_path_counts():
    assert function_of("/srv/0000:aa:00.0/x/0000:bb:01.2/config") == bdf.parse("0000:bb:01.2")
    assert function_of("/srv/notes") is None


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_archive_and_long_names(form):
    long = "/".join(["a-folder-with-a-long-name"] * 8)
    data = tar((f"{long}/0000:03:00.0/config", CONFIG), ("0000:04:00.0/config", CONFIG[:64]), form=form)
    table, notes = read(data)
    assert table.group_by("bus", maintain_order=True).len().rows() == [(3, 64), (4, 16)]
    assert notes.problems == []


def test_other_files_are_passed_over():
    data = tar(("0000:03:00.0/resource", b"x" * 100_000), ("0000:03:00.0/config", CONFIG))
    assert read(data)[0].height == 64


def test_links_and_special_files_are_refused():
    data = tar(
        ("0000:03:00.0/config", CONFIG),
        special("0000:04:00.0/config", tarfile.SYMTYPE, "/etc/shadow"),
        special("0000:05:00.0/config", tarfile.LNKTYPE, "0000:03:00.0/config"),
        special("0000:06:00.0/config", tarfile.CHRTYPE),
        special("0000:07:00.0/config", tarfile.FIFOTYPE),
    )
    table, notes = read(data)
    assert samples.functions(table) == [(3, 0)]
    (problem,) = notes.problems
    for kind in ("1 symbolic link", "1 hard link", "1 device", "1 pipe"):
        assert kind in problem.message


def test_links_alone_are_refused_with_advice():
    with pytest.raises(UnsupportedFormatError) as caught:
        read(tar(special("0000:04:00.0", tarfile.SYMTYPE, "../../../devices/x")))
    assert "tar -chf" in caught.value.advice


def test_a_device_below_its_bridge_counts_once():
    nested = ("0000:00:03.0/0000:01:00.0/config", CONFIG)
    table, notes = read(tar(("0000:01:00.0/config", CONFIG), nested))
    assert (table.height, notes.problems) == (64, [])
    table, notes = read(tar(("0000:01:00.0/config", CONFIG[::-1]), nested))
    assert (table.height, samples.kinds(notes)) == (128, ["repeated"])


@pytest.mark.parametrize("size", [0, 4097, 100_000])
def test_sizes_that_no_config_space_has_are_left_out(size):
    table, notes = read(tar(("0000:03:00.0/config", bytes(size)), ("0000:04:00.0/config", CONFIG)))
    assert samples.functions(table) == [(4, 0)]
    assert f"found {size}" in notes.problems[0].message


def test_a_file_that_was_cut_before_it_was_packed():
    table, notes = read(tar(("0000:03:00.0/config", CONFIG[:70])))
    assert (table.height, notes.truncated) == (16 + 2 + 1, True)


def test_cut_anywhere():
    data = tar(*((f"0000:{bus:02x}:00.0/config", CONFIG) for bus in range(6)))
    whole, _ = read(data)
    end = 6 * 1024
    for cut in sorted({512 * n + shift for n in range(2, 13) for shift in (-1, 0, 1, 70, 256, 300)}):
        table, notes = read(data[:cut])
        assert table.equals(whole.head(table.height)) or notes.truncated
        assert notes.truncated or cut > end


def test_claimed_sizes_cost_nothing():
    """Headers that claim up to 2^62 bytes: neither memory nor work follow the claim."""
    huge = b"\x80" + bytes(3) + (1 << 61).to_bytes(8, "big")
    for kind in (b"0", b"L", b"x", b"g", b"S"):
        header = bytearray(tar(("0000:03:00.0/config", CONFIG))[:512])
        header[124:136], header[156:157], header[148:156] = huge, kind, b" " * 8
        header[148:156] = f"{sum(header):06o}\0 ".encode()
        data = tar(("0000:01:00.0/config", CONFIG))[:1024] + bytes(header) + bytes(5000)
        with counted() as work:
            table, notes = read(data)
        assert (table.height, notes.truncated) == (64, True)
        assert work.calls < 20_000
        assert work.memory < 64 << 20


@pytest.mark.parametrize("text", [b"\xff" * 12, b"-0000000001\0", b"9999999999\0\0", b"77777777777\0"])
def test_strange_numbers_end_the_archive(text):
    header = bytearray(tar(("0000:03:00.0/config", CONFIG))[:512])
    header[124:136], header[148:156] = text, b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    table, notes = read(tar(("0000:01:00.0/config", CONFIG))[:1024] + bytes(header))
    assert (table.height, notes.truncated) == (64, True)
