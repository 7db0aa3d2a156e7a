"""The comparison of an analysis with the truth, on a capture of a real kexec."""

import dataclasses
from pathlib import Path

import pytest

import analyzer
from analyzer.lab.comparison import compare
from analyzer.lab.runner import Run
from analyzer.lab.scenarios import ExpectedKexec, LabBoot, Scenario
from analyzer.lab.topologies import GuestTopology

CAPTURE = Path(__file__).parents[2] / "traces" / "healed-by-stock-kernel.bin"


@pytest.fixture(scope="module")
def result():
    return analyzer.analyze([str(CAPTURE)]).captures[0]


@pytest.fixture
def scenario(result):
    functions = tuple(result.kexecs[0].observed.discovered)
    boots = tuple(LabBoot("", (), (), leave, (), (), (), handover=False) for leave in ("kexec", "poweroff"))
    bridges = {"0000:02:00.0": "healed selective-loss", "0000:00:04.0": "kept"}
    return Scenario(
        name="healed",
        title="",
        shows="",
        parts="built",
        topology=GuestTopology("", "", (), functions),
        boots=boots,
        verdict="findings",
        exit_status=0,
        kexecs=(ExpectedKexec("plain", "stock", bridges, (), ()),),
    )


def run_of(scenario, **changes):
    found = {1: list(scenario.topology.functions), 2: list(scenario.topology.functions)}
    none = Path()
    return Run(none, none, none, None, None, [], {**found, **changes.get("enumerated", {})}, [], "tcg", 0.0)


def test_all_as_expected(scenario, result):
    assert compare(scenario, run_of(scenario), result, 0) == []


def test_a_kernel_that_enumerated_something_else(scenario, result):
    fewer = [bdf for bdf in scenario.topology.functions if bdf != "0000:03:02.0"]
    assert compare(scenario, run_of(scenario, enumerated={2: fewer}), result, 0) == [
        "kernel 2 enumerated: missing 0000:03:02.0",
        "kexec 0: the functions seen in the capture: unexpected 0000:03:02.0",
        "kexec 0: the functions predicted: unexpected 0000:03:02.0",
    ]


def test_other_verdicts(scenario, result):
    bridges = {"0000:00:04.0": "lost explicit-write"}
    other = ExpectedKexec("live-update", "inherit", bridges, ("0000:03:02.0",), ())
    changed = dataclasses.replace(scenario, kexecs=(other,), verdict="clean", exit_status=1)
    assert compare(changed, run_of(scenario), result, 0) == [
        "verdict of the capture: expected clean, found findings",
        "exit status: expected 1, found 0",
        "kexec 0: expected a live-update kexec to a kernel with the inherit rule, found plain, stock",
        "kexec 0: stranded devices: missing 0000:03:02.0",
        "kexec 0: bridge 0000:00:04.0: expected lost explicit-write, found kept",
        "kexec 0: bridge 0000:02:00.0: expected nothing remarkable, found healed selective-loss",
    ]


def test_a_kexec_that_the_capture_does_not_have(scenario, result):
    changed = dataclasses.replace(scenario, boots=(*scenario.boots[:1], *scenario.boots))
    truth = run_of(scenario, enumerated={3: list(scenario.topology.functions)})
    assert compare(changed, truth, result, 0) == ["kernels in the capture: expected 3, found 2"]
