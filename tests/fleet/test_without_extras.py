"""A base installation, without the extra ``fleet``: counts always, and what is missing is said at once."""

import json
import shlex
import sys

import pytest
from fleet_runs import CLEAN, LOST

from analyzer.fleet import reporting

#: The names by which the program meets the packages of the extra.
EXTRA = ("scipy", "scipy.stats", "obstore", "distributed", "prometheus_client")
INSTALL = f"in a clone of aritrace run {shlex.quote(sys.executable)} -m pip install '.[fleet]'"


@pytest.fixture
def base(monkeypatch):
    """None of them is installed, as ``import`` and ``find_spec`` see it."""
    for name in EXTRA:
        monkeypatch.setitem(sys.modules, name, None)
    reporting.rate.cache_clear()
    yield
    reporting.rate.cache_clear()


@pytest.fixture
def done(fleet):
    fleet.add("clean.bin", CLEAN)
    fleet.add("lost.bin", LOST)
    fleet.run()
    return fleet


@pytest.mark.usefixtures("base")
def test_counts_and_rates_need_no_extra(done):
    status, out, err = done("report", done.out)
    assert status == 1
    assert out.startswith("LOST: ARI Forwarding at 1 of 2 decided kexecs: 50.0 %\n")
    assert err == f"analyze: note: rates without their 95 % intervals: scipy is not installed; {INSTALL}\n"


@pytest.mark.usefixtures("base")
def test_the_intervals_alone_are_missing(done, monkeypatch):
    without = json.loads(done("report", done.out, "--format", "json")[1])
    monkeypatch.undo()
    reporting.rate.cache_clear()
    whole = json.loads(done("report", done.out, "--format", "json")[1])
    assert without["tally"]["loss"] == {"events": 1, "trials": 2, "rate": 0.5, "low": None, "high": None}
    assert without_bounds(without) == without_bounds(whole) != whole


def without_bounds(value):
    if isinstance(value, dict):
        return {key: without_bounds(item) for key, item in value.items() if key not in ("low", "high")}
    return [without_bounds(item) for item in value] if isinstance(value, list) else value


@pytest.mark.usefixtures("base")
def test_the_page_says_that_intervals_are_missing(done, tmp_path):
    page = tmp_path / "page.html"
    assert done("report", done.out, "--html", page)[0] == 1
    text = page.read_text()
    assert "No rate has its 95 % interval: the Python package scipy was not installed." in text
    assert "None%" not in text
    assert '<line class="range" x1' not in text
    assert '<circle class="dot" cx' in text


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s3://bucket/captures/"], "a source in an object store needs the Python package obstore"),
        (["@LIST"], "a source in an object store needs the Python package obstore"),
        (["--manifest", "s3://bucket/m.csv"], "a source in an object store needs the Python package obstore"),
        (
            ["--manifest", "MANIFEST", "--manifest-root", "s3://bucket/"],
            "a source in an object store needs the Python package obstore",
        ),
        (
            ["CAPTURES", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1"],
            "--engine dask needs the Python package dask[distributed]",
        ),
    ],
    ids=["URL", "URL in a list", "manifest", "root of a manifest", "dask"],
)
def test_a_run_that_needs_more_is_refused_before_it_begins(fleet, arguments, said):
    fleet.add("clean.bin", CLEAN)
    listing = fleet.captures.with_name("list")
    listing.write_text(f"{fleet.captures}\ns3://bucket/x.bin\n")
    manifest = fleet.captures.with_name("m.csv")
    manifest.write_text("pieces\nx.bin\n")
    words = {"@LIST": f"@{listing}", "CAPTURES": str(fleet.captures), "MANIFEST": str(manifest)}
    status, out, err = fleet("run", *(words.get(one, one) for one in arguments), "-o", fleet.out)
    assert (status, out) == (2, "")
    assert err == f"analyze: error: {said}, which is not installed; {INSTALL}\n"
    assert not fleet.out.exists()


@pytest.mark.usefixtures("base")
def test_a_textfile_is_refused_before_the_tables_are_read(fleet):
    """The directory is not there, and that is not yet looked at."""
    status, out, err = fleet("report", fleet.out, "--format", "prometheus")
    assert (status, out) == (2, "")
    assert "--format prometheus needs the Python package prometheus-client" in err


def test_what_is_said_to_install_them_does():
    """pip knows the extra of the project in the current directory; the project is on no index."""
    from importlib.metadata import metadata

    assert {"fleet", "report"} <= set(metadata("aritrace").get_all("Provides-Extra"))
