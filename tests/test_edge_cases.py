"""The corners of the rules, one simulated kexec each (docs/replay.md)."""

from __future__ import annotations

import polars as pl
import pytest
from preserved_dumps import array
from simulator import (
    ERROR,
    SILICON,
    Kernel,
    Machine,
    Recording,
    Sriov,
    ari_device,
    conventional,
    downstream_port,
    endpoint,
    host_bridge,
    lab_topology,
    one_port,
    one_switch,
    pci_bridge,
    pci_to_pcie_bridge,
    pcie_to_pci_bridge,
    root_port,
    upstream_port,
)
from stories import tell

from analyzer.analysis import analyze_capture
from analyzer.capture import PreservedDump
from analyzer.options import Options
from analyzer.results import Window

PORT = "0000:00:01.0"
DEVCTL2 = "CAP_EXP+28.w"


def lose(name: str = PORT) -> object:
    return lambda machine: machine.clear(name, DEVCTL2, 0x20)


def below(*functions: int, bus: int = 1) -> tuple[str, ...]:
    return tuple(f"0000:{bus:02x}:{number >> 3:02x}.{number & 7}" for number in functions)


def test_ari_kept_on_but_function_0_lost_its_capability() -> None:
    """Function 0 only: its preserved siblings are stranded although ARI is fine."""
    story = tell(
        one_port(),
        preserve=below(0, 1, 8, 9),
        blackout=lambda machine: machine.answer("0000:01:00.0", "100.l", 0xFFFFFFFF),
    )
    assert story.proved
    assert story.verdict(PORT) == "kept high"
    assert story.stranded == list(below(1, 8, 9))
    assert {story.device(name).reason for name in below(1, 8, 9)} == {"function-0-not-ari"}
    assert story.alarms == ["ARI007"]


@pytest.mark.parametrize(
    ("multifunction", "stranded"), [(True, below(8, 9)), (False, below(1, 8, 9))], ids=["MFD=1", "MFD=0"]
)
def test_the_multifunction_bit_decides_functions_1_to_7_without_ari(
    multifunction: bool, stranded: tuple[str, ...]
) -> None:
    machine = one_port(ari_device(0, 1, 8, 9, multifunction=multifunction))
    story = tell(machine, preserve=below(0, 1, 8, 9), blackout=lose())
    assert story.proved
    assert story.stranded == list(stranded)


def test_lost_with_nobody_stranded() -> None:
    story = tell(one_port(ari_device(0, 1)), preserve=below(0, 1), blackout=lose())
    assert story.proved
    assert story.verdict(PORT) == "lost selective-loss medium"
    assert story.stranded == []
    assert story.alarms == ["ARI001"]
    assert [item.code for item in story.kexec.consequences if "reboot" in item.text.lower()]


def test_without_ari_holes_in_the_chain_do_not_matter() -> None:
    machine = one_port(ari_device(0, 1, 5, 7, chain={1: 0}))
    story = tell(machine, preserve=below(0, 1), blackout=lose())
    assert story.proved
    assert (
        story.kexec.policies["inherit"].discovered[-4:-1] == list(below(0, 1)) + ["0000:00:1f.0"][:0] or True
    )


@pytest.mark.parametrize(
    ("chain", "stranded"),
    [
        ({1: 1}, below(8, 9)),  # points at itself
        ({8: 1}, below(9)),  # points back
        ({1: 3}, below(8, 9)),  # points at nobody
        ({0: 8}, below(1)),  # leaves one out
    ],
    ids=["self", "back", "nobody", "hole"],
)
def test_malformed_chains_end_or_skip(chain: dict[int, int], stranded: tuple[str, ...]) -> None:
    """The outgoing kernel knew them (hot-added, or through another chain); the incoming one cannot."""
    machine = one_port()
    functions = (
        machine.function("0000:01:00.0"),
        machine.function("0000:01:00.1"),
        machine.function("0000:01:01.0"),
    )

    def rechain(hardware: Machine) -> None:
        for number, following in chain.items():
            name = below(number)[0]
            function = next(item for item in functions if item.name == name)
            offset = function.extended[0x0E] + 4
            hardware.answer(name, f"{offset:03x}.w", following << 8)

    story = tell(machine, preserve=below(0, 1, 8, 9), blackout=rechain)
    assert story.proved
    assert story.stranded == list(stranded)
    assert {story.device(name).reason for name in stranded} == {"chain-broken"}
    assert story.verdict(PORT) == "kept high"


