"""The words and exit statuses that docs, --help and the manual promise are those of the program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from analyzer.cli import exit_status
from analyzer.cli.application import run
from analyzer.cli.question_commands import RISK_STATUS
from analyzer.questions.atrisk import Verdict
from analyzer.report import headline, text_report
from analyzer.report.atrisk_report import WORDS
from analyzer.results import CHANGES, LASTING_LOSSES, LOSSES, UNCHANGED, BridgeVerdictName
from analyzer.verdicts.loss_weight import WEIGHTS

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
VERDICTS = (ROOT / "docs" / "verdicts.md").read_text("utf-8")


def table(text: str, first: str) -> dict[str, tuple[str, str]]:
    """Word -> meaning and exit status, of the table with that first row."""
    rows = text[text.index(f"| `{first}` |") :].split("\n\n", maxsplit=1)[0].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {word.strip("` "): (meaning, status) for word, meaning, status in cells}


def test_every_word_of_a_headline_is_documented() -> None:
    rows = table(VERDICTS, headline.WORSE_FIRST[0])
    assert list(rows) == list(headline.WORSE_FIRST)
    assert {word: meaning for word, (meaning, _) in rows.items()} == headline.MEANINGS


def test_every_word_of_atrisk_is_documented_with_its_status() -> None:
    rows = table(VERDICTS, "SAFE")
    assert set(rows) == set(WORDS.values()) == {WORDS[name] for name in get_args(Verdict)}
    for verdict, word in WORDS.items():
        assert rows[word][1].split(",")[0] == str(RISK_STATUS[verdict])


def test_the_readme_is_one_page_and_leads_to_the_words() -> None:
    assert len(README.splitlines()) < 100
    assert "| what each word means, and the exit statuses | [docs/verdicts.md](docs/verdicts.md) |" in README


def test_help_names_every_word_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = " ".join(re.sub(r"[^\w ,;.()/<>-]", " ", capsys.readouterr().out).split())
    assert all(word in text for word in headline.WORSE_FIRST)
    assert f"more than {text_report.MOST_IN_FULL} captures" in text
    assert run(["atrisk", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"{word} {RISK_STATUS[verdict]}" in text for verdict, word in WORDS.items())


def test_the_manual_has_every_status() -> None:
    manual = " ".join((ROOT / "docs" / "man" / "analyze.1").read_text("utf-8").split())
    assert all(meaning in manual for meaning in exit_status.MEANINGS.values())


def test_every_bridge_verdict_is_a_change_or_none_or_undetermined() -> None:
    assert sorted((*CHANGES, *UNCHANGED, "undetermined")) == sorted(get_args(BridgeVerdictName))
    assert set(LASTING_LOSSES) < set(LOSSES) < set(CHANGES)


def test_the_table_of_losses_names_every_row() -> None:
    assert [name for name in WEIGHTS if f"`{name}`" not in VERDICTS] == []
