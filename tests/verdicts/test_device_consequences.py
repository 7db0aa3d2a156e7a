"""What follows for single stranded functions, in words: DMA that continues or stopped, siblings, names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from result_samples import BELOW_PORT, PORT, bridge, device, kexec

from analyzer.capture import FunctionUse
from analyzer.results import Consequence, rules
from analyzer.verdicts import consequences, device_consequences

ZERO, ONE, EIGHT, NINE, SIXTEEN = BELOW_PORT
FREE = FunctionUse()
WEB = FunctionUse(driver="vfio-pci", vm="web1")


def stranded(bdf: str, reason: str = "ari-off", **more: object):
    return replace(device(bdf, "stranded", reason), **more)


def of_devices(*lost: object, found: tuple = (), was_reset: tuple[str, ...] = (), sessions: bool = False):
    found = device_consequences.of_devices(lost, found, was_reset, sessions=sessions)
    return {item.code: item for item in found}


BUS_MASTER = "PCI Express 7.5.1.1.3, Bus Master Enable of a function and of a bridge"
UNREACHABLE = "PCI Express 7.5.3.16, bit 5 of Device Control 2; 6.6.1"
IOMMU = (
    "IOMMU Live Update series ('iommu/vt-d: restore state of the preserved IOMMU', 'iommu: restore preserved"
    " domain and reattach'); PCI Live Update series, patch 'Do not clear Bus Master'"
)
CONTINUES = (
    "Bus Master was on when the outgoing kernel ended, and no driver is bound: as far as the input shows DMA "
    "continues, into the memory of a virtual machine where the tables of the IOMMU were preserved too. A "
    "function-level reset cannot reach a function whose config space does not answer."
)
CLEAR = (
    " stops DMA of every function below it, also of those that were found; so does a reset of the bus, which "
    "also clears their state."
)


@pytest.mark.parametrize(
    ("uses", "who"),
    [
        ((None,), f"what uses it: {EIGHT}"),
        ((FREE,), f"what uses it: {EIGHT}"),
        ((FunctionUse(driver="nvme"),), f"what uses it: {EIGHT} (nvme)"),
        ((WEB,), f"the virtual machine that holds it: {EIGHT} (vfio-pci, virtual machine web1)"),
        ((FunctionUse(vm="web1"),), f"the virtual machine that holds it: {EIGHT} (virtual machine web1)"),
        ((FunctionUse(driver="vfio-pci"),), f"the virtual machine that holds it: {EIGHT} (vfio-pci)"),
        ((None, FREE), f"what uses them: {EIGHT}, {NINE}"),
        ((None, FunctionUse(vfio="vfio3")), f"the virtual machines that hold them: {EIGHT}, {NINE} (vfio3)"),
    ],
)
def test_dma_continues(uses, who):
    lost = [stranded(bdf, bus_master=True, was=use) for bdf, use in zip((EIGHT, NINE), uses, strict=False)]
    (found,) = device_consequences.of_devices(lost, (), (), sessions=False)
    text = (
        f"Do this first: stop {who}. {CONTINUES} Clearing Bus Master of the bridge above ({PORT}: setpci "
        f"COMMAND=0:4){CLEAR}"
    )
    source = f"{BUS_MASTER}; {UNREACHABLE}; {IOMMU}"
    assert found == Consequence("dma-continues", text, source, [one.bdf for one in lost])


def test_each_bridge_above_is_named_once():
    lost = [
        stranded(bdf, bus_master=True, bridge=above) for bdf, above in ((EIGHT, "b"), (NINE, "a"), (ONE, "b"))
    ]
    assert "the bridge above (b, a: setpci COMMAND=0:4)" in of_devices(*lost)["dma-continues"].text
    text = of_devices(stranded(EIGHT, bus_master=True, bridge=None))["dma-continues"].text
    assert text == f"Do this first: stop what uses it: {EIGHT}. {CONTINUES}"


def test_dma_that_stopped():
    rest = "did not switch it on."
    one = of_devices(stranded(EIGHT, bus_master=False, was=WEB))
    assert one == {
        "dma-stopped": Consequence(
            "dma-stopped",
            f"{EIGHT} (vfio-pci, virtual machine web1) can wait for the reboot. It does no DMA: Bus Master "
            f"was off when the outgoing kernel ended, and the incoming kernel, which did not find it, {rest}",
            BUS_MASTER,
            [EIGHT],
        )
    }
    two = of_devices(stranded(EIGHT, bus_master=False), stranded(NINE, bus_master=False))["dma-stopped"]
    assert two.text == (
        f"{EIGHT}, {NINE} can wait for the reboot. They do no DMA: Bus Master was off when the outgoing "
        f"kernel ended, and the incoming kernel, which did not find them, {rest}"
    )
    assert two.functions == [EIGHT, NINE]


@pytest.mark.parametrize(
    ("lost", "was_reset", "codes"),
    [
        ({"bus_master": True}, (), ["dma-continues"]),
        ({"bus_master": False}, (), ["dma-stopped"]),
        ({"bus_master": None}, (), []),
        # A reset stops DMA, and so does what else happens to a function that was not only not looked at.
        ({"bus_master": True}, (PORT,), []),
        ({"bus_master": False}, (PORT,), []),
        ({"bus_master": True, "reason": "bridge-gone"}, (), []),
        ({"bus_master": False, "reason": "no-response"}, (), []),
        *(
            ({"bus_master": True, "reason": reason}, (), ["dma-continues"])
            for reason in ("noari", "chain-broken", "function-0-not-ari")
        ),
    ],
)
def test_which_functions_are_asked_for_dma(lost, was_reset, codes):
    assert list(of_devices(stranded(EIGHT, **lost), was_reset=was_reset)) == codes


def test_what_cannot_wait_stands_first():
    lost = [stranded(EIGHT, bus_master=False, was=FunctionUse(net=["eth0"])), stranded(NINE, bus_master=True)]
    codes = list(of_devices(*lost, found=(device(ZERO),), sessions=True))
    assert codes == ["dma-continues", "dma-stopped", "siblings-usable", "names-gone"]


def test_functions_that_were_found_can_be_used_again():
    both = device(ZERO), replace(device(ONE), was=WEB)
    found = of_devices(stranded(EIGHT), found=both, sessions=True)
    assert found == {
        "siblings-usable": Consequence(
            "siblings-usable",
            f"Preserved functions that were found ({ZERO}, {ONE} (vfio-pci, virtual machine web1)) can be "
            "used again: a session returns its files one by one. A session without a stranded device can be "
            "finished, one with a stranded device cannot. The input does not say which session holds which "
            "device.",
            "Linux 7.3 luo_retrieve_file(): file by file; luo_file_finish(): every file of one session, or "
            "none; vfio-pci Live Update series v5",
            [ZERO, ONE],
        )
    }
    assert of_devices(stranded(EIGHT), found=both) == {}
    assert of_devices(stranded(EIGHT), sessions=True) == of_devices(found=both, sessions=True) == {}


def test_names_that_are_gone_from_the_host():
    lost = [
        stranded(ONE, was=FunctionUse(net=["eth0", "eth1"])),
        stranded(EIGHT),
        stranded(NINE, was=FunctionUse(block=["nvme3", "nvme3n1"])),
        stranded(SIXTEEN, was=FREE),
        stranded(ZERO, was=FunctionUse(net=["eth2"], block=["nvme4"])),
    ]
    assert of_devices(*lost) == {
        "names-gone": Consequence(
            "names-gone",
            f"Gone from this host with the functions: eth0 eth1 ({ONE}), nvme3 nvme3n1 ({NINE}), "
            f"eth2 nvme4 ({ZERO}).",
            "the outgoing kernel's log or sysfs",
            [ONE, NINE, ZERO],
        )
    }


def test_eight_functions_are_named_and_the_rest_counted():
    names = [f"0000:03:02.{number}" for number in range(8)]
    eight = [stranded(name, bus_master=False) for name in names]
    beginning = f"{', '.join(names)} can wait"
    assert of_devices(*eight)["dma-stopped"].text.startswith(beginning)
    ten = of_devices(*eight, stranded(ZERO, bus_master=False), stranded(ONE, bus_master=False))["dma-stopped"]
    assert ten.text.startswith(f"{', '.join(names)} and 2 more can wait")
    assert ten.functions == [*names, ZERO, ONE]


def test_virtual_machines_and_what_they_held():
    held = [(NINE, "web2"), (EIGHT, "web1"), (ONE, None), (SIXTEEN, "web2")]
    lost = [stranded(bdf, was=FunctionUse(vm=vm)) for bdf, vm in held]
    assert device_consequences.virtual_machines([*lost, stranded(ZERO)]) == (
        f"web1 ({EIGHT}), web2 ({NINE}, {SIXTEEN})"
    )
    assert device_consequences.virtual_machines(lost[2:3]) == ""


def at_kexec(lost: object, **more: object):
    """A port below which one function is stranded."""
    result = kexec([bridge(PORT, "lost", cause=more.pop("cause", "explicit-write"))], [lost.bdf], **more)
    result.devices = [lost if one.bdf == lost.bdf else one for one in result.devices]
    return result


def by_code(result: object) -> dict[str, Consequence]:
    return {item.code: item for item in consequences.for_kexec(result)}


def test_a_reboot_ends_the_virtual_machines_that_held_them():
    plain = by_code(at_kexec(stranded(EIGHT)))["reboot"]
    named = by_code(at_kexec(stranded(EIGHT, was=WEB)))["reboot"]
    assert plain.text.endswith(".")
    assert named.text == f"{plain.text[:-1]}: web1 ({EIGHT}), as far as the input names them."
    assert named.source == plain.source


def test_a_kernel_that_panicked_needs_no_reboot():
    found = by_code(at_kexec(stranded(EIGHT, "kernel-panicked", was=WEB, bus_master=True)))
    assert "kernel-panicked" in found
    assert not {"reboot", "finish-blocked", "dma-continues"} & found.keys()


def test_a_consequence_of_another_policy_says_so():
    """Nothing happened under it: no DMA, nothing that was found."""
    ran = at_kexec(stranded(EIGHT, bus_master=True), policy="inherit", observed_policy="inherit")
    other = at_kexec(stranded(EIGHT, bus_master=True), policy="inherit", observed_policy="stock")
    assert not ran.is_what_if
    assert other.is_what_if
    for code, item in by_code(other).items():
        assert item.text == f"Under policy inherit: {by_code(ran)[code].text}"
    assert by_code(ran).keys() - by_code(other).keys() == {"dma-continues", "siblings-usable"}


def test_dma_that_continues_goes_before_everything():
    codes = list(by_code(at_kexec(stranded(EIGHT, bus_master=True))))
    assert codes[0] == "dma-continues"
    assert codes.index("siblings-usable") > codes.index("reboot")
    assert "dma-continues" not in by_code(at_kexec(stranded(EIGHT, bus_master=True), cause="hot-reset"))


def test_siblings_are_functions_and_no_bridges():
    found = by_code(at_kexec(stranded(EIGHT)))["siblings-usable"].functions
    assert ZERO in found
    assert PORT not in found
    assert EIGHT not in found


def test_numbers_that_the_option_replaced_are_a_consequence_of_the_option():
    result = kexec([bridge(PORT, "renumbered", cause="incoming-write", cause_note=rules.BY_ASSIGN_BUSSES)])
    found = by_code(result)
    assert "assign-busses" in found
    assert "find-writer" not in found
    assert "assign-busses" not in by_code(kexec([bridge(PORT, "renumbered", cause="incoming-write")]))


@pytest.mark.parametrize(
    ("words", "text"), [(["v5"], "v5"), (["v5", "v6"], "v5 or v6"), (["v5", "v6", "v7"], "v5, v6 or v7")]
)
def test_words_that_are_alternatives(words, text):
    assert consequences._or(words) == text