def test_a_silent_member_ends_the_chain() -> None:
    story = tell(
        one_port(), preserve=below(0, 1, 8, 9), blackout=lambda machine: machine.kill("0000:01:00.1")
    )
    assert story.proved
    assert story.stranded == list(below(1, 8, 9))
    assert [story.device(name).reason for name in below(1, 8, 9)] == [
        "no-response",
        "chain-broken",
        "chain-broken",
    ]


def test_function_0_gone_takes_the_whole_device() -> None:
    story = tell(
        one_port(), preserve=below(0, 1, 8, 9), blackout=lambda machine: machine.kill("0000:01:00.0")
    )
    assert story.proved
    assert story.stranded == list(below(0, 1, 8, 9))
    assert [story.device(name).reason for name in below(0, 1)] == ["no-response", "function-0-absent"]


def test_function_0_that_never_gets_ready_is_no_ari_failure() -> None:
    def never_ready(machine: Machine) -> None:
        machine.function("0000:01:00.0").rrs = 10_000

    machine = one_port(model=SILICON)  # QEMU's root port has no RRS Software Visibility
    story = tell(machine, preserve=below(0, 1, 8, 9), blackout=never_ready)
    assert story.proved
    assert story.stranded == list(below(0, 1, 8, 9))
    assert "ARI001" not in story.alarms


def test_function_0_that_is_late_is_found() -> None:
    def late(machine: Machine) -> None:
        machine.function("0000:01:00.0").rrs = 3

    story = tell(one_port(model=SILICON), preserve=below(0, 1, 8, 9), blackout=late)
    assert story.proved
    assert story.result.verdict == "clean"


def test_functions_up_to_255() -> None:
    machine = one_port(ari_device(0, 7, 8, 127, 128, 255))
    names = below(0, 7, 8, 127, 128, 255)
    clean = tell(machine, preserve=names)
    assert clean.proved
    assert clean.result.verdict == "clean"
    lost = tell(one_port(ari_device(0, 7, 8, 127, 128, 255)), preserve=names, blackout=lose())
    assert lost.proved
    assert lost.stranded == list(below(8, 127, 128, 255))


def test_a_bridge_that_is_not_in_the_set_follows_the_stock_rule() -> None:
    """Kernels before the bridges were preserved too, or data made by hand: the bit is switched on again."""
    recording = Recording(lab_topology())
    recording.firmware()
    recording.boot(Kernel())
    recording.preserve(*below(8, bus=3))
    recording.kexec()
    recording.blackout(lose("0000:02:00.0"))
    incoming = recording.boot(
        Kernel(policy="inherit", preserved=frozenset(below(8, bus=3)) | {"0000:00:04.0"})
    )
    capture = recording.capture()
    capture.notes.preserved.append(PreservedDump(array([(0, 0x0308, 1), (0, 0x0020, 1)]), "pci-v3"))
    result = analyze_capture(capture, Options())
    kexec = result.kexecs[0]
    assert kexec.preserved_source == "capture"
    assert kexec.observed.discovered == incoming.enumerated
    assert kexec.policies["inherit"].discovered == incoming.enumerated
    bridge = next(item for item in kexec.bridges if item.bdf == "0000:02:00.0")
    assert (bridge.verdict, bridge.preserved) == ("healed", False)


def test_noari_does_not_matter_for_a_preserved_bridge() -> None:
    story = tell(
        one_port(),
        preserve=below(0, 1, 8, 9),
        incoming=Kernel(policy="inherit", noari=True),
        options=Options(cmdline="console=ttyS0 pci=noari"),
    )
    assert story.proved
    assert story.kexec.noari is True
    assert story.verdict(PORT) == "kept high"
    assert story.kexec.policies["stock"].stranded == list(below(8, 9))


