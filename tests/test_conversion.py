import shutil
from pathlib import Path

import pytest

from analyzer.analysis import analyze
from analyzer.capture import LogLine
from analyzer.converting.conversion import convert, plan
from analyzer.errors import UsageError
from analyzer.options import Options
from analyzer.readers import open_capture

FORMATS = Path(__file__).parents[1] / "traces" / "formats"
LOG = FORMATS / "qemu-log-dialect-c.log.zst"


@pytest.mark.parametrize(
    ("paths", "output", "ending", "pairs"),
    [
        (["a.log"], "x.bin", None, [("a.log", "x.bin")]),
        (["a.log"], "x.parquet", None, [("a.log", "x.parquet")]),
        (["a.log"], "x", ".bin", [("a.log", "x")]),
        (["d/a.log.zst", "-"], "o/", None, [("d/a.log.zst", "o/a.bin"), ("-", "o/stdin.bin")]),
        (["a.log", "a.simple"], "o/", None, [("a.log", "o/a.log.bin"), ("a.simple", "o/a.simple.bin")]),
        (["a.log"], "o/", ".parquet", [("a.log", "o/a.parquet")]),
    ],
)
def test_plan(paths, output, ending, pairs):
    assert plan(paths, output, ending=ending) == pairs


@pytest.mark.parametrize(
    ("paths", "output", "message"),
    [
        (["a", "b"], "x.bin", "2 captures cannot become one file"),
        (["a"], "x.txt", "ends in .bin or .parquet"),
        (["d/a.log", "e/a.log"], "o/", "would both become o/a.log.bin"),
    ],
)
def test_plans_that_would_lose_something(paths, output, message):
    with pytest.raises(UsageError, match=message):
        plan(paths, output)


def test_the_new_file_gives_the_same_verdict(tmp_path):
    target = tmp_path / "new" / "x.bin"
    done = convert(str(LOG), str(target))
    assert (done.accesses, done.size) == (27586, target.stat().st_size)
    (old,), (new,) = (analyze([str(path)]).captures for path in (LOG, target))
    assert new.format == "native"
    assert [b.verdict for b in new.kexecs[0].bridges] == [b.verdict for b in old.kexecs[0].bridges]
    assert new.kexecs[0].observed == old.kexecs[0].observed
    assert new.kexecs[0].policies == old.kexecs[0].policies


def test_a_kernel_log_beside_the_capture_goes_into_the_new_file(tmp_path):
    capture = tmp_path / "x.log.zst"
    shutil.copy(LOG, capture)
    (tmp_path / "x.log.zst.dmesg").write_text("[    0.000000] Linux version 7.3.4\n")
    done = convert(str(capture), str(tmp_path / "x.bin"))
    assert done.log_lines == 1
    notes = open_capture(str(tmp_path / "x.bin")).notes
    assert [line.text for line in notes.log] == [LogLine("[    0.000000] Linux version 7.3.4").text]


def test_a_given_preserved_set_goes_into_the_new_file(tmp_path):
    dump = tmp_path / "pci.flb"
    dump.write_bytes(bytes(16))
    convert(str(LOG), str(tmp_path / "x.bin"), Options(flb=str(dump), flb_name="pci"))
    (kept,) = open_capture(str(tmp_path / "x.bin")).notes.preserved
    assert (kept.data, kept.name) == (bytes(16), "pci")


def test_a_directory_of_sysfs_is_one_capture(tmp_path):
    for name in ("0000:00:03.0", "0000:01:00.0"):
        (tmp_path / "before" / name).mkdir(parents=True)
        (tmp_path / "before" / name / "config").write_bytes(bytes(range(256)) * 16)
    pairs = plan([str(tmp_path / "before") + "/"], str(tmp_path / "o") + "/")
    done = convert(*pairs[0])
    assert (Path(done.output).name, done.accesses) == ("before.bin", 2048)
    assert open_capture(done.output).notes.source_format == "sysfs-config"


def test_parquet_holds_every_access(tmp_path):
    import polars as pl

    convert(str(LOG), str(tmp_path / "x.parquet"))
    assert pl.read_parquet(tmp_path / "x.parquet").equals(open_capture(str(LOG)).accesses)


def test_what_a_snapshot_lacks_stays_that_and_is_never_a_recorders_loss(tmp_path):
    dump = tmp_path / "short.txt"
    rows = ["0000:00:00.0 Host bridge: x\n", "00: 86 80 c0 29 00 00 00 00 00 00 00 06 00 00 00 00\n"]
    dump.write_text("".join([*rows, "20: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n"]))
    convert(str(dump), str(tmp_path / "short.bin"))
    for name in ("short.txt", "short.bin"):
        notes = open_capture(str(tmp_path / name)).notes
        assert (notes.dropped, notes.missing_dwords, notes.whole) == (0, 4, False)
