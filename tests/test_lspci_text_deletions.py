"""Lines that are missing from the text of lspci never make an answer more certain that all is well.

As tests/test_never_all_clear.py, whose order of answers this is, for a format without holes: any one line of
a machine, then sets of lines at random. What leaves no trace is not deleted: all lines of a capability, or of
a function, are those of another machine (docs/verdicts.md, What cannot be known).
"""

from __future__ import annotations

import re
from random import Random

import deletions
import lspci_texts as texts
import pytest
import zstandard

from analyzer import analysis
from analyzer.errors import AritraceError
from analyzer.options import Options
from analyzer.questions.atrisk import atrisk

_ROW = re.compile(r"[0-9a-f]{2,3}: [0-9a-f]{2} ")
RANKS = {"safe": 0, "at-risk": 1, "cannot-tell": 2, "already-lost": 3}
MACHINES = {
    "chain": texts.CHAIN,
    "function 8 gone": texts.text(texts.PORT, texts.FIRST),
    "off": texts.text(texts.OFF, texts.FIRST, texts.EIGHTH),
    "virtual": texts.VIRTUAL,
    "silent": texts.text(texts.PORT, texts.FIRST, texts.SILENT.replace("01:00.0", "01:01.0")),
}
#: Before and after a kexec.
PAIRS = [("chain", "off"), ("chain", "function 8 gone"), ("chain", "silent"), ("chain", "chain")]


def risk(path, text: str) -> int:
    path.write_text(text)
    try:
        return RANKS[atrisk(str(path)).verdict]
    except AritraceError:
        return RANKS["cannot-tell"]


def joined(folder, *pieces: str) -> int:
    paths = []
    for number, text in enumerate(pieces):
        (folder / f"{number}").write_text(text)
        paths.append(str(folder / f"{number}"))
    (capture,) = analysis.analyze(paths, Options(join=True)).captures
    return {"loss": 3, "doubt": 2, None: int(capture.verdict == "findings")}[capture.weight]


def test_the_machines_are_what_they_are_called(tmp_path):
    """So that the properties are not about something else."""
    ranks = {name: risk(tmp_path / "text", text) for name, text in MACHINES.items()}
    assert ranks == {"chain": 1, "function 8 gone": 1, "off": 3, "virtual": 1, "silent": 1}


def without(lines: list[str], *gone: int) -> str:
    return "".join(line for number, line in enumerate(lines) if number not in gone)


@pytest.mark.parametrize("name", MACHINES)
def test_any_one_line(name, tmp_path):
    lines = MACHINES[name].splitlines(keepends=True)
    whole = risk(tmp_path / "text", MACHINES[name])
    for gone in range(len(lines)):
        after = risk(tmp_path / "text", without(lines, gone))
        assert after >= min(whole, 2), lines[gone]


@pytest.mark.parametrize("name", MACHINES)
def test_two_lines(name, tmp_path):
    random = Random(name)  # noqa: S311 - nothing secret
    lines = MACHINES[name].splitlines(keepends=True)
    whole = risk(tmp_path / "text", MACHINES[name])
    for _ in range(150):
        gone = random.sample(range(len(lines)), 2)
        after = risk(tmp_path / "text", without(lines, *gone))
        assert after >= min(whole, 2), [lines[number] for number in gone]


@pytest.mark.parametrize("name", MACHINES)
def test_a_text_that_is_cut(name, tmp_path):
    """At every line, but where a function ends: before its empty line as well as behind it."""
    lines = MACHINES[name].splitlines(keepends=True)
    whole = risk(tmp_path / "text", MACHINES[name])
    for end in range(1, len(lines)):
        if lines[end - 1].strip():
            assert risk(tmp_path / "text", "".join(lines[:end])) >= max(min(whole, 2), 1), end


@pytest.mark.parametrize(("before", "after"), PAIRS)
@pytest.mark.parametrize("side", [0, 1])
def test_one_line_of_two_texts(before, after, side, tmp_path):
    pair = [MACHINES[before], MACHINES[after]]
    whole = joined(tmp_path, *pair)
    lines = pair[side].splitlines(keepends=True)
    for gone in range(len(lines)):
        pair[side] = without(lines, gone)
        assert joined(tmp_path, *pair) >= min(whole, 2), lines[gone]


def test_lines_of_a_real_machine(tmp_path):
    packed = (deletions.TRACES / "formats" / "lspci-xxxx-vvv.txt.zst").read_bytes()
    dump = zstandard.ZstdDecompressor().decompressobj().decompress(packed).decode()
    lines = [line for line in dump.splitlines(keepends=True) if not _ROW.match(line)]
    random = Random(7)  # noqa: S311 - nothing secret
    whole = risk(tmp_path / "text", "".join(lines))
    for _ in range(120):
        gone = random.sample(range(len(lines)), random.choice((1, 1, 2, 5)))
        after = risk(tmp_path / "text", without(lines, *gone))
        assert after >= min(whole, 2), [lines[number] for number in gone]