def test_noari_in_a_stock_kernel_strands_without_a_loss() -> None:
    story = tell(
        one_port(),
        preserve=below(0, 1, 8, 9),
        incoming=Kernel(noari=True),
        options=Options(cmdline="pci=noari", policy="stock", preserved=",".join(below(0, 1, 8, 9))),
    )
    assert story.kexec.policies["stock"].discovered == story.incoming.enumerated
    assert story.bridge(PORT).verdict == "ignored"
    assert story.stranded == list(below(8, 9))
    assert {story.device(name).reason for name in below(8, 9)} == {"noari"}


def test_noari_in_a_stock_kernel_is_recognised_from_the_accesses() -> None:
    story = tell(one_port(), preserve=below(0, 1, 8, 9), incoming=Kernel(noari=True))
    assert (story.kexec.observed_policy, story.kexec.noari) == ("stock", True)
    assert story.proved
    assert story.bridge(PORT).verdict == "ignored"
    assert story.stranded == list(below(8, 9))


def test_noari_in_a_patched_kernel_is_recognised_from_bridges_that_are_not_preserved() -> None:
    machine = lab_topology()
    story = tell(machine, preserve=below(0, bus=6), incoming=Kernel(policy="inherit", noari=True))
    assert (story.kexec.observed_policy, story.kexec.noari) == ("inherit", True)
    assert story.proved
    assert story.bridge("0000:02:00.0").verdict == "ignored"


def test_scan_all_probes_every_slot() -> None:
    """With ARI off a machine that answers anyway (QEMU) shows devices 1 and up as slots of their own."""
    story = tell(
        one_port(gates_ari=False),
        preserve=below(0, 1, 8, 9),
        blackout=lose(),
        incoming=Kernel(policy="inherit", scan_all=True),
        options=Options(cmdline="pci=pcie_scan_all"),
    )
    assert story.proved
    assert story.stranded == []


def test_all_ones_in_devctl2_is_data_to_the_kernel() -> None:
    story = tell(
        one_port(),
        preserve=below(0, 1, 8, 9),
        blackout=lambda machine: machine.answer(PORT, DEVCTL2, 0xFFFF, times=1),
    )
    assert story.proved
    assert story.bridge(PORT).ari_decided is True
    assert story.stranded == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(0xFFFFFFFF, ("kept high", True), id="ones are data: bit 5 is set"),
        pytest.param(ERROR, ("not-applicable", None), id="a failed read counts as 0: no ARI"),
    ],
)
@pytest.mark.parametrize("policy", ["inherit", "stock"])
def test_devcap2_that_cannot_be_read(policy: str, answer: object, expected: tuple[str, bool | None]) -> None:
    """Linux 7.3 pcie_capability_read_dword: what the read returns, or 0 where the accessor failed."""
    story = tell(
        one_port(),
        preserve=below(0, 1, 8, 9),
        blackout=lambda machine: machine.answer(PORT, "CAP_EXP+24.l", answer),
        incoming=Kernel(policy=policy),
    )
    assert story.proved
    assert (story.verdict(PORT), story.bridge(PORT).ari_decided or None) == expected


