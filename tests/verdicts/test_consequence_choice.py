"""Which consequences are named: each of them, by verdict, cause, reason, kernel and preserved set."""

from __future__ import annotations

from dataclasses import replace

import pytest
from result_samples import ABOVE_EIGHT, BELOW_PORT, PORT, ROOT, SWITCH, bridge, device, kexec

from analyzer.verdicts import consequences

PLAIN = {"kind": "plain", "observed_policy": "stock"}
RESETS = ("secondary-bus-reset", "upstream-link-down", "hot-reset", "power-cycle", "host-bridge-reinit")
WRITES = ("explicit-write", "restore-write", "incoming-write")
OTHERS = ("selective-loss", "power-state", "unknown")
HARMED = ("lost", "healed", "unconfigured", "renumbered", "hidden", "gone")


def codes(result: object) -> list[str]:
    return [item.code for item in consequences.for_kexec(result)]


@pytest.mark.parametrize("cause", [*RESETS, *WRITES, *OTHERS])
@pytest.mark.parametrize("verdict", HARMED)
def test_what_to_look_for_hangs_on_the_cause(verdict: str, cause: str) -> None:
    found = codes(kexec([bridge(PORT, verdict, cause=cause)]))
    assert ("find-writer" in found) is (cause in WRITES)
    assert ("find-bus-reset" in found) is (cause == "secondary-bus-reset")
    assert ("find-reset" in found) is (cause in RESETS[1:])
    assert ("find-selective" in found) is (cause == "selective-loss")
    hurt = verdict in ("lost", "unconfigured", "renumbered", "healed")
    assert ("device-state-lost" in found) is (cause in RESETS and hurt)
    assert ("healed-by-stock" in found) is (verdict == "healed")
    assert ("addresses-changed" in found) is (verdict == "renumbered")
    assert ("sriov-layout" in found) is (verdict == "lost")


@pytest.mark.parametrize("verdict", ["kept", "off", "cleared", "ignored", "gained", "undetermined"])
def test_the_cause_of_no_harm_says_nothing(verdict: str) -> None:
    assert codes(kexec([bridge(PORT, verdict, cause="hot-reset")])) == []


@pytest.mark.parametrize("verdict", ["lost", "unconfigured", "renumbered", "hidden", "gone"])
def test_bridges_that_are_not_preserved_have_no_consequences(verdict: str) -> None:
    result = kexec([replace(bridge(PORT, verdict, cause="hot-reset"), preserved=False)])
    assert codes(result) == []


def test_a_healed_bridge_has_them_all_the_same() -> None:
    result = kexec([replace(bridge(PORT, "healed", cause="explicit-write"), preserved=False)])
    assert codes(result) == ["healed-by-stock", "find-writer"]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (None, True),
        ("kept", True),
        ("renumbered", False),
        ("healed", True),
        ("unconfigured", False),
        ("hidden", False),
        ("gone", False),
    ],
)
def test_a_loss_that_strands_nothing_lasts_until_the_next_enumeration(
    other: str | None, expected: bool
) -> None:
    bridges = [bridge(PORT, "lost")] + ([] if other is None else [bridge(SWITCH, other)])
    assert ("bit-stays-off" in codes(kexec(bridges))) is expected
    assert "bit-stays-off" not in codes(kexec(bridges, ABOVE_EIGHT))


def test_without_a_loss_nothing_is_said_of_a_reboot() -> None:
    assert codes(kexec([bridge(PORT, "kept")])) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["finish-blocked", "dma-unattended", "reboot", "siblings-usable"]),
        (
            {"series": "v8"},
            ["finish-blocked", "panic-unfinished", "dma-unattended", "reboot", "siblings-usable"],
        ),
        (
            {"series": "v9"},
            ["finish-blocked", "panic-unfinished", "dma-unattended", "reboot", "siblings-usable"],
        ),
        ({"series": None}, ["finish-blocked", "dma-unattended", "reboot", "siblings-usable"]),
        (PLAIN, ["dma-unattended", "reboot"]),
        (PLAIN | {"series": "v9"}, ["dma-unattended", "reboot"]),
        (PLAIN | {"kind": "live-update"}, ["finish-blocked", "dma-unattended", "reboot"]),
        (
            PLAIN | {"observed_policy": "inherit"},
            ["finish-blocked", "dma-unattended", "reboot", "siblings-usable"],
        ),
        (PLAIN | {"preserved_source": "assumed"}, ["dma-unattended", "reboot"]),
    ],
)
def test_stranded_devices_and_the_kernel(changes: dict[str, object], expected: list[str]) -> None:
    assert codes(kexec([bridge(PORT, "kept")], ABOVE_EIGHT, **changes)) == expected


