"""Dumps as people have them, complete and incomplete: word, exit status, and the same in every format.

The machine is that of small_dumps.py; ``chain`` also has extended space, where function 0 names function 8.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from small_dumps import ARI_ROW, EIGHTH, END, FIRST, OFF, PORT, SILENT, dump

from analyzer.cli.application import run

CHAIN = dump(size=4096, rows=END)
INPUTS = {
    "on": dump(),
    "on64": dump(size=64),
    "no60": dump(rows={(PORT, 0x60): None}),
    "ep": dump(EIGHTH),
    "off": dump(PORT, FIRST, rows=OFF),
    "fff": dump(rows=SILENT),
    "chain": CHAIN,
    "chain_cut": dump(size=4096, rows={**END, (FIRST, 0x100): ARI_ROW[:17]}),
    "chain_cut_before_next": dump(size=4096, rows={**END, (FIRST, 0x100): ARI_ROW[:14]}),
    "chain_without_8": dump(PORT, FIRST, size=4096),
    "chain_without_8_off": dump(PORT, FIRST, size=4096, rows=OFF),
    "chain_renum": CHAIN.replace("\n01:", "\n02:").replace("00 01 01 00 00 00", "00 02 02 00 00 00"),
}


#: Lines of a dump, and what damage makes of them.
DAMAGES = [("01:01.0 ", "01:3f.9 "), ("01:01.0 ", "01;01.0 "), ("01:00.0 ", "01;00.0 "), ("\n40:", "\n4:")]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in INPUTS.items():
        Path(f"{name}.txt").write_text(text)


@pytest.fixture
def answer(capsys):
    """Exit status and standard output of a command."""

    def ask(*arguments):
        status = run(list(arguments))
        return status, capsys.readouterr().out

    return ask


#: What ``atrisk`` answers of the dumps that were asked for.
BEFORE = {}


def words(text):
    """A report on one line: a report wraps its lines."""
    return " ".join(text.split())


AT_RISK = [
    ("on", "AT RISK", 0, ["0000:01:01.0", "bytes 100-fff of 0000:01:00.0, bytes 100-fff of 0000:01:01.0"]),
    ("on64", "CANNOT TELL", 3, ["40-ff of 0000:00:03.0", "as root"]),
    ("no60", "CANNOT TELL", 3, ["CAP_EXP+24.l, CAP_EXP+28.w of 0000:00:03.0"]),
    ("ep", "CANNOT TELL", 3, ["the bridge above bus 01 (0000:01:01.0)"]),
    ("off", "CANNOT TELL", 3, ["bytes 100-fff of 0000:01:00.0"]),
    ("fff", "AT RISK", 0, ["0000:01:01.0 (every byte reads ff)"]),
    ("chain", "AT RISK", 0, ["0000:01:01.0"]),
    ("chain_cut", "AT RISK", 0, ["0000:01:01.0", "damaged: rows of 0000:01:00.0 are missing: 10 bytes"]),
    ("chain_cut_before_next", "AT RISK", 0, ["0000:01:01.0", "ECAP_ARI+05.b of 0000:01:00.0"]),
    ("chain_renum", "AT RISK", 0, ["0000:02:01.0"]),
]


@pytest.mark.parametrize("how", [[], ["--minimal"], ["--redact"]], ids=["whole", "minimal", "redacted"])
@pytest.mark.parametrize(
    "text",
    [*INPUTS.values(), *(CHAIN.replace(*damage, 1) for damage in DAMAGES)],
    ids=[*INPUTS, *(f"{before}-{after}" for before, after in DAMAGES)],
)
def test_a_converted_dump_has_the_same_answer(text, how, answer):
    Path("given.txt").write_text(text)
    if text not in BEFORE:
        BEFORE[text] = answer("atrisk", "given.txt")
    status, before = BEFORE[text]
    assert answer("convert", *how, "given.txt", "-o", "new.bin")[0] == 0
    found, after = answer("atrisk", "new.bin")
    assert (after.split(":")[0], found) == (before.split(":")[0], status)


@pytest.mark.parametrize(("name", "word", "status", "said"), AT_RISK, ids=[case[0] for case in AT_RISK])
def test_before_a_kexec(name, word, status, said, answer):
    found, text = answer("atrisk", f"{name}.txt")
    assert (text.split(":")[0], found) == (word, status)
    for piece in said:
        assert piece in words(text)
    assert "still discovered" not in text
    found, text = answer("atrisk", f"{name}.txt", "--format", "json")
    assert (json.loads(text)["verdict"], found) == (word.lower().replace(" ", "-"), status)
    assert (json.loads(text)["unknown"] != []) is (word == "CANNOT TELL")
    strict, _ = answer("atrisk", f"{name}.txt", "--strict")
    assert strict == (1 if word == "AT RISK" else status)


NAMED = ["0000:01:01.0 before the kexec, which 0000:01:00.0 names as the next function"]
ACROSS = [
    # before and after, options, headline, JSON verdict, exit status, and what the report says
    ("on on", [], "clean: 1 kexec", "clean", 0, []),
    ("on64 on64", [], "UNDETERMINED", "undetermined", 3, ["40-ff of 0000:00:03.0 before the kexec"]),
    ("on64 off", [], "STRANDED (preserved set unknown)", "findings", 1, ["00:03.0 undetermined", "40-ff of"]),
    ("on no60", [], "UNDETERMINED", "undetermined", 3, ["CAP_EXP+28.w of 0000:00:03.0 after the kexec"]),
    ("no60 on", [], "UNDETERMINED", "undetermined", 3, ["4 dwords of the dump are missing"]),
    ("ep ep", [], "UNDETERMINED", "undetermined", 3, ["the bridge above bus 01 after the kexec"]),
    ("fff fff", [], "UNDETERMINED", "undetermined", 3, ["0000:01:01.0"]),
    ("on off", [], "LOST (preserved set unknown)", "findings", 1, ["0000:01:01.0", "cause: unknown"]),
    ("on off", ["--preserved", EIGHTH], "LOST: ", "findings", 1, ["0000:01:01.0 [1af4:1001] STRANDED"]),
    ("on fff", [], "STRANDED (preserved set unknown)", "findings", 1, ["0000:01:01.0"]),
    ("chain chain", [], "clean: 1 kexec", "clean", 0, []),
    ("chain chain_cut", [], "UNDETERMINED", "undetermined", 3, ["3 dwords of the dump are missing"]),
    # Left out of the first dump and gone in the second; or never enumerated, because the bit was off.
    ("chain_without_8 chain_without_8", [], "UNDETERMINED", "undetermined", 3, NAMED),
    ("chain_without_8 chain_without_8", ["--preserved", PORT], "UNDETERMINED", "undetermined", 3, NAMED),
    ("chain_without_8_off chain_without_8_off", [], "clean: 1 kexec", "clean", 0, []),
    ("chain chain_renum", [], "LOST (preserved set unknown): 0000:00:03.0 renumbered", "findings", 1, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("pieces", "options", "headline", "verdict", "status", "said"),
    ACROSS,
    ids=[" ".join([case[0], *case[1]]) for case in ACROSS],
)
def test_across_a_kexec(pieces, options, headline, verdict, status, said, answer):
    join = ["--join", *(f"{name}.txt" for name in pieces.split()), *options]
    found, text = answer(*join)
    assert found == status
    assert text.startswith(headline)
    for piece in said:
        assert piece in words(text)
    found, text = answer(*join, "--format", "json")
    assert (json.loads(text)["captures"][0]["verdict"], found) == (verdict, status)
    found, text = answer(*join, "--format", "junit")
    suites = ET.fromstring(text)  # noqa: S314 - our own
    bad = int(suites.get("failures")) + int(suites.get("errors"))
    assert (bad > 0, found) == (status > 0, status)
    found, text = answer(*join, "--format", "sarif")
    (sarif,) = json.loads(text)["runs"]
    levels = {result["level"] for result in sarif["results"]}
    notified = {
        note["descriptor"]["id"]
        for invocation in sarif["invocations"]
        for note in invocation.get("toolExecutionNotifications", [])
    }
    assert found == status
    assert ("error" in levels) is (status == 1)
    assert ("warning" in levels or "damaged" in notified) or status != 3
    assert levels <= {"note"} or status != 0
