"""What is concluded from the verdicts of one kexec, once: findings, their weight, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.verdicts import consequences, findings

if TYPE_CHECKING:
    from analyzer.options import Options
    from analyzer.results import KexecResult


def conclude(kexec: KexecResult, options: Options, not_preserved: frozenset[str] = frozenset()) -> None:
    """Store findings and consequences in the result of a kexec; everything else only reads them.

    Args:
        kexec: verdicts of one kexec, with ``preservation``.
        options: those that decide which findings count.
        not_preserved: bridges of which the input shows that they were not handed over.
    """
    findings.add(kexec, options, not_preserved)
    kexec.consequences = consequences.for_kexec(kexec)
