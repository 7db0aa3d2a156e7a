"""The state watch: what else a kexec cost, and no word where nothing was lost."""

from __future__ import annotations

import random
import re
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from corpus_answers import answer
from simulator import SILICON, Kernel, Machine, Recording, Sriov, ari_device, lab_topology, one_switch
from stories import BELOW_PORT, BELOW_SWITCH, Story, port, switch, tell

from analyzer.analysis import analyze_capture
from analyzer.lab import expected_state, scenarios
from analyzer.options import Options
from analyzer.report.html.findings import kexec_texts
from analyzer.report.page import new_page, plain
from analyzer.report.state_section import add_state, beside
from schemas.state_watch import WATCHED

if TYPE_CHECKING:
    from schemas import state_watch as states

TRACES = Path(__file__).parent.parent / "traces"
PORT, DOWNSTREAM = "0000:00:01.0", "0000:02:00.0"
#: Verdicts that say that something was lost.
COSTS = {"lost", "changed", "healed", "cleared"}


def rows(story: Story, *words: str) -> list[tuple[str, str, str, str | None, str | None]]:
    """Function, register, verdict, before and after of what was lost, or of the rows with those words."""
    return [
        (one.bdf, one.register, one.verdict, one.before, one.after)
        for one in (*story.kexec.state, *story.kexec.state_undetermined)
        if one.verdict in (words or COSTS | {"undetermined"})
    ]


def codes(story: Story) -> list[tuple[str, str]]:
    return [(item.code, item.severity) for item in story.kexec.findings if item.code.startswith("STATE")]


# -- no false alarm -----------------------------------------------------------------------------------------


def of_the_lab(name: str) -> scenarios.Scenario | None:
    """The scenario of the lab that a capture of the corpus was made by."""
    base, is_v9 = name.removesuffix("-v9"), name.endswith("-v9")
    return scenarios.load(base, "v9" if is_v9 else "v7") if base in scenarios.names() else None


def expected_of(name: str) -> list[dict[str, tuple[str, ...]]]:
    """What the watch must say of each kexec of a capture of the lab."""
    scenario = of_the_lab(name)
    return [] if scenario is None else [kexec.state for kexec in scenario.kexecs]


CLEAN = [
    path.stem
    for path in sorted(TRACES.glob("*.toml"))
    if tomllib.loads(path.read_text()).get("expect", {}).get("verdict") == "clean"
    and not any(expected_of(path.stem))
]
LAB = [path.stem for path in sorted(TRACES.glob("*.toml")) if of_the_lab(path.stem) is not None]


def test_there_are_clean_captures() -> None:
    assert len(CLEAN) >= 7


@pytest.mark.parametrize("name", CLEAN)
def test_nothing_is_reported_of_a_clean_capture(name: str) -> None:
    for kexec in answer(name).kexecs:
        assert {one.verdict for one in kexec.state} <= {"expected"}
        assert kexec.state_undetermined == []
        assert [item for item in kexec.findings if item.code.startswith("STATE")] == []


@pytest.mark.parametrize("name", LAB)
def test_real_kernels_show_what_the_scenario_says_and_nothing_else(name: str) -> None:
    kexecs = answer(name).kexecs
    assert [expected_state.said(kexec) for kexec in kexecs] == expected_of(name)


def test_the_corpus_has_captures_in_which_real_kernels_lose_something() -> None:
    assert sum(any(expected_of(name)) for name in LAB) >= 15


@pytest.mark.parametrize("iommu", [False, True], ids=["no IOMMU", "IOMMU"])
@pytest.mark.parametrize("qemu", [False, True], ids=["widths", "no widths"])
@pytest.mark.parametrize("machine", [port, switch, lab_topology], ids=["port", "switch", "lab"])
def test_nothing_is_lost_at_a_plain_kexec(machine: object, qemu: bool, iommu: bool) -> None:
    story = tell(machine(), outgoing=Kernel(iommu=iommu), incoming=Kernel(iommu=iommu), qemu=qemu)  # type: ignore[operator]
    assert rows(story) == []


