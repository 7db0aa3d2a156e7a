"""The converse of test_never_all_clear.py: where nothing is missing there is an answer, the right one.

Each CANNOT TELL names bytes; with exactly these bytes the answer is that of the whole dump, at once.
The exit status of each capture of the corpus: test_corpus.py.
``ARITRACE_DELETION_CASES`` sets the number of cases of each property.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import deletions
import pytest
from hypothesis import strategies as st
from test_never_all_clear import NUMBERS, SMALL, cases, formats, put, repeatable, small

from analyzer import bdf
from analyzer.cli.application import run
from analyzer.report.lspci_text import lspci_text
from schemas import extended_capabilities

if TYPE_CHECKING:
    from random import Random

    import numpy as np
    from numpy.typing import NDArray

ZEROS = "00 " * 15 + "00"
FULL = ("lspci-xxxx-vvv.txt.zst", "sysfs-config.tar.zst")


@pytest.fixture
def ask(tmp_path, capsys):
    """Exit status and JSON of a command that is given texts as files."""

    def answer(*words: str, **files: str):
        for name, text in files.items():
            put(tmp_path / name, text)
        status = run([*words, *(str(tmp_path / name) for name in files), "--format", "json"])
        return status, json.loads(capsys.readouterr().out)

    return answer


def machine(functions: set[int], *, forwarding: bool) -> str:
    """A complete dump: a root port and functions below it, each of which names the next one."""
    enabled = "20" if forwarding else "00"
    port = {
        0x00: "86 80 48 a0 07 04 10 00 01 00 04 06 00 00 01 00",
        0x10: "00 00 00 00 00 00 00 00 00 01 01 00 00 00 00 00",
        0x30: "00 00 00 00 40 00 00 00 00 00 00 00 00 00 02 00",
        0x40: "10 00 42 00 00 00 00 00 00 00 00 00 00 00 00 00",
        0x60: f"00 00 00 00 20 00 00 00 {enabled} 00 00 00 00 00 00 00",
    }
    spaces = {"00:03.0": port}
    numbers = sorted({0, *functions})
    for number, following in zip(numbers, [*numbers[1:], 0], strict=True):
        spaces[f"01:{number >> 3:02x}.{number & 7}"] = {
            0x00: "f4 1a 01 10 07 04 10 00 01 00 00 02 00 00 80 00",
            0x30: "00 00 00 00 40 00 00 00 00 00 00 00 00 00 00 00",
            0x40: "10 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00",
            0x100: f"0e 00 01 00 00 {following:02x} 00 00 00 00 00 00 00 00 00 00",
        }
    rows = [
        [f"{name} Device: a", *(f"{at:02x}: {space.get(at, ZEROS)}" for at in range(0, 4096, 16)), ""]
        for name, space in spaces.items()
    ]
    return "\n".join(line for space in rows for line in space) + "\n"


@pytest.mark.parametrize(
    ("functions", "forwarding", "verdict", "status"),
    [
        (set(), True, "safe", 0),
        (set(), False, "safe", 0),
        ({1, 2, 7}, True, "safe", 0),
        ({1, 2, 7}, False, "safe", 0),
        ({8}, True, "at-risk", 0),
        ({1, 8, 16, 255}, True, "at-risk", 0),
        ({8}, False, "already-lost", 1),
        ({1, 8, 16, 255}, False, "already-lost", 1),
    ],
)
def test_a_complete_dump_has_an_answer(functions, forwarding, verdict, status, ask):
    found, answer = ask("atrisk", dump=machine(functions, forwarding=forwarding))
    assert (answer["verdict"], answer["unknown"], found) == (verdict, [], status)


@pytest.mark.parametrize("name", FULL)
def test_a_complete_dump_of_a_real_machine_without_dependent_functions(name, ask):
    found, answer = ask("atrisk", dump=formats(name).text)
    assert (answer["verdict"], answer["unknown"], found) == ("safe", [], 0)


@pytest.mark.parametrize(
    "text",
    [
        machine(set(), forwarding=True),
        machine({1, 2}, forwarding=False),
        machine({8}, forwarding=True),
        machine({1, 8, 16, 255}, forwarding=True),
        *(SMALL[name] for name in ("on", "chain", "virtual")),
    ],
)
def test_a_complete_dump_joined_with_itself_is_clean(text, ask):
    found, answer = ask("--join", before=text, after=text)
    assert (answer["captures"][0]["verdict"], found) == ("clean", 0)


@pytest.mark.parametrize("name", FULL)
def test_a_real_dump_joined_with_itself_is_clean(name, ask):
    text = formats(name).text
    found, answer = ask("--join", before=text, after=text)
    assert (answer["captures"][0]["verdict"], found) == ("clean", 0)


# --- the bytes that are named ---

_REGISTER = re.compile(r"(?:(CAP_EXP|ECAP_ARI|ECAP_SRIOV)\+)?([0-9a-f]{2,3})(?:-([0-9a-f]{2,3})|\.([bwl]))?")
_SIZES = {None: 1, "b": 1, "w": 2, "l": 4}
_EXTENDED = {"ECAP_ARI": extended_capabilities.ARI_ID, "ECAP_SRIOV": extended_capabilities.SRIOV_ID}


def places(name: str, function) -> slice | None:
    """Where the bytes are that a name stands for, None of a name that stands for none."""
    match = _REGISTER.fullmatch(name)
    if match is None:
        return None
    base, first, last, size = match.groups()
    at = int(first, 16)
    if base == "CAP_EXP":
        at += function.pcie
    elif base is not None:
        at += function.capabilities.extended[_EXTENDED[base]]
    return slice(at, int(last, 16) + 1 if last else at + _SIZES[size])


Known = dict[int, "NDArray[np.bool_]"]


def text_of(whole: deletions.Machine, known: Known) -> str:
    spaces = [replace(space, known=known[space.function]) for space in whole.snapshot.functions]
    return "".join(lspci_text(replace(whole.snapshot, functions=spaces)))


def removed(whole: deletions.Machine, random: Random) -> Known:
    """What is left of a dump: rows, bytes, or all beyond the header are gone in some of its functions."""
    known = {space.function: space.known.copy() for space in whole.snapshot.functions}
    some = sorted({*whole.above, *random.choices(sorted(known), k=2)})
    for _ in range(random.randrange(1, 5)):
        mask = known[random.choice(some)]
        size = random.choice((1, 2, 4, 16, 64, 256, 4096))
        at = random.randrange(4096 if random.random() < 0.2 else 0x140) // size * size
        mask[max(at, 4) : at + size] = False  # which functions there are is known
    if random.random() < 0.2:
        for mask in known.values():
            mask[64:] = False
    return known


def unknown_of(answer: dict, whole: deletions.Machine) -> list[tuple[int, slice]]:
    """The bytes that an answer names."""
    found = []
    for item in answer["unknown"]:
        if item["bdf"] is not None:
            key = bdf.parse(item["bdf"])
            where = places(item["missing"], whole.functions.get(key))
            found += [] if where is None else [(key, where)]
    return found


def test_the_bytes_that_are_named_suffice(tmp_path_factory, ask, record_property):
    folder = tmp_path_factory.mktemp("whole")
    compared = 0

    @cache
    def dumps() -> list[deletions.Machine]:
        made = [
            (f"made {number}", machine(functions, forwarding=forwarding))
            for number, (functions, forwarding) in enumerate(
                [(set(), False), ({1, 2}, True), ({8}, True), ({1, 8, 9}, False), ({1, 16}, True)]
            )
        ]
        found = [deletions.of_text(name, put(folder / name, text)) for name, text in made]
        found += [small(name, folder) for name in ("chain", "chain off", "chain, function 8 gone", "virtual")]
        return [*found, *map(formats, FULL)]

    @cache
    def verdict(number: int) -> str:
        return ask("atrisk", dump=dumps()[number].text)[1]["verdict"]

    @cases(5, NUMBERS, st.integers(0, len(dumps()) - 1))
    def check(number, which):
        nonlocal compared
        whole = dumps()[which]
        known = removed(whole, repeatable(number))
        status, answer = ask("atrisk", dump=text_of(whole, known))
        if answer["verdict"] != "cannot-tell":
            return
        assert status == 3
        compared += 1
        named = unknown_of(answer, whole)
        assert named, answer["unknown"]
        for key, where in named:
            assert not known[key][where].all(), "it was there"
            known[key][where] = True
        _, again = ask("atrisk", dump=text_of(whole, known))
        assert again["verdict"] == verdict(which), (whole.name, answer["unknown"], again["unknown"])

    check()
    record_property("completion_cases", compared)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CAP_EXP+24.l", slice(0x64, 0x68)),
        ("CAP_EXP+28.w", slice(0x68, 0x6A)),
        ("40-ff", slice(0x40, 0x100)),
        ("0e", slice(0x0E, 0x0F)),
        ("34.b", slice(0x34, 0x35)),
        ("its bus numbers are unset, so that what is below it is hidden", None),
    ],
)
def test_names_of_bytes(name, expected, tmp_path):
    port = small("chain", tmp_path).functions[bdf.parse("00:03.0")]
    assert places(name, port) == expected


def test_a_dump_is_never_a_scan(tmp_path, ask):
    """The vendor dword and then the header type is how a scan discovers a function, in a trace of one."""
    whole = small("chain", tmp_path)
    known = {space.function: space.known.copy() for space in whole.snapshot.functions}
    known[bdf.parse("00:03.0")][4:0x0E] = False
    text = text_of(whole, known)
    found, answer = ask("atrisk", dump=text)
    assert (answer["functions"], answer["verdict"], found) == (3, "at-risk", 0)
