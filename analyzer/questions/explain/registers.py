"""Watched registers of one function over a capture, and other registers that differ across a kexec."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer import bdf
from analyzer.observed import register_state
from analyzer.questions.explain.explanation import RawDifference, RegisterHistory, RegisterValue
from schemas.config_header import EXTENDED_CONFIG_SIZE
from schemas.state_watch import BARS, WATCHED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analyzer.analysis import Study
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.registers.samples import Sample
    from analyzer.results.state import StateVerdict
    from analyzer.verdicts.kexecs import KexecAnalysis
    from schemas.state_watch import WatchedState

#: Values of one register that are kept.
MOST_VALUES = 200
#: Differing dwords of one kexec that are kept.
MOST_DIFFERENCES = 400


def histories(study: Study, key: int) -> list[RegisterHistory]:
    """Every watched register that the accesses show of a function, in the order of the declarations.

    Args:
        study: of the capture.
        key: the function, under the numbering of each boot.
    """
    found = []
    for state in WATCHED:
        values = list(_values(study, key, state))
        if values:
            history = RegisterHistory(
                name=state.name,
                register=state.register.setpci,
                rule=state.rule,
                depends=state.dependents,
                source=f"{state.kernel}; {state.specification}",
                values=values[:MOST_VALUES],
                left_out=max(len(values) - MOST_VALUES, 0),
            )
            found.append(history)
    return found


def _values(study: Study, key: int, state: WatchedState) -> Iterator[RegisterValue]:
    """The accesses that show another value than the one before, in order."""
    digits = 2 * state.register.size
    for topology in study.topologies:
        function = topology.functions.get(key)
        shown: int | None = None
        for sample in _settled(function, state):
            value = sample.value & state.mask
            if sample.dead or sample.mask & state.mask != state.mask or value == shown:
                continue
            shown = value
            yield RegisterValue(
                access=int(study.index.seq[sample.row]),
                time_ns=study.index.time_at(sample.row),
                boot=topology.boot.index,
                op="write" if sample.write else "read",
                value=f"0x{value:0{digits}x}",
                fields=state.field_of(value) if value else "",
            )


def _settled(function: Function | None, state: WatchedState) -> Iterator[Sample]:
    """The accesses without those that size a BAR: a write of ones, and the reads up to the next write."""
    sizing = False
    for sample in register_state.history(function, state):
        if sample.write:
            sizing = state in BARS and sample.value & state.mask == state.mask
        if not sizing:
            yield sample


def at_kexec(kexec_analysis: KexecAnalysis, key: int) -> list[StateVerdict]:
    """What became of each watched register of a function at a kexec, kept and unknown ones too."""
    name = bdf.text(key)
    return [one for one in kexec_analysis.watch.every_verdict(key) if one.bdf == name]


class _Bytes(NamedTuple):
    """Of each byte of configuration space a value and the row that shows it; NONE where nothing does."""

    values: NDArray[np.int64]
    rows: NDArray[np.int64]


def raw_differences(study: Study, kexec_analysis: KexecAnalysis) -> list[RawDifference]:
    """Every dword that the kernels read differently, without a write of the incoming one in between.

    Nothing is judged: counters, status bits and what a device's firmware changes are among them. The bits of
    watched registers are left out.
    """
    handover, found = kexec_analysis.handover, []
    for was, now in kexec_analysis.watch.pairs:
        before = _bytes(handover.outgoing.functions[was], handover.outgoing.boot.end, last=True)
        function = handover.incoming.functions[now]
        after = _bytes(function, handover.incoming.boot.end, last=False)
        differs = (before.values != after.values) & (before.values >= 0) & (after.values >= 0)
        differs[list(_watched_bytes(function))] = False
        for dword in np.unique(np.flatnonzero(differs) >> 2).tolist():
            lanes = slice(4 * dword, 4 * dword + 4)
            found.append(
                RawDifference(
                    bdf=bdf.text(was),
                    offset=f"{4 * dword:03x}",
                    before=_hex(before.values[lanes]),
                    after=_hex(after.values[lanes]),
                    access_before=int(study.index.seq[before.rows[lanes].max()]),
                    access_after=int(study.index.seq[after.rows[lanes].max()]),
                )
            )
            if len(found) >= MOST_DIFFERENCES:
                return found
    return found


def _hex(values: NDArray[np.int64]) -> str:
    """A dword, highest byte first, ``..`` where a byte is not known."""
    return "".join(".." if value < 0 else f"{value:02x}" for value in values[::-1].tolist())


def _watched_bytes(function: Function) -> Iterator[int]:
    for state in WATCHED:
        start = function.start_of(state.register.base)
        if start is not None:
            first = start + state.register.offset
            yield from range(first, min(first + state.register.size, EXTENDED_CONFIG_SIZE))


def _bytes(function: Function, end: int, *, last: bool) -> _Bytes:
    """Of each byte what was last read or written, or first read before it was written."""
    values = np.full(EXTENDED_CONFIG_SIZE, -1, np.int64)
    rows = np.full(EXTENDED_CONFIG_SIZE, -1, np.int64)
    written = np.zeros(EXTENDED_CONFIG_SIZE, np.bool_)
    its = function.view.accesses
    sized = zip(
        *(
            column.tolist()
            for column in (its.rows, its.offsets, its.widths, its.values, its.writes, its.live)
        ),
        strict=True,
    )
    for row, offset, width, value, is_write, is_live in sized:
        if row > end or not width or (not is_write and not is_live):
            continue
        for byte in range(offset, min(offset + width, EXTENDED_CONFIG_SIZE)):
            if last or (not is_write and values[byte] < 0 and not written[byte]):
                values[byte], rows[byte] = value >> 8 * (byte - offset) & 0xFF, row
            written[byte] |= is_write
    return _Bytes(values, rows)
