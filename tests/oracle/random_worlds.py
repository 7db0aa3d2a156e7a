"""Random machines with faults, and random kernels to scan them.

A case is decoded from a string of random bytes: zeros mean the plain thing: no fault, no further
function.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st
from naive_scan import (
    ARI_BIT,
    DOWNSTREAM,
    MULTIFUNCTION,
    PCI_TO_PCIE,
    PCIE_TO_PCI,
    ROOT_PORT,
    UPSTREAM,
    Hardware,
    Kernel,
    Machine,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Path = tuple[int, ...]
Numbers = tuple[int, int, int]
_T = TypeVar("_T")

BYTES = 800
SERIES = ("v9", "v8", "v7", "v6", "v5", "v4")
#: Header types that no kernel knows; a function that died there reads 0xff.
UNKNOWN_HEADERS = (0xFF, 0x7F, 0x03, 0x7E, 0x90)
#: Ways of not answering: nobody there, zeros, half ones, retry for ever.
SILENT = (0xFFFFFFFF, 0x00000000, 0x0000FFFF, 0xFFFF0000, 0xFFFF0001, 0x12340001)
ROOT_BUSES = ((0, 0x00), (0, 0x40), (0x10000, 0x00), (0x10001, 0xE0))
#: Where bridges that come back with other, valid bus numbers find them: above every number handed out.
MOVED_FROM = 0x80


@dataclass
class Case:
    """One machine at one kexec, and the kernel that comes up on it.

    Attributes:
        addresses: path -> domain, bus and devfn as one number, every bus counted.
        outgoing: the same for what the outgoing kernel enumerated, hot-added functions left out.
        outgoing_numbers: path of a bridge -> bus numbers that the outgoing kernel used.
    """

    machine: Machine
    addresses: dict[Path, int] = field(default_factory=dict)
    outgoing: dict[Path, int] = field(default_factory=dict)
    outgoing_numbers: dict[Path, Numbers] = field(default_factory=dict)
    preserved: frozenset[int] = frozenset()
    saved: dict[int, bool] = field(default_factory=dict)
    series: str = "v9"
    noari: bool = False
    scan_all: bool = False
    handover: str = "matched"
    assign_busses: bool = False
    isolated: bool = False
    handed_over: bool = False

    def __repr__(self) -> str:
        return text(self)

    def kernel(self, policy: str) -> Kernel:
        return Kernel(
            policy,
            self.series,
            self.preserved,
            self.saved,
            self.noari,
            self.scan_all,
            self.handover,
            self.assign_busses,
            self.isolated,
            self.handed_over,
        )

    def functions(self) -> Iterator[tuple[Path, Hardware]]:
        """Every function of the machine with its path, bridges before what is below them."""
        for (domain, bus), wired in self.machine.roots.items():
            yield from _functions((domain << 8 | bus,), wired)


def _functions(path: Path, wired: dict[int, Hardware]) -> Iterator[tuple[Path, Hardware]]:
    for devfn, hardware in wired.items():
        yield (*path, devfn), hardware
        yield from _functions((*path, devfn), hardware.below)


def text(case: Case) -> str:
    """The case as an indented tree, faults and options only where they are not the plain ones."""
    lines = [
        f"series {case.series}, noari {case.noari}, scan_all {case.scan_all}, handover {case.handover}",
        f"assign_busses {case.assign_busses}, isolated {case.isolated}, handed_over {case.handed_over}",
        f"preserved {sorted(f'{key:06x}' for key in case.preserved)}, saved {case.saved}",
    ]
    plain = Hardware()
    for path, hardware in case.functions():
        shown = [
            f"{item.name}={getattr(hardware, item.name)}"
            for item in fields(Hardware)
            if item.name != "below" and getattr(hardware, item.name) != getattr(plain, item.name)
        ]
        was = f"{case.outgoing[path]:06x}" if path in case.outgoing else "hot-added"
        then = f" outgoing_numbers={case.outgoing_numbers[path]}" if path in case.outgoing_numbers else ""
        lines.append("  " * len(path) + f"{path[0]:x}: {path[1:]} ({was}) {', '.join(shown)}{then}")
    return "\n".join(lines)


class Dice:
    """Random decisions out of bytes; the first choice (a zero byte, or no byte left) is the plain one."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)

    def roll(self, sides: int) -> int:
        """0 to ``sides - 1``, at most 256 sides."""
        return next(self._bytes, 0) * sides >> 8

    def chance(self, percent: float) -> bool:
        return next(self._bytes, 0) > 255.5 - 2.56 * percent

    def pick(self, *options: _T) -> _T:
        return options[self.roll(len(options))]


