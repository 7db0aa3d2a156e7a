"""What the input of one kexec does not show, and what could be a loss: snapshots, kernel logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed.register_state import is_on
from analyzer.observed.registers import missing_bytes
from analyzer.results import LOSSES
from analyzer.verdicts import state_rule
from schemas.config_header import HEADER_TYPE
from schemas.inherited_state import ARI_FORWARDING
from schemas.state_watch import WATCHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.observed.topology import Topology
    from analyzer.preservation.preserved import PreservedSet
    from analyzer.replay.node_table import NodeTable
    from analyzer.results import BridgeVerdict, DeviceVerdict
    from analyzer.results.state import StateVerdict
    from analyzer.verdicts.handovers import Handover

_STATE_OF_NAME = {state.short: state for state in WATCHED}  # those of one name weigh the same
#: Functions that one sentence names.
_MOST_NAMED = 4


def of_snapshots(kexec: Handover, preserved: PreservedSet) -> list[str]:
    """What snapshots of the two kernels do not show at all, and what could be a loss."""
    found: list[str] = []
    for topology, when in ((kexec.outgoing, "before"), (kexec.incoming, "after")):
        if topology.boot.scan is not None:
            continue
        found.extend(_not_in_log(topology, when))
        for bus, below in topology.orphans.items():
            if preserved.source == "assumed" or preserved.keys & set(below):
                names = ", ".join(bdf.text(key) for key in below[:4])
                found.append(f"{bdf.bridge_above(bus)} {when} the kexec ({names} below it)")
        for key, function in sorted(topology.functions.items()):
            if not function.silent:
                found.extend(
                    f"{missing_bytes.in_words([name])} of {bdf.text(key)} {when} the kexec"
                    for name in missing_bytes.of_header_type(function)
                )
        for key, by, bridge in _named_by_chains(topology):
            listed = key in topology.functions or key in kexec.outgoing.functions
            if not listed and (preserved.source == "assumed" or preserved.keys & {key, by, bridge}):
                named = f"{bdf.text(key)} {when} the kexec, which {bdf.text(by)} names as the next function"
                first = topology.functions.get(key & ~0xFF)
                if (
                    key & 0xFF <= 7
                    and first is not None
                    and first.multifunction is None
                    and first.header_type is not None
                ):
                    named = (
                        f"byte {HEADER_TYPE:02x} of {bdf.text(first.function)} (is it multi-function?), or "
                        f"{named}"
                    )
                found.append(named)
    return found


def _not_in_log(topology: Topology, when: str) -> Iterator[str]:
    """What a kernel log that stands for a scan does not show of it."""
    logged = topology.logged
    if logged is None:
        return
    for missing in logged.missing:
        yield f"in {logged.path} ({when} the kexec): {missing}"
    if when == "before" and logged.later:
        names = ", ".join(bdf.text(key) for key in sorted(logged.later)[:4])
        yield (
            f"whether functions that {logged.path} lists after its scan only are virtual, or were there at"
            f" the kexec ({len(logged.later)}: {names})"
        )


def noted_in_log(incoming: Topology) -> Iterator[str]:
    """Functions of which a log says that the incoming kernel's scan passed over them."""
    logged = incoming.logged
    if logged is None:
        return
    for key, line in sorted(logged.unknown_headers.items()):
        yield (
            f"{bdf.text(key)} read as an unknown header type (7f: nothing responded), and the incoming kernel"
            f" ignored it ({logged.path}, line {line})"
        )
    for key, line in sorted(logged.later.items()):
        yield f"{bdf.text(key)} was found after the incoming kernel's scan only ({logged.path}, line {line})"


def _named_by_chains(topology: Topology) -> Iterator[tuple[int, int, int]]:
    """Functions that a Next Function Number names and a scan can reach, who names them, the bridge above."""
    for key, function in sorted(topology.functions.items()):
        above = topology.parent(key)
        if above is None or not function.has_ari or not function.next_function:
            continue
        first = topology.functions.get(key & ~0xFF)
        if function.next_function > 7:
            reachable = is_on(above, ARI_FORWARDING) is not False
        else:  # a device that is not multi-function may name a function 1 all the same (QEMU)
            reachable = first is not None and first.multifunction is not False
        if reachable:
            yield function.bus << 8 | function.next_function, key, above.function


def of_set(
    preserved: PreservedSet,
    devices: Sequence[DeviceVerdict],
    bridges: Sequence[BridgeVerdict],
    states: Sequence[StateVerdict],
) -> list[str]:
    """What was lost, or lost a watched register, and may have been preserved: the line cannot be read."""
    if not preserved.may_lack:
        return []
    lost = [one.bdf for one in bridges if not one.preserved and one.verdict in (*LOSSES, "undetermined")]
    lost += [one.bdf for one in devices if not one.preserved and one.verdict in ("missing", "undetermined")]
    lost += [one.bdf for one in states if one.code is None and _would_alarm(one)]
    names = list(dict.fromkeys(lost))
    if not names:
        return []
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    named = ", ".join(names[:_MOST_NAMED]) + more
    verb = "was" if len(names) == 1 else "were"
    return [f"whether {named} {verb} preserved (an address in the kernel's log is damaged)"]


def _would_alarm(one: StateVerdict) -> bool:
    """Whether a preserved function with that verdict makes a capture LOST."""
    return state_rule.severity(_STATE_OF_NAME[one.name], one.verdict, preserved=True) == "alarm"


def never_listed(kexec: Handover, machine: NodeTable, preserved: PreservedSet) -> list[str]:
    """Bridges that are on now, and of which the input shows neither that they were nor what was below."""
    if kexec.outgoing.boot.scan is not None:
        return []
    found = []
    for node in machine.world.nodes():
        outgoing_state = None if node.outgoing is None else kexec.outgoing_states.get(node.outgoing)
        unknown = (
            node.is_bridge and node.hardware and (outgoing_state is None or outgoing_state.enabled is None)
        )
        affected = preserved.source == "assumed" or node.name in preserved.keys
        if unknown and affected and all(child.outgoing is None for child in node.children.values()):
            found.append(f"the outgoing kernel's enumeration below {bdf.text(node.name)}")
    return found
