"""What is said of a bridge, field by field, and the accesses that prove it, by cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
import stories
from simulator import Kernel, Machine, Recording
from stories import BELOW_PORT, BELOW_SWITCH, tell

from analyzer import bdf

if TYPE_CHECKING:
    from collections.abc import Callable

    from stories import Story

PORT, UPSTREAM, DOWNSTREAM = "0000:00:01.0", "0000:01:00.0", "0000:02:00.0"
DEVCTL2 = "CAP_EXP+28.w"

#: Evidence that several stories share: (operation, register, value, note).
ON = ("write", DEVCTL2, "0x0420", "outgoing kernel: ARI Forwarding on")
FIRST_OFF = ("read", "CAP_EXP+28.l", "0x00000400", "first read after the kexec: off")
SBR = ("write", "BRIDGE_CONTROL", "0x0042", "Secondary Bus Reset set (0 to 1)")
NUMBERS_GONE = ("read", "PRIMARY_BUS.l", "0x00000000", "bus numbers are 0: the port was reset")
NUMBERS_THERE = ("read", "PRIMARY_BUS.l", "0x00010100", "bus numbers are intact")
CONTROL_GONE = ("read", "BRIDGE_CONTROL", "0x0000", "Bridge Control reads its reset value")
ERRORS_OFF = ("read", "CAP_EXP+08.w", "0x0000", "error reporting is off")
RESET = [NUMBERS_GONE, ERRORS_OFF, CONTROL_GONE]


def port(**more: object) -> Story:
    return tell(stories.port(), preserve=BELOW_PORT, **more)


def switch(**more: object) -> Story:
    return tell(stories.switch(), **({"preserve": BELOW_SWITCH} | more))


def cleared(name: str = PORT) -> Callable[[Machine], object]:
    return lambda machine: machine.clear(name, DEVCTL2, 0x20)


def link_flaps(recording: Recording) -> None:
    recording.getpci(PORT, "CAP_EXP+12.w")
    recording.machine.link_down(PORT)
    recording.getpci(PORT, "CAP_EXP+12.w")
    recording.machine.link_up(PORT)


def link_drops_and_bit_goes(machine: Machine) -> None:
    machine.link_drop(PORT)
    machine.clear(PORT, DEVCTL2, 0x20)


def told_link_down(recording: Recording) -> None:
    recording.machine.link_drop(PORT)
    recording.kernel.say(f"pcieport {PORT}: pciehp: Slot(1): Link Down")


STORIES: dict[str, tuple[Callable[[], Story], str, list[tuple[str | None, ...]]]] = {
    "explicit write": (
        lambda: port(before=lambda recording: recording.setpci(PORT, DEVCTL2, 0, mask=0x20)),
        PORT,
        [
            ON,
            ("read", DEVCTL2, "0x0420", "last read before that write"),
            ("write", DEVCTL2, "0x0400", "bit 5 (ARIFwd) written as 0"),
            FIRST_OFF,
        ],
    ),
    "widths are not recorded": (
        lambda: port(before=lambda recording: recording.setpci(PORT, DEVCTL2, 0, mask=0x20), qemu=True),
        PORT,
        [
            ON,
            ("read", DEVCTL2, "0x0420", "last read before that write"),
            ("write", DEVCTL2, "0x0400", "bit 5 (ARIFwd) written as 0"),
            ("read", DEVCTL2, "0x0400", "first read after the kexec: off"),
        ],
    ),
    "restore write": (
        lambda: port(before=lambda recording: recording.restore(PORT, stale=True)),
        PORT,
        [
            ON,
            ("read", DEVCTL2, "0x0420", "last read before that write"),
            ("write", DEVCTL2, "0x0400", "bit 5 (ARIFwd) written as 0"),
            FIRST_OFF,
        ],
    ),
    "selective loss": (
        lambda: port(blackout=cleared()),
        PORT,
        [
            ON,
            NUMBERS_THERE,
            FIRST_OFF,
            ("read", "CAP_EXP+28.l", "0x00000400", "LTR Enable is still on: only ARI Forwarding was cleared"),
            ("read", "BRIDGE_CONTROL", "0x0002", "Bridge Control is intact"),
        ],
    ),
    "selective loss, Bridge Control 0 as well": (
        lambda: port(blackout=lambda machine: (machine.poke(PORT, "3e.w", 0), cleared()(machine))),
        PORT,
        [
            ON,
            NUMBERS_THERE,
            FIRST_OFF,
            ("read", "CAP_EXP+28.l", "0x00000400", "LTR Enable is still on: only ARI Forwarding was cleared"),
            ("read", "BRIDGE_CONTROL", "0x0000", "Bridge Control reads 0"),
        ],
    ),
    "selective loss and the link down besides": (
        lambda: port(blackout=link_drops_and_bit_goes),
        PORT,
        [
            ON,
            NUMBERS_THERE,
            ("read", "CAP_EXP+28.l", "0x00000000", "first read after the kexec: off"),
            ("read", "CAP_EXP+28.l", "0x00000000", "LTR Enable is off too: the link went down"),
            ("read", "BRIDGE_CONTROL", "0x0002", "Bridge Control is intact"),
        ],
    ),
    "healed": (
        lambda: port(blackout=cleared(), incoming=Kernel()),
        PORT,
        [
            ON,
            NUMBERS_THERE,
            FIRST_OFF,
            ("read", "CAP_EXP+28.l", "0x00000400", "LTR Enable is still on: only ARI Forwarding was cleared"),
            ("read", "BRIDGE_CONTROL", "0x0002", "Bridge Control is intact"),
            ("write", DEVCTL2, "0x0420", "incoming kernel: ARI Forwarding set"),
        ],
    ),
    "kept": (
        port,
        PORT,
        [ON, ("read", "CAP_EXP+28.l", "0x00000420", "first read after the kexec: on")],
    ),
    "off, and cleared again by a stock kernel": (
        lambda: switch(incoming=Kernel()),
        PORT,
        [
            ("write", DEVCTL2, "0x0400", "outgoing kernel: ARI Forwarding off"),
            FIRST_OFF,
            ("write", DEVCTL2, "0x0400", "incoming kernel: ARI Forwarding clear"),
        ],
    ),
    "root port reset": (
        lambda: port(blackout=lambda machine: machine.conventional_reset(PORT)),
        PORT,
        [
            ON,
            NUMBERS_GONE,
            ERRORS_OFF,
            ("read", "CAP_EXP+28.l", "0x00000000", "first read after the kexec: off"),
            CONTROL_GONE,
        ],
    ),
    "hidden": (
        lambda: switch(before=lambda recording: recording.secondary_bus_reset(PORT)),
        DOWNSTREAM,
        [ON],
    ),
    "renumbered behind a secondary bus reset": (
        lambda: switch(
            preserve=(), before=lambda recording: recording.secondary_bus_reset(PORT), incoming=Kernel()
        ),
        DOWNSTREAM,
        [
            ON,
            SBR,
            NUMBERS_GONE,
            ERRORS_OFF,
            ("read", "CAP_EXP+28.l", "0x00000000", "first read after the kexec: off"),
            CONTROL_GONE,
            ("write", DEVCTL2, "0x0420", "incoming kernel: ARI Forwarding set"),
        ],
    ),
    # An upstream port has no ARI Forwarding: only the cause is proved.
    "upstream port, secondary bus reset": (
        lambda: switch(before=lambda recording: recording.secondary_bus_reset(PORT)),
        UPSTREAM,
        [SBR, *RESET],
    ),
    "upstream port, link down seen": (
        lambda: switch(before=link_flaps),
        UPSTREAM,
        [("read", "CAP_EXP+12.w", "0x1083", "Data Link Layer no longer active"), *RESET],
    ),
    "upstream port, link down told": (
        lambda: switch(before=told_link_down, log=True),
        UPSTREAM,
        [*RESET, (None, None, None, "pciehp: Slot(1): Link Down")],
    ),
    "upstream port, D3": (
        lambda: switch(
            before=lambda recording: recording.setpci(UPSTREAM, "CAP_PM+04.w", 3),
            blackout=lambda machine: machine.conventional_reset(UPSTREAM),
        ),
        UPSTREAM,
        [("write", "CAP_PM+04.w", "0x0003", "in D3, No_Soft_Reset 0: state is lost on the way back"), *RESET],
    ),
    "upstream port, power cycle": (
        lambda: switch(
            before=lambda recording: recording.setpci(UPSTREAM, "ECAP_AER+08.l", 0x100000),
            blackout=lambda machine: machine.power_cycle(UPSTREAM),
            afterwards=lambda recording: recording.getpci(UPSTREAM, "ECAP_AER+08.l"),
        ),
        UPSTREAM,
        [
            *RESET,
            (
                "read",
                "ECAP_AER+08.l",
                "0x02400000",
                "a sticky AER register was 0x00100000 and has its first value again",
            ),
        ],
    ),
    "upstream port, gone": (
        lambda: switch(blackout=lambda machine: machine.kill(UPSTREAM)),
        UPSTREAM,
        [],
    ),
}


@pytest.mark.parametrize(("play", "name", "expected"), STORIES.values(), ids=list(STORIES))
def test_evidence(play: Callable[[], Story], name: str, expected: list[tuple[str | None, ...]]) -> None:
    found = sorted(play().bridge(name).evidence, key=lambda item: (item.access is None, item.access or 0))
    assert [(item.op, item.register, item.value, item.note) for item in found] == expected


@pytest.mark.parametrize("name", STORIES)
def test_evidence_is_in_capture_order(name: str) -> None:
    """What is known from elsewhere than an access comes last."""
    play, bridge, _ = STORIES[name]
    numbers = [item.access for item in play().bridge(bridge).evidence]
    assert numbers == sorted(numbers, key=lambda number: (number is None, number or 0))


@pytest.mark.parametrize(
    "name", ["explicit write", "widths are not recorded", "selective loss", "upstream port, D3"]
)
def test_evidence_names_the_access(name: str) -> None:
    """Number, place in the file, time, direction, function and value are those of one recorded access."""
    play, bridge, _ = STORIES[name]
    story = play()
    rows = story.recording.capture().accesses
    for item in story.bridge(bridge).evidence:
        row = rows.filter(pl.col("seq") == item.access).row(0, named=True)
        key = row["domain"] << 16 | row["bus"] << 8 | row["devfn"]
        assert (item.op, item.bdf, item.file) == (row["op"], bdf.text(key), "simulated")
        assert (item.offset_bytes, item.time_ns) == (row["where"], row["time_ns"])
        assert int(item.value or "", 16) == row["value"]


def test_evidence_of_a_log_line_has_no_access() -> None:
    item = switch(before=told_link_down, log=True).bridge(UPSTREAM).evidence[-1]
    assert (item.access, item.file, item.offset_bytes, item.op, item.bdf) == (
        None,
        "kernel log",
        None,
        None,
        None,
    )


def fields(story: Story, name: str) -> tuple[object, ...]:
    item = story.bridge(name)
    return (
        (item.secondary, item.subordinate, item.new_secondary),
        item.port_type,
        item.preserved,
        (item.ari_before, item.ari_after, item.ari_decided),
        (item.verdict, item.cause, item.cause_bdf, item.confidence),
    )


@pytest.mark.parametrize(
    ("play", "name", "numbers", "kind", "preserved", "ari", "said"),
    [
        (
            port,
            PORT, (1, 1, None), "root-port", True, (True, True, True), ("kept", None, None, "high"),
        ),
        (
            lambda: port(blackout=cleared()),
            PORT, (1, 1, None), "root-port", True, (True, False, False),
            ("lost", "selective-loss", None, "medium"),
        ),
        (
            lambda: port(blackout=cleared(), incoming=Kernel()),
            PORT, (1, 1, None), "root-port", True, (True, False, True),
            ("healed", "selective-loss", None, "medium"),
        ),
        (
            lambda: switch(before=lambda recording: recording.secondary_bus_reset(PORT)),
            UPSTREAM, (2, 3, None), "switch-upstream", True, (False, False, None),
            ("unconfigured", "secondary-bus-reset", PORT, "high"),
        ),
        (
            lambda: switch(before=lambda recording: recording.secondary_bus_reset(PORT)),
            DOWNSTREAM, (3, 3, None), "switch-downstream", True, (True, None, None),
            ("hidden", None, None, None),
        ),
        (
            lambda: switch(
                preserve=(), before=lambda recording: recording.secondary_bus_reset(PORT), incoming=Kernel()
            ),
            DOWNSTREAM, (3, 3, 3), "switch-downstream", False, (True, False, True),
            ("renumbered", "secondary-bus-reset", PORT, "high"),
        ),
        (
            lambda: switch(blackout=lambda machine: machine.kill(UPSTREAM)),
            UPSTREAM, (2, 3, None), "switch-upstream", True, (False, None, None),
            ("gone", "unknown", None, "high"),
        ),
        (
            switch,
            PORT, (1, 3, None), "root-port", True, (False, False, False), ("off", None, None, None),
        ),
        (
            switch,
            UPSTREAM, (2, 3, None), "switch-upstream", True, (False, False, False),
            ("not-applicable", None, None, None),
        ),
    ],
)  # fmt: skip
def test_fields(
    play: Callable[[], Story],
    name: str,
    numbers: tuple[int | None, ...],
    kind: str,
    preserved: bool,
    ari: tuple[bool | None, ...],
    said: tuple[str | None, ...],
) -> None:
    assert fields(play(), name) == (numbers, kind, preserved, ari, said)


def test_who_is_stranded_below_each_bridge() -> None:
    story = switch(before=lambda recording: recording.secondary_bus_reset(PORT))
    assert {item.bdf: item.stranded for item in story.kexec.bridges} == {
        PORT: [DOWNSTREAM, *BELOW_SWITCH],
        UPSTREAM: [DOWNSTREAM, *BELOW_SWITCH],
        DOWNSTREAM: list(BELOW_SWITCH),
    }


def window(story: Story, name: str) -> tuple[object, ...] | None:
    """Phase, and what the evidence of the same accesses says, where they are in it."""
    found = story.bridge(name)
    if found.window is None:
        return None
    notes = {item.access: item.note for item in found.evidence}
    return (
        found.window.phase,
        notes.get(found.window.last_on, "elsewhere"),
        notes.get(found.window.first_off, "elsewhere"),
    )


@pytest.mark.parametrize(
    ("play", "name", "expected"),
    [
        (port, PORT, None),
        (
            lambda: port(before=lambda recording: recording.setpci(PORT, DEVCTL2, 0, mask=0x20)),
            PORT,
            ("outgoing", "last read before that write", "bit 5 (ARIFwd) written as 0"),
        ),
        (
            lambda: port(blackout=lambda machine: machine.conventional_reset(PORT)),
            PORT,
            ("blackout", "elsewhere", "first read after the kexec: off"),
        ),
        (
            lambda: switch(
                preserve=(), before=lambda recording: recording.secondary_bus_reset(PORT), incoming=Kernel()
            ),
            DOWNSTREAM,
            ("outgoing", "elsewhere", "first read after the kexec: off"),
        ),
        (
            lambda: switch(before=lambda recording: recording.secondary_bus_reset(PORT)),
            UPSTREAM,
            None,  # it never had ARI Forwarding
        ),
    ],
)
def test_window(play: Callable[[], Story], name: str, expected: tuple[str, ...] | None) -> None:
    assert window(play(), name) == expected
