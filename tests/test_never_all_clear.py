"""Damage and absence never make an answer more certain that all is well.

Deletions that leave a trace in what remains (tests/deletions.py), at random, over every capture of the
corpus, every dump, and snapshots made from the corpus: the answer never moves towards all-clear. The order of
answers, from all-clear on:

====  ========================================================  ==================
rank  ``analyze`` and ``--join``                                ``atrisk``
====  ========================================================  ==================
0     exit 0, ``clean`` or ``no-kexec``                         ``SAFE``
1     exit 0, ``findings`` (NOTED, HEALED, WARNING)             ``AT RISK``
2     exit 3 (UNDETERMINED, UNREADABLE, a loss that may count)  ``CANNOT TELL``
3     exit 1 (LOST, STRANDED, RENUMBERED)                       ``ALREADY LOST``
====  ========================================================  ==================

A deletion may lead to any higher rank, and from 3 to 2: what proved the loss may be what was deleted. It
never leads from 2 or 3 to 1 or 0, nor from 1 to 0, and never to the JSON verdict ``clean`` from another one.

A capture that is cut after a kexec may be clean "up to the cut" (``truncated``), which is a rank of its own:
then the kexecs that are left are compared, each with itself.

One doubt is no fact about the machine: DIVERGES, where the replay predicts something else than the kernel
enumerated. With the chain that the prediction rests on unknown there is no prediction to contradict, so from
DIVERGES alone every answer is allowed.

What leaves no trace is not deleted here: docs/verdicts.md, What cannot be known. ``ARITRACE_DELETION_CASES``
sets the number of deletions of each of the four tests.
"""

from __future__ import annotations

import os
from functools import cache
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import deletions
import pytest
import zstandard
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from small_dumps import END, FIRST, OFF, PORT, SILENT, VIRTUAL, dump
from small_logs import log

