"""Faults inside a port: what scenarios call them, and the property that makes them."""

from __future__ import annotations

from importlib.resources import files

import pytest

from analyzer.errors import UsageError
from analyzer.lab import topologies
from analyzer.lab.faults import PORT_PROPERTIES, fault_of


@pytest.mark.parametrize(
    ("bdf", "fault", "device", "name"),
    [
        ("0000:02:00.0", "lose-ari", "dp0", "x-lab-lose-ari"),
        ("0000:01:00.0", "reset", "up", "x-lab-reset"),
        ("0000:00:03.0", "reset-below", "rp3", "x-lab-reset-below"),
    ],
)
def test_a_fault_sets_a_property_of_a_port(bdf: str, fault: str, device: str, name: str) -> None:
    found = fault_of(topologies.load("chain"), bdf, fault)
    assert found.arguments == {"path": f"/machine/peripheral/{device}", "property": name, "value": True}
    assert str(found) == f"{bdf} {name} set, with no write"


@pytest.mark.parametrize(
    ("bdf", "fault", "problem"),
    [
        ("0000:02:00.0", "melt", "unknown fault 'melt'"),
        ("0000:03:00.0", "reset", "is a nvme: only ports"),
        ("0000:09:00.0", "reset", "has nothing at 0000:09:00.0"),
    ],
)
def test_what_is_no_fault_of_a_port_is_refused(bdf: str, fault: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        fault_of(topologies.load("chain"), bdf, fault)


def test_every_property_is_one_that_the_edited_qemu_has() -> None:
    source = files("analyzer.lab.build").joinpath("data/aritrace_lab.c.inc").read_text(encoding="utf-8")
    assert all(f'object_class_property_add_bool(oc, "{name}"' in source for name in PORT_PROPERTIES.values())
