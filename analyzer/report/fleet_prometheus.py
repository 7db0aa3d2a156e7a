"""``analyze fleet report --format prometheus``: a textfile for node_exporter's textfile collector.

A bridge has the labels of node_exporter's pcidevice collector (``segment``, ``bus``, ``device``,
``function``; ``vendor_id`` and ``device_id`` as in ``node_pcidevice_info``), so that the two can be joined.
Names with the same harmless form are counted together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer import extras
from analyzer.escaping import inert
from analyzer.report.wording import NO_CAUSE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry, Gauge

    from analyzer.fleet.answers import AriCounts, BridgeCount, FleetReport, Rate

_UNKNOWN: Final = ""
_STATES: Final = ("lost", "healed", "kept", "undetermined")
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


def _location(bridge: BridgeCount) -> tuple[str, ...]:
    segment, bus, rest = bridge.bdf.split(":")
    device, function = rest.split(".")
    vendor, _, product = (bridge.vendor_device or "").partition(":")
    ids = (f"0x{number}" if number else _UNKNOWN for number in (vendor, product))
    return (segment, bus, device, function, *ids)


def _states(tally: AriCounts) -> dict[str, int]:
    return {state: getattr(tally, state) for state in _STATES}


def _values(rate: Rate) -> tuple[float | None, float | None, float | None]:
    return rate.rate, rate.low, rate.high
