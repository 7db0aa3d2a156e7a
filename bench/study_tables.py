"""The tables of the study, out of those of its kexecs."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import polars as pl
from measuring import Table
from study_faults import FAULTS
from study_kexecs import KERNELS
from study_machines import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

_STRANDED, _MOVED = pl.col("stranded").list.len(), pl.col("moved").list.len()
#: Heads of the columns of registers -> names of watched states (docs/state.md).
_REGISTERS = {
    "ACS": ("ACS",),
    "Bus Master": ("Bus Master",),
    "memory, I/O": ("Memory or I/O Enable",),
    "windows": ("bridge window",),
    "DevCtl": ("DEVCTL", "MPS"),
    "rest of DevCtl2": ("DEVCTL2",),
}
_GROUPS = {
    "bit": "bit 5 written away",
    "below": "below the port reset",
    "port": "port reset",
    "numbers": "only bus numbers",
}
#: The one fault that clears bit 5 and leaves no write: what depends on the bit alone.
_ONE_BIT = "bit 5 cleared, and no recorded write"


def all_tables(kexecs: pl.DataFrame, ports: pl.DataFrame) -> list[Table]:
    """The tables in the order of the document."""
    return [machines(kexecs), stranded(kexecs), registers(ports), remedies(kexecs), agreement(kexecs)]


def machines(kexecs: pl.DataFrame) -> Table:
    """What was drawn."""
    one_bit = kexecs.filter(kernel="v9", fault=_ONE_BIT)
    rows = []
    for kind in KINDS:
        its = one_bit.filter(kind=kind)
        lost = its.select(_STRANDED.alias("lost"))["lost"]
        rows.append(
            (kind, f"{its.height}", f"{its['handed_over'].sum():,}", f"{lost.sum():,}", f"{(lost > 0).sum()}")
        )
    head = (
        "kind",
        "machines",
        "functions handed over",
        "stranded if one port loses bit 5 (v9)",
        "on machines",
    )
    return Table("Machines", head, rows)


def stranded(kexecs: pl.DataFrame) -> Table:
    """Handed-over functions that each kernel did not find, by fault."""
    rows = []
    for fault in FAULTS:
        its = kexecs.filter(fault=fault.name)
        first = its.filter(kernel="stock")
        if not first.height:
            continue
        cells = [_found(its.filter(kernel=kernel), beside=fault.beside) for kernel in KERNELS]
        total = f"{first['handed_over'].sum():,}"
        rows.append((fault.name, f"{first.height}", total, *cells))
    head = ("fault", "kexecs of each kernel", "handed over", *KERNELS)
    return Table("Handed-over functions that were not found", head, _together(rows))


def _together(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Rows one after the other that differ in their first cell only, as one."""
    found: list[Sequence[str]] = []
    for first, *cells in rows:
        if found and [*found[-1][1:]] == cells:
            found[-1] = (f"{found[-1][0]}; {first}", *cells)
        else:
            found.append((first, *cells))
    return found


def _found(its: pl.DataFrame, *, beside: bool) -> str:
    lost, moved, others = its.select(
        _STRANDED.sum().alias("lost"), _MOVED.sum().alias("moved"), pl.col("others_missing").sum()
    ).row(0)
    parts = [f"{lost:,}"]
    if moved:
        parts.append(f"{moved:,} moved")
    if beside and others:
        parts.append(f"{others:,} others")
    return ", ".join(parts)


def registers(ports: pl.DataFrame) -> Table:
    """What else a port lost that lost bit 5, by fault."""
    rows = []
    for fault in FAULTS:
        its = ports.filter(fault=fault.name)
        if not its.height:
            continue
        pure = its.filter((pl.col("lost").list.len() == 0) & ~pl.col("numbers"))
        cells = [
            _dash(its.filter(pl.any_horizontal(pl.col("lost").list.contains(name) for name in names)).height)
            for names in _REGISTERS.values()
        ]
        rows.append(
            (
                fault.name,
                f"{its.height}",
                _dash(pure.height),
                _dash(its["numbers"].sum()),
                *cells,
                _dash(its["below"].sum()),
            )
        )
    head = (
        "fault",
        "ports that lost bit 5",
        "only that",
        "bus numbers",
        *_REGISTERS,
        "functions below reset",
    )
    return Table("Ports that lost bit 5, and what else they lost", head, _together(rows))


def _dash(count: int) -> str:
    return f"{count:,}" if count else "\N{EN DASH}"