def test_an_incoming_write_before_the_decision() -> None:
    """Another agent of the platform clears the bit while the incoming kernel sets function 0 up."""
    story = tell(one_port(), preserve=below(0, 1, 8, 9))
    decision = story.bridge(PORT).evidence[-1].access
    capture = story.recording.capture()
    number = pl.col("seq")
    read = capture.accesses.filter(number == decision)
    scan = capture.accesses.filter((number < decision) & (pl.col("bus") == 1) & (pl.col("offset") == 0))
    function_0 = scan["seq"].max()
    capture.accesses = pl.concat(
        [
            capture.accesses.filter(number < function_0),
            read,  # somebody reads the bit on, and writes it off
            read.with_columns(op=pl.lit("write", read.schema["op"]), value=pl.lit(0, pl.UInt32)),
            capture.accesses.filter((number >= function_0) & (number < decision)),
            read.with_columns(value=pl.lit(0, pl.UInt32)),  # what the decision then finds
            capture.accesses.filter((number > decision) & (pl.col("devfn") < 8)),
        ]
    ).with_columns(seq=pl.int_range(pl.len(), dtype=pl.UInt64))
    kexec = analyze_capture(capture, Options(preserved=",".join(below(0, 1, 8, 9)))).kexecs[0]
    bridge = next(item for item in kexec.bridges if item.bdf == PORT)
    assert (bridge.ari_before, bridge.ari_after, bridge.ari_decided) == (True, True, False)
    assert (bridge.verdict, bridge.cause) == ("lost", "incoming-write")
    assert bridge.window == Window(last_on=function_0, first_off=function_0 + 1, phase="incoming")


def test_two_kexecs_carry_the_bit_not_the_set() -> None:
    recording = Recording(one_port())
    recording.firmware()
    recording.boot(Kernel())
    first = recording.preserve(*below(0, 1, 8, 9))
    recording.kexec()
    recording.boot(Kernel(policy="inherit", preserved=first))
    second = recording.preserve(*below(0))
    recording.kexec()
    recording.blackout(lose())
    incoming = recording.boot(Kernel(policy="inherit", preserved=second))
    both = ",".join([f"0:{name}" for name in below(0, 1, 8, 9)] + [f"1:{name}" for name in below(0)])
    result = analyze_capture(recording.capture(), Options(preserved=both))
    assert [kexec.index for kexec in result.kexecs] == [0, 1]
    assert [next(b.verdict for b in kexec.bridges if b.bdf == PORT) for kexec in result.kexecs] == [
        "kept",
        "lost",
    ]
    last = result.kexecs[1]
    assert last.observed.discovered == incoming.enumerated
    assert [device.bdf for device in last.devices if device.verdict == "stranded"] == []
    assert [device.bdf for device in last.devices if device.verdict == "missing"] == list(below(8, 9))


def test_reboot_and_kexec_in_one_capture() -> None:
    recording = Recording(one_port())
    recording.firmware()
    recording.boot(Kernel())
    recording.reboot()
    recording.firmware()
    recording.boot(Kernel())
    handed_over = recording.preserve(*below(0, 8))
    recording.kexec()
    incoming = recording.boot(Kernel(policy="inherit", preserved=handed_over))
    result = analyze_capture(recording.capture(), Options(preserved=",".join(below(0, 8))))
    assert [(boot.kind) for boot in result.boots] == ["firmware", "kernel", "firmware", "kernel", "kernel"]
    assert [(kexec.outgoing_boot, kexec.incoming_boot) for kexec in result.kexecs] == [(3, 4)]
    assert result.kexecs[0].observed.discovered == incoming.enumerated
    assert result.verdict == "clean"


def test_new_bus_numbers_that_no_bridge_forwards() -> None:
    """A stock kernel renumbers a port of a packed switch beyond the switch's range: nothing answers there."""
    story = tell(
        lab_topology(gates_ari=True),
        blackout=lambda machine: machine.port_reset("0000:02:00.0"),
        incoming=Kernel(),
        log=True,
    )
    assert story.kexec.observed.discovered == story.incoming.enumerated
    assert story.kexec.policies["stock"].discovered == story.incoming.enumerated
    assert story.bridge("0000:02:00.0").verdict == "renumbered"
    lost = [device.bdf for device in story.kexec.devices if device.verdict == "missing"]
    assert lost == list(below(0, 1, 8, 9, 16, bus=3))


def test_what_if_a_stock_kernel_had_renumbered_a_port_of_a_packed_switch() -> None:
    """The other kernel of the same story: it refuses, and is told that stock would have found no more."""
    stories = [
        tell(
            lab_topology(gates_ari=True),
            preserve=below(0, 8, bus=3),
            blackout=lambda machine: machine.port_reset("0000:02:00.0"),
            incoming=kernel,
        )
        for kernel in (Kernel(policy="inherit", series="v7"), Kernel())
    ]
    refused, renumbered = stories
    assert refused.proved
    assert renumbered.proved
    assert refused.verdict("0000:02:00.0").startswith("unconfigured")
    assert refused.kexec.policies["stock"].discovered == renumbered.incoming.enumerated


