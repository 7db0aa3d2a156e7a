"""The recorder for production hosts: what it writes is what our reader reads, also if the machine dies."""

from __future__ import annotations

import ast
import dataclasses
import errno
import importlib.util
import os
import signal
import sys
from pathlib import Path

import polars as pl
import pytest
import zstandard

from analyzer.analysis import analyze, analyze_capture
from analyzer.observed.junctions import join
from analyzer.options import Options
from analyzer.questions.snapshot import take_capture
from analyzer.readers import open_capture

TRACES = Path(__file__).parents[1] / "traces"
FORMATS = TRACES / "formats"
SCRIPT = TRACES / "capture" / "record.py"


@pytest.fixture(scope="module")
def record():
    spec = importlib.util.spec_from_file_location("record", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sample(name):
    return zstandard.ZstdDecompressor().decompressobj().decompress((FORMATS / name).read_bytes())


TRACE = "tracefs-trace-rescan.txt.zst"
#: A write of 0 to CAP_EXP+28.w, as a record.
ROWS = [(1, 0, 0, 0x68, 0, 0, 0x18, 2, 1)]


def test_it_needs_nothing_but_an_old_python():
    text = SCRIPT.read_text()
    tree = ast.parse(text, feature_version=(3, 8))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)
    assert len(text.splitlines()) < 400


#: tracefs trace and trace_pipe, as Linux 6.12 prints the recorder's own probes.
PIPE_READ = (
    "           lspci-145     [000] d..1.    16.715358: rd_conf1: (pci_user_read_config_dword+0x73/0xf0 <-"
    " pci_conf1_read) seg=0 bus=2 devfn=8 reg=0 len=4 val=0x8233104c rc=0"
)
PIPE_WRITE = (
    "  kworker/u8:1-77  [013] .....  1311.177459: wr_mmcfg: (pci_mmcfg_write+0x0/0xe0) seg=65536 bus=255"
    " devfn=255 reg=4092 len=2 val=0x12345"
)
#: trace-cmd report, other names of fields, an error of the accessor.
REPORT = (
    "           lspci-1201  [000]    23.564483999: pcicfg:cfg_read:  (raw_pci_read+0x0) dom=0x0 bus=0x5"
    " devfn=0x10 pos=0x28 size=0x4 value=0xffffffff ret=-22"
)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (PIPE_READ, (16_715_358_000, 0, 0x8233104C, 0, 0, 2, 8, 4, 0)),
        (PIPE_WRITE, (1311_177_459_000, 65536, 0x2345, 4092, 13, 255, 255, 2, 1)),
        (REPORT, (23_564_483_999, 0, 0xFFFFFFFF, 0x28, 0, 5, 0x10, 4, 3 << 1)),
        ("# tracer: nop", None),
        ("  x-1 [000] d..1. 1.000000: sched_switch: prev=a bus=1 devfn=0 reg=0 len=4 val=0", None),
        ("  x-1 [000] d..1. 1.000000: rd_conf1: (x) seg=0 bus=1 devfn=0 reg=0 len=4", None),
        ("  x-1 [000] d..1. 1.000000: rd_conf1: (x) seg=0 bus=256 devfn=0 reg=0 len=4 val=0", None),
        ("  x-1 [000] d..1. 1.000000: rd_conf1: (x) seg=0 bus=1 devfn=0 reg=4094 len=4 val=0", None),
        ("  x-1 [000] d..1. 1.000000: rd_conf1: (x) seg=0 bus=1 devfn=0 reg=0 len=3 val=0", None),
    ],
)
def test_lines(record, line, fields):
    assert record.parse_line(line) == fields


def test_a_real_trace_becomes_a_capture(record, tmp_path):
    (tmp_path / "trace.txt").write_bytes(sample(TRACE))
    record.main(["convert", str(tmp_path / "trace.txt"), "-o", str(tmp_path / "x.bin")])
    capture = open_capture(str(tmp_path / "x.bin"))
    lines = [line for line in sample(TRACE).decode().splitlines() if not line.startswith("#")]
    table = capture.accesses
    assert (table.height, capture.notes.clock, capture.notes.truncated) == (len(lines), "boot", False)
    # Taken apart once more, in another way.
    for row, line in zip(table.iter_rows(named=True), lines, strict=True):
        words = dict(word.split("=") for word in line.split() if "=" in word)
        assert row["op"] == ("write" if ": wr_" in line else "read")
        assert (row["bus"], row["devfn"], row["offset"], row["width"]) == (
            int(words["bus"]), int(words["devfn"]), int(words["reg"]), int(words["len"]),
        )  # fmt: skip
        assert row["value"] == int(words["val"], 16)
        seconds, micros = line.split(": ")[0].split()[-1].split(".")
        assert row["time_ns"] == int(seconds) * 10**9 + int(micros) * 1000