from analyzer import analysis, bdf
from analyzer.errors import AritraceError
from analyzer.options import Options
from analyzer.questions.atrisk import atrisk
from analyzer.results import rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CASES = int(os.environ.get("ARITRACE_DELETION_CASES", "120"))
CORPUS = sorted(deletions.TRACES.glob("*.bin"))
FORMATS = deletions.TRACES / "formats"
DUMPS = ("lspci-xxx.txt", "lspci-xxxx-vvv.txt.zst", "sysfs-config.tar.zst", "earlydump-console.txt.zst")
CONSOLES = ("console-healed-by-stock-kernel.txt.zst", "console-hidden-after-secondary-bus-reset.txt.zst")
LOGS = ("qemu-log-dialect-c.log.zst", "qemu-log-dialect-c-same-run.log.zst")
RANKS = {"safe": 0, "at-risk": 1, "cannot-tell": 2, "already-lost": 3}
SMALL = {
    "on": dump(),
    "on64": dump(size=64),
    "off": dump(PORT, FIRST, rows=OFF),
    "silent": dump(rows=SILENT),
    "chain": dump(size=4096, rows=END),
    "chain off": dump(size=4096, rows={**END, **OFF}),
    "chain, function 8 gone": dump(PORT, FIRST, size=4096),
    "chain, function 8 gone, off": dump(PORT, FIRST, size=4096, rows=OFF),
    "virtual": dump(size=4096, rows=VIRTUAL),
    "virtual, not listed": dump(PORT, FIRST, size=4096, rows=VIRTUAL),
}
#: Before and after a kexec, beside each of them with itself.
PAIRS = [
    ("on", "off"),
    ("on", "silent"),
    ("on64", "off"),
    ("chain", "chain off"),
    ("chain", "chain, function 8 gone"),
    ("chain", "chain, function 8 gone, off"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("dumps")


@cache
def small(name: str, folder: Path) -> deletions.Machine:
    path = folder / f"{name}.txt"
    path.write_text(SMALL[name])
    return deletions.of_text(name, path)


@cache
def formats(name: str) -> deletions.Machine:
    return deletions.of_text(name, FORMATS / name)


@cache
def boots() -> list[tuple[Path, int]]:
    return [(path, boot) for path in CORPUS for boot in deletions.kernels(path)]


def risk(path: Path, preserved: str | None = None) -> int:
    """Rank of ``atrisk``."""
    try:
        return RANKS[atrisk(str(path), Options(preserved=preserved)).verdict]
    except AritraceError:
        return RANKS["cannot-tell"]


class Answer(NamedTuple):
    """What ``analyze`` says: rank, JSON verdict, whether it is cut, each kexec's rank, DIVERGES alone."""

    rank: int
    verdict: str
    truncated: bool
    kexecs: list[int]
    diverges: bool


def verdict(paths: list[Path], preserved: str | None = None) -> Answer:
    """What ``analyze`` says of a capture, or of several pieces of one."""
    options = Options(preserved=preserved, join=len(paths) > 1)
    (capture,) = analysis.analyze([str(path) for path in paths], options).captures
    rank = {"loss": 3, "doubt": 2, None: int(capture.verdict == "findings")}[capture.weight]
    weighty = [finding for kexec in capture.kexecs for finding in kexec.findings if finding.weight]
    diverges = {finding.code for finding in weighty} == {rules.DIVERGENCE}
    of_weight = {"loss": 3, "doubt": 2, None: 0}
    kexecs = [max([of_weight[one.weight] for one in kexec.findings], default=0) for kexec in capture.kexecs]
    return Answer(rank, capture.verdict, capture.truncated, kexecs, diverges)


def not_towards_all_clear(before: Answer, after: Answer) -> bool:
    if before.diverges:
        return True
    if after.truncated and after.kexecs:  # "up to the cut": of the kexecs that are in it
        pairs = zip(before.kexecs, after.kexecs, strict=False)
        return all(left >= min(whole, 2) or after.rank == 2 for whole, left in pairs)
    return after.rank >= min(before.rank, 2) and (after.verdict != "clean" or before.verdict == "clean")


def cases(number: int, *strategies: st.SearchStrategy) -> Callable:
    """``given`` over so many cases, the same in every run, smallest failing case first."""

    def decorate(check: Callable) -> Callable:
        limits = settings(
            max_examples=CASES,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        return seed(number)(limits(given(*strategies)(check)))

    return decorate


NUMBERS = st.integers(0, 2**32 - 1)


def repeatable(number: int) -> Random:
    return Random(number)  # noqa: S311 - nothing secret


def drawn(random: Random, folder: Path) -> deletions.Machine:
    """A dump: small, of a real machine, or of a boot of the corpus."""
    kind = random.choice(("small", "formats", "boot"))
    if kind == "small":
        return small(random.choice(sorted(SMALL)), folder)
    if kind == "formats":
        return formats(random.choice(DUMPS))
    return deletions.of_boot(*random.choice(boots()), folder)


def drawn_pair(random: Random, folder: Path) -> tuple[deletions.Machine, deletions.Machine]:
    """Dumps before and after a kexec."""
    kind = random.choice(("same", "pair", "boots"))
    if kind == "same":
        return (drawn(random, folder),) * 2
    if kind == "pair":
        before, after = random.choice(PAIRS)
        return small(before, folder), small(after, folder)
    path = random.choice(CORPUS)
    numbers = deletions.kernels(path)
    first = random.randrange(len(numbers) - 1) if len(numbers) > 1 else 0
    before, after = numbers[first], numbers[min(first + 1, len(numbers) - 1)]
    return deletions.of_boot(path, before, folder), deletions.of_boot(path, after, folder)


def some_preserved(machine: deletions.Machine, random: Random) -> str | None:
    """One function as the preserved set, or none is given."""
    if random.random() < 0.7:
        return None
    return bdf.text(random.choice(machine.snapshot.functions).function)


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_deletions_of_a_dump(folder, record_property):
    """``atrisk``."""
    compared = 0

    @cache
    def whole(text: str, preserved: str | None) -> int:
        return risk(put(folder / "whole", text), preserved)

    @cases(1, NUMBERS, st.sampled_from(deletions.OF_DUMPS))
    def check(number, delete):
        nonlocal compared
        random = repeatable(number)
        machine = drawn(random, folder)
        preserved, left = some_preserved(machine, random), delete(machine, random)
        if left is None:
            return
        compared += 1
        after = risk(put(folder / "left", left), preserved)
        assert after >= min(whole(machine.text, preserved), 2), (machine.name, preserved)

    check()
    record_property("deletion_cases", compared)


def test_deletions_of_joined_dumps(folder, record_property):
    """``analyze --join BEFORE AFTER``; the deletion is in one of the two."""
    compared = 0

    @cache
    def whole(before: str, after: str, preserved: str | None) -> Answer:
        return verdict([put(folder / "before", before), put(folder / "after", after)], preserved)

    @cases(2, NUMBERS, st.sampled_from(deletions.OF_DUMPS), st.sampled_from((0, 1)))
    def check(number, delete, side):
        nonlocal compared
        random = repeatable(number)
        pair = drawn_pair(random, folder)
        preserved, left = some_preserved(pair[0], random), delete(pair[side], random)
        if left is None:
            return
        compared += 1
        texts = [left if place == side else machine.text for place, machine in enumerate(pair)]
        pieces = [put(folder / f"piece{place}", text) for place, text in enumerate(texts)]
        before, after = whole(pair[0].text, pair[1].text, preserved), verdict(pieces, preserved)
        assert not_towards_all_clear(before, after), (pair[0].name, pair[1].name, preserved)

    check()
    record_property("deletion_cases", compared)


def test_damaged_captures(folder, record_property):
    """``analyze`` and ``atrisk`` of native captures and of logs with one damaged place."""
    compared = 0

    @cache
    def whole(path: Path) -> tuple[Answer, int]:
        return verdict([path]), risk(path)

    @cache
    def log(name: str) -> bytes:
        return zstandard.ZstdDecompressor().decompressobj().decompress((FORMATS / name).read_bytes())

    @cases(3, NUMBERS, st.sampled_from([*CORPUS] * 2 + [FORMATS / name for name in LOGS] * 5))
    def check(number, path):
        nonlocal compared
        random = repeatable(number)
        if path in CORPUS:
            what, left = deletions.damaged_native(path, random)
        else:
            what, left = deletions.damaged_log(log(path.name), random)
        damaged = put(folder / "damaged", left)
        compared += 2
        before, at_stake = whole(path)
        assert not_towards_all_clear(before, verdict([damaged])), (path.name, what)
        assert risk(damaged) >= min(at_stake, 2), (path.name, what)

    check()
    record_property("deletion_cases", compared)


def test_damaged_pieces(folder, record_property):
    """``analyze --join`` of a capture in two pieces, of which one is damaged, empty, or no capture."""
    compared = 0

    @cache
    def whole(path: Path) -> Answer:
        pieces = deletions.pieces(path)
        return verdict([put(folder / f"whole{n}.bin", piece) for n, piece in enumerate(pieces)])

    @cases(4, NUMBERS, st.sampled_from(CORPUS), st.sampled_from((0, 1)))
    def check(number, path, side):
        nonlocal compared
        pieces = list(deletions.pieces(path))
        what, pieces[side] = deletions.damaged_piece(pieces[side], repeatable(number))
        names = [put(folder / f"damaged{n}.bin", piece) for n, piece in enumerate(pieces)]
        compared += 1
        assert not_towards_all_clear(whole(path), verdict(names)), (path.name, side, what)

    check()
    record_property("deletion_cases", compared)


@cache
def kernels_of_console(name: str) -> tuple[str, ...]:
    """The logs of the two kernels of a real console."""
    data = (FORMATS / name).read_bytes()
    text = zstandard.ZstdDecompressor().decompressobj().decompress(data).decode("latin-1")
    end = text.index("\n", text.index("Starting new kernel")) + 1
    return text[:end], text[end:]


def drawn_logs(random: Random) -> tuple[str, str]:
    """What was taken before and after a kexec, at least one of them a kernel log."""
    if random.random() < 0.5:
        return kernels_of_console(random.choice(CONSOLES))
    gone = (log(), log(PORT, FIRST), log(PORT), log(PORT, port=("PCI bridge to [bus 02]",)))
    before, after = random.choice((log(), SMALL["on"], SMALL["chain"])), random.choice(gone)
    return (after, before) if random.random() < 0.3 and before != log() else (before, after)


def without_lines(text: str, random: Random) -> str:
    """A text without its beginning, its end, some lines, or all of one kind; the last line may be cut."""
    lines = text.splitlines(keepends=True)
    about = [line for line in lines if "pci" in line.lower()] or lines
    how, place = random.randrange(5), random.randrange(len(lines) + 1)
    if how == 0:
        return "".join(lines[place:])
    if how == 1:
        return "".join(lines[:place])[: -random.randrange(1, 30)]
    if how == 2:
        word = random.choice(
            ("] type ", "PCI bridge to", "PCI host bridge", "resource", "Linux version", "BAR")
        )
        return "".join(line for line in lines if word not in line)
    some = set(random.sample(about, random.randint(1, min(8, len(about)))))
    return "".join(line for line in lines if line not in some)


def test_lines_taken_from_log_pieces(folder, record_property):
    """``analyze --join`` where a piece is a kernel log: it shows no ARI Forwarding, so nothing is clear."""
    compared = 0

    @cases(5, NUMBERS, st.sampled_from((0, 1)), st.sampled_from((None, "03:01.0", "01:01.0")))
    def check(number, side, preserved):
        nonlocal compared
        random = repeatable(number)
        texts = drawn_logs(random)
        left = [without_lines(text, random) if at == side else text for at, text in enumerate(texts)]
        before, after = (
            verdict([put(folder / f"log{at}", text) for at, text in enumerate(pieces)], preserved)
            for pieces in (texts, left)
        )
        compared += 1
        assert before.rank >= 2
        assert after.rank >= 2
        assert not_towards_all_clear(before, after)

    check()
    record_property("deletion_cases", compared)


def test_the_small_dumps_are_what_they_are_called(folder):
    """So that the properties are not about something else."""
    ranks = {name: risk(put(folder / "dump", text)) for name, text in SMALL.items()}
    assert ranks == {
        "on": 1,
        "on64": 2,
        "off": 2,
        "silent": 1,
        "chain": 1,
        "chain off": 3,
        "chain, function 8 gone": 1,
        "chain, function 8 gone, off": 3,
        "virtual": 1,
        "virtual, not listed": 1,
    }
