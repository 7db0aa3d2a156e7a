"""``analyze atrisk``: before a kexec, which functions depend on ARI Forwarding, and what can clear it.

The machine is the one that a snapshot or the last kernel of a capture shows. ``safe`` is said only where
every fact that could contradict it is in the input (docs/verdicts.md, Before a kexec).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from analyzer import analysis
from analyzer.errors import UsageError
from analyzer.options import Options
from analyzer.questions import risk_unknowns, should_be_on
from analyzer.questions.ports_at_risk import Machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.capture import Capture, Problem
    from analyzer.observed.virtual_functions import VirtualFunctions
    from analyzer.questions.ports_at_risk import PortAtRisk
    from analyzer.questions.risk_unknowns import Unknown
    from analyzer.questions.should_be_on import PortShouldBeOn
    from analyzer.results import PreservedSource

Verdict = Literal["safe", "at-risk", "already-lost", "cannot-tell"]


@dataclass(frozen=True)
class AtRisk:
    """The answer for one machine.

    ``unknown`` names what is not in the input and is needed, ``should_be_on`` ports whose bit is off and that
    a stock kernel sets, whether or not anything depends on it.
    """

    path: str
    verdict: Verdict
    functions: int
    preserved_source: PreservedSource
    ports: list[PortAtRisk]
    unknown: list[Unknown]
    virtual_functions: list[VirtualFunctions] = field(default_factory=list)
    should_be_on: list[PortShouldBeOn] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    truncated: bool = False


def atrisk(path: str, options: Options | None = None) -> AtRisk:
    """Judge the machine that a snapshot, or the last kernel of a capture, shows.

    Raises:
        AritraceError: it cannot be read.
        UsageError: it shows no machine.
    """
    chosen = options or Options()
    return atrisk_of(analysis.open_pieces([path], chosen), chosen)


def atrisk_of(capture: Capture, options: Options | None = None) -> AtRisk:
    """The same for a capture that is already in memory."""
    chosen = options or Options()
    study = analysis.study(capture, replace(chosen, preserved=None, flb=None, dmesg=None))
    kernels = [topology for topology in study.topologies if topology.boot.kind != "firmware"]
    if not kernels or not kernels[-1].functions:
        raise UsageError(f"{capture.path} shows no function of a running kernel", advice="see analyze stat")
    kexeced = len(kernels) > 1 and kernels[-1].boot.entered_by == "kexec"
    machine = Machine(kernels[-1], kernels[-2] if kexeced else None, study, chosen, capture)
    ports = [port for port in map(machine.port, machine.candidates) if port is not None]
    unknown = list(risk_unknowns.of_machine(machine, ports))
    return AtRisk(
        path=capture.path,
        verdict=_verdict(ports, unknown, machine),
        functions=len(kernels[-1].functions),
        preserved_source=machine.preserved.source,
        ports=_ranked(ports),
        unknown=unknown,
        virtual_functions=machine.virtual,
        should_be_on=list(should_be_on.of_machine(machine)),
        problems=capture.notes.problems,
        truncated=capture.notes.truncated,
    )


def _verdict(ports: Sequence[PortAtRisk], unknown: Sequence[Unknown], machine: Machine) -> Verdict:
    if any(port.already_lost for port in ports):
        return "already-lost"
    if unknown:
        return "cannot-tell"
    at_stake = any(port.dependent for port in ports) or machine.preserved_virtual
    return "at-risk" if at_stake else "safe"


def _ranked(ports: Sequence[PortAtRisk]) -> list[PortAtRisk]:
    """Ports by how much would be lost with the bit alone, then with a reset, most first."""
    return sorted(ports, key=lambda port: (-len(port.lost_with_bit), -len(port.lost_with_reset), port.bdf))
