"""What an analysis says, as plain objects; the field names are those of the JSON output.

Everything here is data: lists are sorted by BDF, unknown values are None, register values are ``"0x…"``
strings and BDFs ``dddd:bb:dd.f`` strings. ``analyzer.report`` only renders these objects, and
:mod:`analyzer.results.columns` derives the columns of all tables from their fields: a new field is a new
column.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from analyzer.capture import FunctionUse  # noqa: TC001 (columns read the hints)
from analyzer.results.state import StateCount, StateVerdict  # noqa: TC001 (columns read the hints)

if TYPE_CHECKING:
    from analyzer.capture import Problem, SourceFile

SCHEMA_VERSION = 1

BootKind = Literal["firmware", "kernel", "unknown"]
KexecKind = Literal["live-update", "plain", "crash", "unknown"]
PolicyName = Literal["stock", "inherit", "serialize", "heal"]
ObservedPolicy = Literal["stock", "inherit", "serialize", "heal", "unknown"]
PreservedSource = Literal["option", "flb", "dmesg", "capture", "sidecar", "assumed"]
#: What is known of the devices handed over at a kexec. ``known``: a source lists them. In all other cases
#: they are assumed. ``live-update``: something shows a live update; ``no-scan``: no scan of the incoming
#: kernel is in the input; ``unrecognised``: neither the kind nor the rule is known; ``none``: nothing was
#: handed over.
Preservation = Literal["known", "live-update", "no-scan", "unrecognised", "none"]
Phase = Literal["outgoing", "blackout", "incoming"]
Confidence = Literal["high", "medium", "low"]
#: Error status of a bridge and of every bridge above it, as the incoming kernel first read it. ``fatal``: a
#: fatal error was recorded; ``recorded``: other errors were; ``clean``: all of it was read, and no bit was
#: set; ``not-captured``: what was read is clean, and some was not read.
PathErrors = Literal["fatal", "recorded", "clean", "not-captured"]
#: What a finding, or a capture, does to the exit status: ``loss`` 1, ``doubt`` 3.
Weight = Literal["loss", "doubt"]
CaptureVerdict = Literal["clean", "findings", "undetermined", "no-kexec", "unreadable"]
BridgeVerdictName = Literal[
    "kept", "lost", "healed", "off", "gained", "cleared", "ignored", "renumbered", "unconfigured", "hidden",
    "gone", "not-applicable", "undetermined",
]  # fmt: skip
Cause = Literal[
    "explicit-write", "restore-write", "incoming-write", "secondary-bus-reset", "upstream-link-down",
    "hot-reset", "power-cycle", "selective-loss", "power-state", "host-bridge-reinit", "unknown",
]  # fmt: skip
DeviceVerdictName = Literal["reachable", "stranded", "missing", "undetermined"]
DeviceReason = Literal[
    "ari-off", "bridge-unconfigured", "bridge-gone", "ancestor-hidden", "chain-broken", "function-0-absent",
    "function-0-not-ari", "noari", "no-response", "not-listed", "never-seen", "not-captured",
    "virtual-function", "unknown-header-type", "kernel-panicked",
]  # fmt: skip

#: Bridge verdicts that are a loss, of ARI Forwarding or of the bridge as it was, in the order of reports.
LOSSES: Final[tuple[BridgeVerdictName, ...]] = ("lost", "unconfigured", "gone", "hidden", "renumbered")
#: Losses that stay; a bridge with new bus numbers works again, and what is below it may be found again.
LASTING_LOSSES: Final = tuple(verdict for verdict in LOSSES if verdict != "renumbered")
#: Bridge verdicts that say that something changed: the losses first.
CHANGES: Final[tuple[BridgeVerdictName, ...]] = (*LOSSES, "healed", "cleared", "ignored", "gained")
#: Bridge verdicts that say that nothing did. ``undetermined`` alone is neither.
UNCHANGED: Final[tuple[BridgeVerdictName, ...]] = ("kept", "off", "not-applicable")

POLICIES: tuple[PolicyName, ...] = ("stock", "inherit", "serialize", "heal")
#: Policies that only a kernel with the Live Update patches follows, on preserved bridges alone.
LIVE_UPDATE_POLICIES: frozenset[ObservedPolicy] = frozenset({"inherit", "serialize", "heal"})


def policy_that_ran(observed: ObservedPolicy) -> PolicyName:
    """The policy that is compared with what the incoming kernel did: inherit where it was not recognised."""
    return "inherit" if observed == "unknown" else observed


@dataclass(frozen=True)
class Boot:
    """One kernel's or firmware's lifetime; access numbers are inclusive."""

    index: int
    kind: BootKind
    release: str | None
    cmdline: str | None
    first_access: int
    last_access: int
    start_ns: int | None
    end_ns: int | None


@dataclass(frozen=True)
class Evidence:
    """One access (or log line: ``access`` None) that proves something; ``note`` says what.

    ``register`` is written as setpci and lspci do: ``CAP_EXP+28.w``, ``BRIDGE_CONTROL``, ``ECAP_ARI+04.w``.
    """

    access: int | None
    file: str
    offset_bytes: int | None
    time_ns: int | None
    op: Literal["read", "write"] | None
    bdf: str | None
    register: str | None
    value: str | None
    note: str


@dataclass(frozen=True)
class Window:
    """Where ARI Forwarding was lost: the last access that showed it on, and the first that showed it off."""

    last_on: int | None
    first_off: int | None
    phase: Phase | None


@dataclass(frozen=True)
class BridgeVerdict:
    """What became of one bridge at one kexec.

    ``cause_note`` names the alternatives where the input does not decide between them. ``path_errors`` says
    of a bridge with a cause what the error status registers show, ``path_errors_note`` in words; no error
    clears ARI Forwarding alone. ``registers_note``: how many other registers of the bridge, and below it,
    stand at their reset values.
    """

    bdf: str
    vendor_device: str | None
    secondary: int | None
    subordinate: int | None
    new_secondary: int | None
    port_type: str | None
    preserved: bool
    ari_before: bool | None
    ari_after: bool | None
    ari_decided: bool | None
    verdict: BridgeVerdictName
    cause: Cause | None = None
    cause_bdf: str | None = None
    confidence: Confidence | None = None
    window: Window | None = None
    evidence: list[Evidence] = field(default_factory=list)
    stranded: list[str] = field(default_factory=list)
    missing_access: str | None = None
    cause_note: str | None = None
    path_errors: PathErrors | None = None
    path_errors_note: str | None = None
    registers_note: str | None = None


@dataclass(frozen=True)
class DeviceVerdict:
    """What became of one function, endpoint or bridge.

    ``was`` says what the outgoing kernel used it as (None: the input does not say). Of a function that was
    not found ``bus_master`` says whether it may do DMA: Bus Master as the outgoing boot's last access shows
    it, and ``bus_master_access`` which access that is.
    """

    bdf: str
    vendor_device: str | None
    preserved: bool
    bridge: str | None
    verdict: DeviceVerdictName
    reason: DeviceReason | None = None
    was: FunctionUse | None = None
    bus_master: bool | None = None
    bus_master_access: int | None = None


@dataclass(frozen=True)
class PolicyOutcome:
    """What a kernel with one policy finds: every function, and the preserved ones that it does not find.

    Attributes:
        assumed: those of ``discovered`` that the incoming kernel did not read, taken from the outgoing boot.
        undetermined: preserved functions of which the input does not show whether it finds them.
    """

    discovered: list[str]
    stranded: list[str]
    assumed: list[str]
    undetermined: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Observed:
    """What the incoming kernel in the capture enumerated."""

    discovered: list[str]


@dataclass(frozen=True)
class Divergence:
    """A function where the prediction and the incoming kernel disagree."""

    bdf: str
    predicted: bool
    observed: bool
    note: str
    explained: bool


@dataclass(frozen=True)
class ErrorBit:
    """One bit of an error status register that was set between two accesses around a kexec.

    Attributes:
        register: ``ECAP_AER+04.l``.
        status, bit: as lspci prints them (``UESta``, ``SDES``).
        name: in plain English.
        severity: of the error; None where the register does not decide it.
        severity_by_default: the severity register is not in the capture: PCI Express's default stands for it.
        masked: the error is not signalled; None where the mask is not in the capture.
        last_clear: access that last showed the bit clear, or cleared it; None where no access shows that.
        first_set: the incoming kernel's first read.
        before_kexec_ns: from ``last_clear`` to the outgoing kernel's last access (negative: in the blackout).
    """

    register: str
    status: str
    bit: str
    name: str
    severity: Literal["fatal", "non-fatal", "correctable"] | None
    severity_by_default: bool
    masked: bool | None
    last_clear: int | None
    first_set: int | None
    before_kexec_ns: int | None


@dataclass(frozen=True)
class Secondary:
    """Another observation: ACS lost with the same reset, Bus Master lost, an error recorded, ...

    ``errors`` are the bits of an ``error-status`` observation: those of one register with one window.
    """

    bdf: str
    kind: str
    note: str
    evidence: list[Evidence] = field(default_factory=list)
    errors: list[ErrorBit] = field(default_factory=list)

    @property
    def is_alarm(self) -> bool:
        """Of an ``error-status``: a fatal error that is not masked.

        The others occur on healthy hosts, and so do unsupported requests of any severity: probing for
        functions causes them.
        """
        return any(
            error.severity == "fatal" and error.masked is False and error.bit != "UnsupReq"
            for error in self.errors
        )

    @property
    def is_common(self) -> bool:
        """Of an ``error-status``: every bit is one that healthy hosts show too.

        Correctable errors, masked ones, unsupported requests, and what only sums others up.
        """
        return bool(self.errors) and all(
            error.masked
            or error.severity in ("correctable", None)
            or error.bit in ("UnsupReq", "NonFatalMsg", "NonFatalErr")
            for error in self.errors
        )


@dataclass(frozen=True)
class Consequence:
    """What follows for the host or its operator, the source that says so, and for which functions."""

    code: str
    text: str
    source: str
    functions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Finding:
    """One coded alarm: ``--select`` and ``--ignore`` choose by its code, its weight decides the exit status.

    ``weight`` is decided in one place, with all options that matter (:mod:`analyzer.verdicts.findings`).
    """

    code: str
    severity: Literal["error", "warning", "note"]
    bdf: str | None
    text: str
    weight: Weight | None = None


@dataclass
class KexecResult:
    """Everything that is reported of one kexec.

    Attributes:
        preservation: what a loss weighs at this kexec (:mod:`analyzer.verdicts.loss_weight`).
        ignored: findings that ``--select`` or ``--ignore`` leaves out; they have no weight.
        not_in_input: what the input does not show of the machine, and where a loss may be.
        state: watched registers that changed, by function (tables have those that did not too).
        state_undetermined: those that differ where the input does not show who changed them.
        state_counts: of each watched state how many functions kept it.
    """

    index: int
    kind: KexecKind
    outgoing_boot: int
    incoming_boot: int
    at_access: int
    blackout_ns: int | None
    observed_policy: ObservedPolicy
    policy: PolicyName
    series: str | None
    noari: bool | None
    preserved_source: PreservedSource
    bridges: list[BridgeVerdict] = field(default_factory=list)
    devices: list[DeviceVerdict] = field(default_factory=list)
    policies: dict[PolicyName, PolicyOutcome] = field(default_factory=dict)
    observed: Observed = field(default_factory=lambda: Observed([]))
    divergences: list[Divergence] = field(default_factory=list)
    secondary: list[Secondary] = field(default_factory=list)
    consequences: list[Consequence] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    preservation: Preservation = "known"
    ignored: list[Finding] = field(default_factory=list)
    not_in_input: list[str] = field(default_factory=list)
    state: list[StateVerdict] = field(default_factory=list)
    state_undetermined: list[StateVerdict] = field(default_factory=list)
    state_counts: list[StateCount] = field(default_factory=list)

    @property
    def is_what_if(self) -> bool:
        """Verdicts are given under another policy than the one that ran."""
        return self.policy != policy_that_ran(self.observed_policy)


@dataclass
class CaptureResult:
    """Everything that is reported of one capture.

    ``dropped`` records were lost by the recorder or cannot be used; ``missing_dwords`` of config space are
    missing from a snapshot. ``clock`` names what its times count (:class:`analyzer.capture.Notes`; None with
    times since 1970: UTC).
    ``weight`` is what the capture does to the exit status.
    """

    path: str
    files: list[SourceFile]
    format: str | None
    host: str | None
    accesses: int
    truncated: bool
    dropped: int
    verdict: CaptureVerdict
    boots: list[Boot] = field(default_factory=list)
    kexecs: list[KexecResult] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    weight: Weight | None = None
    missing_dwords: int = 0
    clock: str | None = None


@dataclass(frozen=True)
class Summary:
    """Counts over all captures of one call; ``bridges_lost`` counts preserved bridges with a loss."""

    captures: int
    kexecs: int
    bridges_lost: int
    devices_stranded: int
    undetermined: int
    unreadable: int


@dataclass
class Analysis:
    """The answer to one call: the captures in the order they were given."""

    policy: str
    captures: list[CaptureResult]
    summary: Summary
