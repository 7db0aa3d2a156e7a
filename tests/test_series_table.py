"""The table of series: what depends on the version of the patches reads it; a new version is one row."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made_worlds import link, predict
from preserved_dumps import h8

from analyzer import series
from analyzer.cli.application import run
from analyzer.errors import UnsupportedFormatError, UsageError
from analyzer.fleet.job import Request
from analyzer.observed.registers.functions import BusNumbers
from analyzer.options import Options
from analyzer.preservation import flb
from analyzer.preservation.preserved import HandedOver
from analyzer.replay.profile import Profile
from analyzer.replay.series_recognition import candidates, handover
from analyzer.replay.world import Node
from analyzer.series import BusNumberRule, HandedOverForm, MessageText, Series

ROOT = Path(__file__).parents[1]
REPLAY = (ROOT / "docs" / "replay.md").read_text("utf-8")
#: An empty cell (en dash).
NONE = "\u2013"
CAPTURE = str(ROOT / "traces" / "lost-explicit-write.bin")

#: A version that does not exist: v9 with the numbering rule of v5, other data and one more message.
V10 = replace(
    series.named("v9"),
    name="v10",
    posted="1 Jan 2027",
    bus_numbers=BusNumberRule.DEVICES,
    hands_over=HandedOverForm("H8", "D3", "pci", version=3),
    log_texts=(
        *series.named("v9").log_texts,
        MessageText("Frozen secondary numbers, leaving it alone", fact="refused-bridge"),
    ),
)


@pytest.fixture
def v10(monkeypatch: pytest.MonkeyPatch) -> Series:
    """The table with one more row."""
    monkeypatch.setattr(series, "TABLE", (*series.TABLE, V10))
    return V10


# The documented tables.


def rows_of(heading: str) -> list[str]:
    """Rows of the first table under a heading of docs/replay.md, without its head."""
    section = REPLAY.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


def series_row(row: Series) -> str:
    form = row.hands_over
    data = "differs from tree to tree"
    if form is not None:
        version = "" if form.version is None else f", version {form.version}"
        data = f"{form.layout} with {form.entry}, FLB `{form.flb_name}`{version}"
    panics = ", ".join(sorted(row.panics)) or NONE
    return f"| {row.name} | {row.posted} | {row.bus_numbers.value} | {row.ari.value} | {data} | {panics} |"


def text_row(text: MessageText, versions: tuple[str, ...]) -> str:
    span = series.span(series.named(version) for version in versions)
    return f"| `{text.text.strip()}` | {span} | {text.fact or NONE} | {text.panic or NONE} |"


def undocumented() -> list[str]:
    """Rows that docs/replay.md should have."""
    there = {*rows_of("Series"), *rows_of("Messages by series")}
    wanted = [
        *map(series_row, series.TABLE),
        *(text_row(text, versions) for text, versions in series.log_texts().items()),
    ]
    return [row for row in wanted if row not in there]


def test_the_documented_tables_are_those_of_the_program() -> None:
    assert undocumented() == []
    assert len(rows_of("Series")) == len(series.TABLE)
    assert len(rows_of("Messages by series")) == len(series.log_texts())


def test_the_documented_rules_name_their_series() -> None:
    for rule in BusNumberRule:
        span = series.span(series.where(lambda row, rule=rule: row.bus_numbers is rule), " to ")
        assert f"\n| {span}: {rule.value} |" in REPLAY
    assert series.dated_span() in REPLAY.split("\n## ", 1)[0].replace("\n", " ")


# What is in the table.


def test_names_and_texts_stand_once_and_newer_versions_after_older_ones() -> None:
    numbers = [int(name.removeprefix("v")) for name in series.names()]
    assert numbers == sorted(set(numbers))
    texts = [text.text for text in series.log_texts()]
    assert len(texts) == len(set(texts))


def test_a_text_that_is_part_of_another_one_comes_after_it() -> None:
    texts = [text.text for text in series.log_texts()]
    assert not [(whole, part) for n, part in enumerate(texts) for whole in texts[n + 1 :] if part in whole]


def test_flb_names_and_their_layouts() -> None:
    assert series.flb_names() == {
        "pci-v1": ("H1", "H2", "H3"),
        "pci-v2": ("H4", "H5", "H7"),
        "pci-v3": ("H6",),
        "pci": ("H8",),
    }
    assert series.versions("H8") == (1, 2)
    assert series.versions("H7") == ()


@pytest.mark.parametrize(
    ("layout", "trees"),
    [
        ("H1", "series v1"),
        ("H2", "series v2"),
        ("H3", "series v3"),
        ("H4", "a tree between v4 and v5"),
        ("H5", "trees between v5 and v6"),
        ("H6", "series v6"),
        ("H7", "series v7"),
        ("H8", "series v8 and v9"),
    ],
)
def test_who_writes_a_layout(layout: str, trees: str) -> None:
    assert series.users(layout) == trees


def test_every_settled_form_is_decoded() -> None:
    assert {row.hands_over.layout for row in series.TABLE if row.hands_over} == set(flb._DECODED)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("v4 v5 v6 v7 v8 v9", "v4-v9"),
        ("v5 v6", "v5-v6"),
        ("v9", "v9"),
        ("v4 v6 v7 v9", "v4, v6-v7, v9"),
        ("", ""),
    ],
)
def test_span(chosen: str, expected: str) -> None:
    assert series.span(series.named(name) for name in chosen.split()) == expected


def test_nothing_else_in_the_program_names_a_version() -> None:
    """The simulator does: it is a second implementation, which the replay is compared with."""
    programs = [*(ROOT / "analyzer").rglob("*.py"), *(ROOT / "schemas").rglob("*.py")]
    naming = [
        path.relative_to(ROOT).as_posix()
        for path in programs
        if re.search(r"""["']v[3-9]["']""", path.read_text("utf-8"))
    ]
    assert [path for path in naming if not path.startswith("analyzer/testing/")] == ["analyzer/series.py"]


