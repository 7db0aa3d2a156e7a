"""What a fleet run does, as one value: written once, and read by every process and every later start."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analyzer.errors import AritraceError, UsageError
from analyzer.options import Options
from analyzer.readers.small_files import read_limited
from analyzer.writing import refusal

if TYPE_CHECKING:
    from analyzer.options import PolicyChoice

FILE_NAME: Final = "job.json"
#: Version of everything in an output directory: this file, the manifest, the tables, the batch records.
#: Version 2 has additions and histories of several pieces; a directory of version 1 is read as it is.
DIRECTORY_SCHEMA: Final = 2
_READ_SCHEMAS: Final = (1, DIRECTORY_SCHEMA)
#: What version 1 does not have; names of files are digests of all that a version has.
_NEW_IN_2: Final = ("first_capture", "first_batch", "addition", "replaced", "working_directory")
_NEW_IN_REQUEST_2: Final = ("manifests", "manifest_root", "group_by", "group_order")
#: What an addition may have otherwise than the run that it is added to: what is listed, and how it is split.
_OF_A_LISTING: Final = frozenset({"sources", "lists", "manifests", "manifest_root", "batch_size"})
#: A batch is the unit of work and of parts, whose files cost some 40 ms. It has at most so many captures, or
#: bytes as stored, to keep every core busy; more if there would be too many batches, to bound the number of
#: files for a million captures; but few enough that a batch's rows are small.
_BATCH, _BATCH_BYTES, _MOST_BATCHES, _LARGEST_BATCH = 128, 64 << 20, 1024, 2000
_MIB = 1 << 20
#: A job names its sources: a command line has at most a few MiB.
_JOB_LIMIT = 64 << 20
#: Values of a list in a message before it is only counted.
_MOST_SHOWN = 3
#: More captures, or additions of them, than anybody has: their numbers are never near the limits of a column.
_MOST_CAPTURES: Final = 1 << 40
_MANIFEST_NAME: Final = re.compile(r"manifest-[0-9a-f]+\.parquet")


@dataclass(frozen=True)
class Limits:
    """What one input may cost.

    Attributes:
        max_bytes: size as stored (compressed, if it is).
        max_seconds: wall-clock time to fetch, read and analyse it.
        max_memory: bytes of writable memory beyond those of an idle worker.
    """

    max_bytes: int = 4096 * _MIB
    max_seconds: float = 600.0
    max_memory: int = 4096 * _MIB


@dataclass(frozen=True)
class Request:
    """What the user asked for: the part of a job that must be the same when a run is resumed.

    Attributes:
        sources: as given; ``lists`` holds a hash of each list file among them.
        batch_size: captures in a batch, or None for a size that fits their number.
        host_from_path: regular expression that finds the host in a path; group ``host``, else the first
            group, else the whole match.
        manifests: a hash of each file of ``--manifest``, by its name as given.
        manifest_root: directory or URL that paths in manifests are relative to; None: the manifest's own.
        group_by: regular expression; files in whose paths it finds the same are pieces of one history.
        group_order: words in paths, comma-separated, in the order of the pieces; None: the order of names.
        tables: keep the tables of the working of every capture.
    """

    sources: tuple[str, ...]
    lists: dict[str, str] = field(default_factory=dict)
    policy: PolicyChoice = "observed"
    series: str | None = None
    assume_preserved: bool = False
    cmdline: str | None = None
    input_format: str | None = None
    limits: Limits = Limits()
    batch_size: int | None = None
    host_from_path: str | None = None
    manifests: dict[str, str] = field(default_factory=dict)
    manifest_root: str | None = None
    group_by: str | None = None
    group_order: str | None = None
    tables: bool = False

    @property
    def options(self) -> Options:
        """The options with which every capture is analysed."""
        return Options(
            policy=self.policy,
            series=self.series,
            assume_preserved=self.assume_preserved,
            cmdline=self.cmdline,
            input_format=self.input_format,
        )


@dataclass(frozen=True)
class Job:
    """A request, the captures that it names, and where the results go.

    Attributes:
        directory: the output directory (not part of the identity: it may be moved).
        manifest: file name of the manifest in it.
        captures: rows of the manifest.
        batch_size: captures in a batch.
        tool: version of this program; the results of another one may differ.
        addition: 0 for what the run began with; 1, 2, ... for what was added later.
        first_capture, first_batch: how many captures and batches the run had before this addition.
        replaced: captures of earlier additions whose rows do not count any more.
        working_directory: where relative paths begin.
    """

    directory: str
    request: Request
    manifest: str
    captures: int
    batch_size: int
    tool: str
    schema: int = DIRECTORY_SCHEMA
    addition: int = 0
    first_capture: int = 0
    first_batch: int = 0
    replaced: tuple[int, ...] = ()
    working_directory: str = ""

    @property
    def file_name(self) -> str:
        """Name of its file in the output directory."""
        return f"job-{self.addition:06d}.json" if self.addition else FILE_NAME

    @property
    def batches(self) -> range:
        """The numbers of its batches."""
        return range(self.first_batch, self.first_batch - (-self.captures // self.batch_size))

    @cached_property
    def identity(self) -> str:
        """Hex digest of everything that the results depend on."""
        return hashlib.sha256(_text(self).encode()).hexdigest()

    def batch_name(self, batch: int) -> str:
        """Name of a batch's files: its number, and a digest of what it was made from."""
        digest = hashlib.sha256(f"{self.identity}:{batch}".encode()).hexdigest()
        return f"{batch:06d}-{digest[:16]}"

    def slice_of(self, batch: int) -> tuple[int, int]:
        """First manifest row of a batch, and how many; a capture's number is ``first_capture`` more."""
        first = (batch - self.first_batch) * self.batch_size
        return first, min(self.batch_size, self.captures - first)


