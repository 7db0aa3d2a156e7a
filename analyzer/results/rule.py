"""One finding code and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Rule:
    """One kind of finding.

    Attributes:
        code: ``ARI`` or ``STATE`` and three digits.
        title: a few words that stand before the function's address in a report.
        severity: at worst; a finding about something that is not preserved weighs less.
        meaning: what was seen, and why it matters.
        source: the kernel function and version, the patch, or the PCI Express section that the rule follows.
        advice: what the operator does about it.
    """

    code: str
    title: str
    severity: Severity
    meaning: str
    source: str
    advice: str