def test_the_real_trace_shows_the_machine_that_lspci_shows(record, tmp_path):
    """Recorded while lspci read everything, before a rescan: what lspci printed is what the trace holds."""
    (tmp_path / "trace.txt").write_bytes(sample(TRACE))
    record.main(["convert", str(tmp_path / "trace.txt"), "-o", str(tmp_path / "x.bin")])
    spaces = {
        space.function: space for space in take_capture(open_capture(str(tmp_path / "x.bin"))).functions
    }
    other = {
        space.function: space
        for space in take_capture(open_capture(str(FORMATS / "lspci-xxxx-vvv.txt.zst"))).functions
    }
    assert set(spaces) == set(other)
    for key, space in spaces.items():
        assert space.value(0, 4) == other[key].value(0, 4)
        assert space.value(0x18, 4) == other[key].value(0x18, 4) or space.data[0x0E] & 0x7F != 1


def filled(record, path):
    """A file with everything that the recorder writes; it is left open, as when the machine dies."""
    container = record.Container(path, "boot", "6.12.95")
    container.add_snapshots([(0, 1, devfn, bytes(range(256)), 5 + devfn) for devfn in range(3)])
    rows = [(n, 0x10000, n, 4 * n, 2, 3, 8, 4, n & 1) for n in range(100)]
    container.add_accesses(rows[:40])
    container.add_lost(7, "CPU 2")
    container.add_log(["[    1.000000] pci 0000:03:00.0: ready"])
    container.add_accesses(rows[40:])
    return container


def test_all_that_it_writes_is_read(record, tmp_path):
    filled(record, tmp_path / "x.bin").close()
    capture = open_capture(str(tmp_path / "x.bin"))
    table, notes = capture.accesses, capture.notes
    assert (table.height, notes.dropped, notes.truncated) == (3 * 64 + 100, 7, False)
    assert notes.releases == ["6.12.95"]
    assert notes.host == os.uname().nodename
    assert [line.text for line in notes.log] == ["[    1.000000] pci 0000:03:00.0: ready"]
    assert any("lost 7 events on CPU 2" in problem.message for problem in notes.problems)
    snapshot, trace = table.head(192), table.tail(100)
    assert snapshot["value"].to_numpy().tobytes() == bytes(range(256)) * 3
    assert snapshot["time_ns"].unique().sort().to_list() == [5, 6, 7]
    assert trace["value"].to_list() == list(range(100))
    assert trace.select(pl.col("domain", "bus", "devfn", "cpu", "width").unique()).row(0) == (
        0x10000,
        3,
        8,
        2,
        4,
    )
    assert trace["op"].cast(pl.String).to_list() == ["read", "write"] * 50


def test_the_machine_may_die_at_any_byte(record, tmp_path):
    container = filled(record, tmp_path / "x.bin")
    os.close(container.file)
    data = (tmp_path / "x.bin").read_bytes()
    whole = open_capture(str(tmp_path / "x.bin"))
    assert whole.notes.truncated
    assert whole.notes.dropped == 7
    for cut in range(1400, len(data), 61):
        (tmp_path / "cut.bin").write_bytes(data[:cut])
        capture = open_capture(str(tmp_path / "cut.bin"))
        assert capture.notes.truncated
        assert capture.accesses["value"].equals(whole.accesses["value"].head(capture.accesses.height))


