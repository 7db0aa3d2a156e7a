"""One kexec with a port and two functions below it, put together by hand up to its verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from hand_made import EXP, SRIOV, Access, Part, PlainEvidence, read
from hand_made_worlds import found_rows, of_nodes

from analyzer.observed.boots import BootSpan
from analyzer.observed.register_state import OutgoingState
from analyzer.observed.registers.first_reads import NONE
from analyzer.options import Options
from analyzer.preservation.preserved import PreservedSet
from analyzer.replay.ari import AriDecision
from analyzer.replay.enumeration import FoundRows, Prediction
from analyzer.replay.world import Node
from analyzer.verdicts import kexecs
from analyzer.verdicts.handovers import Handover
from analyzer.verdicts.kexecs import KernelSettings, KexecAnalysis, KexecQuestion, Predictions

if TYPE_CHECKING:
    from analyzer.observed.decisions import Decision
    from analyzer.replay.node_table import NodeTable
    from analyzer.results.state import StateCount, StateVerdict
    from schemas.registers import Register

#: A port and two functions below it; bus 1 is that of the port.
PORT, ZERO, EIGHT = 0x08, 0x0100, 0x0108
PATHS = {PORT: (0, 8), ZERO: (0, 8, 0), EIGHT: (0, 8, 8)}
NAMES = {PORT: "0000:00:01.0", ZERO: "0000:01:00.0", EIGHT: "0000:01:01.0"}
ALL = frozenset(PATHS)
CONTROL_2 = EXP + 0x28


@dataclass
class Device(Part):
    """A function as a boot shows it."""

    vendor_device: str | None = "1234:5678"
    silent: bool = True  # nothing of it is missed
    has_ari: bool | None = False

    def bus_number_samples(self) -> list[object]:
        return []


class BootFunctions(dict[int, Device]):
    """The functions of a boot; ``physical``: those with an SR-IOV capability."""

    def __init__(self, its: dict[int, tuple[Access, ...]], physical: tuple[int, ...] = ()) -> None:
        super().__init__({key: Device(accesses, key, is_bridge=key == PORT) for key, accesses in its.items()})
        keys = np.array(list(self), np.int64)
        places = np.array([SRIOV if key in physical else NONE for key in self], np.int64)
        self.rows = slice(0, len(keys))
        self.table = SimpleNamespace(facts={"function": keys}, offsets=lambda *_, **__: places)

    def accessing(self, register: Register) -> set[int]:
        return {key for key, one in self.items() if one.accesses_to(register)}


@dataclass
class Watch:
    """The watched registers of both kernels; of ``differing`` a state with that code differs on all."""

    verdicts: list[StateVerdict] = field(default_factory=list)
    counts: list[StateCount] = field(default_factory=list)
    differing: frozenset[str] = frozenset()

    def settled(self, *codes: str) -> frozenset[int]:
        assert set(codes) <= {"STATE003", "STATE011"}
        return frozenset() if self.differing.intersection(codes) else ALL

    def at_reset(self, _function: int) -> tuple[int, int] | None:
        return None


class PolicyReplay:
    """What the kernel of each policy finds, of many kexecs: this one's kernels are number 3 to 6."""

    def __init__(self, machine: NodeTable, its: dict[str, Prediction]) -> None:
        self.machine = machine
        self.its = {3: its["stock"], 4: its["inherit"], 5: its["serialize"], 6: its["heal"]}

    def found(self, kernel: int) -> FoundRows:
        return found_rows(self.machine, self.its[kernel])

    def prediction(self, kernel: int) -> Prediction:
        return self.its[kernel]


def hardware(**assumed: bool) -> NodeTable:
    nodes = {key: Node(path, outgoing=key, incoming=key) for key, path in PATHS.items()}
    nodes[PORT].is_bridge = nodes[PORT].is_pcie = nodes[PORT].ari_supported = True
    for name, value in assumed.items():
        setattr(nodes[EIGHT], name, value)
    return of_nodes(nodes.values())


