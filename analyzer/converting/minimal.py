"""Only the accesses that the verdict needs (``analyze convert --minimal``).

A first choice is made by register (identity, command, bus numbers, bridge control, capability lists, and the
capabilities that hold ARI or show what happened to it) and by what separates boots. Then the analysis runs on
what was chosen; where its result differs from that on the whole capture, more is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer import analysis, bdf
from analyzer.converting import proof
from schemas import (
    address_translation,
    config_header,
    extended_capabilities,
    pcie_capability,
    power_management,
)
from schemas.config_header import EXTENDED_CONFIG_SIZE
from schemas.state_watch import WATCHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.observed.decisions import Decision
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.registers.samples import Sample

    Rows = NDArray[np.bool_]

#: Parts of the header that are kept (offset, bytes): identity to header type, list pointer, and for bridges
#: bus numbers, secondary status (it ends a bridge visit of Linux) and bridge control.
_HEADER: Final = ((config_header.VENDOR_ID, 0x10), (config_header.CAPABILITIES, 1))
_BRIDGE: Final = (
    (config_header.PRIMARY_BUS, 4),
    (config_header.SEC_STATUS, 2),
    (config_header.BRIDGE_CONTROL, 2),
)
#: Capabilities that are kept whole, by ID, with their size; of the others only the entry in the list.
_STANDARD: Final = {
    pcie_capability.CAP_ID: pcie_capability.SIZE_V2,
    power_management.CAP_ID: power_management.SIZE,
    **{number: 4 for is_extended, number in address_translation.IDS.values() if not is_extended},
}
_EXTENDED: Final = {
    extended_capabilities.ARI_ID: 0x08,
    extended_capabilities.SRIOV_ID: 0x40,
    extended_capabilities.ACS_ID: 0x08,
    extended_capabilities.AER_ID: 0x38,
    extended_capabilities.DPC_ID: 0x0C,
}
#: Registers of the state watch.
_WATCHED: Final = tuple(dict.fromkeys(state.register for state in WATCHED))
#: Extended space may repeat the header: Linux compares these with the vendor dword.
_ALIASES: Final = (0x100, 0x200)


@dataclass(frozen=True)
class Minimal:
    """A capture made smaller.

    Attributes:
        capture: what is kept; access numbers start at 0 again.
        kept, of: accesses in it and in the whole capture.
        level: how far the choice had to be widened: 0 = not at all; the last level keeps everything.
    """

    capture: Capture
    kept: int
    of: int
    level: int


def minimise(capture: Capture) -> Minimal:
    """Choose the accesses that the verdict needs.

    Args:
        capture: with everything that is to be in the new file (kernel log, preserved set).

    Returns:
        the smaller capture. Its analysis gives the same result as that of the whole one (see
        :mod:`analyzer.converting.proof`); at worst it is the whole capture.
    """
    wanted = proof.answer(capture)
    study = analysis.study(replace(capture, path="-"))
    rows = _named(study, _counted(wanted))
    rows[np.searchsorted(study.index.seq, sorted(wanted.named))] = True
    level = 0
    for level, choose in enumerate(_LEVELS):
        rows |= choose(study)
        smaller = _only(capture, rows)
        numbers = dict(zip(study.index.seq[rows].tolist(), range(int(rows.sum())), strict=True))
        if proof.answer(smaller).results == proof.renumbered(wanted, numbers):
            return Minimal(smaller, smaller.accesses.height, study.index.rows, level)
    return Minimal(capture, study.index.rows, study.index.rows, level)


def _only(capture: Capture, rows: Rows) -> Capture:
    return proof.standing_alone(replace(capture, accesses=capture.accesses.filter(rows)))


def _by_register(study: Study) -> Rows:
    """The accesses to the registers that matter, of functions that a boot found, and the structure."""
    index = study.index
    rows = _structure(study)
    rows |= _absent_probes(study)
    for key, seen in _functions(study).items():
        own = index.rows_of(key)
        rows[own[_kept_registers(seen)[index.offset[own]]]] = True
    return _with_next(index, rows)


def _without_repeats(study: Study) -> Rows:
    """The same without reads that returned the same value as the read before them, in the same boot.

    Those by which decisions and scans are recognised are kept nevertheless.
    """
    index = study.index
    rows = _by_register(study)
    places = np.flatnonzero(rows)
    boots = np.searchsorted([topology.boot.first for topology in study.topologies], places, side="right")
    order = np.lexsort((places, boots, index.offset[places], index.function[places]))
    ordered = places[order]
    same = np.zeros(len(ordered), bool)
    same[1:] = boots[order][1:] == boots[order][:-1]
    for column in (index.function, index.offset, index.width, index.value, index.is_write, index.absent):
        same[1:] &= column[ordered][1:] == column[ordered][:-1]
    repeated = ordered[same & index.is_read[ordered]]
    repeated = repeated[~_of_order(study)[repeated]]
    rows[repeated] = False
    return _with_next(index, rows | _structure(study, commands=False))


def _of_order(study: Study) -> Rows:
    """Accesses whose place in the order matters: of a scan, a bridge visit, an ARI decision."""
    index = study.index
    rows = index.present_id | (index.offset == config_header.HEADER_TYPE)
    for key, seen in _functions(study).items():
        own = index.rows_of(key)
        kept = np.zeros(EXTENDED_CONFIG_SIZE, bool)
        for function in seen:
            for offset, size in _BRIDGE if function.is_bridge else ():
                kept[offset : offset + size] = True
            if function.pcie is not None:
                kept[function.pcie + pcie_capability.DEVCAP2 : function.pcie + pcie_capability.DEVSTA2] = True
        rows[own[kept[index.offset[own]]]] = True
    for kexec_analysis in study.kexec_analyses:
        for decided in (kexec_analysis.handover.decided_before, kexec_analysis.handover.decided_after):
            for decision in (one for several in decided.values() for one in several):
                rows[_walk(index, decision)] = True
    return np.asarray(rows, np.bool_)


def _walk(index: AccessIndex, decision: Decision) -> NDArray[np.int64]:
    """The first read of function 0's extended space within an ARI decision: it shows the stock rule."""
    if decision.devcap2 is None or decision.read is None:
        return np.empty(0, np.int64)
    own = index.rows_of(decision.function_0)
    own = own[(own > decision.devcap2) & (own < decision.read)]
    return own[index.offset[own] >= config_header.CONFIG_SIZE][:1]