@pytest.mark.parametrize("freeze", [False, True], ids=["running", "frozen"])
@pytest.mark.parametrize("series", ["v4", "v5", "v6", "v7", "v8", "v9"])
def test_nothing_is_lost_at_a_live_update(series: str, freeze: bool) -> None:
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        outgoing=Kernel(series=series, iommu=True),  # type: ignore[arg-type]
        incoming=Kernel(policy="inherit", series=series, iommu=True),  # type: ignore[arg-type]
        before=(lambda recording: recording.freeze(*BELOW_SWITCH)) if freeze else None,
    )
    assert rows(story) == []
    assert codes(story) == []
    if freeze:  # Command = 0x0400: what the freeze itself wrote is expected
        written = {(bdf, register) for bdf, register, *_ in rows(story, "expected")}
        assert {(bdf, "COMMAND") for bdf in BELOW_SWITCH} <= written


@pytest.mark.parametrize("policy", ["stock", "serialize", "heal"])
def test_nothing_is_lost_under_any_policy(policy: str) -> None:
    assert rows(tell(port(), preserve=BELOW_PORT, incoming=Kernel(policy=policy))) == []  # type: ignore[arg-type]


def test_nothing_is_lost_by_what_users_do() -> None:
    def before(recording: Recording) -> None:
        recording.lspci()
        recording.remove("0000:03:01.1")
        recording.rescan()
        recording.lspci()

    story = tell(
        switch(), preserve=BELOW_SWITCH, before=before, afterwards=lambda recording: recording.lspci()
    )
    assert rows(story) == []


def test_nothing_is_lost_over_a_reboot_and_several_kexecs() -> None:
    recording = Recording(lab_topology())
    recording.firmware()
    recording.boot(Kernel())
    recording.reboot()
    recording.firmware()
    for _ in range(3):
        recording.boot(Kernel())
        recording.kexec()
    recording.boot(Kernel())
    result = analyze_capture(recording.capture())
    assert len(result.kexecs) == 3
    assert [one for kexec in result.kexecs for one in kexec.state if one.verdict != "expected"] == []


def test_a_crash_kexec_shows_no_shutdown() -> None:
    """Without a shutdown in the capture Bus Master and MSI are unknown, never lost."""
    assert rows(tell(port(), incoming=Kernel(), crash=True), *COSTS) == []


# -- what was changed is found ------------------------------------------------------------------------------

#: Registers of the simulated machine, and bits that software has in them.
TARGETS = [
    (DOWNSTREAM, "ECAP_ACS+06.w", 0x1D),
    (DOWNSTREAM, "CAP_EXP+08.w", 0x7000),
    (DOWNSTREAM, "CAP_EXP+28.w", 0x0300),
    (DOWNSTREAM, "20.w", 0xFFF0),
    ("0000:03:00.0", "10.l", 0xFFFFF000),
    ("0000:03:01.0", "10.l", 0xFFFFF000),
    (DOWNSTREAM, "COMMAND", 0x0004),
    (DOWNSTREAM, "COMMAND", 0x0002),
]
NAMES = {"20.w": "MEMORY_BASE", "10.l": "BASE_ADDRESS_0"}


def watched(name: str, register: str, bits: int) -> states.WatchedState:
    header = "HEADER1" if name == DOWNSTREAM else "HEADER0"
    return next(
        state
        for state in WATCHED
        if state.register.setpci == NAMES.get(register, register)
        and state.mask & bits
        and (state.register.base == header or not state.register.base.startswith("HEADER"))
    )


