"""The kexecs of the study: every fault on every machine, under five kernels, recorded and analysed.

The outgoing kernel boots and hands functions over once for each machine; what was recorded until then is
copied for each fault, and for each incoming kernel.
"""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import polars as pl
from simulator import Kernel, Recording
from study_faults import FAULTS
from study_machines import KINDS, Host, build

from analyzer import bdf
from analyzer.analysis import analyze_batch
from analyzer.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from study_faults import Fault

    from analyzer.capture import Capture
    from analyzer.results import BridgeVerdict, CaptureResult, KexecResult, PolicyName


@dataclass(frozen=True)
class Incoming:
    """An incoming kernel of the study. ``serialize`` and ``heal`` exist in no kernel: they are v9 otherwise.

    Attributes:
        policy: the rule for ARI of a preserved bridge.
        series: the rule for bus numbers and ACS.
    """

    policy: PolicyName
    series: str

    def kernel(self) -> Kernel:
        """A kernel that has not booted."""
        return Kernel(policy=self.policy, series=self.series, iommu=True)  # type: ignore[arg-type]


#: Name in the tables -> the incoming kernel.
KERNELS = {
    "stock": Incoming("stock", "v9"),
    "v6, v7": Incoming("inherit", "v7"),
    "v9": Incoming("inherit", "v9"),
    "serialize": Incoming("serialize", "v9"),
    "heal": Incoming("heal", "v9"),
}
#: What a kernel prints about bus numbers that it does not use or does not assign.
_MESSAGES = ("bridge configuration invalid", "Cannot reconfigure bridge", "Not assigning bus numbers")
#: State verdicts that say that a register does not hold what the outgoing kernel left in it.
_LOST = frozenset({"lost", "changed", "healed"})
#: Watched states of an endpoint that every reset takes, and no kernel: one of them changed means a reset.
_RESET = frozenset({"BAR", "ACS", "DEVCTL2"})

#: A row for each kexec. Lists are of handed-over functions: ``stranded`` were not found, ``moved`` were found
#: under another bus number, ``reset`` have lost registers of their own; ``others_missing`` counts functions
#: that were not handed over and not found. ``warned``: a handed-over port reads off above a handed-over
#: function above 7; ``differs``: it reads off and was on. ``message``: the kernel printed one about bus
#: numbers. ``number_twice``: a port got the number of a bus that another bridge has. ``agrees``: observation
#: and prediction are what the simulated kernel found; ``what_ifs``: predictions for the other kernels with
#: v9's rule for bus numbers; ``wrong_what_ifs``: those that are not what the other kernel found.
KEXECS = {
    "machine": pl.Int64,
    "kind": pl.String,
    "fault": pl.String,
    "kernel": pl.String,
    "handed_over": pl.Int64,
    "stranded": pl.List(pl.String),
    "moved": pl.List(pl.String),
    "reset": pl.List(pl.String),
    "others_missing": pl.Int64,
    "warned": pl.Boolean,
    "differs": pl.Boolean,
    "message": pl.Boolean,
    "number_twice": pl.Boolean,
    "agrees": pl.Boolean,
    "what_ifs": pl.Int64,
    "wrong_what_ifs": pl.Int64,
}
#: A row for each port that had ARI Forwarding before the kexec and not after it, as a stock kernel finds it.
#: ``numbers``: it lost its bus numbers; ``lost``: other registers of the port that changed, as reports name
#: them; ``below``: handed-over functions below it that were reset.
PORTS = {
    "fault": pl.String,
    "numbers": pl.Boolean,
    "lost": pl.List(pl.String),
    "below": pl.Int64,
}


@dataclass(frozen=True)
class Kexec:
    """One simulated kexec: which, its capture, and its kernels, which know what they found."""

    machine: int
    fault: Fault
    kernel: str
    host: Host
    outgoing: Kernel
    incoming: Kernel
    capture: Capture

    @property
    def found(self) -> dict[str, str]:
        """Hardware function -> address at which the simulated incoming kernel found it."""
        return {hardware: address for address, hardware in self.incoming.hardware.items()}

    @property
    def missing(self) -> list[str]:
        """Handed-over functions that the simulated kernel did not find anywhere."""
        return [name for name in self.host.handed_over if name not in self.found]

    @property
    def others_missing(self) -> int:
        """How many other functions, bridges aside, the outgoing kernel had found and this one did not."""
        names = set(self.outgoing.enumerated) - set(self.host.handed_over) - set(self.found)
        return sum(not self.host.machine.function(name).is_bridge for name in names)


