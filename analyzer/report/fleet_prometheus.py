"""``analyze fleet report --format prometheus``: a textfile for node_exporter's textfile collector.

A bridge has the labels of node_exporter's pcidevice collector (``segment``, ``bus``, ``device``,
``function``; ``vendor_id`` and ``device_id`` as in ``node_pcidevice_info``), so that the two can be joined.
Names with the same harmless form are counted together. The values of labels are bounded: the worst thousand
bridges and places of a loss are named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer import extras
from analyzer.escaping import inert
from analyzer.report.wording import NO_CAUSE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry, Gauge

    from analyzer.fleet.answers import AriCounts, BridgeCount, FleetReport, Rate, RegisterSurvival

_UNKNOWN: Final = ""
_STATES: Final = ("lost", "healed", "kept", "undetermined")
_KEXEC_WORDS: Final = ("lost", "undetermined", "cleared", "kept", "nothing")
_VERDICTS: Final = (
    "kept",
    "kept_at_reset",
    "lost",
    "changed",
    "healed",
    "cleared",
    "expected",
    "undetermined",
)
#: Values of a dimension at which registers were lost.
_MOST: Final = 1000
_PCI: Final = ("segment", "bus", "device", "function", "vendor_id", "device_id")


def require() -> None:
    """Make sure that the textfile can be written.

    Raises:
        UsageError: prometheus_client is not installed.
    """
    extras.require("--format prometheus", "prometheus_client", "prometheus-client", "fleet")


def text(report: FleetReport) -> str:
    """Return the metrics in Prometheus' text format, in an order that depends on the numbers only.

    Raises:
        UsageError: prometheus_client is not installed.
    """
    require()
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    _run(registry, report)
    _rates(registry, report)
    _shares(registry, report)
    _bridges(registry, report.bridges_worst)
    if report.registers is not None:
        _registers(registry, report.registers)
    return generate_latest(registry).decode()


def _gauge(registry: CollectorRegistry, name: str, help_text: str, labels: Iterable[str] = ()) -> Gauge:
    from prometheus_client import Gauge

    return Gauge(f"aritrace_fleet_{name}", help_text, tuple(labels), registry=registry)


def _run(registry: CollectorRegistry, report: FleetReport) -> None:
    _gauge(registry, "complete", "Whether every batch of the run is done (1) or not (0).").set(
        report.complete
    )
    captures = _gauge(registry, "captures", "Inputs by outcome.", ["outcome"])
    for outcome, number in report.captures.outcomes.items():
        captures.labels(inert(outcome)).inc(number)
    kexecs = _gauge(registry, "kexecs", "Kexecs by what became of ARI Forwarding.", ["ari"])
    for state, number in _states(report.tally).items():
        kexecs.labels(state).set(number)
    for state in ("nothing", "plain", "crash"):
        kexecs.labels(state).set(getattr(report.beside, state))


def _rates(registry: CollectorRegistry, report: FleetReport) -> None:
    about = "of decided kexecs, or of hosts with one"
    names = {
        "ratio": f"Share {about}, by whether healed losses count (kind=hardware) or not (kind=lost).",
        "ratio_low": "Lower end of its exact binomial 95 % interval.",
        "ratio_high": "Upper end of its exact binomial 95 % interval.",
    }
    gauges = [_gauge(registry, f"loss_{name}", words, ["over", "kind"]) for name, words in names.items()]
    for over, kind, rate in (
        ("kexecs", "lost", report.tally.loss),
        ("kexecs", "hardware", report.tally.hardware_loss),
        ("hosts", "lost", report.hosts.loss),
        ("hosts", "hardware", report.hosts.hardware_loss),
    ):
        for gauge, value in zip(gauges, _values(rate), strict=True):
            if value is not None:
                gauge.labels(over, kind).set(value)


def _shares(registry: CollectorRegistry, report: FleetReport) -> None:
    releases = _gauge(
        registry, "release_kexecs", "Kexecs by release of the incoming kernel.", ["release", "ari"]
    )
    for group in report.by_release:
        for state, number in _states(group.tally).items():
            releases.labels(inert(group.value or _UNKNOWN), state).inc(number)
    causes = _gauge(registry, "cause_kexecs", "Decided kexecs that show a cause of losses.", ["cause"])
    for cause in report.causes:
        causes.labels(inert(cause.cause or NO_CAUSE)).inc(cause.rate.events)
    stranded = _gauge(
        registry,
        "devices_stranded",
        "Preserved devices that a kernel policy would have stranded.",
        ["policy"],
    )
    for policy in report.policies:
        stranded.labels(policy.policy).set(policy.devices)


def _bridges(registry: CollectorRegistry, bridges: Iterable[BridgeCount]) -> None:
    labels = ("host", *_PCI)
    lost = _gauge(registry, "bridge_lost_kexecs", "Kexecs at which a bridge lost ARI Forwarding.", labels)
    healed = _gauge(registry, "bridge_healed_kexecs", "Kexecs at which the kernel set it again.", labels)
    cost = _gauge(registry, "bridge_devices_stranded", "Devices stranded below a bridge, in all.", labels)
    for bridge in bridges:
        values = (inert(bridge.host or _UNKNOWN), *_location(bridge))
        lost.labels(*values).inc(bridge.lost)
        healed.labels(*values).inc(bridge.healed)
        cost.labels(*values).inc(bridge.devices_stranded)


def _registers(registry: CollectorRegistry, registers: RegisterSurvival) -> None:
    """Watched registers: each state once, and where preserved functions lost it, the worst only."""
    labels = ("state", "code", "preserved", "verdict")
    about = "by verdict on a watched register, of preserved functions or others."
    kexecs = _gauge(registry, "state_kexecs", f"Kexecs {about}", labels)
    functions = _gauge(registry, "state_functions", f"Functions at kexecs {about}", labels)
    ratios = [
        _gauge(registry, f"state_loss_ratio{name}", words, labels[:2])
        for name, words in {
            "": "Share of decided kexecs at which a preserved function lost the state.",
            "_low": "Lower end of its exact binomial 95 % interval.",
            "_high": "Upper end of its exact binomial 95 % interval.",
        }.items()
    ]
    for one in registers.states:
        state = inert(one.name), inert(one.code)
        for preserved, counts in (("yes", one.preserved), ("no", one.others)):
            for word in _KEXEC_WORDS:
                number = getattr(counts, f"kexecs_{word}")
                kexecs.labels(*state, preserved, word).set(number)
            by_verdict = vars(counts) | {"kept": counts.kept - counts.kept_at_reset}
            for verdict in _VERDICTS:
                functions.labels(*state, preserved, verdict).set(by_verdict[verdict])
        for gauge, value in zip(ratios, _values(one.preserved.loss), strict=True):
            if value is not None:
                gauge.labels(*state).set(value)
    _gauge(registry, "state_kexecs_not_counted", "Kexecs of runs whose version did not count registers.").set(
        registers.without
    )
    _where_lost(registry, registers)


def _where_lost(registry: CollectorRegistry, registers: RegisterSurvival) -> None:
    about = "Kexecs at which preserved functions lost a watched register, by"
    for name, words, labels, chosen in (
        ("release", f"{about} release of the incoming kernel.", ("release",), "by_release"),
        ("device", f"{about} vendor and device ID.", ("vendor_id", "device_id"), "by_vendor_device"),
        ("port_type", f"{about} port type.", ("port_type",), "by_port_type"),
    ):
        gauge = _gauge(registry, f"state_{name}_lost_kexecs", words, ("state", "code", *labels))
        lost = [
            (group.counts.kexecs_lost, one, group.value)
            for one in registers.states
            for group in getattr(one, chosen)
            if group.counts.kexecs_lost
        ]
        lost.sort(key=lambda row: -row[0])
        for number, one, value in lost[:_MOST]:
            values = _ids(value) if name == "device" else (inert(value or _UNKNOWN),)
            gauge.labels(inert(one.name), inert(one.code), *values).inc(number)


def _location(bridge: BridgeCount) -> tuple[str, ...]:
    segment, bus, rest = bridge.bdf.split(":")
    device, function = rest.split(".")
    return (segment, bus, device, function, *_ids(bridge.vendor_device))


def _ids(vendor_device: str | None) -> tuple[str, ...]:
    vendor, _, product = (vendor_device or "").partition(":")
    return tuple(f"0x{inert(number)}" if number else _UNKNOWN for number in (vendor, product))


def _states(tally: AriCounts) -> dict[str, int]:
    return {state: getattr(tally, state) for state in _STATES}


def _values(rate: Rate) -> tuple[float | None, float | None, float | None]:
    return rate.rate, rate.low, rate.high
