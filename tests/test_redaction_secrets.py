"""--redact: a secret in every field of every record of a native file; none is in the redacted one."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import preserved_dumps
import pytest
import test_redaction_registers as registers
import zstandard
from native_chunks import chunks
from simulator import Kernel, Recording, ari_device, one_port
from test_redaction_text import AROUND, SAID

from analyzer.capture import Boundary, Event, FunctionUse, LogLine, PlacedUse, PreservedDump, Problem
from analyzer.converting.conversion import convert, plan
from analyzer.converting.native import NativeWriter, write_capture
from analyzer.converting.redaction import rebuilt, redact
from analyzer.errors import AritraceError
from analyzer.preservation import flb
from analyzer.readers import open_capture
from analyzer.testing import table
from schemas.native import CHUNK_HEADER, FILE_HEADER_START, RECORDS, ChunkType, Codec

#: In every planted text; nothing that the program writes has it.
MARK = "Zqxj"
HOST = f"{MARK}host.fleet.example"
_SIGNED = 0x7151_7151_7151_7151  # "QqQqQqQq", as a number


def padding(kind):
    """Which bytes of a record are reserved: those that building a record of ones leaves 0."""
    record, _ = RECORDS[kind]
    ones = record.parse(b"\xff" * record.sizeof())
    return np.frombuffer(record.build(ones), np.uint8) == 0


def payloads(data):
    """Place, header and payload of each chunk of a native file."""
    for place, _ in chunks(data):
        begin = place + CHUNK_HEADER.sizeof()
        head = CHUNK_HEADER.parse(data[place:begin])
        payload = data[begin : begin + head.stored_length]
        if head.codec == Codec.ZSTD:
            payload = zstandard.ZstdDecompressor().decompress(payload, max_output_size=head.raw_length)
        yield place, head, payload


def uncompressed(data):
    return data[: FILE_HEADER_START.parse(data).header_size] + b"".join(raw for _, _, raw in payloads(data))


def with_reserved_bytes(data):
    """The same file, stored raw, with secrets in all reserved bytes of its records."""
    secret = np.frombuffer(MARK.encode() * 8, np.uint8)
    out = bytearray(data)
    for place, head, raw in payloads(data):
        reserved = padding(ChunkType(head.type))
        filled = bytearray(raw)
        for number in range(head.count):
            at = number * len(reserved)
            record = np.frombuffer(raw[at : at + len(reserved)], np.uint8)
            some = np.where(reserved, np.resize(secret, len(reserved)), record)
            filled[at : at + len(reserved)] = some.astype(np.uint8).tobytes()
        fields = {**head, "payload_crc": zlib.crc32(filled), "header_crc": 0}
        header = CHUNK_HEADER.build(fields)[:-4]
        header += zlib.crc32(header).to_bytes(4, "little")
        out[place : place + len(header) + len(filled)] = header + filled
    return bytes(out)


def dump_with_secrets(data, entry):
    """A dump with secrets in its unused slots and behind the entries of its blocks."""
    secret = MARK.encode() * 4
    out = bytearray(data)
    for at in range(len(data) - 8, 0, -8):
        if data[at : at + 8] == bytes(8) and at >= entry:
            out[at : at + 4] = secret[:4]  # domain; the reference count of an unused slot stays 0
            out[at + 4 : at + 6] = secret[:2]
    return bytes(out)


DUMPS = {
    "pci-v3": dump_with_secrets(preserved_dumps.array(preserved_dumps.ENTRIES), 16),
    "pci-v2": dump_with_secrets(preserved_dumps.h7(preserved_dumps.ENTRIES), 64),
    "pci": dump_with_secrets(preserved_dumps.h8(preserved_dumps.ENTRIES), 64),
}


def accesses():
    """A Live Update of a simulated machine, then lspci of a device full of secrets, in all widths."""
    recording = Recording(one_port(ari_device(0, 1, 8, 9)))
    recording.firmware()
    recording.boot(Kernel())
    recording.kexec()
    recording.boot(Kernel())
    data = registers.space()
    text = registers.lists("7f:00.0", data) + "\n".join(
        registers.reads("7f:00.0", data, range(0x40, 4096, width or 4), width) for width in (1, 2, 4, 0)
    )
    whole = pl.concat([recording.capture().accesses, table(text)])
    return whole.with_columns(seq=pl.int_range(whole.height, dtype=pl.UInt64))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A native file with a secret in every field that holds a text, and in every reserved byte."""
    rows = accesses()
    path = tmp_path_factory.mktemp("planted") / f"{HOST}.bin"
    with (
        path.open("wb") as stream,
        NativeWriter(
            stream,
            host=HOST,
            tool=f"recorder of {MARK}tool",
            source_format=f"{MARK}format",
            releases=[f"6.12.0-{MARK}", f"{MARK}release"],
            clock="realtime",
            created_ns=_SIGNED,
            level=0,
        ) as writer,
    ):
        for name, dump in DUMPS.items():
            writer.preserved(PreservedDump(dump, name))
        writer.problem(Problem(f"{MARK}kind", f"/srv/{MARK}file", 7, f"see /srv/{MARK}"))
        said = [around.format(host=HOST, text=text) for around in AROUND[:20] for text in SAID[:3]]
        writer.log(*(LogLine(line, None, 5) for line in [*said, f"{MARK} alone", f"reboot: {MARK}"]))
        writer.event(Event(f"{MARK}kind", 4, (0, 0, 8), f"link of {MARK} at /srv/{MARK}", 5))
        names = [f"{MARK}{name}" for name in ("driver", "vfio", "net", "block", "vm")]
        writer.uses(PlacedUse(1, 0, FunctionUse(names[0], 17, names[1], [names[2]], [names[3]], names[4])))
        writer.accesses(rows)
        writer.boundary(Boundary(rows.height, "boot", f"6.12.0-{MARK}"))
        writer.snapshot(0, 0x7E, 0, bytes(registers.space()))
    path.write_bytes(with_reserved_bytes(path.read_bytes()))
    return path


