"""What a run showed, as the ``[expect]`` table of its scenario: to look at, and to put into the file.

It is what the analysis says, not what is right: the differences from what the kernels really enumerated are
in it as ``missing``, ``added`` and ``divergences``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from analyzer.lab import expected_state
from analyzer.lab.comparison import bridge_text
from analyzer.results import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.lab.runner import Run
    from analyzer.lab.scenarios import Scenario
    from analyzer.results import CaptureResult, KexecResult


def table(scenario: Scenario, run: Run, result: CaptureResult, exit_status: int) -> str:
    """Return the table as TOML, with a comment where the ``[[boots]]`` of the scenario must change.

    Args:
        scenario: what was run.
        run: what the kernels did.
        result: the analysis of the capture.
        exit_status: of ``analyze`` over it.
    """
    return "\n".join(_lines(scenario, run, result, exit_status)) + "\n"


def _lines(scenario: Scenario, run: Run, result: CaptureResult, exit_status: int) -> Iterator[str]:
    for number, boot in enumerate(scenario.boots, start=1):
        seen = set(run.enumerated.get(number, ()))
        whole = set(scenario.topology.functions)
        for key, found, given in (
            ("missing", whole - seen, boot.missing),
            ("added", seen - whole, boot.added),
        ):
            if found != set(given):
                yield f"# [[boots]] number {number}: {key} = {_list(sorted(found))}"
    yield "[expect]"
    yield f"verdict = {json.dumps(result.verdict)}"
    yield f"exit_status = {exit_status}"
    for kexec in result.kexecs:
        yield ""
        yield from _kexec(kexec)


def _kexec(kexec: KexecResult) -> Iterator[str]:
    stranded = [device.bdf for device in kexec.devices if device.verdict == "stranded"]
    changed = [bridge for bridge in kexec.bridges if bridge.verdict not in UNCHANGED]
    said = ((item.bdf, bridge_text(item.verdict, item.cause, item.cause_bdf)) for item in changed)
    bridges = (f"{json.dumps(bdf)} = {json.dumps(text)}" for bdf, text in said)
    yield "[[expect.kexecs]]"
    yield f"kind = {json.dumps(kexec.kind)}"
    yield f"policy = {json.dumps(kexec.observed_policy)}"
    yield f"bridges = {{ {', '.join(bridges)} }}" if changed else "bridges = {}"
    if stranded:
        yield f"stranded = {_list(stranded)}"
    if kexec.divergences:
        yield f"divergences = {_list(item.bdf for item in kexec.divergences)}"
    if state := expected_state.said(kexec):
        yield ""
        yield "[expect.kexecs.state]"
        yield from (f"{json.dumps(bdf)} = {_list(texts)}" for bdf, texts in state.items())


def _list(values: Iterable[str]) -> str:
    return json.dumps(list(values))
