"""Why a scenario gave no capture: a part that is missing, or a run that went wrong."""

from __future__ import annotations

from analyzer.errors import AritraceError, UsageError


class MissingPartsError(UsageError):
    """Programs or Debian packages that the lab needs are not there; all of them are named at once."""


class LabRunError(AritraceError):
    """The virtual machine did not do what the scenario says (hung, died, a step failed, a fault missed)."""

    kind = "lab"
