"""What became of watched registers at one kexec, as plain objects like those of :mod:`analyzer.results`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What became of a watched register (:mod:`analyzer.verdicts.state_rule`).
StateVerdictName = Literal["kept", "lost", "changed", "healed", "cleared", "expected", "undetermined"]


@dataclass(frozen=True)
class StateVerdict:
    """What became of one watched register of one function at one kexec.

    Attributes:
        bdf: the function, under the outgoing kernel's numbering.
        name: of the state, as the report's line has it (``ACS``).
        register, field: ``ECAP_ACS+06.w``, and lspci's words for the bits that differ.
        before, after: the watched bits as the outgoing kernel last read or wrote them and as the incoming
            kernel first read them; of ``cleared`` as it wrote them; null where the capture does not show it.
        code: of the finding that it is part of; null where it is none.
        access_before, access_after: the accesses that show them.
        depends: what depends on it.
        note: what else is to be said of it, or the alternatives where it is undetermined.
    """

    bdf: str
    name: str
    register: str
    field: str
    before: str | None
    after: str | None
    verdict: StateVerdictName
    code: str | None
    severity: Literal["alarm", "warning", "note"]
    access_before: int | None
    access_after: int | None
    depends: str
    note: str | None = None


@dataclass(frozen=True)
class StateGroup:
    """What became of one watched state at one kexec on the functions of one kind: how many have each verdict.

    A function counts once: with the worst verdict where several registers have the name (``BAR``).

    Attributes:
        name, code: of the state, and of its findings.
        vendor_device: ``8086:1572``; null where the capture does not show it.
        port_type: as of bridges (``root-port``, ``pci``), else ``endpoint``, ``rc-endpoint`` or
            ``rc-event-collector``; null where the capture does not show it.
        preserved: they were handed over.
        kept: of functions that were not handed over: until the incoming kernel's first read.
        kept_at_reset: of ``kept``: before the kexec, too, the register had its value after a reset, so that a
            loss would not show.
        cleared: of preserved functions alone.
    """

    name: str
    code: str
    vendor_device: str | None
    port_type: str | None
    preserved: bool
    kept: int
    kept_at_reset: int
    lost: int
    changed: int
    healed: int
    cleared: int
    expected: int
    undetermined: int


@dataclass(frozen=True)
class StateCount:
    """How many functions of one kexec kept one watched state, did not, or do not show it on both sides."""

    name: str
    kept: int
    lost: int
    not_captured: int
