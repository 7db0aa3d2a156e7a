import dataclasses
from pathlib import Path

import polars as pl
import pytest
import result_samples as samples

from analyzer import analyze
from analyzer.results import BridgeVerdict, DeviceVerdict, Evidence, Finding, KexecResult, frames
from analyzer.results.frames import lists, rows

CORPUS = Path(__file__).parents[1] / "traces"


@pytest.fixture(scope="module")
def analysis():
    paths = [str(CORPUS / f"{name}.bin") for name in ("lost-explicit-write", "clean-inherit")]
    return analyze([*paths, "no-such-file"])


@pytest.mark.parametrize(
    ("table", "schema", "items"),
    [
        (frames.captures, lists.CAPTURES, lambda capture: [capture]),
        (frames.boots, lists.BOOTS, lambda capture: capture.boots),
        (frames.kexecs, lists.KEXECS, lambda capture: capture.kexecs),
        (frames.bridges, lists.BRIDGES, lambda capture: [b for k in capture.kexecs for b in k.bridges]),
        (frames.devices, lists.DEVICES, lambda capture: [d for k in capture.kexecs for d in k.devices]),
        (frames.policies, lists.POLICIES, lambda capture: [p for k in capture.kexecs for p in k.policies]),
        (frames.findings, lists.FINDINGS, lambda capture: [f for k in capture.kexecs for f in k.findings]),
        (
            frames.divergences,
            lists.DIVERGENCES,
            lambda capture: [d for k in capture.kexecs for d in k.divergences],
        ),
        (frames.errors, lists.ERRORS, lambda capture: capture.errors),
    ],
)
def test_each_table_has_a_row_for_each_item_and_always_all_columns(analysis, table, schema, items):
    found = table(analysis)
    assert dict(found.schema) == schema
    assert found.height == sum(len(items(capture)) for capture in analysis.captures)
    assert dict(table(samples.analysis()).schema) == schema


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (BridgeVerdict, lists.BRIDGES),
        (DeviceVerdict, lists.DEVICES),
        (Finding, lists.FINDINGS),
    ],
)
def test_no_field_of_the_json_output_is_left_out(kind, schema):
    assert [field.name for field in dataclasses.fields(kind)] == [
        name for name in schema if name not in ("capture", "path", "kexec")
    ]
    assert [field.name for field in rows.EVIDENCE.fields] == [f.name for f in dataclasses.fields(Evidence)]
    assert set(lists.KEXECS) - {"capture", "path"} <= {f.name for f in dataclasses.fields(KexecResult)}


def test_verdicts_keep_their_structure(analysis):
    lost = frames.bridges(analysis).filter(pl.col("verdict") == "lost").row(0, named=True)
    assert (lost["capture"], lost["kexec"], lost["bdf"]) == (0, 0, "0000:02:00.0")
    assert lost["stranded"] == ["0000:03:01.0", "0000:03:01.1", "0000:03:02.0"]
    assert lost["window"] == {"last_on": 15003, "first_off": 15004, "phase": "outgoing"}
    assert lost["evidence"][2]["access"] == 15004


def test_a_path_that_is_no_utf8_is_still_a_row():
    table = frames.captures(samples.analysis(samples.clean("a\udcff.bin")))
    assert table["path"].to_list() == ["a\\xff.bin"]