@pytest.mark.parametrize(
    ("verdict", "changes", "by_hand", "rescan"),
    [
        ("lost", {}, True, False),
        ("lost", PLAIN, False, False),
        ("unconfigured", {}, False, True),
        ("unconfigured", PLAIN, False, True),
        ("hidden", {}, False, False),
    ],
)
def test_what_does_not_help(verdict: str, changes: dict[str, str], by_hand: bool, rescan: bool) -> None:
    found = codes(kexec([bridge(PORT, verdict)], ABOVE_EIGHT, **changes))
    assert ("bit-by-hand-useless" in found, "rescan-useless" in found) == (by_hand, rescan)
    nobody = codes(kexec([bridge(PORT, verdict)], **changes))
    assert ("bit-by-hand-useless" in nobody, "rescan-useless" in nobody) == (False, False)


@pytest.mark.parametrize(
    ("reason", "cause", "expected"),
    [
        ("ari-off", None, True),
        ("ari-off", "selective-loss", True),
        ("ari-off", "explicit-write", True),
        *(("ari-off", cause, False) for cause in RESETS),
        ("noari", None, True),
        ("chain-broken", None, True),
        ("function-0-not-ari", None, True),
        ("function-0-absent", None, False),
        ("no-response", None, False),
        ("bridge-unconfigured", None, False),
        ("bridge-gone", None, False),
        ("ancestor-hidden", None, False),
        (None, None, False),
    ],
)
def test_who_may_still_do_dma(reason: str | None, cause: str | None, expected: bool) -> None:
    """Functions that were only not looked at: a reset of their bridge would have stopped them."""
    result = kexec([bridge(PORT, "lost", cause=cause)], BELOW_PORT[:1], reason)
    assert ("dma-unattended" in codes(result)) is expected


@pytest.mark.parametrize("above", [None, "0000:ff:00.0"])
def test_a_device_whose_bridge_has_no_verdict_may_do_dma(above: str | None) -> None:
    orphan = replace(device(PORT, "stranded", "ari-off"), bridge=above)
    result = kexec([bridge(ROOT, "lost", cause="hot-reset")], devices=[orphan])
    assert "dma-unattended" in codes(result)


@pytest.mark.parametrize(("reason", "expected"), [("noari", True), ("ari-off", False)])
def test_pci_noari_is_named_where_it_strands(reason: str, expected: bool) -> None:
    assert ("noari" in codes(kexec([], ABOVE_EIGHT, reason))) is expected


VIRTUAL = device("0000:03:00.7", "stranded", "virtual-function")


@pytest.mark.parametrize(
    ("bridges", "devices", "expected"),
    [
        ([bridge(PORT, "kept")], [VIRTUAL], ["virtual-functions"]),
        ([bridge(PORT, "lost")], [VIRTUAL], ["bit-stays-off", "virtual-functions", "sriov-layout"]),
        ([bridge(PORT, "unconfigured")], [VIRTUAL], ["virtual-functions"]),
        (
            [bridge(PORT, "kept")],
            [VIRTUAL, device(BELOW_PORT[2], "stranded", "no-response")],
            ["finish-blocked", "reboot", "virtual-functions"],
        ),
        ([bridge(PORT, "kept")], [device(BELOW_PORT[0])], []),
    ],
)
def test_a_virtual_function_is_in_no_session(
    bridges: list[object], devices: list[object], expected: list[str]
) -> None:
    assert codes(kexec(bridges, devices=devices)) == expected


def test_each_has_its_own_text_and_source() -> None:
    result = kexec([bridge(PORT, "lost", cause="explicit-write")], ABOVE_EIGHT, series="v9")
    found = {item.code: item for item in consequences.for_kexec(result)}
    assert "EBUSY" in found["finish-blocked"].text
    assert "v5 (14 Jul 2026)" in found["finish-blocked"].source
    assert "panics" in found["panic-unfinished"].text
    assert "panic 'preserved device(s) were never finished!'" in found["panic-unfinished"].source
    assert "one with a stranded device cannot" in found["siblings-usable"].text
    assert len({item.text for item in found.values()}) == len(found) == 8


def test_reachable_devices_are_not_stranded() -> None:
    missing = device(PORT, "missing", "ari-off", preserved=False)
    assert codes(kexec([], devices=[missing, device(ROOT)])) == []