def _functions(study: Study) -> dict[int, list[Function]]:
    """Every function that a boot found, as each boot saw it."""
    found: dict[int, list[Function]] = {}
    for topology in study.topologies:
        for key, function in topology.functions.items():
            found.setdefault(key, []).append(function)
    return found


def _kept_registers(seen: list[Function]) -> Rows:
    """For each offset: whether an access that begins there may touch a register that is kept."""
    kept = np.zeros(EXTENDED_CONFIG_SIZE + 3, bool)

    def keep(offset: int, size: int) -> None:
        kept[offset : min(offset + size, EXTENDED_CONFIG_SIZE)] = True

    for offset, size in _HEADER:
        keep(offset, size)
    for offset in _ALIASES:
        keep(offset, 4)
    for function in seen:
        if function.is_bridge:
            for offset, size in _BRIDGE:
                keep(offset, size)
        for identity, offset in function.capabilities.standard.items():
            keep(offset, _STANDARD.get(identity, 2))
        for identity, offset in function.capabilities.extended.items():
            keep(offset, _EXTENDED.get(identity, 4))
    # An access has at most four bytes, and its width may not be recorded.
    reach = kept[:-3] | kept[1:-2] | kept[2:-1] | kept[3:]
    return np.asarray(reach, np.bool_)


def _structure(study: Study, *, commands: bool = True) -> Rows:
    """What separates boots: accesses to Command, the edges of boots, the last write before a scan."""
    index = study.index
    rows = np.asarray((index.offset == config_header.COMMAND) & commands, np.bool_)
    writes = np.flatnonzero(index.is_write)
    for topology in study.topologies:
        boot = topology.boot
        rows[[boot.first, boot.last]] = True
        if boot.scan is not None:
            rows[boot.scan] = True
            before = writes[writes < boot.scan]
            rows[before[-1:]] = True
    return rows


def _absent_probes(study: Study) -> Rows:
    """Vendor reads without a response, on buses with a function: what a scan passed."""
    index = study.index
    buses = {key >> 8 for topology in study.topologies for key in topology.functions}
    probes = index.is_read & (index.offset == config_header.VENDOR_ID)
    return np.asarray(probes & np.isin(index.function >> 8, sorted(buses)), np.bool_)