def secret_dwords():
    """Every dword of the secret device of which nothing may stay."""
    shown = np.zeros(4096, bool)
    for first, end in [*registers.HEADER, *registers.CAPABILITIES]:
        shown[first:end] = True
    data = registers.space()
    return [bytes(data[at : at + 4]) for at in range(0, 4096, 4) if not shown[at : at + 4].any()]


def secrets_in(data):
    """What of the secrets stands in these bytes."""
    found = [data[at : at + 40] for at in range(len(data)) if data[at : at + 4].lower() == b"zqxj"]
    found += [word for word in (b"fleet.example", b"/srv", b"acme", b"QqQqQqQq") if word in data]
    return found + [dword for dword in secret_dwords() if dword in data]


def test_every_text_field_of_the_file_holds_a_secret(planted):
    """So that a field that a later version adds is not forgotten here."""
    capture = open_capture(str(planted))
    assert not [problem for problem in capture.notes.problems if MARK not in problem.kind]
    assert secrets_in(uncompressed(planted.read_bytes()))
    records = [capture.notes, *capture.files]
    records += [record for name in ("problems", "boundaries", "log", "events") for record in
                getattr(capture.notes, name)[:1]]  # fmt: skip
    records.append(capture.notes.uses[0].use)
    for record in records:
        for field in dataclasses.fields(record):
            if (
                "str" in field.type
                and field.name not in ("clock", "format", "sha256", "source")
                and not (isinstance(record, Boundary) and field.name == "kind")
            ):
                assert MARK in str(getattr(record, field.name)), (type(record), field.name)