def predicted(machine: NodeTable, *found: int, possible: tuple[int, ...] = ()) -> Prediction:
    """Functions that are found for certain, and those that may be."""
    paths = {PATHS[key]: key for key in (*found, *possible)}
    return Prediction(
        order=[machine.world.by_path[path] for path in paths],
        certain={PATHS[key] for key in found},
        possible={PATHS[key] for key in possible},
        decisions={PATHS[PORT]: AriDecision(EIGHT in paths.values(), "inherited")},
        numbers={PATHS[PORT]: "use"},
        keys=paths,
    )


def boot(
    span: BootSpan,
    functions: BootFunctions,
    enumerated: tuple[int, ...] = (PORT, ZERO, EIGHT),
    *,
    snapshot: bool = False,
    orphans: dict[int, list[int]] | None = None,
    logged: SimpleNamespace | None = None,
) -> Any:
    """One boot, whose scan of the root bus was over at row 500."""
    port = functions.get(PORT)
    return SimpleNamespace(
        boot=span,
        functions=functions,
        enumerated=set(enumerated),
        is_snapshot=snapshot,
        orphans=orphans or {},
        logged=logged,
        silent=frozenset(),
        scan_ends={0: 500},
        parent=lambda key: port if key >> 8 == 1 else None,
        ancestors=lambda key: [port] if key >> 8 == 1 else [],
    )


def conclude(
    *,
    outgoing: Any = None,
    incoming: Any = None,
    policy: str = "inherit",
    preserved: PreservedSet | None = None,
    watch: Watch | None = None,
    machine: NodeTable | None = None,
    inheriting: Prediction | None = None,
    decided: tuple[Decision, ...] = (),
    **settings: Any,
) -> KexecAnalysis:
    """The verdicts on kexec 2, after which a kernel inherits: by default it finds all that it must.

    A stock kernel finds no function above 7.
    """
    machine = machine or hardware()
    every = inheriting or predicted(machine, *PATHS)
    its = {"stock": predicted(machine, PORT, ZERO), "inherit": every, "serialize": every, "heal": every}
    known: dict[str, Any] = {"kind": "live-update", "noari": None, "scan_all": False}
    known |= {"logged_series": (), "messages": (), "options": Options()}
    states = {PORT: OutgoingState(True, 100)}
    kexec = Handover(
        2, outgoing or before(), incoming or after(), {}, {PORT: list(decided)}, states, "inherit", (7, 907)
    )
    asked = KexecQuestion(
        cast("Any", SimpleNamespace(seq=np.arange(900) + 7, time_at=lambda row: row * 10)),
        kexec,
        preserved or PreservedSet(ALL, "flb"),
        ALL | {0x0900},
        KernelSettings(**(known | settings)),
        machine,
        cast("Any", "profiles"),
        "inherit",
        cast("Any", policy),
        "v8",
        "live-update",
        frozenset(),
    )
    predictions = Predictions(cast("Any", PolicyReplay(machine, its)), 3)
    return kexecs.conclude(asked, predictions, cast("Any", watch or Watch()), cast("Any", PlainEvidence()))


#: ARI Forwarding of the port is on.
ON = {PORT: (read(CONTROL_2, 2, 0x20),), ZERO: (), EIGHT: ()}


def before(functions: BootFunctions | None = None, *, scan: int | None = 3, **more: Any) -> Any:
    span = BootSpan(5, "kernel", 0, 399, "start", scan=scan, end=390)
    return boot(span, functions or BootFunctions(ON), **more)


def after(
    functions: BootFunctions | None = None, enumerated: tuple[int, ...] = (PORT, ZERO, EIGHT), **more: Any
) -> Any:
    scan = None if more.get("snapshot") else 402
    span = BootSpan(6, "kernel", 400, 899, "kexec", scan=scan, orderly=True)
    shown = BootFunctions({key: accesses for key, accesses in ON.items() if key in enumerated})
    return boot(span, functions or shown, enumerated, **more)
