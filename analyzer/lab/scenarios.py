"""Scenarios: what happens in a guest from kernel to kernel, and what the analysis must say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from analyzer import series
from analyzer.errors import UsageError
from analyzer.lab import data_files, expected_state, faults, platforms, topologies

if TYPE_CHECKING:
    from analyzer.lab.data_files import Table
    from analyzer.lab.faults import ConfigWrite, PortFault
    from analyzer.lab.platforms import Platform
    from analyzer.lab.topologies import GuestTopology

Leave = Literal["kexec", "reboot", "poweroff"]
PartsKind = Literal["stock", "built", "live-update", "arm64"]
#: Versions of the Live Update series that the lab's own kernel follows (``lab_series=``), its default first:
#: the newest of those that print what it prints.
SERIES = tuple(
    series.printing(text)[-1].name
    for text in (
        "Cannot reconfigure bridge during Live Update, skipping",
        "Not assigning bus numbers, preserved bridge ",
    )
)


@dataclass(frozen=True)
class LabBoot:
    """One kernel of a scenario.

    Attributes:
        cmdline: its parameters beside those that the lab needs.
        preserved: endpoints that it inherits (kernels with the inherit rule only).
        steps: shell commands in the guest.
        leave: how it ends; at a kexec, the faults of ``blackout`` are made before the next kernel starts.
        missing, added: functions of the topology that it does not enumerate, and others that it does.
        handover: save the guest's memory in the blackout, and decode what it hands over.
    """

    cmdline: str
    preserved: tuple[str, ...]
    steps: tuple[str, ...]
    leave: Leave
    blackout: tuple[ConfigWrite | PortFault, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    handover: bool

    def enumerated(self, topology: GuestTopology) -> list[str]:
        """Return the functions that this kernel must enumerate."""
        return sorted((set(topology.functions) - set(self.missing)) | set(self.added))


@dataclass(frozen=True)
class ExpectedKexec:
    """What the analysis must say of one kexec.

    Attributes:
        bridges: ``VERDICT`` or ``VERDICT CAUSE`` or ``VERDICT CAUSE CAUSE_BDF`` by bridge. Bridges that are
            not listed must be ``kept``, ``off`` or ``not-applicable``.
        divergences: functions where the prediction and the kernel disagree; anything but an empty list needs
            a reason in the scenario's ``shows``.
        state: what the state watch says: ``NAME VERDICT`` by function, under the outgoing kernel's numbering.
            Of everything else it must say nothing.
    """

    kind: str
    policy: str
    bridges: dict[str, str]
    stranded: tuple[str, ...]
    divergences: tuple[str, ...]
    state: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """One run of the lab.

    Attributes:
        series: the version whose rules the lab's own kernel follows; other kernels do not know it.
    """

    name: str
    title: str
    shows: str
    parts: PartsKind
    topology: GuestTopology
    boots: tuple[LabBoot, ...]
    verdict: str
    exit_status: int
    kexecs: tuple[ExpectedKexec, ...]
    series: str = SERIES[0]

    @property
    def platform(self) -> Platform:
        """The machine that it runs on."""
        return _platform(self.parts)

    @property
    def kernels_in_a_row(self) -> int:
        """The longest run of kernels that follow each other by kexec, 1 if there is none."""
        longest = current = 1
        for boot in self.boots:
            current = current + 1 if boot.leave == "kexec" else 1
            longest = max(longest, current)
        return longest


def names() -> list[str]:
    """Return the names of all scenarios."""
    return data_files.names("scenarios")


def load_all() -> list[Scenario]:
    """Read every scenario of the package."""
    return [load(name) for name in names()]


def load(name: str, rules: str = SERIES[0], *, expected: bool = True) -> Scenario:
    """Read one scenario of the package, or of a file of the user.

    Args:
        name: of a scenario, or a path, which ends in ``.toml``.
        rules: the version that the kernel follows. Under a later one the scenario is named ``NAME-SERIES``,
            and a table with the name of the version, if the file has one, says what is different.
        expected: the file must say what the analysis has to say; else it may.

    Raises:
        AritraceError: no such scenario, or a file that cannot be read or contradicts itself.
    """
    own = is_path(name)
    table = data_files.read_file(name) if own else data_files.read("scenarios", name)
    kind = cast("PartsKind", _choice(table, "parts", get_args(PartsKind)))
    topology = topologies.load(table.take("topology", str), _platform(kind))
    boots = [_boot(entry, topology) for entry in table.tables("boots")]
    expect = table.table("expect")
    shows = table.take("shows", str)
    for later in SERIES[1:]:
        changed = table.table(later)
        if later == rules:
            shows = changed.take("shows", str, shows)
            for entry in changed.tables("boots"):
                number, boot = _changed(entry, boots)
                boots[number] = boot
            expect = changed.table("expect") if "expect" in changed else expect
            changed.end()
    bare = not expected and expect.is_empty
    if own and expected and expect.is_empty:
        raise UsageError(
            "this scenario does not say what the analysis must find",
            path=name,
            advice="run it with --expect, and put the [expect] table that it shows into the file",
        )
    stem = Path(name).stem if own else name
    scenario = Scenario(
        name=stem if rules == SERIES[0] else f"{stem}-{rules}",
        title=table.take("title", str),
        shows=shows,
        parts=kind,
        topology=topology,
        boots=tuple(boots),
        verdict=expect.take("verdict", str, "" if bare else None),
        exit_status=expect.take("exit_status", int, 0 if bare else None),
        kexecs=tuple(_expected(entry, topology, boots) for entry in expect.tables("kexecs")),
        series=rules,
    )
    expect.end()
    table.end()
    if rules != SERIES[0] and kind != "built":
        raise UsageError(
            f"{name}: only the lab's own kernel has the rules of series {rules}", path=table.where
        )
    _check(scenario, table.where, expected=not bare)
    return scenario


def _platform(kind: PartsKind) -> Platform:
    return platforms.VIRT if kind == "arm64" else platforms.Q35


def _changed(table: Table, boots: list[LabBoot]) -> tuple[int, LabBoot]:
    """What another series makes of a kernel: its index and the kernel."""
    number = table.take("kernel", int) - 1
    if number not in range(len(boots)):
        raise UsageError(f"expected a kernel from 1 to {len(boots)}, found {number + 1}", path=table.where)
    boot = replace(
        boots[number], missing=tuple(table.strings("missing")), added=tuple(table.strings("added"))
    )
    table.end()
    return number, boot


def is_path(name: str) -> bool:
    """Whether a scenario is meant by its file, and not by its name."""
    return name.endswith(".toml")


def _boot(table: Table, topology: GuestTopology) -> LabBoot:
    blackout: list[ConfigWrite | PortFault] = []
    for entry in table.tables("blackout"):
        bdf, fault = entry.take("bdf", str), entry.take("fault", str, "")
        if fault:
            blackout.append(faults.fault_of(topology, bdf, fault))
        else:
            register, value = entry.take("register", str), entry.take("value", int)
            blackout.append(faults.write_of(topology, bdf, register, value))
        entry.end()
    boot = LabBoot(
        cmdline=table.take("cmdline", str, ""),
        preserved=tuple(table.strings("preserved")),
        steps=tuple(table.strings("steps")),
        leave=cast("Leave", _choice(table, "leave", ("kexec", "reboot", "poweroff"))),
        blackout=tuple(blackout),
        missing=tuple(table.strings("missing")),
        added=tuple(table.strings("added")),
        handover=table.take("handover", bool, False),
    )
    table.end()
    topology.with_bridges_above(boot.preserved)
    unknown = set(boot.missing) - set(topology.functions)
    if unknown:
        raise UsageError(f"missing: topology {topology.name} has no {', '.join(unknown)}", path=table.where)
    return boot


def _expected(table: Table, topology: GuestTopology, boots: list[LabBoot]) -> ExpectedKexec:
    bridges = {bdf: str(value) for bdf, value in table.table("bridges").rest().items()}
    for bdf in bridges:
        topology.device(bdf)
    seen = {*topology.functions, *(bdf for boot in boots for bdf in boot.added)}
    expected = ExpectedKexec(
        kind=table.take("kind", str),
        policy=table.take("policy", str),
        bridges=bridges,
        stranded=tuple(table.strings("stranded")),
        divergences=tuple(table.strings("divergences")),
        state=expected_state.read(table.table("state"), seen),
    )
    table.end()
    return expected


def _choice(table: Table, key: str, choices: tuple[str, ...]) -> str:
    value = table.take(key, str)
    if value not in choices:
        raise UsageError(f"{key}: expected {' or '.join(choices)}, found {value!r}", path=table.where)
    return value


def _check(scenario: Scenario, where: str, *, expected: bool) -> None:
    if not scenario.boots or scenario.boots[-1].leave != "poweroff":
        raise UsageError("the last kernel of a scenario must power off", path=where)
    for boot, following in zip(scenario.boots, scenario.boots[1:], strict=False):
        if boot.leave == "poweroff":
            raise UsageError("only the last kernel may power off", path=where)
        if (boot.blackout or boot.handover) and boot.leave != "kexec":
            raise UsageError("a blackout is between the two kernels of a kexec", path=where)
        # After a reboot QEMU loads the same kernel with the same command line again.
        if boot.leave == "reboot" and (following.cmdline, following.preserved) != (
            scenario.boots[0].cmdline,
            scenario.boots[0].preserved,
        ):
            raise UsageError("the kernel after a reboot has the first one's command line", path=where)
    if expected and len(scenario.kexecs) != sum(boot.leave == "kexec" for boot in scenario.boots):
        raise UsageError("every kexec needs its expectation, in order", path=where)
