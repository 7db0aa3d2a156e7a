"""Which stages of the pipeline take the processor time of many captures: sampled, each millisecond of it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

from measuring import Table

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_INTERVAL_S, _TURNS = 0.001, 30
#: Parts of a module's path, the more special first -> its stage.
_STAGES = {
    "/registers/watched_registers": "state watch (`watched_registers`, `state_watch`, ...)",
    "/verdicts/watched_functions": "state watch (`watched_registers`, `state_watch`, ...)",
    "/verdicts/state_": "state watch (`watched_registers`, `state_watch`, ...)",
    "/verdicts/reset_signature": "state watch (`watched_registers`, `state_watch`, ...)",
    "/analyzer/readers/": "decoding (`readers`, `capture`)",
    "/analyzer/capture/": "decoding (`readers`, `capture`)",
    "/observed/registers/": "functions and registers (`observed.registers`)",
    "/observed/batches": "accesses by function (`observed.batches`, `observed.index`)",
    "/observed/index": "accesses by function (`observed.batches`, `observed.index`)",
    "/analyzer/observed/": "boots, links, decisions (the rest of `observed`)",
    "/analyzer/replay/": "hardware and replay (`replay`)",
    "/distinct_questions": "hardware and replay (`replay`)",
    "/analyzer/verdicts/": "verdicts, causes, evidence, findings (the rest of `verdicts`)",
}
_OTHER = "the rest"


def where_the_time_goes(what: str, job: Callable[[], object], turns: int = _TURNS) -> Table:
    """Run ``job`` again and again and count in which stage it is.

    A moment is of the innermost module of a stage that is at work, so that what polars and numpy do is of the
    stage that asked them.
    """
    job()
    found: Counter[str] = Counter()

    def sample(_signal: int, frame: FrameType | None) -> None:
        while frame is not None:
            stage = _stage(frame.f_code.co_filename)
            if stage is not None:
                found[stage] += 1
                return
            frame = frame.f_back
        found[_OTHER] += 1

    former = signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, _INTERVAL_S, _INTERVAL_S)
    try:
        for _ in range(turns):
            job()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)
    whole = found.total()
    rows = [(stage, f"{samples / whole:.1%}") for stage, samples in found.most_common()]
    return Table(f"Where the processor time goes: {what}; {whole:,} samples", ("stage", "share"), rows)


def _stage(path: str) -> str | None:
    posix = path.replace(os.sep, "/")
    return next((stage for part, stage in _STAGES.items() if part in posix), None)