# A version that the program does not know.

UNKNOWN = ("v10", "v3", "V9", "9", "")


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_series_is_an_error_in_the_library(name: str) -> None:
    data = HandedOver("H8", 2, "pci")
    for use in (
        lambda: series.named(name),
        lambda: Options(series=name),
        lambda: Request(("a.bin",), series=name).options,
        lambda: Profile("stock", name, frozenset(), False, False, {}),
        lambda: candidates(name, (), None),
        lambda: handover(name, data),
    ):
        with pytest.raises(UsageError) as caught:
            use()
        assert f"(v4, v5, v6, v7, v8, v9), found {name!r}" in str(caught.value)


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize(
    "command",
    [
        (CAPTURE,),
        ("explain", CAPTURE, "01:00.0"),
        ("atrisk", CAPTURE),
        ("fleet", "run", CAPTURE),
    ],
)
def test_an_unknown_series_is_an_error_on_the_command_line(
    command: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--series", name]) == 2
    said = capsys.readouterr()
    assert f"'--series': expected one of v4, v5, v6, v7, v8, v9; found {name!r}" in said.err
    assert said.out == ""


# One more row.


def test_an_unknown_series_is_an_error_in_a_file_of_expectations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(CAPTURE, tmp_path / "a.bin")
    (tmp_path / "a.toml").write_text('[options]\nseries = "v10"\n', "ascii")
    assert run(["corpus", "check", str(tmp_path)]) == 2
    assert "(v4, v5, v6, v7, v8, v9), found 'v10'" in capsys.readouterr().err


def test_one_more_row_is_replayed_by_its_rule(v10: Series) -> None:
    """An endpoint on the bus is preserved: v9 gives the bridge new numbers, the new version does not."""
    lost, endpoint = Node((2, 0), is_bridge=True, numbers=BusNumbers(0, 0, 0, 0)), Node((2, 8))
    machine = link({node.path: node for node in (lost, endpoint)})
    said = {
        name: predict(machine, Profile("inherit", name, frozenset({0x0208}), False, False, {})).numbers[
            lost.path
        ]
        for name in ("v9", v10.name)
    }
    assert said == {"v9": "assign", "v10": "refuse"}


def test_one_more_row_is_recognised_by_its_data(v10: Series) -> None:
    entries = [(0, 0x0100, 1)]
    with pytest.raises(UnsupportedFormatError, match=r"version 1 or 2 or 3 .* found 4"):
        flb.decode(h8(entries, version=4))
    decoded = flb.decode(h8(entries, version=3), "pci")
    data = HandedOver(decoded.layout, decoded.version, "pci")
    assert candidates(None, (), data) == [v10.name]
    assert (handover(v10.name, data), handover("v9", data)) == ("matched", "panic")
    assert candidates(None, (), HandedOver("H8", 2, "pci")) == ["v8", "v9"]
    assert candidates(None, ("v9", "v10"), None) == ["v9", "v10"]


def test_one_more_row_is_missed_in_the_documentation(v10: Series) -> None:
    missing = undocumented()
    assert series_row(v10) in missing
    assert any("Frozen secondary numbers" in row for row in missing)


#: A program that starts with the table as it is here; the last line is evaluated and printed as JSON.
PROGRAM = """
import json, pickle, sys
from analyzer import series
series.TABLE = pickle.loads(bytes.fromhex(sys.argv[1]))
{imports}
print(json.dumps({value}))
"""


def in_a_new_program(imports: str, value: str) -> object:
    """Value of an expression in a new program whose table has one more row."""
    table = pickle.dumps((*series.TABLE, V10)).hex()
    code = PROGRAM.format(imports=imports, value=value)
    done = subprocess.run(
        [sys.executable, "-c", code, table], capture_output=True, check=True, text=True, timeout=120
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_one_more_row_is_read_from_kernel_messages() -> None:
    fact = in_a_new_program(
        "from analyzer.kernel_logs import log_facts",
        "[(fact.kind, sorted(fact.series)) for fact in map(log_facts.read, ["
        "'pci 0000:02:00.0: Frozen secondary numbers, leaving it alone', "
        "'vfio-pci 0000:03:10.0: Cannot preserve Virtual Functions'])]",
    )
    assert fact == [["refused-bridge", ["v10"]], ["event", ["v10", "v8", "v9"]]]


def test_one_more_row_is_cited() -> None:
    said = in_a_new_program(
        "from analyzer.replay import citations\nfrom analyzer.results import rules",
        "[citations.ARI['inherited'][1], citations.NUMBERS['refuse'][1], rules.RULES['ARI001'].source]",
    )
    assert isinstance(said, list)
    ari, numbers, rule = said
    assert "series v4 (23 Apr 2026) to v10 (1 Jan 2027), patch 'Inherit (v8: Adopt) ARI" in ari
    assert "series v4-v10, patch 'Inherit (Keep, Preserve) bus numbers'" in numbers
    assert "series v4-v10" in rule


def test_one_more_row_is_a_choice_on_the_command_line_and_has_its_consequences() -> None:
    said = in_a_new_program(
        "import contextlib, io\n"
        "from analyzer.cli.application import run\n"
        "def output(*words):\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):\n"
        "        status = run(list(words))\n"
        "    return status, out.getvalue()",
        f"[output('--help'), output({CAPTURE!r}, '--series', 'v10', '--format', 'json'),"
        f" output({CAPTURE!r}, '--format', 'json'), output({CAPTURE!r}, '--series', 'v11')]",
    )
    assert isinstance(said, list)
    (_, text), given, newest, (status, refused) = said
    assert "v4...v10" in text
    assert "else v10" in " ".join(text.replace("│", " ").split())
    for _, report in (given, newest):
        kexecs = [kexec for capture in json.loads(report)["captures"] for kexec in capture["kexecs"]]
        assert {kexec["series"] for kexec in kexecs} == {"v10"}
        (panic,) = (one for one in kexecs[0]["consequences"] if one["code"] == "panic-unfinished")
        assert "series v8, v9 or v10 panics" in panic["text"]
        assert "series v8/v9/v10: panic 'preserved device(s) were never finished!'" in panic["source"]
    assert status == 2
    assert "expected one of v4, v5, v6, v7, v8, v9, v10; found 'v11'" in refused
