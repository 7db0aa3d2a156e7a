"""Damage never makes a verdict more certain, and what is behind the decision cannot take a finding away."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import damage_fields as fields
import native_chunks
import pytest

from analyzer import analyze

TRACES = Path(__file__).parents[2] / "traces"
LOST = [
    "hidden-after-port-reset-in-blackout",
    "hidden-after-secondary-bus-reset",
    "lost-explicit-write",
    "lost-explicit-write-traced-guest",
    "lost-selective-in-blackout",
]
#: Verdicts that may stand where something was lost: nothing of them says that all is well.
DOUBTFUL = {"findings", "undetermined", "unreadable"}
WELL = {"kept", "healed", "gained", "off"}
CERTAINTY = {None: 0, "low": 1, "medium": 2, "high": 3}


@cache
def content(name: str) -> bytes:
    return (TRACES / f"{name}.bin").read_bytes()


@cache
def whole(name: str):
    return analyze([str(TRACES / f"{name}.bin")]).captures[0]


def bad(result):
    """Bridges that lost ARI Forwarding or their bus numbers, by address."""
    return {
        bridge.bdf: bridge
        for kexec in result.kexecs
        for bridge in kexec.bridges
        if bridge.verdict in ("lost", "unconfigured", "hidden", "gone")
    }


def judged(folder, data: bytes):
    path = folder / "damaged.bin"
    path.write_bytes(data)
    return analyze([str(path)]).captures[0]


def no_surer(result, before) -> list[str]:
    """What a damaged capture claims although the whole one says otherwise, or claims more surely."""
    claims = []
    lost = bad(before)
    truth = {device.bdf: device.verdict for kexec in before.kexecs for device in kexec.devices}
    for kexec in result.kexecs:
        for bridge in kexec.bridges:
            known = lost.get(bridge.bdf)
            if known is not None and bridge.verdict in WELL:
                claims.append(f"{bridge.bdf} is {bridge.verdict}, was {known.verdict}")
            if known is None and bridge.verdict in ("lost", "unconfigured", "gone"):
                claims.append(f"{bridge.bdf} is {bridge.verdict}, was well")
            same = known is not None and bridge.verdict == known.verdict
            if same and bridge.cause != known.cause:
                surer = CERTAINTY[bridge.confidence] > CERTAINTY[known.confidence]
                claims += [f"{bridge.bdf}: {bridge.cause} surer than {known.cause}"] * surer
        claims += [
            f"{device.bdf} is {device.verdict}, was {truth.get(device.bdf)}"
            for device in kexec.devices
            if device.verdict in ("stranded", "reachable")
            and truth.get(device.bdf) in ("stranded", "reachable")
            and device.verdict != truth[device.bdf]
        ]
    return claims


def damaged_files(name: str):
    """The capture with each of its chunks cut, dropped, broken, swapped or repeated: what, where, bytes."""
    data = content(name)
    chunks = native_chunks.chunks(data)
    generator = random.Random(name)  # noqa: S311 - repeatable, nothing secret
    for number, (begin, end) in enumerate(chunks):
        yield "cut", begin, data[:begin]
        yield "cut within", begin, data[: generator.randrange(begin, end)]
        yield "dropped", begin, data[:begin] + data[end:]
        place = generator.randrange(begin, end)
        yield "broken", begin, data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
        if number + 1 < len(chunks):
            following = chunks[number + 1][1]
            yield "swapped", begin, data[:begin] + data[end:following] + data[begin:end] + data[following:]
        yield "repeated", begin, data[:end] + data[begin:]


@pytest.mark.parametrize("name", LOST)
def test_a_damaged_lost_capture_is_never_clean(name, tmp_path):
    before = whole(name)
    assert before.verdict == "findings"
    for what, place, data in damaged_files(name):
        result = judged(tmp_path, data)
        where = f"{what} at {place:#x}"
        assert result.verdict in DOUBTFUL or (result.verdict == "no-kexec" and result.errors), where
        assert no_surer(result, before) == [], where


@pytest.mark.parametrize("name", LOST)
def test_damage_behind_the_decision_leaves_the_finding(name, tmp_path):
    before = whole(name)
    decided = max(item.access for bridge in bad(before).values() for item in bridge.evidence)
    data = content(name)
    chunks = native_chunks.chunks(data)
    behind = [
        begin
        for begin, _ in chunks
        if fields.CHUNK_HEADER.parse(data[begin:]).first_access > decided
        and fields.CHUNK_HEADER.parse(data[begin:]).type == 1
    ]
    assert behind
    tried = 0
    for what, place, damaged in damaged_files(name):
        if place < behind[0]:
            continue
        tried += 1
        result = judged(tmp_path, damaged)
        found = {bdf: bridge.verdict for bdf, bridge in bad(result).items()}
        for bdf, bridge in bad(before).items():
            # A bridge that nobody saw is hidden only for whom the scan is known to its end.
            assert found.get(bdf) == bridge.verdict or bridge.verdict == "hidden", (what, place, bdf)
        assert result.verdict == "findings", (what, place)
    assert tried > 5


def test_a_damaged_capture_changes_nothing_beside_it(tmp_path):
    good = str(TRACES / "lost-explicit-write.bin")
    broken, nothing = tmp_path / "broken.bin", tmp_path / "empty.bin"
    data = content("clean-inherit")
    broken.write_bytes(data[:5000] + b"\xff" * 500 + data[5500:])
    nothing.write_bytes(b"")
    results = analyze([str(broken), good, str(nothing), good]).captures
    assert [result.verdict for result in results][2] == "unreadable"
    assert results[0].errors
    assert results[1] == results[3] == whole("lost-explicit-write")
