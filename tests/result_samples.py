"""Hand-made results in the shapes of real captures, for the tests of reports and exit statuses.

The machine: root port 00:03.0, switch 01:00.0, its downstream port 02:00.0 with an ARI chain of functions on
bus 03, and a second root port 00:04.0 that nothing happens to.
"""

from __future__ import annotations

from dataclasses import replace

from analyzer.capture import Problem, SourceFile
from analyzer.options import Options
from analyzer.results import (
    Analysis,
    Boot,
    BridgeVerdict,
    CaptureResult,
    DeviceVerdict,
    Evidence,
    KexecResult,
    Observed,
    PolicyOutcome,
    Window,
)
from analyzer.verdicts import loss_weight
from analyzer.verdicts import verdict as verdicts
from analyzer.verdicts.verdict import conclude

OBSERVED = Options()

ROOT, SWITCH, PORT, OTHER = "0000:00:03.0", "0000:01:00.0", "0000:02:00.0", "0000:00:04.0"
BELOW_PORT = ["0000:03:00.0", "0000:03:00.1", "0000:03:01.0", "0000:03:01.1", "0000:03:02.0"]
ABOVE_EIGHT = BELOW_PORT[2:]
BELOW_OTHER = ["0000:05:00.0", "0000:05:01.0"]
EVERYTHING = sorted([ROOT, SWITCH, PORT, OTHER, *BELOW_PORT, *BELOW_OTHER])

CLEARING_WRITE = Evidence(
    access=9876,
    file="lost.bin",
    offset_bytes=0x12AB34,
    time_ns=1_795_328_047_501_553_000,
    op="write",
    bdf=PORT,
    register="CAP_EXP+28.w",
    value="0x0000",
    note="clears ARI Forwarding Enable",
)
FIRST_READ = Evidence(
    access=10001,
    file="lost.bin",
    offset_bytes=0x13AB34,
    time_ns=1_795_328_049_500_000_000,
    op="read",
    bdf=PORT,
    register="CAP_EXP+28.w",
    value="0x0000",
    note="first read after the kexec",
)


def bridge(bdf, verdict="off", **more):
    buses = {ROOT: (1, 4), SWITCH: (2, 4), PORT: (3, 3), OTHER: (5, 5)}.get(bdf, (None, None))
    kinds = {SWITCH: "switch-upstream", PORT: "switch-downstream"}
    states = {"off": (False, False, False), "kept": (True, True, True), "lost": (True, False, False)}
    states |= {
        "healed": (True, False, True),
        "unconfigured": (True, None, None),
        "hidden": (True, None, None),
    }
    before, after, decided = states.get(verdict, (None, None, None))
    values = {
        "vendor_device": "1b36:000c",
        "secondary": buses[0],
        "subordinate": buses[1],
        "new_secondary": None,
        "port_type": kinds.get(bdf, "root-port"),
        "preserved": True,
        "ari_before": before,
        "ari_after": after,
        "ari_decided": decided,
        "verdict": verdict,
    }
    return BridgeVerdict(bdf, **(values | more))


def device(bdf, verdict="reachable", reason=None, preserved=True):
    above = {SWITCH: ROOT, PORT: SWITCH} | dict.fromkeys(BELOW_PORT, PORT) | dict.fromkeys(BELOW_OTHER, OTHER)
    return DeviceVerdict(bdf, "1b36:0010", preserved, above.get(bdf), verdict, reason)


def kexec(bridges, stranded=(), reason="ari-off", **more):
    devices = [device(bdf, "stranded", reason) if bdf in stranded else device(bdf) for bdf in EVERYTHING]
    found = [bdf for bdf in EVERYTHING if bdf not in stranded]
    everything, what_ran = PolicyOutcome(EVERYTHING, [], []), PolicyOutcome(found, list(stranded), [])
    values = {
        "index": 0,
        "kind": "live-update",
        "outgoing_boot": 1,
        "incoming_boot": 2,
        "at_access": 9900,
        "blackout_ns": 1_250_000_000,
        "observed_policy": "inherit",
        "policy": "inherit",
        "series": "v7",
        "noari": False,
        "preserved_source": "dmesg",
        "bridges": bridges,
        "devices": devices,
        "policies": {
            "stock": everything,
            "inherit": what_ran,
            "serialize": everything,
            "heal": everything,
        },
        "observed": Observed(found),
    }
    return KexecResult(**(values | more))


