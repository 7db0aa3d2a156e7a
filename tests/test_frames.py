import dataclasses
from pathlib import Path

import polars as pl
import pytest
import result_samples as samples

from analyzer import analyze
from analyzer.capture import Problem
from analyzer.results import (
    Boot,
    BridgeVerdict,
    CaptureResult,
    DeviceVerdict,
    Divergence,
    Finding,
    KexecResult,
    PolicyOutcome,
    frames,
)
from analyzer.results.state import StateVerdict

CORPUS = Path(__file__).parents[1] / "traces"


@pytest.fixture(scope="module")
def analysis():
    paths = [str(CORPUS / f"{name}.bin") for name in ("lost-explicit-write", "clean-inherit")]
    return analyze([*paths, "no-such-file"])


OF_CAPTURE, OF_KEXEC = ["capture", "path"], ["capture", "path", "kexec"]


def of_kexecs(field):
    return lambda capture: [item for kexec in capture.kexecs for item in getattr(kexec, field)]


@pytest.mark.parametrize(
    ("table", "keys", "kind", "elsewhere", "items"),
    [
        (frames.captures, OF_CAPTURE, CaptureResult, {"path", "boots", "kexecs", "errors"}, lambda c: [c]),
        (frames.boots, OF_CAPTURE, Boot, set(), lambda capture: capture.boots),
        (
            frames.kexecs,
            OF_CAPTURE,
            KexecResult,
            {"bridges", "devices", "policies", "divergences", "findings", "state", "state_undetermined"},
            lambda capture: capture.kexecs,
        ),
        (frames.bridges, OF_KEXEC, BridgeVerdict, set(), of_kexecs("bridges")),
        (frames.devices, OF_KEXEC, DeviceVerdict, set(), of_kexecs("devices")),
        (frames.policies, [*OF_KEXEC, "policy"], PolicyOutcome, set(), of_kexecs("policies")),
        (frames.divergences, OF_KEXEC, Divergence, set(), of_kexecs("divergences")),
        (frames.findings, OF_KEXEC, Finding, set(), of_kexecs("findings")),
        (frames.state, OF_KEXEC, StateVerdict, set(), of_kexecs("state")),
        (frames.errors, OF_CAPTURE, Problem, set(), lambda capture: capture.errors),
    ],
)
def test_each_table_has_a_row_for_each_item_and_always_every_field(
    analysis, table, keys, kind, elsewhere, items
):
    found = table(analysis)
    names = [field.name for field in dataclasses.fields(kind) if field.name not in elsewhere]
    assert found.columns == [*keys, *names]
    assert found.height == sum(len(items(capture)) for capture in analysis.captures)
    assert table(samples.analysis()).schema == found.schema


def test_verdicts_keep_their_structure(analysis):
    lost = frames.bridges(analysis).filter(pl.col("verdict") == "lost").row(0, named=True)
    assert (lost["capture"], lost["kexec"], lost["bdf"]) == (0, 0, "0000:02:00.0")
    assert lost["stranded"] == ["0000:03:01.0", "0000:03:01.1", "0000:03:02.0"]
    assert lost["window"] == {"last_on": 15003, "first_off": 15004, "phase": "outgoing"}
    assert lost["evidence"][2]["access"] == 15004


def test_a_path_that_is_not_utf8_is_still_a_row():
    table = frames.captures(samples.analysis(samples.clean("a\udcff.bin")))
    assert table["path"].to_list() == ["a\\xff.bin"]
