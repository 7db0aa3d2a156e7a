"""Random errors and partial losses of ACS in the blackout of a simulated kexec, and what must be said.

What is expected comes from the simulated hardware itself and from the recorded rows, one register at a time;
it shares nothing with the program but the words of lspci, which are written down here again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from random_worlds import Dice
from simulator import SILICON, Kernel, Machine, ari_device, lab_topology, one_port, one_switch
from simulator.errors import CORRECTABLE, UNCORRECTABLE
from simulator.register_names import locate

if TYPE_CHECKING:
    from simulator import Recording

    #: Function, register and bit, and the accesses (numbers) that the window lies between.
    Said = dict[tuple[str, str, str], tuple[int, int]]

BYTES = 120
#: lspci's name of each status register, and its bits.
STATUS = {
    "ECAP_AER+04.l": ("UESta", {bit: word for word, bit in UNCORRECTABLE.items()}),
    "ECAP_AER+10.l": ("CESta", {bit: word for word, bit in CORRECTABLE.items()}),
    "ECAP_AER+30.l": (
        "RootSta",
        dict(
            enumerate(
                ("CERcvd", "MultCERcvd", "UERcvd", "MultUERcvd", "FirstFatal", "NonFatalMsg", "FatalMsg")
            )
        ),
    ),
}
ACS = ("SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans")
ACS_CONTROL = "ECAP_ACS+06.w"


@dataclass
class Case:
    """One machine, the kernels, and what happens in the blackout.

    Attributes:
        preserved: functions to hand over.
        errors: function and error, by lspci's word.
        poked: function, register and bit that is set without any message.
        early: the same before the outgoing kernel starts, which clears it at its scan.
        acs: function and bits of ACS Control that are cleared.
        fault: what happens to the function that is named, before the errors.
    """

    machine: Machine
    preserved: tuple[str, ...]
    outgoing: Kernel
    incoming: Kernel
    errors: list[tuple[str, str]] = field(default_factory=list)
    poked: list[tuple[str, str, int]] = field(default_factory=list)
    early: list[tuple[str, str, int]] = field(default_factory=list)
    acs: list[tuple[str, int]] = field(default_factory=list)
    fault: tuple[str, str] | None = None

    def blackout(self, machine: Machine) -> None:
        """What happens between the kernels."""
        if self.fault is not None:
            what, name = self.fault
            if what == "clear ARI Forwarding":
                machine.clear(name, "CAP_EXP+28.w", 0x20)
            else:
                getattr(machine, what)(name)
        for name, error in self.errors:
            machine.error(name, error)
        for name, register, bits in self.poked:
            machine.poke(name, register, machine.peek(name, register) | bits)
        for name, bits in self.acs:
            machine.clear(name, ACS_CONTROL, bits)


def build(data: bytes) -> Case:
    """A case out of random bytes; zeros mean: nothing happens."""
    dice = Dice(data)
    machine, preserved = dice.pick(
        (one_switch(ari_device(0, 1, 8, 9, model=SILICON), model=SILICON), ("0000:03:00.0", "0000:03:01.1")),
        (one_port(model=SILICON), ("0000:01:00.0", "0000:01:01.0")),
        (lab_topology(), ("0000:03:00.0", "0000:03:01.0", "0000:05:00.0")),
    )
    case = Case(
        machine,
        preserved,
        Kernel(iommu=dice.chance(70)),
        Kernel(policy="inherit", series=dice.pick("v9", "v8", "v7", "v6", "v5", "v4"), iommu=dice.chance(50)),
    )
    able = [name for name in machine.names() if _has(machine, name, "ECAP_AER+04.l")]
    isolating = [name for name in machine.names() if _has(machine, name, ACS_CONTROL)]
    bridges = [name for name in able if machine.function(name).kind != "endpoint"]
    if dice.chance(40):
        what = dice.pick(
            "clear ARI Forwarding", "conventional_reset", "power_cycle", "surprise_down", "kill", "port_reset"
        )
        case.fault = (what, dice.pick(*bridges))
    words = [*UNCORRECTABLE, *CORRECTABLE]
    for _ in range(dice.roll(5)):
        case.errors.append((dice.pick(*able), dice.pick(*words)))
    case.poked.extend(_bit(dice, machine, able) for _ in range(dice.roll(3)))
    case.early.extend(_bit(dice, machine, able) for _ in range(dice.roll(3)))
    if case.early:
        case.poked.append(case.early[0])
    for _ in range(dice.roll(4)):
        case.acs.append((dice.pick(*isolating), 1 + dice.roll(127)))
    return case


def _bit(dice: Dice, machine: Machine, able: list[str]) -> tuple[str, str, int]:
    name = dice.pick(*able)
    register = dice.pick(*STATUS)
    if register == "ECAP_AER+30.l" and machine.function(name).kind != "root-port":
        register = "ECAP_AER+04.l"
    return name, register, 1 << dice.pick(*STATUS[register][1])


def _has(machine: Machine, name: str, register: str) -> bool:
    try:
        locate(machine.function(name), register)
    except KeyError:
        return False
    return True


def expected_errors(recording: Recording, at_kexec: int) -> Said:
    """What the recorded rows show of the status registers, from the raw values.

    Args:
        recording: both kernels ran in it.
        at_kexec: number of the incoming kernel's first access.
    """
    said: Said = {}
    machine, incoming = recording.machine, recording.kernels[-1]
    rows = recording.capture().accesses.select("seq", "op", "bus", "devfn", "offset", "value").rows()
    for name in incoming.enumerated:
        function = machine.function(incoming.hardware[name])
        for register, (status, words) in STATUS.items():
            if not _has(machine, function.name, register):
                continue
            if status == "RootSta" and function.kind != "root-port":
                continue
            place = (int(name[5:7], 16), int(name[8:10], 16) << 3 | int(name[11]))
            offset, _ = locate(function, register)
            its = [
                (seq, op, value) for seq, op, *at, where, value in rows if (*at, where) == (*place, offset)
            ]
            first = next(((seq, value) for seq, op, value in its if seq >= at_kexec and op == "read"), None)
            if first is None:
                continue
            for bit, word in words.items():
                if first[1] >> bit & 1:
                    clear = [
                        seq
                        for seq, op, value in its
                        if seq < at_kexec and (op == "write") == bool(value >> bit & 1)
                    ]
                    said[name, status, word] = (clear[-1], first[0])
    return said


def expected_acs(case: Case, recording: Recording, held: dict[str, int]) -> dict[str, list[str]]:
    """Bits of ACS Control that were on before the blackout and off after it, of what was handed over.

    Args:
        case: what was handed over.
        recording: its incoming kernel kept what it found.
        held: ACS Control before the blackout.
    """
    found = {}
    handed = case.machine.with_bridges(*case.preserved)
    for name in recording.kernels[-1].enumerated:
        if name in handed and name in held:
            lost = held[name] & ~case.machine.peek(name, ACS_CONTROL)
            if lost:
                found[name] = [word for bit, word in enumerate(ACS) if lost >> bit & 1]
    return found


def acs_of(machine: Machine) -> dict[str, int]:
    """ACS Control of every function that has it."""
    return {
        name: machine.peek(name, ACS_CONTROL) for name in machine.names() if _has(machine, name, ACS_CONTROL)
    }