def concluded(result, options=OBSERVED):
    """The kexec with its findings and consequences, which follow from its verdicts."""
    if result.preserved_source == "assumed":
        result.preservation = loss_weight.preservation(
            result.kind, result.observed_policy, scanned=True, assume=options.assume_preserved
        )
    conclude(result, options)
    return result


def capture(path, kexecs, verdict="findings", **more):
    values = {
        "files": [SourceFile(path, "aritrace", "0" * 64)],
        "format": "aritrace",
        "host": None,
        "accesses": 20123,
        "truncated": False,
        "dropped": 0,
        "boots": [
            Boot(0, "firmware", None, None, 0, 1499, 0, 900_000_000),
            Boot(1, "kernel", "7.3.4", "console=ttyS0", 1500, 9899, 1_000_000_000, 9_000_000_000),
            Boot(2, "kernel", "7.3.4", None, 9900, 20122, 10_250_000_000, 19_000_000_000),
        ],
    }
    return CaptureResult(path=path, verdict=verdict, kexecs=kexecs, **(values | more))


def analysis(*captures, **options):
    """The answer to one call with these options: each capture with what follows from its verdicts."""
    return analyzed(captures, Options(**options))


def analyzed(captures, chosen=OBSERVED):
    """The same with options as an object."""
    for one in captures:
        for result in one.kexecs:
            concluded(result, chosen)
        one.weight = verdicts.weight(one, chosen)
    return Analysis("observed", list(captures), verdicts.summarise(captures))


def lost(path="lost.bin", **more):
    """ARI Forwarding cleared by a write before a live update: functions 8, 9 and 16 are stranded."""
    gone = bridge(
        PORT,
        "lost",
        cause="explicit-write",
        confidence="high",
        window=Window(9000, 9876, "outgoing"),
        evidence=[CLEARING_WRITE, FIRST_READ],
        stranded=ABOVE_EIGHT,
    )
    result = kexec([bridge(ROOT), bridge(OTHER, "kept"), bridge(SWITCH, "not-applicable"), gone], ABOVE_EIGHT)
    return capture(path, [replace(result, **more)])


def clean(path="clean.bin", **more):
    result = kexec(
        [bridge(ROOT), bridge(OTHER, "kept"), bridge(SWITCH, "not-applicable"), bridge(PORT, "kept")]
    )
    return capture(path, [replace(result, **more)], "clean")


def hidden(path="hidden.bin"):
    """A secondary bus reset on the root port took the whole switch."""
    bridges = [
        bridge(ROOT),
        bridge(OTHER, "kept"),
        bridge(
            SWITCH,
            "unconfigured",
            cause="secondary-bus-reset",
            cause_bdf=ROOT,
            confidence="high",
            stranded=[PORT, *BELOW_PORT],
        ),
        bridge(PORT, "hidden", stranded=BELOW_PORT),
    ]
    return capture(path, [kexec(bridges, [PORT, *BELOW_PORT], "ancestor-hidden")])


def healed(path="healed.bin", **more):
    """A stock kernel switched the bit on again; nothing says that devices were preserved."""
    values = {"kind": "unknown", "observed_policy": "stock", "policy": "stock", "preserved_source": "assumed"}
    gone = bridge(PORT, "healed", cause="selective-loss", confidence="medium", evidence=[FIRST_READ])
    values = {"bridges": [bridge(ROOT), bridge(OTHER, "kept"), gone]} | values | more
    result = kexec(**values)
    result.policies["inherit"] = PolicyOutcome(
        [b for b in EVERYTHING if b not in ABOVE_EIGHT], ABOVE_EIGHT, []
    )
    return capture(path, [result])


def undetermined(path="cut.bin"):
    """The capture ends before the incoming kernel's decision read."""
    unknown = bridge(
        PORT, "undetermined", ari_before=True, missing_access="a read of CAP_EXP+28 after the kexec"
    )
    result = kexec([bridge(ROOT), unknown], observed=Observed([]), observed_policy="unknown")
    return capture(path, [result], "undetermined", truncated=True)


def unreadable(path="bad.bin"):
    problem = Problem("unsupported", path, 0, "expected a capture, found 7 bytes of text; see the README")
    return CaptureResult(path, [], None, None, 0, False, 0, "unreadable", errors=[problem])