def build(data: bytes) -> Case:
    return _Builder(Dice(data)).case()


@st.composite
def cases(draw: st.DrawFn) -> Case:
    return build(draw(st.binary(min_size=BYTES, max_size=BYTES)))


class _Builder:
    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.left = 0
        self.moved = MOVED_FROM
        #: Percent of what is spoilt: multi-function bits and chains, answers, ARI bits, bus numbers.
        self.odd = dice.pick(0, 5, 20)
        self.silent = dice.pick(0, 0, 3, 12)
        self.lost = dice.pick(0, 15, 50)
        self.broken = dice.pick(0, 0, 8, 20, 40)

    def case(self) -> Case:
        dice = self.dice
        self.left = 3 + dice.roll(45)
        roots = ROOT_BUSES[: 1 + dice.pick(0, 0, 1, 2, 3)]
        case = Case(Machine({root: self.root_bus() for root in roots}))
        self.number(case)
        self.break_numbers(case)
        self.options(case)
        self.hand_over(case)
        return case

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def root_bus(self) -> dict[int, Hardware]:
        wired: dict[int, Hardware] = {}
        for place in range(1 + self.dice.roll(5)):
            if not self.take():
                break
            devfn = self.dice.roll(256) if self.dice.chance(15) else (place + self.dice.roll(2)) * 8
            kind = self.dice.pick("root", "root", "root", "endpoint", "conventional", "bridge", "any")
            wired[devfn] = self.function(kind, 1)
        return self.finish(wired)

    def bus_below(self, port_type: int | None, depth: int) -> dict[int, Hardware]:
        """What is wired below a bridge; mostly what the PCIe rules allow there."""
        if depth > 10 or self.left <= 0:
            return {}
        if port_type in (ROOT_PORT, DOWNSTREAM, PCI_TO_PCIE):
            build = self.dice.pick(self.device, self.device, self.switch, self.switch, self.bridge, self.any)
        elif port_type == UPSTREAM:
            build = self.dice.pick(self.ports, self.ports, self.ports, self.ports, self.any)
        else:
            build = self.dice.pick(self.slots, self.slots, self.bridge, self.any)
        return self.finish(build(depth))

    def device(self, _depth: int) -> dict[int, Hardware]:
        """One PCIe device: function 0, and perhaps more functions at any number."""
        numbers = self.dice.pick([0], [0, 1], [0, 1, 8, 9], [0, 1, 2, 3], [0, 8], [0, 255], [0, 7, 15, 200])
        if self.dice.chance(35):
            numbers = sorted({0, *(self.dice.roll(256) for _ in range(1 + self.dice.roll(6)))})
        elif self.dice.chance(20):
            numbers = sorted({0, *(self.dice.roll(18) for _ in range(1 + self.dice.roll(8)))})
        return {devfn: self.function("ari", 0) for devfn in numbers if self.take()}

    def switch(self, depth: int) -> dict[int, Hardware]:
        wired = {0: self.function("upstream", depth)} if self.take() else {}
        if self.dice.chance(20) and self.take():
            wired[self.dice.pick(1, 7, 8, 16)] = self.function("ari", depth)  # its DMA engine, or so
        return wired

    def ports(self, depth: int) -> dict[int, Hardware]:
        step = self.dice.pick(8, 8, 1)
        count = 1 + self.dice.roll(4)
        return {place * step: self.function("downstream", depth) for place in range(count) if self.take()}

    def bridge(self, depth: int) -> dict[int, Hardware]:
        kind = self.dice.pick("to-pci", "to-pcie", "bridge")
        return {0: self.function(kind, depth)} if self.take() else {}

    def slots(self, depth: int) -> dict[int, Hardware]:
        wired = {}
        for _ in range(1 + self.dice.roll(3)):
            devfn = self.dice.roll(32) << 3 | self.dice.pick(0, 0, 0, 1)
            kind = self.dice.pick("conventional", "conventional", "bridge", "to-pcie", "ari")
            if self.take():
                wired[devfn] = self.function(kind, depth)
        return wired

    def any(self, depth: int) -> dict[int, Hardware]:
        """What no rule allows."""
        wired = {}
        for _ in range(1 + self.dice.roll(5)):
            devfn = self.dice.pick(0, 1, 8, 9, self.dice.roll(256))
            if self.take():
                wired[devfn] = self.function("any", depth)
        return wired

    def function(self, kind: str, depth: int) -> Hardware:
        dice = self.dice
        if kind == "any":
            kind = dice.pick(
                "ari",
                "endpoint",
                "conventional",
                "bridge",
                "root",
                "upstream",
                "downstream",
                "to-pci",
                "to-pcie",
            )
        types = {
            "root": ROOT_PORT,
            "upstream": UPSTREAM,
            "downstream": DOWNSTREAM,
            "to-pci": PCIE_TO_PCI,
            "to-pcie": PCI_TO_PCIE,
        }
        if kind in ("ari", "endpoint", "conventional"):
            ari = dice.roll(256) if (kind == "ari") != dice.chance(self.odd / 2) else None
            return Hardware(pcie=None if kind == "conventional" else (2, 0), ari=ari)
        hardware = Hardware(header=1, devctl2=ARI_BIT)
        if kind != "bridge":
            claimed = types[kind] if not dice.chance(self.odd / 3) else dice.pick(*types.values())
            hardware.pcie = (1 if dice.chance(4) else 2, claimed)
            capable = kind not in ("upstream", "to-pci") if not dice.chance(self.odd / 2) else dice.chance(50)
            hardware.devcap2 = (ARI_BIT if capable else 0) | dice.pick(0, 0x800, 0x1F)
            bit = 0 if dice.chance(self.lost) else ARI_BIT
            hardware.devctl2 = bit | dice.pick(0, 0x400, 0x8410)
            if dice.chance(4):
                hardware.devctl2_read = dice.pick("ones", "error")
            if kind == "upstream" and dice.chance(30):
                hardware.ari = dice.roll(256)
        hardware.below = self.bus_below(None if hardware.pcie is None else hardware.pcie[1], depth + 1)
        off = not hardware.devctl2 & ARI_BIT and hardware.devctl2_read == "value"
        if off and dice.chance(50):  # only then can a capture have shown it
            for devfn, function in hardware.below.items():
                function.gated = devfn > 7
        return hardware

    def finish(self, wired: dict[int, Hardware]) -> dict[int, Hardware]:
        """Set multi-function bits and chains as they should be, then spoil some of them."""
        members = sorted(wired)
        for devfn, hardware in wired.items():
            several = any(other != devfn and other >> 3 == devfn >> 3 for other in members)
            if several != self.dice.chance(self.odd):
                hardware.header |= MULTIFUNCTION
            if hardware.ari is not None:
                later = [other for other in members if other > devfn]
                hardware.ari = self.next_function(devfn, members, later)
            if self.dice.chance(self.odd / 5):
                hardware.extended = False
            if self.dice.chance(self.silent):
                hardware.vendor = self.dice.pick(*SILENT)
            elif self.dice.chance(self.silent):
                hardware.header_read = self.dice.pick(*UNKNOWN_HEADERS)
            elif hardware.header & 0x7F == 1:
                hardware.dies = self.dice.chance(self.silent)
                hardware.pcix = self.dice.chance(self.odd)
        if 0 in wired and self.dice.chance(self.odd / 4):
            del wired[0]
        return wired

    def next_function(self, devfn: int, members: list[int], later: list[int]) -> int:
        healthy = later[0] if later else 0
        if not self.dice.chance(2 * self.odd):
            return healthy
        broken: tuple[Callable[[], int], ...] = (
            lambda: devfn,
            lambda: self.dice.roll(256),
            lambda: members[self.dice.roll(len(members))],
            lambda: later[-1] if later else 255,
            lambda: min(healthy + 1, 255),
            lambda: 0,
        )
        return self.dice.pick(*broken)()

    def number(self, case: Case) -> None:
        """Number buses as the outgoing kernel did; some functions came only later."""
        counters: dict[int, int] = {}
        for (domain, bus), wired in case.machine.roots.items():
            counters[domain] = bus
            self._number_bus(case, (domain << 8 | bus,), domain << 8 | bus, wired, counters, existed=True)

    def _number_bus(
        self,
        case: Case,
        path: Path,
        bus: int,
        wired: dict[int, Hardware],
        counters: dict[int, int],
        *,
        existed: bool,
    ) -> None:
        domain = bus >> 8
        for devfn, hardware in wired.items():
            below, here = (*path, devfn), existed and not self.dice.chance(4)
            case.addresses[below] = bus << 8 | devfn
            if here:
                case.outgoing[below] = bus << 8 | devfn
            if hardware.header & 0x7F != 1:
                continue
            counters[domain] += 1
            secondary = counters[domain]
            hardware.renumber = secondary
            self._number_bus(case, below, domain << 8 | secondary, hardware.below, counters, existed=here)
            if here:
                hardware.numbers = (bus & 0xFF, secondary, counters[domain])
                case.outgoing_numbers[below] = hardware.numbers

    def break_numbers(self, case: Case) -> None:
        for _, hardware in case.functions():
            if hardware.header & 0x7F == 1 and self.dice.chance(self.broken):
                self._break(hardware)

    def _break(self, hardware: Hardware) -> None:
        primary, secondary, subordinate = hardware.numbers
        fault = self.dice.pick("zero", "zero", "reset", "moved", "wired", "odd")
        if fault == "zero":
            hardware.numbers = (0, 0, 0)
        elif fault == "reset":  # a hot reset takes everything below along
            for port in (hardware, *(below for _, below in _functions((), hardware.below))):
                port.numbers = (0, 0, 0)
                port.devctl2 &= ~ARI_BIT
        elif fault == "moved":
            hardware.numbers = (primary, self.moved, self.moved)
            if self.dice.chance(50):
                for below in hardware.below.values():
                    below.numbers = (self.moved, *below.numbers[1:])
            self.moved += 1
        elif fault == "wired":
            hardware.hard_wired = True
        else:
            hardware.numbers = self.dice.pick(
                (primary, 0, subordinate),
                (primary, secondary, 0),
                (primary, subordinate + 1, subordinate),
                (primary ^ 1, secondary, subordinate),
                (primary, primary, subordinate),
                (0, secondary, subordinate),
                (0, secondary, 0),
                (0xFF, 0xFF, 0xFF),
            )

    def options(self, case: Case) -> None:
        dice = self.dice
        case.series = dice.pick(*SERIES)
        case.noari = dice.chance(18)
        case.scan_all = dice.chance(18)
        case.assign_busses = dice.chance(12)
        case.isolated = dice.chance(8)
        case.handed_over = dice.chance(40)
        if dice.chance(8):
            case.handover = "panic" if case.series in ("v8", "v9") and dice.chance(30) else "unmatched"

    def hand_over(self, case: Case) -> None:
        """A preserved set: endpoints with the bridges above them, or less consistent ones."""
        style = self.dice.pick("consistent", "consistent", "bridges-missing", "any", "empty")
        if style == "empty":
            return
        share = self.dice.pick(60, 25, 90)
        chosen = set()
        for path, key in case.outgoing.items():
            if not self.dice.chance(share):
                continue
            chosen.add(key)
            if style != "any":
                chosen.update(case.outgoing[path[:depth]] for depth in range(2, len(path)))
        if style == "bridges-missing":
            chosen = {key for key in sorted(chosen) if not self.dice.chance(20)}
        if self.dice.chance(10):  # listed, but the outgoing kernel had no such function
            bus = self.dice.pick(*(key >> 8 for key in case.outgoing.values()), 0)
            chosen.add(bus << 8 | self.dice.pick(0, 8, 255))
        case.preserved = frozenset(chosen)
        case.saved = {key: not self.dice.chance(40) for key in sorted(chosen)}