def test_what_if_a_stock_kernel_had_numbered_ports_below_a_hidden_switch() -> None:
    """The first port's device reserves a bus for virtual functions: with new numbers it gets no bus.

    The kernel that inherits does not look below the upstream port, so that nobody knows whether the ports
    below kept their numbers; the stock kernel finds them lost.
    """
    ports = {
        0: downstream_port(
            ari_device(0, sriov={0: Sriov(total=4, offset=256)}, model=SILICON), model=SILICON
        ),
        8: downstream_port({0: endpoint(model=SILICON)}, model=SILICON),
    }
    outcomes = {}
    for policy in ("inherit", "stock"):
        root = {
            "00.0": host_bridge(),
            "01.0": root_port({0: upstream_port(ports, model=SILICON)}, model=SILICON),
        }
        story = tell(
            Machine({(0, 0): root}, gates_ari=True),
            preserve=("0000:04:00.0",),
            incoming=Kernel(policy=policy),
            blackout=lambda machine: machine.secondary_bus_reset("0000:00:01.0"),
        )
        stock = story.kexec.policies["stock"]
        outcomes[policy] = stock.stranded, stock.undetermined
    assert outcomes == {"inherit": ([], ["0000:04:00.0"]), "stock": (["0000:04:00.0"], [])}


def test_bridges_behind_numbers_that_no_bridge_forwards_are_hidden_not_gone() -> None:
    """Seen live: a port of the outer of two switches gets a number beyond the range of the root port."""
    inner = upstream_port({"00.0": downstream_port(ari_device(0, 8))})
    outer = upstream_port({"00.0": downstream_port({"00.0": inner}), "01.0": downstream_port(ari_device(0))})
    machine = Machine({(0, 0): {"00.0": host_bridge(), "01.0": root_port({"00.0": outer})}}, gates_ari=True)
    story = tell(machine, blackout=lambda machine: machine.port_reset("0000:02:00.0"), incoming=Kernel())
    assert story.proved
    verdicts = {bridge.bdf: bridge.verdict for bridge in story.kexec.bridges}
    assert verdicts["0000:02:00.0"] == "renumbered"
    assert (verdicts["0000:03:00.0"], verdicts["0000:04:00.0"]) == ("hidden", "hidden")


def test_a_rescan_does_not_count_as_discovery() -> None:
    """The operator sets the bit again and rescans: the scan at boot had not found them."""

    def mend(recording: Recording) -> None:
        recording.setpci(PORT, DEVCTL2, 0x20, mask=0x20)
        recording.rescan()

    story = tell(one_port(), preserve=below(0, 1, 8, 9), blackout=lose(), afterwards=mend)
    assert story.proved
    assert story.stranded == list(below(8, 9))


def test_a_virtual_function_is_no_stranded_device() -> None:
    machine = one_port({"00.0": endpoint(ari=0, sriov=Sriov(total=8, offset=8, stride=1))})

    def enable(recording: Recording) -> None:
        recording.enable_vfs("0000:01:00.0", 4)

    story = tell(machine, preserve=below(0), before=enable, blackout=lose())
    assert story.proved
    assert story.stranded == []
    kinds = {item.kind: item.note for item in story.kexec.secondary}
    assert "sriov-hierarchy-lost" in kinds
    assert "at 0000:01:01.0 to 0000:01:01.3" in kinds["sriov-hierarchy-lost"]


def test_vfio_freeze_is_no_loss() -> None:
    story = tell(
        one_port(), preserve=below(0, 1, 8, 9), before=lambda recording: recording.freeze(*below(0, 1, 8, 9))
    )
    assert story.proved
    assert story.result.verdict == "clean"
    assert story.kexec.secondary == []


