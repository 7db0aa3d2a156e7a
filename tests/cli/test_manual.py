import os
import subprocess
from pathlib import Path

import pytest

from analyzer.cli.application import build
from analyzer.cli.manual import manual
from analyzer.report import man_page
from analyzer.results.rules import RULES

PAGE = Path(__file__).parents[2] / "docs" / "man" / "analyze.1"


def test_the_page_in_the_repository_is_that_of_the_program():
    assert PAGE.read_text() == manual(), "python -m analyzer.cli.manual > docs/man/analyze.1"


def test_every_option_command_and_code_is_in_it():
    program = build()
    page = manual().replace("\\-", "-")
    for name, command in program.commands.items():
        assert f'"analyze {name}' in page
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        options = [option for option in options if not option.hidden]
        assert all(f"\\fB{spelling}\\fR" in page for option in options for spelling in option.opts[:1])
    for option in program.params:
        if not getattr(option, "hidden", False) and option.param_type_name == "option":
            assert f"\\fB{option.opts[0]}\\fR" in page
            assert " ".join(option.help.split())[:20].replace("'", "\\(aq") in page
    for code in RULES:
        assert f"\\fB{code}\\fR" in page


@pytest.mark.parametrize(
    ("plain", "roff"),
    [
        ("a  b\nc", "a b c"),
        ("--join", "\\-\\-join"),
        (".so /etc/passwd", "\\&.so /etc/passwd"),
        ("'quoted' \\n", "\\(aqquoted\\(aq \\en"),
        ("caf\u00e9", "caf\\[u00E9]"),
    ],
)
def test_text_stays_text(plain, roff):
    assert man_page.text(plain) == roff


@pytest.mark.system
def test_man_shows_it_without_a_warning(tmp_path):
    environment = os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "80", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["man", "--warnings=all", "-P", "cat", "-l", PAGE],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("ANALYZE(1)")
    assert "       --kexec-at access:N|time:NS\n" in done.stdout


@pytest.mark.system
def test_man_finds_its_name_for_apropos():
    done = subprocess.run(["lexgrog", PAGE], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f'{PAGE}: "analyze - find PCIe bridges')
