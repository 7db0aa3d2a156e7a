"""The worked table: one device behind a root port, ten ways to lose or keep ARI, three policies.

Secondary bus 01 below root port 00:01.0; functions 0, 1, 8 and 9, chained 0 -> 1 -> 8 -> 9, multi-function
bit set, all preserved. Each row is played with a stock and with an inheriting kernel; whichever ran, the
replay must say what *each* policy would have found, and a simulated kernel of that policy on the same
hardware agrees.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from simulator import ERROR, Kernel, Machine, Recording, ari_device, one_port

from analyzer.analysis import analyze_capture
from analyzer.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from analyzer.results import CaptureResult

PORT = "0000:00:01.0"
DEVCTL2 = "CAP_EXP+28.w"
NAME = {0: "0000:01:00.0", 1: "0000:01:00.1", 8: "0000:01:01.0", 9: "0000:01:01.1"}
ALL = (0, 1, 8, 9)


def nothing(_: Machine) -> None:
    """The hardware comes through the blackout as it was."""


def bit_lost(machine: Machine) -> None:
    machine.clear(PORT, DEVCTL2, 0x20)


def port_reset(machine: Machine) -> None:
    machine.conventional_reset(PORT)


def ari_capability_gone(machine: Machine) -> None:
    machine.poke(NAME[0], "ECAP_ARI+00.w", 0x000B)


def reads_ones(machine: Machine) -> None:
    machine.answer(PORT, DEVCTL2, 0xFFFF)


def reads_fail(machine: Machine) -> None:
    machine.answer(PORT, DEVCTL2, ERROR)


@dataclass(frozen=True)
class Row:
    """One row: what happens, what each policy finds, what is said of the bridge when stock or inherit ran."""

    happens: Callable[[Machine], None]
    stock: tuple[int, ...]
    inherit: tuple[int, ...]
    serialize: tuple[int, ...]
    stock_says: str
    inherit_says: str
    reason_stock: str = ""
    reason_inherit: str = ""
    multifunction: bool = True
    noari: bool = False
    preserved: tuple[int, ...] = ALL

    def found(self, policy: str) -> tuple[int, ...]:
        return {"stock": self.stock, "inherit": self.inherit, "serialize": self.serialize}[policy]

    def says(self, policy: str) -> str:
        return self.stock_says if policy == "stock" else self.inherit_says

    def reason(self, policy: str) -> str:
        return self.reason_stock if policy == "stock" else self.reason_inherit


TABLE = {
    "A the bit stays": Row(
        nothing, stock=ALL, inherit=ALL, serialize=ALL,
        stock_says="kept", inherit_says="kept",
    ),
    "B bit lost, bus numbers kept": Row(
        bit_lost, stock=ALL, inherit=(0, 1), serialize=ALL,
        stock_says="healed selective-loss", inherit_says="lost selective-loss", reason_inherit="ari-off",
    ),
    "C bit and bus numbers lost": Row(
        port_reset, stock=ALL, inherit=(), serialize=(),
        stock_says="renumbered host-bridge-reinit", inherit_says="unconfigured host-bridge-reinit",
        reason_inherit="bridge-unconfigured",
    ),
    "D as B, no multi-function bit": Row(
        bit_lost, stock=ALL, inherit=(0,), serialize=ALL, multifunction=False,
        stock_says="healed selective-loss", inherit_says="lost selective-loss", reason_inherit="ari-off",
    ),
    "E bit on, function 0 without ARI capability": Row(
        ari_capability_gone, stock=(0, 1), inherit=(0,), serialize=(0,),
        stock_says="cleared", inherit_says="kept",
        reason_stock="ari-off", reason_inherit="function-0-not-ari",
    ),
    "F as B, pci=noari": Row(
        bit_lost, stock=(0, 1), inherit=(0, 1), serialize=ALL, noari=True,
        stock_says="lost selective-loss", inherit_says="lost selective-loss",
        reason_stock="noari", reason_inherit="ari-off",
    ),
    "G DEVCTL2 reads all ones": Row(
        reads_ones, stock=ALL, inherit=ALL, serialize=ALL,
        stock_says="undetermined", inherit_says="undetermined",
    ),
    "H DEVCTL2 read fails": Row(
        reads_fail, stock=ALL, inherit=(0, 1), serialize=ALL,
        stock_says="undetermined", inherit_says="undetermined", reason_inherit="ari-off",
    ),
    "J only functions 0 and 1 preserved, bit lost": Row(
        bit_lost, stock=ALL, inherit=(0, 1), serialize=ALL, preserved=(0, 1),
        stock_says="healed selective-loss", inherit_says="lost selective-loss",
    ),
}  # fmt: skip


def play(row: Row, policy: str, *, gates_ari: bool = True, qemu: bool = False) -> tuple[Recording, Kernel]:
    """A stock kernel, a kexec in which the row happens, and a kernel of that policy."""
    machine = one_port(ari_device(*ALL, multifunction=row.multifunction), gates_ari=gates_ari)
    recording = Recording.as_qemu(machine) if qemu else Recording(machine)
    recording.firmware()
    recording.boot(Kernel())
    preserved = recording.preserve(*(NAME[number] for number in row.preserved))
    recording.kexec()
    recording.blackout(row.happens)
    kernel = Kernel(preserved=preserved, noari=row.noari, saved={PORT: True})
    return recording, recording.boot(replace(kernel, policy=policy))


def judge(row: Row, recording: Recording) -> CaptureResult:
    names = ",".join(NAME[number] for number in row.preserved)
    return analyze_capture(recording.capture(), Options(preserved=names, cmdline=recording.kernel.cmdline))


def below_port(names: list[str]) -> tuple[int, ...]:
    return tuple(number for number in ALL if NAME[number] in names)


@pytest.mark.parametrize("policy", ["stock", "inherit", "serialize"])
@pytest.mark.parametrize("row", TABLE.values(), ids=list(TABLE))
def test_what_a_simulated_kernel_finds(row: Row, policy: str) -> None:
    _, incoming = play(row, policy)
    assert below_port(incoming.enumerated) == row.found(policy)


@pytest.mark.parametrize("qemu", [True, False], ids=["as QEMU records", "as a probe records"])
@pytest.mark.parametrize("ran", ["stock", "inherit"])
@pytest.mark.parametrize("row", TABLE.values(), ids=list(TABLE))
def test_the_replay_says_what_every_policy_finds(row: Row, ran: str, qemu: bool) -> None:
    recording, _ = play(row, ran, qemu=qemu)
    policies = judge(row, recording).kexecs[0].policies
    for policy in ("stock", "inherit", "serialize"):
        found = row.found(policy)
        assert below_port(policies[policy].discovered) == found, policy
        assert below_port(policies[policy].stranded) == tuple(
            number for number in row.preserved if number not in found
        ), policy


@pytest.mark.parametrize("gates_ari", [True, False], ids=["ports gate device numbers", "ports do not"])
@pytest.mark.parametrize("ran", ["stock", "inherit"])
@pytest.mark.parametrize("row", TABLE.values(), ids=list(TABLE))
def test_prediction_and_observation_agree(row: Row, ran: str, gates_ari: bool) -> None:
    recording, incoming = play(row, ran, gates_ari=gates_ari)
    kexec = judge(row, recording).kexecs[0]
    assert kexec.observed.discovered == incoming.enumerated
    assert kexec.divergences == []


@pytest.mark.parametrize("ran", ["stock", "inherit"])
@pytest.mark.parametrize("row", TABLE.values(), ids=list(TABLE))
def test_bridge_verdict_and_cause(row: Row, ran: str) -> None:
    recording, _ = play(row, ran)
    (bridge,) = judge(row, recording).kexecs[0].bridges
    assert " ".join(word for word in (bridge.verdict, bridge.cause) if word) == row.says(ran)


@pytest.mark.parametrize("ran", ["stock", "inherit"])
@pytest.mark.parametrize("row", TABLE.values(), ids=list(TABLE))
def test_stranded_devices_and_why(row: Row, ran: str) -> None:
    recording, _ = play(row, ran)
    kexec = judge(row, recording).kexecs[0]
    stranded = {device.bdf: device.reason for device in kexec.devices if device.verdict == "stranded"}
    expected = [NAME[number] for number in row.preserved if number not in row.found(ran)]
    assert stranded == dict.fromkeys(expected, row.reason(ran))


@pytest.mark.parametrize(("row", "ran", "policy"), [
    ("A the bit stays", "stock", "stock"),
    ("A the bit stays", "inherit", "inherit"),
    ("B bit lost, bus numbers kept", "stock", "stock"),
    ("B bit lost, bus numbers kept", "inherit", "inherit"),
    ("C bit and bus numbers lost", "stock", "stock"),
    ("C bit and bus numbers lost", "inherit", "inherit"),
    ("F as B, pci=noari", "stock", "stock"),
    ("F as B, pci=noari", "inherit", "inherit"),
])  # fmt: skip
def test_the_policy_that_ran_is_recognised(row: str, ran: str, policy: str) -> None:
    recording, _ = play(TABLE[row], ran)
    assert judge(TABLE[row], recording).kexecs[0].observed_policy == policy


def test_writes_of_bit_5_are_those_of_the_policy() -> None:
    """Row A: a stock kernel writes the bit although it is set; an inheriting one does not."""

    def written(policy: str) -> int:
        recording, incoming = play(TABLE["A the bit stays"], policy)
        rows = recording.wire.rows[incoming.scan_rows.start : incoming.scan_rows.stop]
        return sum(
            op == 1 and function == 0x08 and offset == 0x54 + 0x28 for _, function, offset, _, op, *_ in rows
        )

    assert (written("stock"), written("inherit"), written("serialize")) == (1, 0, 0)


def kernel_data(path: Path, *functions: str) -> None:
    """A dump as series v7 leaves it: header, then one page of entries (domain, bdf, refcount)."""
    entries = b"".join(
        struct.pack("<IHH", 0, int(name[5:7], 16) << 8 | int(name[8:10], 16) << 3 | int(name[-1]), 1)
        for name in functions
    )
    block = struct.pack("<QQ", 0, len(functions)) + entries
    path.write_bytes(struct.pack("<IQ", len(functions), 0x1000) + block.ljust(4096, b"\0"))


@pytest.mark.parametrize("ran", ["stock", "inherit"])
def test_row_i_data_under_another_name_makes_every_policy_stock(tmp_path: Path, ran: str) -> None:
    """An incoming v9 kernel looks for "pci" and is handed "pci-v2": nothing is incoming, the bit heals."""
    recording, incoming = play(replace(TABLE["B bit lost, bus numbers kept"], preserved=()), ran)
    assert below_port(incoming.enumerated) == ALL
    dump = tmp_path / "kernel.flb"
    kernel_data(dump, PORT, *NAME.values())
    options = Options(flb=str(dump), flb_name="pci-v2", series="v9")
    kexec = analyze_capture(recording.capture(), options).kexecs[0]
    (bridge,) = kexec.bridges
    assert (bridge.verdict, bridge.cause) == ("healed", "selective-loss")
    assert kexec.observed_policy == "stock"
    assert kexec.divergences == []
    assert kexec.observed.discovered == incoming.enumerated
    for policy in ("stock", "inherit", "serialize"):
        assert below_port(kexec.policies[policy].discovered) == ALL, policy
        assert kexec.policies[policy].stranded == [], policy