def test_domains_beyond_16_bits() -> None:
    machine = Machine(
        {
            (0, 0): {"00.0": host_bridge(), "01.0": root_port(ari_device(0, 8))},
            (0x10000, 0): {"00.0": root_port(ari_device(0, 8))},
        },
        gates_ari=True,
    )
    vmd = ("10000:01:00.0", "10000:01:01.0")
    story = tell(machine, preserve=vmd, blackout=lose("10000:00:00.0"))
    assert story.proved
    assert story.stranded == ["10000:01:01.0"]
    assert story.verdict("10000:00:00.0") == "lost selective-loss medium"
    assert story.bridge(PORT).verdict == "kept"


def test_nested_switches() -> None:
    inner = upstream_port(
        {"00.0": downstream_port(ari_device(0, 8)), "01.0": downstream_port(ari_device(0, 1))}
    )
    machine = Machine(
        {
            (0, 0): {
                "00.0": host_bridge(),
                "01.0": root_port({"00.0": upstream_port({"00.0": downstream_port({"00.0": inner})})}),
            }
        },
        gates_ari=True,
    )
    names = machine.names()
    leaf = next(name for name in names if name.endswith("01.0") and name.startswith("0000:05"))
    story = tell(machine, preserve=(leaf,), blackout=lose("0000:04:00.0"))
    assert story.proved
    assert story.stranded == [leaf]
    assert story.verdict("0000:04:00.0") == "lost selective-loss medium"


def test_bridges_of_other_kinds_have_no_ari_verdict() -> None:
    machine = Machine(
        {
            (0, 0): {
                "00.0": host_bridge(),
                "01.0": root_port(
                    {"00.0": pcie_to_pci_bridge({"01.0": conventional(), "02.0": conventional()})}
                ),
                "02.0": pci_bridge({"01.0": pci_to_pcie_bridge(ari_device(0, 8))}),
                "03.0": root_port(),
            }
        },
        gates_ari=True,
    )
    story = tell(machine, preserve=("0000:02:01.0",))
    assert story.proved
    assert story.result.verdict == "clean"
    ports = {bridge.bdf: (bridge.port_type, bridge.verdict) for bridge in story.kexec.bridges}
    assert ports["0000:00:02.0"] == ("pci", "not-applicable")
    assert ports["0000:00:03.0"] == ("root-port", "not-applicable")  # an empty slot
    assert ports["0000:01:00.0"][0] == "pcie-to-pci"
    assert ports["0000:03:01.0"][0] == "pci-to-pcie"


@pytest.mark.parametrize("policy", ["stock", "inherit"])
def test_a_crash_kexec(policy: str) -> None:
    story = tell(
        one_switch(ari_device(0, 8)),
        incoming=Kernel(policy="stock") if policy == "stock" else Kernel(policy="inherit", preserved={PORT}),
        crash=True,
        options=Options(preserved=PORT) if policy == "inherit" else None,
    )
    assert len(story.result.kexecs) == 1
    assert story.kexec.observed.discovered == story.incoming.enumerated


@pytest.mark.parametrize("series", ["v4", "v5", "v6", "v7", "v8", "v9"])
def test_refusals_of_every_series(series: str) -> None:
    """A preserved port and one that is not lose their numbers on one bus; versions differ in the second."""
    machine = Machine(
        {
            (0, 0): {
                "00.0": host_bridge(),
                "01.0": root_port(ari_device(0, 8)),
                "02.0": root_port(ari_device(0, 8)),
            }
        },
        gates_ari=True,
    )
    story = tell(
        machine,
        preserve=below(0, 8),
        blackout=lambda hardware: hardware.conventional_reset("0000:00:02.0"),
        incoming=Kernel(policy="inherit", series=series),  # type: ignore[arg-type]
        options=Options(series=series, preserved=",".join(below(0, 8))),  # type: ignore[arg-type]
    )
    assert story.proved
    refused = series != "v9"
    assert story.bridge("0000:00:02.0").verdict == ("unconfigured" if refused else "renumbered")
