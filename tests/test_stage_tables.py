"""The tables of every stage: their columns, what they say of real captures, the questions on their page."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import polars as pl
import pytest

import analyzer
from analyzer.cli.tables_command import TABLE_NAMES
from analyzer.errors import UsageError
from analyzer.options import Options
from analyzer.questions.tables.schemas import SCHEMAS
from analyzer.questions.tables.stages import of_each, tables

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/tables.md").read_text("utf-8")
LOST = str(ROOT / "traces/lost-explicit-write.bin")
TWO = str(ROOT / "traces/inherit-two-kexecs.bin")
#: Tables whose columns are the fields of the JSON output.
OF_RESULTS = {"captures", "kexecs", "bridges", "devices"}
SQL = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The directory that ``analyze tables`` writes for a few captures of the corpus."""
    folder = tmp_path_factory.mktemp("stages")
    names = [
        "lost-explicit-write",
        "clean-inherit",
        "inherit-two-kexecs",
        "inherit-unconfigured",
        "heal-rule",
    ]
    captures = [f"traces/{name}.bin" for name in names if (ROOT / f"traces/{name}.bin").exists()]
    with pytest.MonkeyPatch.context() as here:
        here.chdir(ROOT)
        from analyzer.cli.application import run

        assert run(["tables", *captures, "-o", str(folder / "tables")]) == 0
    return folder


def test_the_page_names_every_column():
    lines = PAGE[PAGE.index("| table |") :].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    documented = {
        name.strip("`"): re.findall(r"`(\w+)`", re.sub(r"\([^()]*\)", "", what)) for name, _, what in cells
    }
    columns = {
        name: [one for one in schema if one not in ("capture", "path")] for name, schema in SCHEMAS.items()
    }
    assert list(documented) == list(columns)
    own = {name: found for name, found in documented.items() if name not in OF_RESULTS}
    assert own == {name: found for name, found in columns.items() if name not in OF_RESULTS}


def test_the_command_knows_every_table():
    assert tuple(SCHEMAS) == TABLE_NAMES


@pytest.mark.parametrize("name", SCHEMAS)
def test_columns_are_those_of_the_schema(name):
    (found,) = tables([LOST], None, [name]).values()
    assert dict(found.schema) == SCHEMAS[name]
    assert found.height > 0


def test_a_capture_that_cannot_be_read_is_a_row_of_captures(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"\x00" * 100)
    found = tables([str(tmp_path / "x.bin"), LOST])
    assert found["captures"]["verdict"].to_list() == ["unreadable", "findings"]
    assert {frame["capture"].unique().to_list()[-1] for frame in found.values()} == {1}
    assert {name for name, frame in found.items() if 0 in frame["capture"]} == {"captures"}


def test_no_such_table():
    with pytest.raises(UsageError, match="no table is named 'brids'; choose from captures, accesses"):
        tables([LOST], None, ["brids"])


def test_one_capture_at_a_time():
    each = of_each([LOST, TWO], None, ["kexecs"])
    assert next(each)[1]["kexecs"].height == 1
    assert next(each)[1]["kexecs"]["kexec"].to_list() == [0, 1]


def test_joined_pieces_are_one_capture():
    found = tables([LOST, LOST], Options(join=True), ["captures"])["captures"]
    assert found.height == 1


@pytest.mark.parametrize("capture", sorted(ROOT.glob("traces/*.bin"))[::6], ids=lambda path: path.stem)
def test_the_tables_say_what_the_result_says(capture):
    found = tables([str(capture)])
    (result,) = analyzer.analyze([str(capture)]).captures
    assert found["accesses"].height == result.accesses
    assert found["boots"].select("kind", "first_access", "last_access").rows() == [
        (boot.kind, boot.first_access, boot.last_access) for boot in result.boots
    ]
    for kexec in result.kexecs:
        of_kexec = pl.col("kexec") == kexec.index
        nodes = found["nodes"].filter(of_kexec)
        assert sorted(nodes["incoming"].drop_nulls().to_list()) == sorted(kexec.observed.discovered)
        assert set(nodes["outgoing"].drop_nulls()) <= {device.bdf for device in kexec.devices}
        for policy, outcome in kexec.policies.items():
            certain = (pl.col("policy") == policy) & (pl.col("discovered") == "certain")
            predicted = found["predictions"].filter(of_kexec & certain)["address"]
            assert sorted(predicted.to_list()) == sorted(outcome.discovered)
        decided = found["decisions"].filter(pl.col("boot") == kexec.incoming_boot).group_by("bridge").first()
        rules = dict(decided.select("bridge", "enabled").rows())
        assert {
            bridge.bdf: bridge.ari_decided
            for bridge in kexec.bridges
            if kexec.policy == "observed" and bridge.bdf in rules
        }.items() <= rules.items()


PATH = "traces/lost-explicit-write.bin"
#: What each question answers of that capture.
ANSWERS = [
    [(PATH, "0000:02:00.0", "set", "inherit")],
    [(PATH, 0, "0000:03:01.0"), (PATH, 0, "0000:03:01.1"), (PATH, 0, "0000:03:02.0")],
    [],
    [(PATH, "0000:02:00.0", 3599, "0x0020", -4.621), (PATH, "0000:02:00.0", 15004, "0x0000", -1.754)],
    [(PATH, 1, 19, 2768), (PATH, 2, 16, 2316)],
]


@pytest.mark.parametrize(("question", "answer"), list(zip(SQL, ANSWERS, strict=True)))
def test_the_questions_on_the_page(question, answer, corpus, monkeypatch):
    monkeypatch.chdir(corpus)
    assert [row for row in duckdb.sql(question).fetchall() if row[0] == PATH] == answer


def test_the_question_in_polars(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(program, "docs/tables.md", "exec"), {})  # noqa: S102 (of our own page)
    assert capsys.readouterr().out.strip() == program.split("# ")[-1].strip()