@pytest.mark.parametrize("seed", range(24))
def test_a_change_in_the_blackout_is_found_and_nothing_else(seed: int) -> None:
    """An oracle: the simulated machine says what each register held, and what it was changed to."""
    chance = random.Random(seed)  # noqa: S311
    name, register, mask = TARGETS[seed % len(TARGETS)]
    state = watched(name, register, mask)
    held: list[int] = []

    def happening(machine: Machine) -> None:
        held.append(machine.peek(name, register))
        value = held[0] & ~mask | (chance.getrandbits(32) & mask if seed >= len(TARGETS) else 0)
        machine.poke(name, register, value)
        held.append(machine.peek(name, register))

    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        outgoing=Kernel(iommu=True, keeps_bus_master=True),
        incoming=Kernel(policy="inherit", series="v9", iommu=True),
        blackout=happening,
    )
    before, after = (value & state.mask for value in held)
    digits = 2 * state.register.size
    expected = []
    if before != after:
        bits = state.mask if state.is_number else before ^ after
        reset = not (after ^ state.reset_bits) & bits or after == state.also_after_reset
        final = story.recording.machine.peek(name, register) & state.mask
        word = "healed" if final == before else "lost" if reset else "changed"
        shown = (f"0x{before:0{digits}x}", f"0x{after:0{digits}x}")
        expected = [(name, state.register.setpci, word, *shown)]
    assert rows(story) == expected
    assert [code for code, _ in codes(story)] == [state.code for _ in expected]


def test_a_reset_of_a_device_costs_its_addresses() -> None:
    """Alarm, exit status 1, and the verdict on the bridge above stays."""
    story = tell(
        switch(), preserve=BELOW_SWITCH, blackout=lambda machine: machine.conventional_reset("0000:03:00.0")
    )
    assert ("STATE009", "error") in codes(story)
    assert {bdf for bdf, *_ in rows(story)} == {"0000:03:00.0"}
    assert (story.result.verdict, story.result.weight) == ("findings", "loss")
    assert story.verdict(DOWNSTREAM) == "kept high"


def test_what_was_not_preserved_is_a_note() -> None:
    story = tell(
        switch(),
        incoming=Kernel(),
        blackout=lambda machine: machine.poke("0000:03:00.0", "10.l", 0),
        options=Options(preserved="0000:03:01.0"),
    )
    assert [(one.verdict, one.severity, one.code) for one in story.kexec.state if one.verdict in COSTS] in (
        [("lost", "note", None)],
        [("healed", "note", None)],
    )
    assert codes(story) == []


def test_acs_that_a_stock_kernel_sets_again_is_healed() -> None:
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        outgoing=Kernel(iommu=True),
        incoming=Kernel(policy="stock", iommu=True),
        blackout=lambda machine: machine.clear(DOWNSTREAM, "ECAP_ACS+06.w", 0x04),
    )
    assert rows(story) == [(DOWNSTREAM, "ECAP_ACS+06.w", "healed", "0x001d", "0x0019")]
    assert codes(story) == [("STATE003", "warning")]


def test_virtual_functions_are_cleared_by_the_incoming_kernel() -> None:
    """The access that is named is the kernel's own write."""
    device = ari_device(0, 8, sriov={0: Sriov(total=4)}, model=SILICON)
    name = "0000:03:00.0"
    story = tell(
        one_switch(device, model=SILICON),
        preserve=(name,),
        before=lambda recording: recording.enable_vfs(name, 2),
    )
    (one,) = [one for one in story.kexec.state if one.verdict == "cleared"]
    assert (one.bdf, one.register, one.code, one.severity) == (name, "ECAP_SRIOV+08.w", "STATE006", "note")
    write = story.recording.capture().accesses.filter(seq=one.access_after).row(0, named=True)
    assert (write["op"], write["offset"] & 0xF) == ("write", 0x8)


def test_a_preserved_function_is_named_once() -> None:
    """ACS is a secondary observation too: one finding, under the one code."""
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        outgoing=Kernel(iommu=True),
        incoming=Kernel(policy="inherit", iommu=True),
        blackout=lambda machine: machine.clear(DOWNSTREAM, "ECAP_ACS+06.w", 0x7F),
    )
    assert Counter(item.code for item in story.kexec.findings) == {"STATE003": 1}
    ignoring = replace(Options(preserved=",".join(BELOW_SWITCH)), selected=frozenset())
    quiet = analyze_capture(story.recording.capture(), ignoring)
    assert (quiet.kexecs[0].findings, quiet.weight) == ([], None)