def _with_next(index: AccessIndex, rows: Rows) -> Rows:
    """Also what follows each read of a vendor: the access after it shows whether it is of a scan."""
    vendor = np.flatnonzero(rows & index.present_id)
    if vendor.size:
        following = index.next_of_function(vendor)
        rows[following[following >= 0]] = True
    return rows


def _watched(study: Study) -> Rows:
    """Every access to a register of the state watch."""
    index = study.index
    rows = np.zeros(index.rows, bool)
    for key, seen in _functions(study).items():
        kept = np.zeros(EXTENDED_CONFIG_SIZE + 3, bool)
        for function in seen:
            for register in _WATCHED:
                start = function.start_of(register.base)
                if start is not None and start + register.offset < EXTENDED_CONFIG_SIZE:
                    kept[max(start + register.offset - 3, 0) : start + register.offset + register.size] = True
        own = index.rows_of(key)
        rows[own[kept[index.offset[own]]]] = True
    return rows


def _counted(wanted: proof.ComparableAnswer) -> set[tuple[int, str]]:
    """Kexec and bridge of every result that says how many registers stand at their reset values."""
    return {
        (kexec["index"], bridge["bdf"])
        for result in wanted.results
        for kexec in result["kexecs"]
        for bridge in kexec["bridges"]
        if bridge["registers_note"] is not None
    }


def _named(study: Study, counted: set[tuple[int, str]]) -> Rows:
    """What shows the state watch's answer: the registers that it names, and those that it counts.

    Args:
        study: of the whole capture.
        counted: kexec and bridge whose registers, and those below it, are counted under some policy.
    """
    rows = np.zeros(study.index.rows, bool)
    for kexec_analysis in study.kexec_analyses:
        result, by_outgoing = kexec_analysis.result, kexec_analysis.world.by_outgoing
        said = {(one.bdf, one.register): one.verdict for one in (*result.state, *result.state_undetermined)}
        noted = {bdf.parse(name) for number, name in counted if number == result.index}
        paths = [by_outgoing[key].path for key in noted if key in by_outgoing]
        for was, now in kexec_analysis.watch.pairs:
            name, path = bdf.text(was), by_outgoing[was].path
            is_counted = any(path[: len(each)] == each for each in paths)
            before = kexec_analysis.handover.outgoing.functions[was]
            after = kexec_analysis.handover.incoming.functions[now]
            for register in _WATCHED:
                word = said.get((name, register.setpci))
                if word is None and not is_counted:
                    continue
                held, found = before.accesses_to(register), after.accesses_to(register)
                chosen = [*_showing(held[::-1]), *_showing(found)]
                if word == "expected":
                    chosen.extend(held)
                elif word in ("healed", "cleared"):
                    chosen.extend(sample for sample in found if sample.write)
                rows[[sample.row for sample in chosen]] = True
    return rows


def _showing(samples: Sequence[Sample]) -> Iterator[Sample]:
    """The first accesses that show every byte of a register."""
    known = 0
    for sample in samples:
        if not sample.dead and sample.mask & ~known:
            known |= sample.mask
            yield sample


def _writes(study: Study) -> Rows:
    return np.asarray(study.index.is_write, np.bool_)


def _all_probes(study: Study) -> Rows:
    return np.asarray(study.index.offset == config_header.VENDOR_ID, np.bool_)


def _around_boundaries(study: Study) -> Rows:
    """Everything between the last write of a boot and the scan of the next."""
    index = study.index
    rows = np.zeros(index.rows, bool)
    writes = np.flatnonzero(index.is_write)
    for topology in study.topologies:
        scan = topology.boot.scan
        if scan is not None:
            before = writes[writes < scan]
            rows[int(before[-1]) if before.size else 0 : scan + 1] = True
    return rows


def _functions_found(study: Study) -> Rows:
    """Every access to functions that were found."""
    return np.asarray(np.isin(study.index.function, sorted(_functions(study))), np.bool_)


def _everything(study: Study) -> Rows:
    return np.ones(study.index.rows, bool)


#: What is kept, each with all before it.
_LEVELS: Final[tuple[Callable[[Study], Rows], ...]] = (
    _without_repeats,
    _by_register,
    _watched,
    _around_boundaries,
    _writes,
    _all_probes,
    _functions_found,
    _everything,
)