def test_an_older_recording_is_never_overwritten(record, tmp_path):
    (tmp_path / "x.bin").write_text("precious")
    with pytest.raises(FileExistsError):
        record.Container(tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_text() == "precious"


def test_many_accesses_are_many_chunks(record, tmp_path):
    container = record.Container(tmp_path / "x.bin")
    container.add_accesses([(n, 0, n, 0, 0, 0, 0, 4, 0) for n in range(10_000)])
    container.add_snapshots([(0, 1, devfn, bytes(4096), 0) for devfn in range(256)] * 2)
    container.close()
    capture = open_capture(str(tmp_path / "x.bin"))
    assert container.number == 3 + 3 + 1
    assert capture.accesses.height == 10_000 + 512 * 1024
    assert capture.notes.problems == []


def test_config_spaces_of_sysfs(record, tmp_path):
    for name, size in (("0000:00:03.0", 4096), ("10000:e1:1f.7", 64), ("0000:01:00.0", 0), ("other", 256)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config").write_bytes(bytes([size % 251]) * size)
    (tmp_path / "0000:02:00.0").mkdir()
    found = [
        (domain, bus, devfn, len(data)) for domain, bus, devfn, data, _ in record.config_spaces(tmp_path)
    ]
    assert found == [(0, 0, 0x18, 4096), (0x10000, 0xE1, 0xFF, 64)]


def test_the_probes_are_those_of_the_recipe(record):
    found = record.probes("x86_64")
    assert found["rd_conf1"] == (
        "pci_conf1_read%return seg=$arg1:u32 bus=$arg2:u32 devfn=$arg3:u32 reg=$arg4:u32 len=$arg5:u32"
        " val=+0($arg6):x32 rc=$retval:s32"
    )
    assert found["wr_mmcfg"].endswith("len=$arg5:u32 val=$arg6:x32")
    text = record.bootconfig()
    for name, definition in record.probes().items():
        assert (
            f'ftrace.event.kprobes.{name}.probes = "{definition}"\nftrace.event.kprobes.{name}.enable\n'
            in text
        )


@pytest.mark.parametrize("machine", ["aarch64", "riscv64", "ppc64le"])
def test_elsewhere_the_probes_are_on_the_functions_for_ecam(record, machine):
    place = "seg=bus->domain_nr:u32 bus=bus->number:u8 devfn=devfn:u32 reg=where:u32 len=size:u32"
    assert record.probes(machine) == {
        "rd_ecam": f"pci_generic_config_read%return {place} val=+0(val):x32 rc=$retval:s32",
        "wr_ecam": f"pci_generic_config_write {place} val=val:x32",
    }


def test_a_line_of_an_arm_guest(record):
    line = (
        "  setpci-93 [000] d.... 9.103806: wr_ecam: (pci_generic_config_write+0x0/0x98)"
        " seg=0 bus=2 devfn=0 reg=184 len=2 val=0x0"
    )
    assert record.parse_line(line) == (9_103_806_000, 0, 0, 184, 0, 2, 0, 2, record.WRITE)


@pytest.fixture
def tracefs(tmp_path):
    """The files of tracefs that the recorder touches, without a kernel behind them."""
    root = tmp_path / "tracing"
    (root / "instances" / "aritrace" / "events" / "pcicfg").mkdir(parents=True)
    (root / "dynamic_events").touch()
    (root / "kprobe_events").touch()
    (root / "instances" / "aritrace" / "events" / "pcicfg" / "enable").write_text("0")
    return root


def test_arm_and_disarm(record, tracefs):
    instance = tracefs / "instances" / "aritrace"
    record.main(["arm", "--tracefs", str(tracefs)])
    commands = (tracefs / "dynamic_events").read_text().splitlines()
    assert [command.split()[0] for command in commands] == [f"p:pcicfg/{name}" for name in record.probes()]
    assert (instance / "events" / "pcicfg" / "enable").read_text() == "1"
    assert (instance / "tracing_on").read_text() == "1"
    record.main(["disarm", "--tracefs", str(tracefs)])
    assert (tracefs / "dynamic_events").read_text().splitlines()[-len(commands) :] == [
        f"-:pcicfg/{name}" for name in record.probes()
    ]
    assert (instance / "events" / "pcicfg" / "enable").read_text() == "0"


def test_without_tracefs(record, tmp_path):
    with pytest.raises(SystemExit, match="no tracefs here"):
        record.main(["arm", "--tracefs", str(tmp_path)])


@pytest.mark.parametrize("missing", ["dynamic_events", "kprobe_events"])
def test_a_kernel_without_kprobe_events(record, tracefs, missing):
    (tracefs / missing).unlink()
    (tracefs / "trace").touch()
    with pytest.raises(SystemExit, match=r"has no kprobe events \(CONFIG_KPROBE_EVENTS, Linux 5.0\)"):
        record.main(["arm", "--tracefs", str(tracefs)])


def refusing(record, monkeypatch, error, words):
    """A kernel that refuses probes with one of the words in them; returns what it was asked."""
    asked = []

    def define(tracing, text):
        del tracing
        asked.append(text)
        if text.startswith("p:") and any(word in text for word in words):
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr(record.Tracing, "_define", define)
    return asked


@pytest.mark.parametrize(
    ("error", "words", "message", "removed"),
    [
        (errno.EINVAL, ["%return"], "need Linux 6.9 or 6.6-stable on x86, --writes-only records without", 2),
        (errno.EINVAL, ["wr_conf1"], "refuses the probe wr_conf1: Invalid argument; see ", 0),
        (errno.EEXIST, ["wr_conf1"], "another record.py is running, or has left its probes", 0),
    ],
)
def test_a_refused_probe_leaves_nothing_behind(
    record, tracefs, tmp_path, monkeypatch, error, words, message, removed
):
    asked = refusing(record, monkeypatch, error, words)
    output = tmp_path / "x.bin"
    with pytest.raises(SystemExit) as refusal:
        record.main(["record", "--no-snapshot", "--tracefs", str(tracefs), "-o", str(output)])
    assert message in str(refusal.value)
    assert not output.exists()
    assert [text for text in asked if text.startswith("-:")] == ["-:pcicfg/wr_conf1", "-:pcicfg/wr_mmcfg"][
        :removed
    ]


def test_an_instance_that_cannot_be_made_leaves_nothing_behind(record, tracefs, tmp_path):
    (tracefs / "full").touch()
    asked = ["record", "--no-snapshot", "--tracefs", str(tracefs), "--instance", "../full"]
    with pytest.raises(SystemExit, match="Not a directory"):
        record.main([*asked, "-o", str(tmp_path / "x.bin")])
    assert not (tmp_path / "x.bin").exists()
    commands = (tracefs / "dynamic_events").read_text().splitlines()
    assert commands[4:] == [f"-:pcicfg/{name}" for name in record.probes()]


def test_writes_only(record, tracefs, tmp_path, monkeypatch):
    """For kernels that refuse return probes with arguments: the file says that the reads are missing."""
    asked = refusing(record, monkeypatch, errno.EINVAL, ["%return"])
    monkeypatch.setattr(record, "follow", lambda _tracing, container, _seconds: container.add_accesses(ROWS))
    output = str(tmp_path / "x.bin")
    record.main(["record", "--writes-only", "--no-snapshot", "--tracefs", str(tracefs), "-o", output])
    assert [text.split()[0] for text in asked[:2]] == ["p:pcicfg/wr_conf1", "p:pcicfg/wr_mmcfg"]
    capture = open_capture(output)
    assert capture.accesses["op"].to_list() == ["write"]
    assert [(problem.kind, problem.file, problem.message) for problem in capture.notes.problems] == [
        ("unsupported", "", "reads were not recorded (record.py --writes-only)")
    ]
    assert "rd_" not in record.bootconfig(writes_only=True)


@pytest.mark.slow
def test_writes_alone_show_what_cleared_the_bit(record, tmp_path):
    """Derived from a real kexec: the registers as they were before setpci, and every write from there on."""
    whole = open_capture(str(TRACES / "lost-explicit-write.bin"))
    table = whole.accesses
    earlier = dataclasses.replace(whole, accesses=table.filter(pl.col("seq") < 15_000))
    writes = table.filter(pl.col("seq").is_between(15_000, 15_123) & (pl.col("op") == "write"))
    paths = [str(tmp_path / "k1.bin"), str(tmp_path / "k2.bin")]
    for path, capture, boot, rows in ((paths[0], earlier, 1, writes), (paths[1], whole, 2, writes.clear())):
        container = record.Container(path, "boot", "7.3.4")
        spaces = take_capture(capture, boot).functions
        container.add_snapshots(
            (s.function >> 16, s.function >> 8 & 255, s.function & 255, s.data.tobytes(), 5) for s in spaces
        )
        kept = rows.select("domain", "value", "offset", "bus", "devfn").rows()
        container.add_accesses(
            [(6, domain, value, offset, 0, bus, devfn, 2, 1) for domain, value, offset, bus, devfn in kept]
        )
        container.close()
    (kexec,) = analyze(paths, Options(join=True)).captures[0].kexecs
    (lost,) = [bridge for bridge in kexec.bridges if bridge.verdict == "lost"]
    assert (lost.bdf, lost.cause, lost.confidence) == ("0000:02:00.0", "explicit-write", "high")


@pytest.mark.parametrize("job", [["snapshot"], ["convert", "x.txt"], ["record", "--no-snapshot"]])
def test_a_file_that_exists_is_refused_in_words(record, tracefs, tmp_path, monkeypatch, job):
    monkeypatch.chdir(tmp_path)
    Path("x.txt").touch()
    Path("x.bin").write_text("precious")
    with pytest.raises(SystemExit, match=r"record\.py: x\.bin: it exists, and is never overwritten"):
        record.main([*job, "--tracefs", str(tracefs), "-o", "x.bin"])
    assert Path("x.bin").read_text() == "precious"


def test_a_text_that_is_not_there_leaves_no_file(record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"record\.py: missing\.txt: No such file or directory"):
        record.main(["convert", "missing.txt", "-o", "x.bin"])
    assert list(tmp_path.iterdir()) == []


def test_recording_ends_with_a_signal_and_keeps_what_the_pipe_still_holds(
    record, tracefs, tmp_path, monkeypatch
):
    """A pipe that delivers half lines, and the signal between them."""
    instance = tracefs / "instances" / "aritrace"
    os.mkfifo(instance / "trace_pipe")
    os.mkfifo(tmp_path / "kmsg")
    lines = [line + b"\n" for line in sample(TRACE).splitlines() if not line.startswith(b"#")][:3000]
    data = b"".join(lines) + b"CPU:0 [LOST 5 EVENTS]\n" + lines[0]
    writer = os.open(instance / "trace_pipe", os.O_RDWR)  # both ends: never a hang-up
    log = os.open(tmp_path / "kmsg", os.O_RDWR)
    os.write(log, b"6,339,5140900,-;pcieport 0000:00:03.0: pciehp: Slot(1): Link Down\n SUBSYSTEM=pci\n")
    pieces = [data[at : at + 40_007] for at in range(0, len(data), 40_007)]
    wait = record.select.select

    def deliver(*arguments):
        if pieces:
            os.write(writer, pieces.pop(0))
        elif signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            signal.raise_signal(signal.SIGTERM)
        return wait(*arguments)

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(record.select, "select", deliver)
    container = record.Container(tmp_path / "x.bin", "boot")
    try:
        record.follow(record.Tracing(str(tracefs), "aritrace"), container, None, str(tmp_path / "kmsg"))
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
        os.close(writer)
        os.close(log)
    container.close()
    capture = open_capture(str(tmp_path / "x.bin"))
    assert (capture.accesses.height, capture.notes.dropped) == (3001, 5)
    assert [line.text for line in capture.notes.log] == [
        "[    5.140900] pcieport 0000:00:03.0: pciehp: Slot(1): Link Down"
    ]


def test_a_real_recording_that_a_kexec_cut():
    """Snapshot and accesses of the outgoing kernel; the incoming one dumped what it inherited."""
    outgoing = open_capture(str(FORMATS / "recorder-cut-by-kexec.bin.zst"))
    assert outgoing.notes.truncated
    assert (outgoing.notes.host, outgoing.notes.clock, outgoing.notes.dropped) == ("node7", "boot", 0)
    incoming = open_capture(str(FORMATS / "earlydump-behind-kexec.txt.zst"))
    (kexec,) = analyze_capture(join([outgoing, incoming])).kexecs
    (lost,) = [bridge for bridge in kexec.bridges if bridge.bdf == "0000:02:00.0"]
    assert (lost.ari_before, lost.ari_after, lost.cause) == (True, False, "explicit-write")
    assert kexec.at_access == outgoing.accesses.height
