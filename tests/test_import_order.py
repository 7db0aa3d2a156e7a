"""Packages import in one direction only: the order of CONTRIBUTING.md's picture; no module is in a circle."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

#: From the command line down to what everything may use; a package imports only from lines below its own.
#: Packages on one line (``|``) do not import from each other.
ORDER = """
cli
report
fleet | lab
questions | converting
analysis | option_values
verdicts
replay
preservation
observed
readers
kernel_logs
results | testing
capture
options
series | writing | extras
bdf | distinct_questions | errors | escaping | plurals | version
"""
#: The same inside the package of readers: each family of formats stands alone, but for QEMU's events, which
#: its trace backends write in the families of others.
READERS = """
kmsg | record_bytes
sources | small_files
trace
qemu | tlp | native | snapshot
mixed_reports
sniff
config_events | config_mechanisms | config_names | formats | tar_members | text_blocks
line_cleaning
columns | tallies | unwrap
opening
"""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("analyzer", "schemas", cache_dir=None)


def layers(picture: str) -> list[grimp.Layer]:
    return [
        grimp.Layer(*map(str.strip, line.split("|")), independent=True)
        for line in picture.split("\n")
        if line
    ]


def back(graph: grimp.ImportGraph, picture: str, container: str) -> list[str]:
    """Every import against the order, as ``importer -> (...) -> imported``."""
    found = graph.find_illegal_dependencies_for_layers(layers(picture), containers={container})
    return sorted(
        " -> ".join((min(route.heads), *route.middle, min(route.tails)))
        for one in found
        for route in one.routes
    )


@pytest.mark.parametrize(("container", "picture"), [("analyzer", ORDER), ("analyzer.readers", READERS)])
def test_no_package_imports_against_the_order(graph, container, picture):
    assert back(graph, picture, container) == []


@pytest.mark.parametrize(("container", "picture"), [("analyzer", ORDER), ("analyzer.readers", READERS)])
def test_every_package_has_a_place_in_the_order(graph, container, picture):
    placed = {name for layer in layers(picture) for name in layer.module_tails}
    assert {child.rpartition(".")[2] for child in graph.find_children(container)} == placed


def test_an_import_against_the_order_is_found():
    """The control: what the tests above would say."""
    with_one = grimp.ImportGraph()
    for name in ("analyzer", "analyzer.verdicts", "analyzer.report", "analyzer.report.wording"):
        with_one.add_module(name)
    with_one.add_import(importer="analyzer.verdicts", imported="analyzer.report.wording")
    found = with_one.find_illegal_dependencies_for_layers(
        [grimp.Layer("report"), grimp.Layer("verdicts")], containers={"analyzer"}
    )
    assert [(one.importer, one.imported) for one in found] == [("analyzer.verdicts", "analyzer.report")]


def test_schemas_import_nothing_of_the_program(graph):
    importing = [
        f"{module} -> {imported}"
        for module in graph.modules
        if module.startswith("schemas")
        for imported in graph.find_modules_directly_imported_by(module)
        if not imported.startswith("schemas")
    ]
    assert importing == []


def test_no_module_is_in_a_circle(graph):
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
