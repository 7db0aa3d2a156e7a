"""The scenario and topology files of the package: they load, and what they say holds together."""

from pathlib import Path

import pytest

import analyzer
from analyzer.errors import UsageError
from analyzer.lab import data_files, scenarios, topologies
from analyzer.lab.data_files import Table
from analyzer.lab.platforms import Q35
from analyzer.lab.runner import cmdline

TRACES = Path(__file__).parents[2] / "traces"


@pytest.mark.parametrize("name", scenarios.names())
def test_a_scenario_loads(name):
    scenario = scenarios.load(name)
    assert scenario.name == name
    assert scenario.title
    assert scenario.shows


@pytest.mark.parametrize("name", data_files.names("topologies"))
def test_a_topology_loads_and_is_used(name):
    topology = topologies.load(name)
    assert set(Q35.functions) < set(topology.functions)
    assert any(scenario.topology.name == name for scenario in scenarios.load_all())


def test_stock_scenarios_cover_what_the_lab_promises():
    stock = {scenario.name for scenario in scenarios.load_all() if scenario.parts == "stock"}
    assert stock >= {
        "clean",
        "cleared-by-byte",
        "cleared-by-dword",
        "cleared-by-word",
        "firmware-reboot-before-kexec",
        "function-level-reset",
        "healed-in-blackout",
        "link-disable",
        "nested-switches",
        "noari",
        "reboot",
        "recorded-in-the-guest",
        "remove-and-rescan",
        "rescan",
        "secondary-bus-reset",
        "switch-reset-in-blackout",
        "two-kexecs",
        "virtual-functions",
    }


def test_stock_scenarios_need_no_property_of_a_changed_qemu():
    for scenario in scenarios.load_all():
        if scenario.parts == "stock":
            assert not any(boot.preserved for boot in scenario.boots), scenario.name
            assert not any("x-" in device.options for device in scenario.topology.devices), scenario.name


def test_bridges_above_an_endpoint():
    topology = topologies.load("nested-switches")
    assert topology.with_bridges_above(["0000:05:00.0"]) == [
        "0000:00:03.0",
        "0000:01:00.0",
        "0000:02:00.0",
        "0000:03:00.0",
        "0000:04:00.0",
        "0000:05:00.0",
    ]


def test_the_preserved_set_goes_to_the_incoming_kernel():
    built = [scenario for scenario in scenarios.load_all() if scenario.parts == "built"]
    for scenario in built:
        for number, boot in enumerate(scenario.boots):
            words = [word for word in cmdline(scenario, number).split() if word.startswith("lab_preserved=")]
            assert len(words) == bool(boot.preserved), scenario.name
            if boot.preserved:
                named = words[0].removeprefix("lab_preserved=").split(",")
                assert set(boot.preserved) < set(named)


def test_where_the_port_models_have_their_registers_is_what_a_real_trace_shows():
    # The root port 00:03.0 and the switch ports 01:00.0, 02:00.0 of that capture are QEMU's own models; a
    # kernel reads DEVCAP2 of every port above an endpoint, and the flags word of every PCIe function.
    accesses = analyzer.open_capture(str(TRACES / "clean-inherit.bin")).accesses
    read = set(accesses.select("bus", "devfn", "offset").iter_rows())
    at = {model: places["CAP_EXP"] for model, places in topologies.CAPABILITIES.items()}
    assert (0, 3 << 3, at["pcie-root-port"] + 0x28) in read
    assert (1, 0, at["x3130-upstream"] + 0x02) in read
    assert (2, 0, at["xio3130-downstream"] + 0x28) in read


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "the key 'title' is missing"),
        ({"title": 3}, "title: expected str, found 3"),
        ({"title": "x", "colour": 1}, "unknown keys: colour"),
    ],
)
def test_a_slip_in_a_data_file_is_named(values, message):
    def read():
        table = Table("scenarios/x.toml", values)
        table.take("title", str)
        table.end()

    with pytest.raises(UsageError) as caught:
        read()
    assert message in str(caught.value)
    assert "scenarios/x.toml" in str(caught.value)


def test_an_unknown_scenario_suggests_one_that_is_like_it():
    with pytest.raises(UsageError, match=r"there is no '../clean' .*; did you mean clean"):
        scenarios.load("../clean")