def hierarchy_lost(**more: object) -> Story:
    """Virtual functions of a preserved device, and the port above it loses ARI Forwarding."""
    device = ari_device(0, 8, sriov={0: Sriov(total=4)}, model=SILICON)
    return tell(
        one_switch(device, model=SILICON),
        preserve=("0000:03:00.0",),
        before=lambda recording: recording.enable_vfs("0000:03:00.0", 2),
        blackout=lambda machine: machine.clear(DOWNSTREAM, "CAP_EXP+28.w", 0x20),
        **more,  # type: ignore[arg-type]
    )


def test_ari_capable_hierarchy_is_reported_once() -> None:
    """It is a bit of the SR-IOV Control that the watch compares, and an observation of its own."""
    story = hierarchy_lost()
    its = [item for item in story.kexec.findings if item.bdf == "0000:03:00.0"]
    assert [(item.code, item.severity) for item in its] == [("STATE006", "note")]
    assert its[0].text == (
        "0000:03:00.0: ECAP_SRIOV+08.w Enable MSE ARIHierarchy cleared (0x0019 to 0x0000);"
        " ARI Capable Hierarchy was 1 and is 0: virtual functions get other routing IDs, or fewer fit;"
        " VFs were enabled at 0000:03:00.1 to 0000:03:00.2"
    )
    assert [one.kind for one in story.kexec.secondary] == ["sriov-hierarchy-lost"]


@pytest.mark.parametrize(
    ("selected", "codes"),
    [({"ARI014"}, ["ARI014"]), ({"STATE006"}, ["STATE006"]), ({"ARI014", "STATE006"}, ["STATE006"])],
    ids=["ARI014", "STATE006", "both"],
)
def test_whoever_asks_for_one_of_its_codes_gets_it(selected: set[str], codes: list[str]) -> None:
    """ARI014 keeps its meaning: ``--select ARI014`` and ``--ignore STATE006`` report it as before."""
    options = Options(preserved="0000:03:00.0", selected=frozenset(selected))
    found = hierarchy_lost(options=options).kexec.findings
    assert [item.code for item in found] == codes


def test_the_hierarchy_of_a_function_that_was_not_preserved_is_ari014() -> None:
    """The watch makes no finding of it, and its other rows (``expected``, no code) hide nothing."""
    device = ari_device(0, 8, sriov={0: Sriov(total=4)}, model=SILICON)
    story = tell(
        one_switch(device, model=SILICON),
        preserve=(DOWNSTREAM,),
        before=lambda recording: recording.enable_vfs("0000:03:00.0", 2),
        blackout=lambda machine: machine.clear(DOWNSTREAM, "CAP_EXP+28.w", 0x20),
    )
    its = [item.code for item in story.kexec.findings if item.bdf == "0000:03:00.0"]
    assert its == ["ARI014"]
    assert [one.kind for one in beside(story.kexec)] == ["sriov-hierarchy-lost"]


def test_reports_say_it_once() -> None:
    story = hierarchy_lost()
    page = new_page(None)
    add_state(page, story.kexec, verbosity=0)
    text = " ".join(plain(page).split())
    assert "SR-IOV on 1 function (-v lists each register)" in text
    assert text.count("ARI Capable Hierarchy was 1 and is 0") == 1
    assert beside(story.kexec) == []
    texts = kexec_texts(story.result, story.kexec, None)
    assert [title for title, line in texts.state.lines if "ARI Capable Hierarchy" in line] == ["0000:03:00.0"]
    assert texts.secondary == []


def test_a_function_is_matched_by_its_place() -> None:
    """The bus below the port has another number after the kexec: what is on it is compared all the same."""

    def happening(machine: Machine) -> None:
        machine.poke("0000:01:00.1", "10.l", 0)
        machine.poke(PORT, "SECONDARY_BUS", 7)
        machine.poke(PORT, "SUBORDINATE_BUS", 7)

    story = tell(port(), incoming=Kernel(), blackout=happening)
    assert "0000:07:00.1" in story.kexec.observed.discovered
    assert [(bdf, register, before) for bdf, register, _, before, _ in rows(story)] == [
        ("0000:01:00.1", "BASE_ADDRESS_0", "0xfd010000")
    ]


