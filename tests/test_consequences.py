import pytest
import result_samples as samples
from result_samples import ABOVE_EIGHT, BELOW_PORT, PORT, bridge, kexec

from analyzer.verdicts import consequences


def codes(result):
    return {item.code for item in consequences.for_kexec(result)}


def lost(cause="selective-loss", stranded=ABOVE_EIGHT, **more):
    return kexec([bridge(PORT, "lost", cause=cause)], stranded, **more)


CASES = [
    (samples.clean().kexecs[0], set()),
    (samples.undetermined().kexecs[0], set()),
    (
        lost(),
        {
            *("finish-blocked", "dma-unattended", "bit-by-hand-useless", "reboot", "sriov-layout"),
            "siblings-usable",
            "find-selective",
        },
    ),
    (
        lost("explicit-write", series="v9"),
        {
            *("finish-blocked", "dma-unattended", "bit-by-hand-useless", "reboot", "sriov-layout"),
            "siblings-usable",
            *("panic-unfinished", "find-writer"),
        },
    ),
    # lost, no device stranded
    (lost(stranded=()), {"bit-stays-off", "sriov-layout", "find-selective"}),
    # a reset stopped the devices: no DMA, but their state is gone
    (
        lost("hot-reset"),
        {
            *("finish-blocked", "device-state-lost", "bit-by-hand-useless", "reboot", "sriov-layout"),
            "siblings-usable",
            "find-reset",
        },
    ),
    (
        samples.hidden().kexecs[0],
        {
            "finish-blocked",
            "siblings-usable",
            "device-state-lost",
            "rescan-useless",
            "reboot",
            "find-bus-reset",
        },
    ),
    (samples.healed().kexecs[0], {"healed-by-stock", "find-selective"}),
    (
        kexec([bridge(PORT, "renumbered", cause="hot-reset")]),
        {"addresses-changed", "device-state-lost", "find-reset"},
    ),
    (
        kexec([bridge(PORT, "ignored")], BELOW_PORT[2:], "noari"),
        {"finish-blocked", "siblings-usable", "dma-unattended", "reboot", "noari"},
    ),
    (
        kexec([bridge(PORT, "kept")], ABOVE_EIGHT[:1], "no-response"),
        {"finish-blocked", "siblings-usable", "reboot"},
    ),
]


@pytest.mark.parametrize(("result", "expected"), CASES)
def test_consequences(result, expected):
    assert codes(result) == expected


def test_every_consequence_has_a_text_and_a_source():
    for result, _ in CASES:
        for item in consequences.for_kexec(result):
            assert item.text.endswith(".")
            assert item.source
