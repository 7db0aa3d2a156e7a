"""The corpus: real kexecs with what each kernel's own lspci enumerated, judged from every format."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from corpus_answers import TRACES, answer

from analyzer.analysis import analyze, analyze_capture
from analyzer.cli import exit_status
from analyzer.errors import DamagedInputError, UnreadableInputError
from analyzer.options import Options
from analyzer.questions import corpus
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.capture import Capture
    from analyzer.results import CaptureResult, KexecResult

CASES = sorted(path.stem for path in TRACES.glob("*.toml"))
WITH_TRUTH = [name for name in CASES if "truth" in tomllib.loads((TRACES / f"{name}.toml").read_text())]


def truth(name: str) -> dict[str, Any]:
    return tomllib.loads((TRACES / f"{name}.toml").read_text())["truth"]


def judged(capture: Capture, **options: Any) -> CaptureResult:
    return analyze_capture(capture, Options(**options))


def stranded(kexec: KexecResult) -> list[str]:
    return [device.bdf for device in kexec.devices if device.verdict == "stranded"]


def test_corpus_is_as_expected() -> None:
    differences = {case.name: case.difference() for case in corpus.check(str(TRACES)) if not case.ok}
    assert differences == {}


def _stranded(known: dict[str, Any], log: str) -> str:
    """Without a log the preserved set is assumed, which may be more than what was handed over."""
    assumed = log == "without-log" and "stranded_if_assumed" in known
    return "stranded_if_assumed" if assumed else "stranded"


@pytest.mark.parametrize("log", ["with-log", "without-log"])
@pytest.mark.parametrize("name", WITH_TRUTH)
def test_verdicts_equal_what_the_guest_saw(name: str, log: str) -> None:
    known = truth(name)
    kexec = answer(name, log=log == "with-log").kexecs[-1]
    assert kexec.observed.discovered == known["incoming_enumerated"]
    rule = known.get("rule", kexec.observed_policy)
    assert kexec.policies[rule].discovered == known["incoming_enumerated"]
    differing = known.get("divergences", []) if log == "with-log" else []
    assert [item.bdf for item in kexec.divergences] == differing
    assert stranded(kexec) == sorted(known[_stranded(known, log)])
    bridges = {
        bridge.bdf: " ".join(filter(None, (bridge.verdict, bridge.cause, bridge.cause_bdf)))
        for bridge in kexec.bridges
    }
    assert {bdf: bridges[bdf] for bdf in known["bridges"]} == known["bridges"]


@pytest.mark.parametrize("name", WITH_TRUTH)
def test_exit_status_equals_the_truth(name: str) -> None:
    assert exit_status.of_analysis(analyze([str(TRACES / f"{name}.bin")])) == truth(name)["exit_status"]


@pytest.mark.parametrize("name", WITH_TRUTH)
def test_preserved_set_comes_from_the_log(name: str) -> None:
    known = truth(name)
    kexec = answer(name).kexecs[-1]
    assert sorted(device.bdf for device in kexec.devices if device.preserved) == known["preserved"]
    source = known.get("preserved_source", "capture" if known["preserved"] else "assumed")
    assert kexec.preserved_source == source


@pytest.mark.parametrize("name", WITH_TRUTH)
def test_boots_and_kexecs_are_those_of_the_guest(name: str) -> None:
    """Where the case does not say otherwise, firmware and two kernels ran."""
    ran = truth(name).get("boots", ["firmware", "kernel", "kernel"])
    result = answer(name, log=False)
    assert [boot.kind for boot in result.boots] == ran
    pairs = [(kexec.outgoing_boot, kexec.incoming_boot) for kexec in result.kexecs]
    assert pairs == [(n - 1, n) for n in range(1, len(ran)) if ran[n - 1 : n + 1] == ["kernel", "kernel"]]


@pytest.mark.parametrize("name", CASES)
def test_no_error_is_found_where_none_happened(name: str) -> None:
    """Every kernel of the corpus read the error status of every port at its scan, and QEMU recorded none."""
    for kexec in answer(name).kexecs:
        assert [item for item in kexec.secondary if item.kind == "error-status"] == []
        assert {bridge.path_errors for bridge in kexec.bridges if bridge.cause} <= {"clean"}
        assert {bridge.path_errors for bridge in kexec.bridges if not bridge.cause} <= {None}


def test_stock_on_a_loss_finds_what_the_stock_kernel_found() -> None:
    lost = answer("lost-selective-in-blackout").kexecs[0]
    healed = answer("healed-by-stock-kernel").kexecs[0]
    assert lost.policies["stock"].discovered == healed.observed.discovered
    assert lost.policies["stock"].assumed == stranded(lost)


@pytest.mark.parametrize("log", ["with-log", "without-log"])
def test_inherit_on_a_healed_loss_finds_what_the_inheriting_kernel_found(log: str) -> None:
    healed = answer("healed-by-stock-kernel", log=log == "with-log").kexecs[0]
    lost = answer("lost-selective-in-blackout").kexecs[0]
    assert healed.policies["inherit"].discovered == lost.observed.discovered
    assert healed.policies["inherit"].stranded == stranded(lost)


def test_a_plain_kexec_that_preserves_nothing_raises_no_finding() -> None:
    result = answer("healed-by-stock-kernel")
    assert result.kexecs[0].kind == "plain"
    assert [finding for finding in result.kexecs[0].findings if finding.severity != "note"] == []
    assert (result.verdict, result.weight) == ("findings", None)


@pytest.mark.parametrize(
    "name", ["lost-selective-in-blackout", "lost-explicit-write", "lost-explicit-write-traced-guest"]
)
def test_a_capture_cut_right_after_the_decision_read_predicts_the_same_stranded(name: str) -> None:
    whole = answer(name).kexecs[0]
    bridge = next(item for item in whole.bridges if item.verdict == "lost")
    assert bridge.window is not None
    decision = next(item for item in reversed(bridge.evidence) if item.op == "read")
    capture = open_capture(str(TRACES / f"{name}.bin"))
    capture.accesses = capture.accesses.filter(pl.col("seq") <= decision.access)
    cut = judged(capture).kexecs[0]
    assert stranded(cut) == stranded(whole)
    assert cut.policies["inherit"].stranded == stranded(whole)
    assert next(item for item in cut.bridges if item.bdf == bridge.bdf).verdict == "lost"
    assert all(divergence.explained for divergence in cut.divergences)


def test_a_function_that_the_incoming_kernel_never_accessed_is_not_called_clean() -> None:
    capture = open_capture(str(TRACES / "clean-inherit.bin"))
    boundary = answer("clean-inherit").kexecs[0].at_access
    gone = (pl.col("bus") == 3) & (pl.col("devfn") == 8) & (pl.col("seq") >= boundary)
    capture.accesses = capture.accesses.filter(~gone)
    result = judged(capture)
    kexec = result.kexecs[0]
    assert result.verdict == "undetermined"
    assert [(item.bdf, item.predicted, item.explained) for item in kexec.divergences] == [
        ("0000:03:01.0", True, False)
    ]
    device = next(device for device in kexec.devices if device.bdf == "0000:03:01.0")
    assert (device.verdict, device.reason) == ("undetermined", "not-captured")
    assert "0000:03:01.0" in kexec.policies["inherit"].assumed


@pytest.mark.parametrize("marks", ["access", "time"])
def test_kexec_at_by_hand_gives_the_same_boundary(marks: str) -> None:
    recognised = answer("clean-inherit").kexecs[0]
    capture = open_capture(str(TRACES / "clean-inherit.bin"))
    row = capture.accesses.row(recognised.at_access, named=True)
    mark = f"access:{recognised.at_access}" if marks == "access" else f"time:{row['time_ns']}"
    assert judged(capture, kexec_at=(mark,)).kexecs[0].at_access == recognised.at_access


def test_preserved_by_option_implies_the_bridges_above() -> None:
    capture = open_capture(str(TRACES / "lost-selective-in-blackout.bin"))
    kexec = judged(capture, preserved="0000:03:01.0,03:00.0").kexecs[0]
    assert kexec.preserved_source == "option"
    assert [device.bdf for device in kexec.devices if device.preserved] == [
        "0000:00:03.0",
        "0000:01:00.0",
        "0000:02:00.0",
        "0000:03:00.0",
        "0000:03:01.0",
    ]
    assert stranded(kexec) == ["0000:03:01.0"]
    assert kexec.warnings == [
        (
            "preserved sets disagree: option is used, capture differs on 0000:00:04.0, 0000:03:00.1, "
            "0000:03:01.1, 0000:03:02.0, 0000:05:00.0, 0000:05:01.0"
        )
    ]


FORMATS = {
    "qemu-log-dialect-c.log.zst": "lost-explicit-write",
    "qemu-log-dialect-c-same-run.log.zst": "clean-inherit",
    "qemu-simpletrace-v4.simple.zst": "clean-inherit",
}


@pytest.mark.parametrize(("file", "case"), sorted(FORMATS.items()))
def test_log_simpletrace_and_native_of_one_run_agree(file: str, case: str) -> None:
    result = judged(open_capture(str(TRACES / "formats" / file)))
    native = answer(case, log=False)
    assert [_verdicts(kexec) for kexec in result.kexecs] == [_verdicts(kexec) for kexec in native.kexecs]
    assert result.verdict == native.verdict


def _verdicts(kexec: KexecResult) -> object:
    bridges = [
        (bridge.bdf, bridge.verdict, bridge.cause, bridge.confidence, bridge.window)
        for bridge in kexec.bridges
    ]
    return bridges, kexec.devices, kexec.policies, kexec.observed, kexec.divergences


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[options]\nax = 1\n", "options: expected one of policy, series"),
        ("options = 5\n", "options: expected a table, found 5"),
        ("[options]\nkexec_at = [1]\n", "options: expected list for kexec_at, found [1]"),
        ("[options]\npreserved = true\n", "options: expected str for preserved, found True"),
        ('[options]\npolicy = "x"\n', "options: found no policy 'x'"),
        ("a = " + "9" * 5000 + "\n", "expected TOML, found Exceeds the limit"),
        ("a = " + "[" * 5000 + "\n", "expected TOML, found maximum recursion depth"),
        ("a = '\udcff'\n", "expected TOML, found 'utf-8' codec can't decode"),
    ],
)
def test_a_case_file_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"")
    (tmp_path / "a.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DamagedInputError, match=re.escape(message)):
        corpus.check(str(tmp_path))


def test_a_directory_with_a_name_that_no_system_takes() -> None:
    with pytest.raises(UnreadableInputError, match=r"expected a directory of NAME\.bin"):
        corpus.check("9" * 5000)


def test_options_of_a_case_are_those_of_its_analysis(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes((TRACES / "lost-explicit-write.bin").read_bytes())
    (tmp_path / "a.toml").write_text('[options]\npolicy = "stock"\nkexec_at = ["access:9"]\n')
    (case,) = corpus.check(str(tmp_path))
    assert len(case.found["kexecs"]) == 2


def test_a_table_in_two_places_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"")
    (tmp_path / "a.toml").write_text("[[expect.kexecs]]\n[expect]\n[expect.kexecs.bridges]\n")
    (case,) = corpus.check(str(tmp_path))
    with pytest.raises(DamagedInputError, match="expected TOML in which one table can be replaced"):
        _ = case.proposal