def run(
    machines: int, seed: int, faults: Sequence[Fault] = FAULTS, kinds: Sequence[str] = tuple(KINDS)
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All kexecs: the tables of :data:`KEXECS` and :data:`PORTS`.

    Args:
        machines: of each kind.
        seed: of machines and of the ports that faults happen to.
        faults: those to simulate.
        kinds: of machines.
    """
    rows: list[dict[str, Any]] = []
    ports: list[dict[str, Any]] = []
    for number in range(machines * len(kinds)):
        kind = kinds[number % len(kinds)]
        host = build(kind, random.Random(f"{seed} machine {number}"))  # noqa: S311
        for _, group in groupby(kexecs(host, number, faults, seed), lambda one: one.fault.name):
            simulated = list(group)
            results = _analysed(simulated)
            rows.extend(_rows(simulated, results))
            for one, result in zip(simulated, results, strict=True):
                if one.kernel == "stock":
                    ports.extend(_ports(one, result.kexecs[0]))
    return pl.DataFrame(rows, KEXECS), pl.DataFrame(ports, PORTS)


def kexecs(host: Host, number: int, faults: Sequence[Fault], seed: int) -> Iterator[Kexec]:
    """Every fault that this machine can have, each under every kernel."""
    recording = Recording(host.machine)
    recording.firmware()
    outgoing = recording.boot(Kernel(iommu=True, keeps_bus_master=True))
    for name, count in host.virtual.items():
        recording.enable_vfs(name, count)
    preserved = recording.preserve(*host.handed_over)
    saved = {device.name: device.ari_enabled for device in outgoing.devices if device.is_bridge}
    down = _copy(recording)
    _shut_down(down, host)
    for fault in faults:
        ports = fault.ports(host)
        if not ports:
            continue
        port = random.Random(f"{seed} port {number}").choice(ports)  # noqa: S311
        story = _copy(recording if fault.running else down)
        if fault.running:
            fault.happen(story, port)
            _shut_down(story, host)
        else:
            _in_blackout(story, fault, port)
        for name, kernel in KERNELS.items():
            last = _copy(story)
            incoming = last.boot(replace(kernel.kernel(), preserved=preserved, saved=saved))
            capture = last.capture(path=f"machine {number}, {fault.name}, {name}", log=True)
            yield Kexec(number, fault, name, host, outgoing, incoming, capture)


def _in_blackout(recording: Recording, fault: Fault, port: str) -> None:
    recording.blackout(lambda _machine: fault.happen(recording, port))


def _shut_down(recording: Recording, host: Host) -> None:
    recording.freeze(*host.handed_over)
    recording.kexec()


def _copy(recording: Recording) -> Recording:
    """A copy that goes on by itself; the rows and lines recorded so far are immutable, and shared."""
    wire = recording.wire
    return copy.deepcopy(recording, {id(wire.rows): list(wire.rows), id(wire.log): list(wire.log)})


def _analysed(simulated: Sequence[Kexec]) -> list[CaptureResult]:
    """The result of each; which series ran is known, and told, as accesses do not always show it."""
    results: dict[str, CaptureResult] = {}
    for series in {kernel.series for kernel in KERNELS.values()}:
        captures = [one.capture for one in simulated if KERNELS[one.kernel].series == series]
        results |= {result.path: result for result in analyze_batch(captures, Options(series=series))}
    return [results[one.capture.path] for one in simulated]


# -- rows ----------------------------------------------------------------------------------------------------


def _rows(simulated: Sequence[Kexec], results: Sequence[CaptureResult]) -> Iterator[dict[str, Any]]:
    """Rows of one fault on one machine, under every kernel."""
    truth = {one.kernel: one.missing for one in simulated}
    for one, result in zip(simulated, results, strict=True):
        if len(result.kexecs) != 1:
            raise RuntimeError(f"{result.path}: expected one kexec, found {len(result.kexecs)}")
        yield _row(one, result.kexecs[0], truth)


def _row(one: Kexec, kexec: KexecResult, truth: dict[str, list[str]]) -> dict[str, Any]:
    handed_over = set(one.host.handed_over)
    stranded = [item.bdf for item in kexec.devices if item.verdict == "stranded" and item.bdf in handed_over]
    changed = _changed(kexec)
    what_ifs = {}
    if KERNELS[one.kernel].series == "v9":
        what_ifs = {
            name: [one for one in kexec.policies[kernel.policy].stranded if one in handed_over]
            for name, kernel in KERNELS.items()
            if kernel.series == "v9" and name != one.kernel
        }
    off = [
        bridge
        for bridge in kexec.bridges
        if bridge.preserved and bridge.ari_decided is False and bridge.ari_after is False
    ]
    log = [line.text for line in one.capture.notes.log if line.seq > kexec.at_access]
    return {
        "machine": one.machine,
        "kind": one.host.kind,
        "fault": one.fault.name,
        "kernel": one.kernel,
        "handed_over": len(handed_over),
        "stranded": stranded,
        "moved": [name for name in one.host.handed_over if one.found.get(name, name) != name],
        "reset": sorted(name for name, lost in changed.items() if lost & _RESET),
        "others_missing": one.others_missing,
        "warned": any(_above_7(bridge, handed_over) for bridge in off),
        "differs": any(bridge.ari_before for bridge in off),
        "message": any(text in line for line in log for text in _MESSAGES),
        "number_twice": _number_twice(kexec),
        "agrees": (
            kexec.observed.discovered == one.incoming.enumerated
            and not kexec.divergences
            and sorted(stranded) == sorted(one.missing)
        ),
        "what_ifs": len(what_ifs),
        "wrong_what_ifs": sum(sorted(said) != sorted(truth[name]) for name, said in what_ifs.items()),
    }


def _number_twice(kexec: KexecResult) -> bool:
    """Whether a bridge got a number that another one has (Linux 7.3 pci_scan_bridge_extend(), pass 1).

    The next number is taken whether or not a bridge above forwards it, and whoever is yet to be scanned.
    """
    kept = {bridge.secondary for bridge in kexec.bridges if bridge.new_secondary is None}
    return any(bridge.new_secondary in kept for bridge in kexec.bridges if bridge.new_secondary is not None)


def _above_7(bridge: BridgeVerdict, handed_over: set[str]) -> bool:
    """Whether a handed-over function of the bus right below a bridge is above 7."""
    keys = map(bdf.parse, handed_over)
    return any(key >> 8 & 0xFF == bridge.secondary and key & 0xFF > 7 for key in keys)


def _ports(one: Kexec, kexec: KexecResult) -> Iterator[dict[str, Any]]:
    changed, handed_over = _changed(kexec), set(one.host.handed_over)
    for bridge in kexec.bridges:
        if not bridge.ari_before or bridge.ari_after is not False:
            continue
        below = [name for name, lost in changed.items() if lost & _RESET and name in handed_over]
        yield {
            "fault": one.fault.name,
            "numbers": bridge.verdict in ("renumbered", "unconfigured"),
            "lost": sorted(changed[bridge.bdf]),
            "below": sum(_is_below(name, bridge) for name in below),
        }


def _changed(kexec: KexecResult) -> defaultdict[str, set[str]]:
    """Function -> watched states that it does not have as the outgoing kernel left them."""
    changed: defaultdict[str, set[str]] = defaultdict(set)
    for item in kexec.state:
        if item.verdict in _LOST:
            changed[item.bdf].add(item.name)
    return changed


def _is_below(name: str, bridge: BridgeVerdict) -> bool:
    if bridge.secondary is None or bridge.subordinate is None:
        return False
    return bridge.secondary <= int(name[5:7], 16) <= bridge.subordinate
