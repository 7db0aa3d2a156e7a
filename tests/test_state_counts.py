"""How many functions kept each watched state, for each kind of function: against a plain loop over them."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulator import SILICON, Kernel, Machine, Sriov, ari_device, one_switch
from stories import BELOW_SWITCH, port, switch, tell

from analyzer import bdf
from analyzer.analysis import analyze_batch, open_pieces, study
from analyzer.options import Options
from analyzer.verdicts.state_counts import COUNTED, NAMES
from schemas.pcie_capability import PORT_TYPES
from schemas.state_watch import WATCHED

if TYPE_CHECKING:
    from analyzer.observed.registers.functions import Function
    from analyzer.results.state import StateVerdict
    from analyzer.verdicts.kexecs import KexecAnalysis

TRACES = Path(__file__).parent.parent / "traces"
CORPUS = [*sorted(TRACES.glob("*.bin")), *sorted((TRACES / "formats").glob("qemu-*.zst"))]
#: Of several registers with one name the function's worst counts.
WORST = ("lost", "changed", "healed", "cleared", "undetermined", "expected", "kept", "kept_at_reset")
DOWNSTREAM = "0000:02:00.0"

Counts = dict[tuple[str, str | None, str | None, bool, str], int]


def grouped(kexec: KexecAnalysis) -> Counts:
    """State, vendor:device, port type, preserved, verdict -> functions; as the program counts."""
    groups, names = kexec.watch.groups, list(NAMES)
    rows = zip(groups.kind.tolist(), groups.name.tolist(), groups.counts.tolist(), strict=True)
    return {
        (names[name], *groups.kinds[kind], word): number
        for kind, name, counts in rows
        for word, number in zip(COUNTED, counts, strict=True)
        if number
    }


def port_type(function: Function) -> str | None:
    if function.header_type is None:
        return None
    if function.is_bridge:
        unknown = None if function.is_pcie is not False else "pci"
        return unknown if function.pcie_type is None else PORT_TYPES.get(function.pcie_type, "pci")
    return {9: "rc-endpoint", 10: "rc-event-collector"}.get(function.pcie_type or 0, "endpoint")


def reset_bits(one: StateVerdict) -> int | None:
    """Of what it is after a conventional reset; of status, which is not state, None."""
    state = next(each for each in WATCHED if (each.short, each.register.setpci) == (one.name, one.register))
    return None if state.is_status else state.reset_bits


def recounted(kexec: KexecAnalysis, preserved: set[str]) -> Counts:
    """The same from the rows of the table of working, one function and register after the other."""
    verdicts: dict[tuple[str, str], list[str]] = {}
    for one in kexec.watch.every_verdict():
        word: str = one.verdict
        if word == "cleared" and one.bdf not in preserved:
            word = "kept"  # until the first read; the incoming kernel sets it up from nothing
        if word == "kept" and one.before is not None and int(one.before, 16) == reset_bits(one):
            word = "kept_at_reset"
        verdicts.setdefault((one.bdf, one.name), []).append(word)
    found: Counter[tuple[str, str | None, str | None, bool, str]] = Counter()
    for (name, state), words in verdicts.items():
        function = kexec.handover.outgoing.functions[bdf.parse(name)]
        key = (state, function.vendor_device, port_type(function), name in preserved)
        worst = min(words, key=WORST.index)
        found[*key, worst] += 1
        if worst == "kept_at_reset":
            found[*key, "kept"] += 1
    return dict(found)


def by_name(counts: Counts) -> dict[str, tuple[int, int, int]]:
    """State -> kept, lost, not captured, as ``state_counts`` has them."""
    found: dict[str, list[int]] = {}
    for (name, _, _, _, word), number in counts.items():
        if word == "kept_at_reset":
            continue  # they are among those that were kept
        place = {"kept": 0, "expected": 0, "undetermined": 2}.get(word, 1)
        found.setdefault(name, [0, 0, 0])[place] += number
    return {name: (kept, lost, missing) for name, (kept, lost, missing) in found.items()}


def check(kexec: KexecAnalysis, preserved: set[str] | None = None) -> Counts:
    if preserved is None:
        bridges = {one.bdf for one in kexec.result.bridges if one.preserved}
        preserved = bridges | {one.bdf for one in kexec.result.devices if one.preserved}
    found = grouped(kexec)
    assert found == recounted(kexec, preserved)
    totals = {one.name: (one.kept, one.lost, one.not_captured) for one in kexec.result.state_counts}
    assert by_name(found) == totals
    return found


@pytest.mark.slow
def test_the_corpus() -> None:
    """Every capture; together they have every verdict."""
    seen = set()
    for path in CORPUS:
        for kexec in study(open_pieces([str(path)])).kexec_analyses:
            seen |= {word for *_, word in check(kexec)}
    assert seen == set(COUNTED)


@pytest.mark.parametrize("seed", range(16))
def test_registers_that_change_at_random(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    machine = one_switch(ari_device(0, 1, 8, 9, sriov={0: Sriov(total=4)}, model=SILICON), model=SILICON)
    names = [*BELOW_SWITCH, DOWNSTREAM]

    def happening(machine: Machine) -> None:
        for state in chance.sample(WATCHED, 20):
            name = chance.choice(names)
            register = f"{state.register.offset:02x}" if state.register.base.startswith("HEADER") else None
            size = {1: "b", 2: "w", 4: "l"}[state.register.size]
            place = state.register.setpci if register is None else f"{register}.{size}"
            if state.register.base in ("HEADER0", "HEADER1", "CAP_EXP"):
                machine.poke(name, place, machine.peek(name, place) ^ chance.getrandbits(16) & state.mask)
        if seed % 4 == 3:
            machine.conventional_reset(DOWNSTREAM)

    preserve = () if seed % 5 == 4 else BELOW_SWITCH[: 1 + seed % 4]
    story = tell(
        machine,
        preserve=preserve,
        outgoing=Kernel(iommu=True, keeps_bus_master=seed % 2 == 0),
        incoming=Kernel(policy="inherit", series="v9", iommu=True),
        before=(lambda recording: recording.freeze(BELOW_SWITCH[0])) if seed % 3 == 2 else None,
        blackout=happening,
        crash=seed == 10,
    )
    preserved = Options(preserved=",".join(preserve)) if preserve else Options()
    (kexec,) = study(story.recording.capture(), preserved).kexec_analyses
    words = {word for *_, word in check(kexec)}
    assert not words.isdisjoint({"changed", "lost", "healed", "undetermined"})


def test_what_a_reset_of_a_port_costs() -> None:
    """One endpoint has lost its addresses, three have kept theirs."""
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        outgoing=Kernel(iommu=True),
        incoming=Kernel(policy="stock", iommu=True),
        blackout=lambda machine: machine.conventional_reset("0000:03:00.0"),
    )
    options = Options(preserved=",".join(BELOW_SWITCH))
    (kexec,) = study(story.recording.capture(), options).kexec_analyses
    found = {key: number for key, number in check(kexec).items() if key[0] == "BAR"}
    endpoint = story.device(BELOW_SWITCH[0]).vendor_device
    lost = {key[1:4]: number for key, number in found.items() if key[-1] in ("lost", "healed", "changed")}
    assert lost == {(endpoint, "endpoint", True): 1}
    assert found["BAR", endpoint, "endpoint", True, "kept"] == 3


def test_a_freeze_is_expected() -> None:
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        outgoing=Kernel(iommu=True),
        incoming=Kernel(policy="inherit", iommu=True),
        before=lambda recording: recording.freeze(*BELOW_SWITCH),
    )
    options = Options(preserved=",".join(BELOW_SWITCH))
    (kexec,) = study(story.recording.capture(), options).kexec_analyses
    words = Counter(word for name, *_, preserved, word in check(kexec) if preserved)
    assert words["lost"] == words["changed"] == 0
    assert words["expected"] > 0


def test_without_a_shutdown_what_it_writes_is_unknown() -> None:
    story = tell(port(), incoming=Kernel(), crash=True)
    (kexec,) = study(story.recording.capture()).kexec_analyses
    assert {word for name, *_, word in check(kexec) if name == "Bus Master"} == {"undetermined"}


def test_the_working_of_each_capture_of_a_batch() -> None:
    """The callback is given the captures in order, and the results stay the same."""
    captures = [open_pieces([str(path)]) for path in CORPUS[:3]]
    seen = []
    results = analyze_batch(captures, studied=lambda one: seen.append(one.result))
    assert seen == results == analyze_batch(captures)


def test_of_a_capture_that_lacks_accesses_nothing_counts_as_kept() -> None:
    capture = open_pieces([str(TRACES / "clean-inherit.bin")])
    capture.notes.dropped = 1
    (kexec,) = study(capture).kexec_analyses
    words = {word for *_, word in check(kexec)}
    assert "undetermined" in words
    assert words <= {"undetermined", "expected", "cleared"}
