"""``fleet run --tables`` keeps what ``analyze tables`` shows, for every capture of the run."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import analyzer
from analyzer import fleet
from analyzer.errors import UsageError
from analyzer.fleet.stage_rows import STAGES

CORPUS = Path(__file__).parents[2] / "traces"
NAMES = (
    "clean-inherit",
    "lost-explicit-write",
    "firmware-reboot-before-kexec",
    "hidden-after-port-reset-in-blackout",
)


def captures(folder: Path) -> list[str]:
    """Four captures and a file that is none, in a folder of their own."""
    paths = [folder / f"{name}.bin" for name in NAMES]
    for path in paths:
        path.write_bytes((CORPUS / path.name).read_bytes())
    (folder / "empty.bin").write_bytes(b"")
    return [*map(str, paths), str(folder / "empty.bin")]


def of_run(out: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(out / "stages" / name / "*.parquet").drop("capture")


@pytest.mark.slow
def test_the_stages_are_those_of_each_capture(tmp_path: Path) -> None:
    paths = captures(tmp_path)
    assert fleet.run(paths, str(tmp_path / "out"), tables=True, jobs=2, batch_size=2).complete
    alone = analyzer.tables(paths, names=STAGES)
    for name in STAGES:
        kept = of_run(tmp_path / "out", name)
        assert kept.height > 0, name
        assert sorted(kept.rows(), key=repr) == sorted(alone[name].drop("capture").rows(), key=repr), name
    manifest = pl.read_parquet(tmp_path / "out" / "captures" / "**" / "*.parquet").select("capture", "path")
    nodes = pl.read_parquet(tmp_path / "out" / "stages" / "nodes" / "*.parquet").select("capture", "path")
    assert set(nodes.rows()) <= set(manifest.rows())


@pytest.mark.slow
def test_without_the_option_there_are_none_and_a_run_has_them_of_all_captures_or_of_none(
    tmp_path: Path,
) -> None:
    paths = captures(tmp_path)[:1]
    fleet.run(paths, str(tmp_path / "out"), jobs=1)
    assert not (tmp_path / "out" / "stages").exists()
    with pytest.raises(UsageError, match="tables"):
        fleet.run(paths, str(tmp_path / "out"), tables=True, jobs=1)
