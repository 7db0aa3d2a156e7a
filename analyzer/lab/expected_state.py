"""What the state watch must say of a kexec of a scenario: ``NAME VERDICT`` of each function.

``"0000:00:04.0" = ["ACS lost", "bridge window changed"]``: the name is that of the report's line, and stands
for every register of that name (a device has six BARs). What a report does not say without being asked
(``kept``, ``expected``) is not compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from analyzer.errors import UsageError
from analyzer.results.state import StateVerdictName
from schemas.state_watch import WATCHED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from analyzer.lab.data_files import Table
    from analyzer.results import KexecResult

NAMES: Final = tuple(dict.fromkeys(state.short for state in WATCHED))
_UNSAID: Final[frozenset[StateVerdictName]] = frozenset({"kept", "expected"})
VERDICTS: Final = tuple(word for word in get_args(StateVerdictName) if word not in _UNSAID)


def read(table: Table, functions: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Take the table ``state`` of an expected kexec.

    Args:
        table: lists of ``NAME VERDICT`` by function.
        functions: those that a kernel of the scenario may enumerate.

    Raises:
        UsageError: no such function, name or verdict.
    """
    found = {}
    for bdf in table.left:
        if bdf not in functions:
            raise UsageError(f"no kernel of this scenario enumerates {bdf}", path=table.where)
        found[bdf] = tuple(sorted(table.strings(bdf)))
        for text in found[bdf]:
            name, _, verdict = text.rpartition(" ")
            if name not in NAMES or verdict not in VERDICTS:
                raise UsageError(
                    f"{bdf}: expected the name of a watched state and its verdict, found {text!r}",
                    path=table.where,
                    advice=f"names: {', '.join(NAMES)}; verdicts: {', '.join(VERDICTS)}",
                )
    return found


def said(kexec: KexecResult) -> dict[str, tuple[str, ...]]:
    """What the state watch says of a kexec, as scenarios write it; functions in order, texts sorted."""
    found: dict[str, set[str]] = {}
    for one in (*kexec.state, *kexec.state_undetermined):
        if one.verdict not in _UNSAID:
            found.setdefault(one.bdf, set()).add(f"{one.name} {one.verdict}")
    return {bdf: tuple(sorted(found[bdf])) for bdf in sorted(found)}


def differences(wanted: Mapping[str, tuple[str, ...]], found: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """A sentence for each function of which the state watch says something else."""
    for bdf in sorted({*wanted, *found}):
        missing = sorted(set(wanted.get(bdf, ())) - set(found.get(bdf, ())))
        unexpected = sorted(set(found.get(bdf, ())) - set(wanted.get(bdf, ())))
        if missing:
            yield f"state of {bdf}: missing {', '.join(missing)}"
        if unexpected:
            yield f"state of {bdf}: unexpected {', '.join(unexpected)}"