# -- the page -----------------------------------------------------------------------------------------------


def page_table() -> list[list[str]]:
    """Rows of the table of docs/state.md, by columns."""
    page = (Path(__file__).parents[1] / "docs/state.md").read_text("utf-8")
    lines = page[page.index("| code |") :].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_every_state() -> None:
    table = page_table()
    for state in WATCHED:
        code, name = f"`{state.code}`", f"`{state.register.setpci}`"
        its = [cells for cells in table if cells[0] == code and name in cells[2]]
        said = [(weight, rule, source) for _, _, _, weight, _, rule, _, source, _ in its]
        assert (state.severity, state.rule, f"{state.kernel}; {state.specification}") in said, state.name


def test_a_scenario_of_the_lab_that_the_page_names_expects_that_state() -> None:
    """A register is proven with real kernels where a scenario says its name, and only there."""
    names = {state.code: {one.short for one in WATCHED if one.code == state.code} for state in WATCHED}
    named = 0
    for cells in page_table():
        for name in re.findall(r"`([a-z0-9-]+)`", cells[8]):
            expected = [kexec.state for kexec in scenarios.load(name).kexecs]
            said = {
                text.rpartition(" ")[0] for state in expected for texts in state.values() for text in texts
            }
            assert said & names[cells[0].strip("`")], (cells[1], name)
            named += 1
    assert named > 10


# -- counts --------------------------------------------------------------------------------------------------


def counted(story: Story) -> dict[str, tuple[int, int, int]]:
    return {one.name: (one.kept, one.lost, one.not_captured) for one in story.kexec.state_counts}


def test_counts_of_functions() -> None:
    """Of 7 preserved functions and the rest of the machine: what was kept, lost, and not captured."""
    clean = counted(tell(switch(), preserve=BELOW_SWITCH))
    assert all(lost == 0 for _, lost, _ in clean.values())
    story = tell(
        switch(), preserve=BELOW_SWITCH, blackout=lambda machine: machine.conventional_reset("0000:03:00.0")
    )
    after = counted(story)
    lost = {one.name for one in story.kexec.state if one.verdict in COSTS}
    assert {name for name, (_, gone, _) in after.items() if gone} == lost
    for name, (kept, gone, missing) in after.items():
        assert gone == (name in lost)
        assert (kept + gone, missing) == (clean[name][0], clean[name][2])


def test_a_crash_leaves_what_a_shutdown_writes_uncounted() -> None:
    found = counted(tell(port(), incoming=Kernel(), crash=True))
    assert found["Bus Master"][:2] == (0, 0)
    assert found["BAR"][1:] == (0, 0)


def test_a_freeze_that_does_not_reach_a_function_loses_nothing() -> None:
    """With ARI Forwarding off under the outgoing kernel, functions above 7 keep their registers."""

    def cut_off_and_freeze(recording: Recording) -> None:
        recording.setpci(DOWNSTREAM, "CAP_EXP+28.w", 0, mask=0x20)
        recording.freeze(*BELOW_SWITCH)

    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        before=cut_off_and_freeze,
        outgoing=Kernel(iommu=True),
        incoming=Kernel(policy="stock", iommu=True),
    )
    assert story.verdict(DOWNSTREAM) == "healed explicit-write high"
    assert [row for row in rows(story) if row[0] in BELOW_SWITCH] == []


def test_a_freeze_loses_nothing() -> None:
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        outgoing=Kernel(iommu=True),
        incoming=Kernel(policy="inherit", iommu=True),
        before=lambda recording: recording.freeze(*BELOW_SWITCH),
    )
    assert {name: lost for name, (_, lost, _) in counted(story).items() if lost} == {}