def fitting_batch_size(captures: int, size: int) -> int:
    """Captures in a batch where the user does not say; depends on their number and bytes only."""
    of_these = _BATCH_BYTES * captures // max(size, 1)
    return max(1, min(_BATCH, of_these), min(_LARGEST_BATCH, -(-captures // _MOST_BATCHES)))


def write_once(job: Job) -> bool:
    """Write the job file unless there is one; False if another run was first.

    Raises:
        UsageError: the directory cannot be written.
    """
    target = Path(job.directory, job.file_name)
    temporary = target.with_name(f".{job.identity[:16]}-{os.getpid()}.job")
    try:
        temporary.write_text(_text(job) + "\n", encoding="ascii")
        try:
            # A link is made in one step, and unlike a rename never replaces what is there.
            os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(str(target), error) from error
    return True


def read_all(directory: str) -> list[Job]:
    """Return the job of an output directory and its additions in order; empty if it has none.

    Raises:
        UsageError: as :func:`read`.
    """
    jobs: list[Job] = []
    while (job := read(directory, len(jobs))) is not None:
        jobs.append(job)
    return jobs


def read(directory: str, addition: int = 0) -> Job | None:
    """Return the job of an output directory or an addition to it, None if there is none.

    Raises:
        UsageError: it is not a job file, or of another version of the output directory.
    """
    path = Path(directory, f"job-{addition:06d}.json" if addition else FILE_NAME)
    try:
        if not path.parent.is_dir() or not os.path.lexists(path):
            return None
        text = read_limited(str(path), _JOB_LIMIT, "the job of a fleet run").decode("ascii")
    except (AritraceError, OSError, ValueError) as error:
        reason = error.message if isinstance(error, AritraceError) else error
        raise UsageError(f"cannot read the job of this directory: {reason}", path=str(path)) from error
    try:
        found = json.loads(text)
        schema = found["schema"]
        if schema not in _READ_SCHEMAS:
            raise UsageError(
                f"expected a directory of schema {DIRECTORY_SCHEMA}, found {schema!r}",
                path=str(path),
                advice="use the version of this program that wrote it, or start over in another directory",
            )
        request = found["request"]
        limits = Limits(**request.pop("limits"))
        sources = tuple(request.pop("sources"))
        return Job(
            directory=directory,
            request=Request(sources=sources, limits=limits, **request),
            manifest=_manifest_name(found["manifest"]),
            captures=_number(found["captures"]),
            batch_size=_number(found["batch_size"], 1, None),
            tool=str(found["tool"]),
            schema=schema,
            addition=addition,
            first_capture=_number(found.get("first_capture", 0)),
            first_batch=_number(found.get("first_batch", 0)),
            replaced=tuple(map(_number, found.get("replaced", ()))),
            working_directory=str(found.get("working_directory", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"expected the job file of a fleet run, found something else ({error})",
            path=str(path),
            advice="start over in another directory",
        ) from error


def _manifest_name(value: Any) -> str:
    """The name of a manifest in the directory.

    Raises:
        ValueError, TypeError: it is none.
    """
    if not _MANIFEST_NAME.fullmatch(value):
        raise ValueError(f"the manifest {value!r}"[:80])
    return str(value)


def _number(value: Any, least: int = 0, most: int | None = _MOST_CAPTURES) -> int:
    """A count or number of captures or batches; how large a batch may be is what the user said.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"the number {value!r}"[:80])
    if most is not None and value > most:
        raise ValueError(f"the number {value!r}"[:80])
    return value


def refuse_other(job: Job, request: Request, tool: str, *, adding: bool = False) -> None:
    """Refuse to resume a job that is not the requested one.

    Args:
        job: of the directory.
        request: what is asked for now.
        tool: version of this program.
        adding: other captures are asked for, which are to be analysed in the same way.

    Raises:
        UsageError: says what differs, and what to do.
    """
    asked, there = dataclasses.asdict(request), dataclasses.asdict(job.request)
    if request.batch_size is None:
        # Not given: what the directory has.
        asked["batch_size"] = there["batch_size"]
    asked |= {"program version": tool} | asked.pop("limits")
    there |= {"program version": job.tool} | there.pop("limits")
    different = [name for name in asked if asked[name] != there[name]]
    if adding:
        different = [name for name in different if name not in _OF_A_LISTING]
    if different:
        name = different[0]
        advice = (
            "add with the same options, or give -o another directory: 'fleet report' takes several"
            if adding
            else "repeat the command as it was to finish that run, give --add to analyse what is new, or give"
            " -o another directory"
        )
        raise UsageError(
            f"this directory holds a run with another setting: {name.replace('_', '-')} was "
            f"{_shown(there[name])}, now it is {_shown(asked[name])}"
            + (f" (and {len(different) - 1} more)" if len(different) > 1 else ""),
            path=job.directory,
            advice=advice,
        )


def _shown(value: object) -> str:
    """A setting in a message; of a long list its length and its first values."""
    if not isinstance(value, tuple | list) or len(value) <= _MOST_SHOWN:
        return repr(value)
    first = ", ".join(map(repr, value[:_MOST_SHOWN]))
    return f"{len(value):,} values ({first}, ...)"


def cannot_write(place: str, error: OSError) -> UsageError:
    """Return the error for an output directory, or a file in it, that the system does not let us write."""
    return UsageError(
        f"cannot write in the output directory: {refusal(error)}",
        path=place,
        advice="give -o a directory that you may write to and that has room",
    )


def _text(job: Job) -> str:
    content = dataclasses.asdict(job)
    del content["directory"]
    if job.schema == 1:
        for name in _NEW_IN_2:
            del content[name]
        for name in _NEW_IN_REQUEST_2:
            del content["request"][name]
    return json.dumps(content, sort_keys=True)