def remedies(kexecs: pl.DataFrame) -> Table:
    """What a warning, a serialized bit and a heal rule change against v9, by what happened to the port."""
    columns = [_remedy(kexecs, group) for group in _GROUPS]
    labels = (
        "kexecs",
        "with stranded functions under v9",
        "of those, the kernel prints a message about bus numbers",
        "of those, it prints nothing",
        "a warning that a handed-over function above 7 is cut off would be printed",
        "of which nothing is stranded",
        "a warning that the bit differs from a serialized one would be printed",
        "of which nothing is stranded",
        "functions stranded under v9",
        "found with a serialized bit, not reset",
        "found with a serialized bit, but reset",
        "found with a heal rule, not reset",
        "found with a heal rule, but reset",
        "found by a stock kernel, not reset",
        "found by a stock kernel, but reset",
    )
    rows = [(label, *cells) for label, cells in zip(labels, zip(*columns, strict=True), strict=True)]
    return Table("Kexecs and functions, by what the fault does to the port", ("", *_GROUPS.values()), rows)


def _remedy(kexecs: pl.DataFrame, group: str) -> list[str]:
    names = [fault.name for fault in FAULTS if fault.group == group and not fault.beside]
    its = kexecs.filter(pl.col("fault").is_in(names))
    v9 = its.filter(kernel="v9")
    harmed = v9.filter(_STRANDED > 0)
    differs = v9.filter("differs")
    saved: list[int] = []
    for kernel in ("serialize", "heal", "stock"):
        both = v9.join(its.filter(kernel=kernel), on=("machine", "fault"), suffix="_then")
        found = pl.col("stranded").list.set_difference("stranded_then")
        reset = found.list.set_intersection("reset_then").list.len()
        row = both.select((found.list.len() - reset).sum().alias("whole"), reset.sum().alias("reset")).row(0)
        saved.extend(row)
    counts = (
        v9.height,
        harmed.height,
        harmed.filter("message").height,
        harmed.filter(~pl.col("message")).height,
        v9.filter("warned").height,
        v9.filter("warned").filter(_STRANDED == 0).height,
        differs.height,
        differs.filter(_STRANDED == 0).height,
        v9.select(_STRANDED.sum().alias("lost")).item(),
        *saved,
    )
    return [_dash(count) for count in counts]


def agreement(kexecs: pl.DataFrame) -> Table:
    """How often analysis and simulated kernels agree; by machine, as kexecs of one are not independent."""
    once = kexecs.filter(~pl.col("number_twice"))
    rows = [
        _agreed("the kernel that ran: what it found, and its prediction", _ran(kexecs)),
        _agreed("the same, where no port got the number of another bus", _ran(once)),
        _agreed(
            "the other kernels, from one capture", kexecs.rename({"what_ifs": "n", "wrong_what_ifs": "k"})
        ),
    ]
    head = (
        "",
        "compared",
        "differ",
        "machines with a difference",
        "exact 95 % interval for a further machine",
    )
    return Table("Analysis and simulated kernels", head, rows)


def _ran(kexecs: pl.DataFrame) -> pl.DataFrame:
    return kexecs.with_columns(pl.lit(1).alias("n"), (~pl.col("agrees")).cast(pl.Int64).alias("k"))


def _agreed(label: str, kexecs: pl.DataFrame) -> Sequence[str]:
    """One row; ``n``: how many comparisons each kexec has, ``k``: how many of them differ."""
    by_machine = kexecs.group_by("machine").agg(pl.col("n", "k").sum())
    wrong = int((by_machine["k"] > 0).sum())
    low, high = interval(wrong, by_machine.height)
    return (
        label,
        f"{by_machine['n'].sum():,}",
        f"{by_machine['k'].sum():,}",
        f"{wrong} of {by_machine.height}",
        f"{low:.1%} to {high:.1%}".replace("%", " %"),
    )


def interval(count: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of Clopper and Pearson for a share of which ``count`` of ``of`` were seen."""
    tail = (1 - confidence) / 2

    def at_most(successes: int, share: float) -> float:
        return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(successes + 1))

    def crossing(above: int, level: float) -> float:
        """Where the chance of at most ``above`` falls to a level; it falls with the share."""
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if at_most(above, middle) > level else (low, middle)
        return high

    return (
        crossing(count - 1, 1 - tail) if count else 0.0,
        crossing(count, tail) if count < of else 1.0,
    )
