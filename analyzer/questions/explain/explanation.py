"""What ``analyze explain`` knows of one function, as plain objects (data only; the report renders them).

Conventions as in :mod:`analyzer.results`: BDFs are ``dddd:bb:dd.f`` strings, register values ``"0x…"``
strings, access numbers 0-based, unknown values None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from analyzer.observed.virtual_functions import KERNEL_RULE

if TYPE_CHECKING:
    from analyzer.capture import FunctionUse
    from analyzer.results import (
        BridgeVerdict,
        Confidence,
        DeviceVerdict,
        Evidence,
        KexecKind,
        ObservedPolicy,
        PolicyName,
    )
    from analyzer.results.state import StateVerdict

#: What an entry of the timeline does to ARI Forwarding: nothing (``context``), shows, changes or decides it.
EntryKind = Literal["context", "shows", "changes", "decides", "boundary", "event"]
#: What a function is. ``bridge``: of unknown port type; ``silent``: every byte reads ff; ``undiscovered``: it
#: answers, and the access that discovered it is not in the input.
FunctionKind = Literal[
    "root-port", "switch-upstream", "switch-downstream", "pcie-to-pci", "pci-to-pcie", "pci", "bridge",
    "cardbus", "endpoint", "rc-endpoint", "rc-event-collector", "virtual-function", "undiscovered", "silent",
    "unknown",
]  # fmt: skip
StepOutcome = Literal["found", "absent", "skipped", "stop"]


@dataclass(frozen=True)
class DecodedField:
    """One field of a register: its specification name, its bits as ``"5"`` or ``"15:8"``, and its meaning."""

    name: str
    bits: str
    value: int
    text: str = ""


@dataclass(frozen=True)
class TimelineEntry:
    """One access (or log line or boundary: ``op`` None) that shows or changes what matters for the function.

    ``ari`` is the state after this entry, None where the entry does not show it: of ARI Forwarding, or of the
    register that was asked for instead (a number where that is no flag).
    """

    access: int | None
    time_ns: int | None
    boot: int | None
    kind: EntryKind
    file: str = ""
    offset_bytes: int | None = None
    op: Literal["read", "write"] | None = None
    bdf: str | None = None
    register: str | None = None
    value: str | None = None
    fields: list[DecodedField] = field(default_factory=list)
    ari: int | None = None
    note: str = ""


@dataclass(frozen=True)
class RegisterValue:
    """One access that shows another value of a watched register than the access before, or sets it.

    Attributes:
        value: its watched bits.
        fields: lspci's words for those that are not 0.
    """

    access: int
    time_ns: int | None
    boot: int
    op: Literal["read", "write"]
    value: str
    fields: str


@dataclass(frozen=True)
class RegisterHistory:
    """One watched register of a function over a capture; ``left_out`` more values are not in ``values``."""

    name: str
    register: str
    rule: str
    depends: str
    source: str
    values: list[RegisterValue] = field(default_factory=list)
    left_out: int = 0


@dataclass(frozen=True)
class RawDifference:
    """A dword that the outgoing kernel last had otherwise than the incoming kernel first read it, unjudged.

    Attributes:
        offset: of the dword, hexadecimal.
        before, after: hexadecimal digits, ``..`` for a byte that is not known.
    """

    bdf: str
    offset: str
    before: str
    after: str
    access_before: int
    access_after: int


@dataclass(frozen=True)
class PolicyDecision:
    """What one policy decides for the bridge and so for the function.

    ``rule`` is one sentence, ``source`` its citation (kernel function and version, patch). ``runs`` marks the
    policy that the incoming kernel followed.
    """

    policy: PolicyName
    ari: bool | None
    discovered: bool | None
    rule: str
    source: str
    writes: str | None = None
    runs: bool = False


@dataclass(frozen=True)
class ChainStep:
    """One step of the function walk on the bus (``next_fn``): who was asked and where the answer leads."""

    bdf: str
    outcome: StepOutcome
    multifunction: bool | None = None
    ari_capability: bool | None = None
    next_function: int | None = None
    note: str = ""
    access: int | None = None


@dataclass(frozen=True)
class BootUse:
    """What the function was used as in one boot."""

    boot: int
    use: FunctionUse


@dataclass(frozen=True)
class KexecExplanation:
    """The function at one kexec.

    ``walks`` holds the function walk of each policy worth showing, by policy name. ``conclusion`` is one
    sentence: why the function is or is not discovered, or what became of the bridge. ``state`` is what became
    of each watched register.
    """

    index: int
    kind: KexecKind
    at_access: int
    observed_policy: ObservedPolicy
    policy: PolicyName
    series: str | None
    conclusion: str
    bridge: BridgeVerdict | None = None
    device: DeviceVerdict | None = None
    decisions: list[PolicyDecision] = field(default_factory=list)
    walks: dict[str, list[ChainStep]] = field(default_factory=dict)
    cause: str | None = None
    cause_source: str | None = None
    confidence: Confidence | None = None
    evidence: list[Evidence] = field(default_factory=list)
    state: list[StateVerdict] = field(default_factory=list)


@dataclass(frozen=True)
class VirtualFunctionFacts:
    """What is known of a virtual function in one boot.

    Attributes:
        boot: the boot.
        physical: its physical function; None if no SR-IOV capability in the input leads to it. So are:
        number: which of the virtual functions it is, from 1.
        offset, stride, count: First VF Offset, VF Stride, NumVFs.
        needs_ari: it is reached with ARI Forwarding only; None if the input does not show it.
        ari: ARI Forwarding of the bridge above, as the last access of the boot shows it.
        rule: what kernels do with it across a kexec.
    """

    boot: int
    physical: str | None = None
    number: int | None = None
    offset: int | None = None
    stride: int | None = None
    count: int | None = None
    needs_ari: bool | None = None
    ari: bool | None = None
    rule: str = KERNEL_RULE


@dataclass(frozen=True)
class Explanation:
    """Everything the capture knows of one function.

    ``bridge`` is the port above it (of a virtual function that above its physical one); None on a root bus,
    or where ``missing_bridge_bus`` names the bus whose bridge is not in the input. ``path_from_root`` are the
    bridges from the root bus, or from that bus, down. ``no_response`` names lines of kernel logs by which
    nothing responded at its address. ``kind_missing`` are the bytes that would show the kind. ``timeline`` is
    in access order; for an endpoint it holds the bridge's bit and the function's own accesses that matter
    (vendor, header type, ARI capability). ``registers`` are its watched registers over time, ``uses`` what it
    was used as in each boot of which the input says it.
    """

    path: str
    bdf: str
    vendor_device: str | None
    kind: FunctionKind
    port_type: str | None
    bridge: str | None
    path_from_root: list[str] = field(default_factory=list)
    timeline: list[TimelineEntry] = field(default_factory=list)
    kexecs: list[KexecExplanation] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    no_response: list[str] = field(default_factory=list)
    kind_missing: list[str] = field(default_factory=list)
    missing_bridge_bus: int | None = None
    virtual_function: VirtualFunctionFacts | None = None
    registers: list[RegisterHistory] = field(default_factory=list)
    uses: list[BootUse] = field(default_factory=list)