def test_no_secret_is_in_the_redacted_file(planted, tmp_path):
    ((_, target),) = plan([str(planted)], f"{tmp_path}/out/", anonymous=True)
    convert(str(planted), target, redact=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["capture-1.bin"]
    data = uncompressed(Path(target).read_bytes())
    assert secrets_in(data) == []
    before, after = open_capture(str(planted)), open_capture(target)
    assert after.notes.problems[0] == Problem("other", "capture", 7, "(removed)")
    assert [len(dump.data) for dump in after.notes.preserved]
    for one, two in zip(before.notes.preserved, after.notes.preserved, strict=True):
        assert flb.decode(two.data, two.name) == flb.decode(one.data, one.name)
    assert after.accesses.height == before.accesses.height


def test_no_secret_is_in_the_redacted_parquet(planted, tmp_path):
    target = tmp_path / "x.parquet"
    convert(str(planted), str(target), redact=True)
    about = pl.read_parquet_metadata(target)
    values = pl.read_parquet(target)
    for data in (target.read_bytes(), json.dumps(about).encode(), values.write_csv().encode(),
                 values["value"].to_numpy().tobytes()):  # fmt: skip
        assert secrets_in(data) == []
    notes = json.loads(about["aritrace"])
    assert notes["files"] == [{"path": "capture", "format": "native", "sha256": ""}]
    assert (notes["path"], notes["notes"]["host"], notes["notes"]["created_ns"]) == ("capture", None, None)


@pytest.mark.parametrize(
    ("paths", "there", "names"),
    [
        (["hv17.log"], [], ["capture-1.bin"]),
        (["hv17.log", "a/hv18.log", "b/hv18.log"], [], ["capture-1.bin", "capture-2.bin", "capture-3.bin"]),
        (["hv17.log", "hv18.log"], ["capture-1.bin"], ["capture-2.bin", "capture-3.bin"]),
    ],
)
def test_files_in_a_directory_are_not_named_after_hosts(paths, there, names, tmp_path):
    for name in there:
        (tmp_path / name).touch()
    pairs = plan(paths, str(tmp_path), anonymous=True)
    assert pairs == [(path, str(tmp_path / name)) for path, name in zip(paths, names, strict=True)]


@pytest.mark.parametrize("name", DUMPS)
@pytest.mark.parametrize("named", [True, False])
def test_a_preserved_set_is_put_together_anew(name, named):
    dump = PreservedDump(DUMPS[name], name if named else "", 2)
    new = rebuilt(dump)
    assert MARK.encode() in dump.data
    assert MARK.encode() not in new.data
    assert (new.name, new.kexec) == (dump.name, 2)
    assert flb.decode(new.data, new.name) == flb.decode(dump.data, dump.name)


@pytest.mark.parametrize("count", [0, 1, 5, 64, 600])
@pytest.mark.parametrize(
    "build", [preserved_dumps.array, preserved_dumps.h7, preserved_dumps.h8], ids=["H6", "H7", "H8"]
)
@pytest.mark.parametrize("page", [4096, 16384])
def test_preserved_sets_of_any_size(build, count, page):
    entries = [(number >> 8, number & 0xFF, 1) for number in range(count)]
    if build is preserved_dumps.array:
        data = build([*entries, (7, 7, 0)], slots=count + 1)
    else:
        data = build([*entries, (7, 7, 0)] if entries else [], page=page)
    before, after = (flb.decode(some) for some in (data, rebuilt(PreservedDump(data)).data))
    assert (after.layout, after.version, after.entries) == (before.layout, before.version, before.entries)
    assert after.page_size == before.page_size


def test_a_preserved_set_that_is_none_is_refused():
    capture = open_capture(str(Path(__file__).parents[1] / "traces" / "clean-inherit.bin"))
    capture.notes.preserved.append(PreservedDump(MARK.encode() * 9, MARK))
    with pytest.raises(AritraceError):
        redact(capture)


def test_a_redacted_capture_redacted_again_is_the_same(planted, tmp_path):
    once, twice = tmp_path / "1.bin", tmp_path / "2.bin"
    write_capture(redact(open_capture(str(planted))).capture, once)
    write_capture(redact(open_capture(str(once))).capture, twice)
    assert once.read_bytes() == twice.read_bytes()
