from dataclasses import replace

import pytest
from result_samples import BELOW_OTHER, BELOW_PORT, OTHER, PORT, ROOT, SWITCH, bridge, kexec

from analyzer.results import hierarchy

BRIDGES = [bridge(ROOT), bridge(OTHER), bridge(SWITCH), bridge(PORT)]


def names(lists):
    return {above: [item.bdf for item in items] for above, items in lists.items()}


@pytest.mark.parametrize("with_devices", [True, False])
def test_bridges_by_the_verdict_of_their_device_or_by_bus_numbers(with_devices):
    result = kexec(BRIDGES)
    if not with_devices:
        result = replace(result, devices=[])
    tree = hierarchy.of_kexec(result)
    assert tree.above == {ROOT: None, OTHER: None, SWITCH: ROOT, PORT: SWITCH}
    assert tree.below == {None: [ROOT, OTHER], ROOT: [SWITCH], SWITCH: [PORT]}
    assert names(tree.functions) == ({PORT: BELOW_PORT, OTHER: BELOW_OTHER} if with_devices else {})


def test_what_is_below_a_bridge_without_a_verdict_is_on_a_root_bus():
    tree = hierarchy.of_kexec(kexec([bridge(SWITCH)]))
    assert tree.above == {SWITCH: None}
    assert names(tree.functions)[SWITCH] == [PORT]
    assert names(tree.functions)[None] == [ROOT, OTHER, *BELOW_PORT, *BELOW_OTHER]


def test_the_bus_of_another_domain_is_another_bus():
    far = replace(bridge(PORT), bdf="0001:02:00.0")
    tree = hierarchy.of_kexec(replace(kexec([*BRIDGES[:3], far]), devices=[]))
    assert tree.above[far.bdf] is None


def test_damaged_bus_numbers_may_form_a_cycle():
    first, second = bridge(SWITCH, secondary=2), bridge(PORT, secondary=1)
    itself = bridge("0000:07:00.0", secondary=7)
    tree = hierarchy.of_kexec(replace(kexec([first, second, itself]), devices=[]))
    assert tree.above == {SWITCH: PORT, PORT: SWITCH, itself.bdf: None}
