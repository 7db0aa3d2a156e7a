"""Random errors and partial ACS losses in the blackout: each is named with bit, function and window.

``ARITRACE_ERROR_STATUS_CASES`` sets the number of kexecs.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from random_error_status import BYTES, STATUS, acs_of, build, expected_acs, expected_errors
from simulator import Recording

from analyzer import Options
from analyzer.analysis import analyze_capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from random_error_status import Case

    from analyzer.results import KexecResult

CASES = int(os.environ.get("ARITRACE_ERROR_STATUS_CASES", "100"))


def recorded(case: Case) -> tuple[Recording, KexecResult, dict[str, int]]:
    recording = Recording(case.machine)
    recording.firmware()
    for name, register, bit in case.early:
        case.machine.poke(name, register, case.machine.peek(name, register) | bit)
    recording.boot(case.outgoing)
    handed = recording.preserve(*case.preserved)
    recording.kexec()
    held = acs_of(case.machine)
    recording.blackout(case.blackout)
    recording.boot(replace(case.incoming, preserved=handed))
    result = analyze_capture(recording.capture(), Options(preserved=",".join(case.preserved)))
    return recording, result.kexecs[-1], held


def said_errors(kexec: KexecResult) -> dict[tuple[str, str, str], tuple[int | None, int | None]]:
    return {
        (item.bdf, error.status, error.bit): (error.last_clear, error.first_set)
        for item in kexec.secondary
        for error in item.errors
    }


def said_acs(kexec: KexecResult) -> dict[str, list[str]]:
    return {
        item.bdf: item.note.partition(": lost ")[2].split(", ")
        for item in kexec.secondary
        if item.kind == "acs-lost"
    }


@pytest.mark.slow
def test_every_error_and_every_lost_acs_bit_is_named_and_nothing_else(record_property: Callable) -> None:
    compared = {"errors": 0, "acs": 0, "nothing": 0}

    @seed(0)
    @settings(
        max_examples=CASES,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(min_size=BYTES, max_size=BYTES))
    def check(data: bytes) -> None:
        case = build(data)
        recording, kexec, held = recorded(case)
        errors = expected_errors(recording, kexec.at_access)
        acs = expected_acs(case, recording, held)
        assert said_errors(kexec) == errors, case
        assert said_acs(kexec) == acs, case
        where = {hardware: address for address, hardware in recording.kernels[-1].hardware.items()}
        for name, register, bit in case.poked:
            status, words = STATUS[register]
            assert name not in where or (where[name], status, words[bit.bit_length() - 1]) in errors, case
        compared["errors"] += len(errors)
        compared["acs"] += len(acs)
        compared["nothing"] += not errors and not acs

    check()
    assert min(compared.values()) > CASES // 40, compared
    record_property("oracle_cases", CASES)
