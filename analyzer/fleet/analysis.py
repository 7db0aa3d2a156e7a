"""The analysis of a group of manifest entries: each input gets a result, or an outcome with its reason."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import polars as pl

from analyzer.capture import Problem
from analyzer.errors import (
    AritraceError,
    EmptyInputError,
    LimitExceededError,
    UnreadableInputError,
    UsageError,
)
from analyzer.fleet import fetching, stage_rows
from analyzer.verdicts.verdict import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.fleet.fetching import LocalFiles
    from analyzer.fleet.job import Job
    from analyzer.fleet.manifest import Entry
    from analyzer.options import Options
    from analyzer.results import CaptureResult
    from analyzer.verdicts.state_counts import StateGroups

Outcome = Literal["ok", "truncated", "unreadable", "unsupported", "crashed", "timeout", "too-large"]


#: Captures analysed together: at most so many, and at most so many bytes as stored.
_GROUP, _GROUP_BYTES = 64, 64 << 20
_OUTCOME_OF_KIND: dict[str, Outcome] = {
    "unsupported": "unsupported",
    "too-large": "too-large",
    "crashed": "crashed",
    "timeout": "timeout",
}
#: What can go wrong in the analysis of one capture; polars' panic is not an Exception.
FAULTS = (Exception, pl.exceptions.PanicException)


@dataclass(frozen=True)
class AnalyzedInput:
    """One input with its result.

    Attributes:
        number: its row in the manifest.
        entry: that row.
        result: what the analysis says, or a result without accesses.
        clock: clock of its accesses' times (:class:`analyzer.capture.Notes`).
        created_ns: when the recording began, as its file says.
        states: of each kexec, what became of the watched registers of its functions, counted.
        stages: tables of its working by name, where the run keeps them.
    """

    number: int
    entry: Entry
    result: CaptureResult
    outcome: Outcome
    reason: str | None = None
    clock: str | None = None
    created_ns: int | None = None
    states: Sequence[StateGroups] = ()
    stages: Mapping[str, pl.DataFrame] | None = None


class _Answer(NamedTuple):
    """What the analysis says of one capture; the others as in :class:`AnalyzedInput`."""

    result: CaptureResult
    states: list[StateGroups]
    stages: Mapping[str, pl.DataFrame] | None


@dataclass(frozen=True)
class _Opened:
    number: int
    entry: Entry
    capture: Capture
    files: LocalFiles


def open_one(path: str, options: Options) -> Capture:
    """Open one capture; a fleet run reads captures here and in :func:`open_history` only."""
    return open_history([path], options)


def open_history(paths: Sequence[str], options: Options) -> Capture:
    """Open consecutive pieces as one capture."""
    from analyzer.analysis import open_pieces

    return open_pieces(paths, options)


def analyze_many(captures: Sequence[Capture], options: Options, *, stages: bool = False) -> list[_Answer]:
    """Analyse captures together; a fleet run analyses captures here only.

    Args:
        captures: the captures.
        options: of all of them.
        stages: keep the tables of the working, too.
    """
    from analyzer.analysis import analyze_batch

    answers: list[_Answer] = []

    def keep(study: Study) -> None:
        states = [one.watch.groups for one in study.kexec_analyses]
        answers.append(_Answer(study.result, states, stage_rows.of_study(study) if stages else None))

    analyze_batch(captures, options, studied=keep)
    return answers


def groups(numbered: Sequence[tuple[int, Entry]]) -> Iterator[list[tuple[int, Entry]]]:
    """Split entries into groups that are analysed together, bounded by number and stored bytes."""
    group: list[tuple[int, Entry]] = []
    size = 0
    for number, entry in numbered:
        if group and (len(group) >= _GROUP or size + (entry.size or 0) > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append((number, entry))
        size += entry.size or 0
    if group:
        yield group


def analyze_inputs(numbered: Sequence[tuple[int, Entry]], job: Job, scratch: str) -> list[AnalyzedInput]:
    """Analyse a group of inputs; each gets its row, whatever it holds.

    Args:
        numbered: manifest row and entry of each.
        job: what the run does.
        scratch: directory for downloads.

    Raises:
        UsageError: an option has an impossible value.
        StoreError: an object store cannot be reached.
    """
    opened: list[_Opened] = []
    rows: dict[int, AnalyzedInput] = {}
    folders: list[Path] = []
    try:
        for number, entry in numbered:
            try:
                folder = _folder(scratch) if fetching.is_remote(entry) else None
                if folder is not None:
                    folders.append(folder)
                opened.append(_open(number, entry, job, folder))
            except FAULTS as error:
                rows[number] = _failed(number, entry, error)
        for alike in _with_equal_options(opened):
            for one, answer in _analyze(alike, alike[0].files.options, stages=job.request.tables):
                rows[one.number] = (
                    _done(one, answer)
                    if not isinstance(answer, BaseException)
                    else _failed(one.number, one.entry, answer, one.files.names)
                )
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    return [rows[number] for number, _ in numbered]


def _folder(scratch: str) -> Path:
    from analyzer.fleet.stores import storing

    with storing(scratch):
        return Path(tempfile.mkdtemp(dir=scratch))


def failed_input(number: int, entry: Entry, outcome: Outcome, reason: str) -> AnalyzedInput:
    """Return the row of an input that ended its worker, or did not finish."""
    error = AritraceError(reason, path=entry.name)
    result = unreadable(entry.name, error)
    result.errors[:] = [Problem(outcome, entry.name, None, reason)]
    return AnalyzedInput(number, entry, result, outcome, reason)


def _open(number: int, entry: Entry, job: Job, folder: Path | None) -> _Opened:
    if entry.problem is not None:
        kind = EmptyInputError if entry.problem_kind == "empty" else UnreadableInputError
        raise kind(entry.problem, path=entry.name)
    files = fetching.local_files(entry, job.request.options, folder, job.request.limits.max_bytes)
    try:
        if len(files.paths) == 1:
            capture = open_one(files.paths[0], files.options)
        else:
            capture = open_history(files.paths, files.options)
    except AritraceError as error:
        error.path = files.names.get(error.path or "", error.path)
        raise _caused_by_entry(error, entry) from None
    return _Opened(number, entry, capture, files)


def _caused_by_entry(error: Exception, entry: Entry) -> Exception:
    """The error for the row of an entry: one in its own options does not concern the others."""
    if isinstance(error, UsageError) and entry.options is not None:
        message = f"an option of this history alone: {error.message}"
        return UnreadableInputError(message, path=error.path, advice=error.advice)
    return error


def _with_equal_options(opened: Sequence[_Opened]) -> Iterator[list[_Opened]]:
    """Those without options of their own together, each other one alone."""
    usual = [one for one in opened if one.entry.options is None]
    if usual:
        yield usual
    for one in opened:
        if one.entry.options is not None:
            yield [one]


def _analyze(
    opened: Sequence[_Opened], options: Options, *, stages: bool
) -> Iterator[tuple[_Opened, _Answer | BaseException]]:
    try:
        answers: Sequence[_Answer | BaseException] = analyze_many(
            [one.capture for one in opened], options, stages=stages
        )
    except FAULTS as error:
        # One of them causes it: analysed alone, each shows whether it does.
        if len(opened) == 1:
            answers = [_caused_by_entry(error, opened[0].entry)]
        else:
            answers = [_alone(one, options, stages=stages) for one in opened]
    yield from zip(opened, answers, strict=True)


def _alone(one: _Opened, options: Options, *, stages: bool) -> _Answer | BaseException:
    try:
        return analyze_many([one.capture], options, stages=stages)[0]
    except FAULTS as error:
        return error


def _done(one: _Opened, answer: _Answer) -> AnalyzedInput:
    result = answer.result
    notes = one.capture.notes
    outcome: Outcome = "truncated" if result.truncated else "ok"
    reason = next((p.message for p in result.errors if p.kind == "truncated"), None)
    if one.files.changed:
        words = "it changed after it was listed; the result is of its content when it was read"
        result.errors = [*result.errors, Problem("changed", one.entry.name, None, words)]
    _rename(result, one.files.names)
    return AnalyzedInput(
        one.number,
        one.entry,
        result,
        outcome,
        reason if result.truncated else None,
        notes.clock,
        notes.created_ns,
        answer.states,
        answer.stages,
    )


def _failed(
    number: int, entry: Entry, error: BaseException, urls: dict[str, str] | None = None
) -> AnalyzedInput:
    """The row of an input without a result; an error that the input did not cause is raised again."""
    from analyzer.fleet.stores import StoreError

    if isinstance(error, UsageError | StoreError):
        raise error
    if isinstance(error, MemoryError):
        error = LimitExceededError("it needs more memory than --max-memory allows", path=entry.name)
    if isinstance(error, AritraceError):
        if error.path == entry.path:
            error.path = entry.name
        result = unreadable(entry.name, error)
        _rename(result, {entry.path: entry.name} | (urls or {}))
        outcome = _OUTCOME_OF_KIND.get(error.kind, "unreadable")
        return AnalyzedInput(number, entry, result, outcome, result.errors[0].message)
    return failed_input(
        number, entry, "crashed", f"a fault of the program: {type(error).__name__} {_place(error)}"
    )


def _place(error: BaseException) -> str:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return f"in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "in an unknown place"


def _rename(result: CaptureResult, names: dict[str, str]) -> None:
    """Replace every path in a result by the name that the user knows: the URL, or escaped bytes."""
    changed = {path: name for path, name in names.items() if path != name}
    if not changed:
        return
    result.path = changed.get(result.path, result.path)
    result.files = [
        dataclasses.replace(file, path=changed.get(file.path, file.path)) for file in result.files
    ]
    result.errors = [
        dataclasses.replace(
            error, file=changed.get(error.file, error.file), message=_with_names(error.message, changed)
        )
        for error in result.errors
    ]
    for kexec in result.kexecs:
        kexec.warnings = [_with_names(warning, changed) for warning in kexec.warnings]
        for evidence in [*(b.evidence for b in kexec.bridges), *(s.evidence for s in kexec.secondary)]:
            evidence[:] = [dataclasses.replace(one, file=changed.get(one.file, one.file)) for one in evidence]


def _with_names(text: str, names: dict[str, str]) -> str:
    for path, name in sorted(names.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(path, name)
    return text
