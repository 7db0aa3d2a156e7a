"""``atrisk`` of one dump from after a kexec: ARI Forwarding that is off where a stock kernel sets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from simulator import Kernel, Recording, ari_device, one_port
from small_dumps import EIGHTH, FIRST, OFF, PORT, VIRTUAL, dump
from stories import tell

from analyzer.options import Options
from analyzer.questions.atrisk import atrisk, atrisk_of
from analyzer.report import atrisk_report, json_report
from analyzer.report.page import Page, plain

if TYPE_CHECKING:
    from pathlib import Path

#: 01:00.0 has the ARI capability and ends the chain; it has none.
ENDS = {(FIRST, 0x100): "0e 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00"}
NO_ARI = {(FIRST, 0x100): "00 " * 15 + "00"}
#: 01:00.0 has one virtual function at 01:01.0, and VF Enable is clear.
DISABLED = {**VIRTUAL, (FIRST, 0x140): "10 00 01 00 00 00 00 00 00 00 00 00 01 00 01 00"}
#: The port does not support ARI Forwarding; its capability has version 1, which has no Device Control 2.
UNSUPPORTED = {(PORT, 0x60): "00 " * 15 + "00"}
VERSION_1 = {(PORT, 0x40): "10 00 41 00" + " 00" * 12}
LACKS = "CANNOT TELL: the input lacks what would exclude a loss"
BESIDES = "; ARI Forwarding is off at 0000:00:03.0, where a stock kernel sets it"
SAFE = "no function to be preserved depends on ARI Forwarding"
LOST = (
    "1 function depends on ARI Forwarding of 0000:00:03.0, and the bit is off in hardware: a kernel that "
    "inherits it does not find them"
)


def small(*rows: dict[tuple[str, int], str | None], size: int = 4096) -> str:
    """A dump of the port and function 0, without function 8."""
    changed: dict[tuple[str, int], str | None] = {}
    for part in rows:
        changed |= part
    return dump(PORT, FIRST, size=size, rows=changed)


@pytest.mark.parametrize(
    ("text", "preserved", "verdict", "ports", "headline"),
    [
        # Nothing depends on it: no loss, and it is said.
        (small(OFF, ENDS), None, "safe", [PORT], f"SAFE: {SAFE}{BESIDES}"),
        (small(OFF, ENDS), FIRST, "safe", [PORT], f"SAFE: {SAFE}{BESIDES}"),
        # The chain, or the preserved list, names a function above 7.
        (small(OFF), None, "already-lost", [PORT], f"ALREADY LOST: {LOST}"),
        (small(OFF, size=256), EIGHTH, "already-lost", [], f"ALREADY LOST: {LOST}"),
        # The chain ends without the preserved function; it may be a virtual one that is not enabled.
        (
            small(OFF, ENDS),
            EIGHTH,
            "cannot-tell",
            [PORT],
            f"{LACKS}: 0000:01:01.0: this preserved function is not in the input{BESIDES}",
        ),
        (
            small(OFF, DISABLED, {(FIRST, 0x100): "0e 00 01 14 00 08 00 00 00 00 00 00 00 00 00 00"}),
            EIGHTH,
            "already-lost",
            [PORT],
            f"ALREADY LOST: {LOST}",
        ),
        (
            small(OFF, DISABLED, {(FIRST, 0x100): "0e 00 01 14 00"}),
            EIGHTH,
            "cannot-tell",
            [PORT],
            (
                f"{LACKS}: 0000:01:01.0: this preserved function is not in the input, ECAP_ARI+05.b of "
                f"0000:01:00.0{BESIDES}"
            ),
        ),
        # A stock kernel does not set it, or whether it does is not in the input.
        (small(OFF, NO_ARI), None, "safe", [], f"SAFE: {SAFE}"),
        (small(UNSUPPORTED, ENDS), None, "safe", [], f"SAFE: {SAFE}"),
        (small(OFF, ENDS, VERSION_1), None, "safe", [], f"SAFE: {SAFE}"),
        (small(ENDS), None, "safe", [], f"SAFE: {SAFE}"),
        (
            small(OFF, size=256),
            None,
            "cannot-tell",
            [],
            f"{LACKS}: bytes 100-fff of 0000:01:00.0",
        ),
    ],
)  # fmt: skip
def test_one_dump(
    tmp_path: Path, text: str, preserved: str | None, verdict: str, ports: list[str], headline: str
) -> None:
    (tmp_path / "dump.txt").write_text(text)
    found = atrisk(str(tmp_path / "dump.txt"), Options(preserved=preserved))
    assert (found.verdict, [port.bdf[5:] for port in found.should_be_on]) == (verdict, ports)
    page = plain(atrisk_report.fill(Page(width=10**6), found))
    assert page.splitlines()[0] == headline
    assert ("Off, and should be on under a stock kernel" in page) == bool(ports)


def test_the_explanations_and_what_tells_them_apart(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    path.write_text(small(OFF, ENDS))
    found = atrisk(str(path))
    (port,) = json.loads(json_report.dumps(found))["should_be_on"]
    assert {name: port[name] for name in ("bdf", "port_type", "secondary", "function_0", "access")} == {
        "bdf": "0000:00:03.0",
        "port_type": "root-port",
        "secondary": 1,
        "function_0": "0000:01:00.0",
        "access": None,
    }
    starts = ("it was cleared after", "the kernel runs with pci=noari", "a kernel of the Live Update series")
    assert [text.startswith(start) for text, start in zip(port["explanations"], starts, strict=True)] == [
        True
    ] * 3
    page = plain(atrisk_report.fill(Page(width=10**6), found))
    for said in (
        "pci_configure_ari",
        "/proc/cmdline",
        "Device was preserved by previous kernel",
        f"analyze --join BEFORE {path}",
        "analyze explain TRACE 0000:00:03.0",
    ):
        assert said in page


@pytest.mark.parametrize(
    ("kernel", "cleared", "starts"),
    [
        (Kernel(), True, ["it was cleared after the kernel had set it"]),
        (Kernel(noari=True), False, ["the kernel runs with pci=noari"]),
        (Kernel(), False, []),
    ],
    ids=["cleared afterwards", "pci=noari", "set"],
)
def test_a_trace_shows_which(kernel: Kernel, cleared: bool, starts: list[str]) -> None:
    recording = Recording(one_port(ari_device(0, 1)))
    recording.firmware()
    recording.boot(kernel)
    if cleared:
        recording.setpci("0000:00:01.0", "CAP_EXP+28.w", 0)
    found = atrisk_of(recording.capture()).should_be_on
    explanations = [port.explanations for port in found]
    assert [texts[0].startswith(start) for texts, start in zip(explanations, starts, strict=True)] == [
        True
    ] * len(starts)
    assert all(len(texts) == 1 for texts in explanations)
    assert all(port.access is not None for port in found)


def test_a_kernel_that_inherited_it_on() -> None:
    story = tell(
        one_port(ari_device(0, 1)),
        preserve=("0000:01:00.0",),
        afterwards=lambda recording: recording.setpci("0000:00:01.0", "CAP_EXP+28.w", 0),
    )
    ((text,),) = (port.explanations for port in atrisk_of(story.recording.capture()).should_be_on)
    assert text.startswith("it was cleared after the kernel had inherited it on: ")


def test_a_kernel_that_inherited_it_off() -> None:
    found = atrisk("traces/inherit-off.bin")
    assert [(port.bdf, port.function_0) for port in found.should_be_on] == [
        ("0000:02:00.0", "0000:03:00.0"),
        ("0000:00:04.0", "0000:05:00.0"),
    ]
    assert {text[:34] for port in found.should_be_on for text in port.explanations} == {
        "a kernel of the Live Update series"
    }
