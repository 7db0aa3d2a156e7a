"""Secondary observations of a field that a finding of the state watch names, too: one fact, said once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.results.rules import WATCHED_FIELDS

if TYPE_CHECKING:
    from analyzer.results import KexecResult, Secondary


def stated_by_watch(kexec: KexecResult) -> list[Secondary]:
    """Secondary observations whose field is in a row of the state watch that is part of a finding.

    ARI Capable Hierarchy is a bit of SR-IOV Control, which the watch compares as a whole.
    """
    named = {
        (one.bdf, one.code, field)
        for one in kexec.state
        if one.code is not None
        for field in one.field.split()
    }
    return [one for one in kexec.secondary if (one.bdf, *WATCHED_FIELDS.get(one.kind, ("", ""))) in named]
