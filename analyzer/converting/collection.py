"""What a running host shows of itself before or after a kexec, in one native file (``analyze collect``).

Config space of every function from sysfs and what it is used as, the kernel's log, release and command line,
and the preserved set. debugfs shows physical addresses of that only (``/sys/kernel/debug/kho``, Linux
``Documentation/core-api/kho/concepts.rst``): after the kexec it is read from the kernel's memory
(:mod:`analyzer.converting.handed_over`); before it, it is not in memory in a form that can be found.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from analyzer import bdf
from analyzer.capture import Capture, LogLine, Notes, PreservedDump, SourceFile, accesses
from analyzer.converting import handed_over, kernel_memory, vfio_users
from analyzer.converting.native import write_capture
from analyzer.errors import AritraceError, EmptyInputError, LimitExceededError
from analyzer.kernel_logs import kernel_log
from analyzer.plurals import count
from analyzer.readers import with_keys
from analyzer.readers.formats import SYSFS_CONFIG
from analyzer.readers.kmsg import read_kernel_messages
from analyzer.readers.small_files import DUMP_LIMIT, log_bytes, of_option, read_limited
from analyzer.readers.snapshot.sysfs import read_tree
from analyzer.version import NAME, version
from analyzer.writing import make_directory
from schemas.config_header import HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from analyzer.options import Options

#: Whether a host is collected from before or after the kexec.
Moment = Literal["before", "after"]

_DEVICES: Final = "sys/bus/pci/devices"
_KMSG: Final = "dev/kmsg"
_RELEASE, _HOST = "proc/sys/kernel/osrelease", "proc/sys/kernel/hostname"
_BANNER, _CMDLINE, _BOOT_ID = "proc/version", "proc/cmdline", "proc/sys/kernel/random/boot_id"
_HANDOVER: Final = "sys/kernel/debug/kho/in"
_LIVE_UPDATE: Final = "dev/liveupdate"
#: Files of /proc are a page or two; more is another kind of file.
_PROC_LIMIT: Final = 1 << 16


@dataclass(frozen=True)
class NotCollected:
    """Something that the host did not show.

    Attributes:
        what: the thing, and why it could not be read.
        matters: what is not known without it.
        advice: what to do.
        decides: without it answers stay open.
    """

    what: str
    matters: str
    advice: str
    decides: bool = False


@dataclass(frozen=True)
class Collected:
    """One file that was written, and what is in it.

    Attributes:
        short: functions of which only 64 bytes could be read.
        blanked: accesses whose value ``redact`` replaced at least in part; None without ``redact``.
        missing: what is not in it.
    """

    output: str
    moment: Moment | None
    functions: int
    short: int
    log_lines: int
    preserved_sets: int
    release: str | None
    size: int
    blanked: int | None
    missing: tuple[NotCollected, ...]


def collect(
    output: str,
    options: Options,
    *,
    moment: Moment | None = None,
    redact: bool = False,
    root: str = "/",
) -> Collected:
    """Write what a host shows now as one native file, atomically.

    What functions are used as is read with their config space (:mod:`analyzer.readers.snapshot.sysfs_uses`).

    Args:
        output: the file to write; missing directories are made.
        options: ``dmesg`` in place of the kernel's ring buffer; ``flb``, ``flb_name``: the preserved set.
        moment: before or after the kexec, for the file's header.
        redact: only what is known to be harmless (:mod:`analyzer.converting.redaction`).
        root: stands for ``/``.

    Raises:
        EmptyInputError: no function can be read.
        AritraceError: a file of an option cannot be read, or the output cannot be written.
    """
    host = _Host(root)
    notes = Notes(str(host.path(_DEVICES)))
    table, source = _config_spaces(host, notes)
    notes.tool = f"{NAME} {version()} collect{f' --{moment}' if moment else ''}"
    notes.created_ns = time.time_ns()
    notes.host = host.line(_HOST)
    release = host.line(_RELEASE)
    notes.releases = [release] if release else []
    missing = [*_of_config_spaces(table, notes)]
    missing += _of_users(host, notes)
    notes.log = [LogLine(line) for line in _log(host, options, missing)]
    if options.flb is not None:
        dump = of_option(options, "--flb", options.flb, _dump)
        notes.preserved = [PreservedDump(dump, options.flb_name or "")]
    else:
        missing += _of_preserved(host, notes, moment, table)
    capture = Capture(notes.path, [source], source.format, table, notes)
    blanked = None
    if redact:
        from analyzer.converting import redaction

        redacted = redaction.redact(capture)
        capture, blanked = redacted.capture, redacted.values
    make_directory(Path(output).parent)
    write_capture(capture, output)
    functions, short = _sizes(table)
    return Collected(
        output=output,
        moment=moment,
        functions=functions,
        short=short,
        log_lines=len(capture.notes.log),
        preserved_sets=len(capture.notes.preserved),
        release=release,
        size=Path(output).stat().st_size,
        blanked=blanked,
        missing=tuple(missing),
    )


class _Host:
    """The files of a host, below the directory that stands for its root."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    @property
    def root(self) -> str:
        return str(self._root)

    def path(self, name: str) -> Path:
        return self._root / name

    def line(self, name: str) -> str | None:
        """The first line of a small file, None if it cannot be read or is empty."""
        try:
            data = read_limited(str(self.path(name)), _PROC_LIMIT, "a file of /proc")
        except AritraceError:
            return None
        text = data.decode("utf-8", "replace").strip("\n\0 ")
        return text.splitlines()[0] if text else None


def _config_spaces(host: _Host, notes: Notes) -> tuple[pl.DataFrame, SourceFile]:
    frames: list[pl.DataFrame] = []
    rows = 0
    tree = read_tree(str(host.path(_DEVICES)), notes, within=host.root)
    while True:
        try:
            frame = next(tree)
        except EmptyInputError as error:
            error.message = "expected PCI functions in this directory, found none that can be read"
            error.advice = "is this the host itself, and not a container without /sys?"
            raise
        except StopIteration as end:
            return accesses.concat(frames, rechunk=True), SourceFile(notes.path, SYSFS_CONFIG.name, end.value)
        frames.append(with_keys(frame, rows))
        rows += frame.height


def _sizes(table: pl.DataFrame) -> tuple[int, int]:
    """How many functions there are, and of how many no more than the header could be read."""
    import polars as pl

    ends = table.group_by("domain", "bus", "devfn").agg((pl.col("offset") + pl.col("width")).max())
    return ends.height, ends.filter(pl.col("offset") <= HEADER_SIZE).height


def _of_config_spaces(table: pl.DataFrame, notes: Notes) -> Iterator[NotCollected]:
    functions, short = _sizes(table)
    if short:
        yield NotCollected(
            f"of {short} of {count(functions, 'function')} more than the first {HEADER_SIZE} bytes of config"
            " space, which the kernel shows to root only",
            "no capability of them can be seen, so ARI Forwarding of bridges is unknown: where there are"
            " bridges, atrisk answers CANNOT TELL and --join is undetermined",
            "run it as root",
            decides=True,
        )
    for problem in notes.problems:
        if problem.kind in ("unreadable", "foreign"):
            yield NotCollected(
                problem.message,
                "these functions may be on the bus: no answer from this file is clean",
                "collect again when no device is being added or removed",
                decides=True,
            )


def _of_users(host: _Host, notes: Notes) -> Iterator[NotCollected]:
    """Add the virtual machines that have functions open; name them as missing where that cannot be read."""
    if any(one.use.is_vfio for one in notes.uses):
        notes.uses, whole = vfio_users.named(notes.uses, host.path("proc"))
        if not whole:
            yield NotCollected(
                "which virtual machine has which function open (/proc/PID/fd: no permission, or too many"
                " files)",
                "a report on a function that was lost does not name its virtual machine",
                "run it as root",
            )


def _log(host: _Host, options: Options, missing: list[NotCollected]) -> list[str]:
    """The kernel's log, after lines of /proc where the ring buffer does not hold them any more."""
    given = log_bytes(options)
    lines: list[str] = []
    lost = 0
    if given is not None:
        lines = given.decode("utf-8", "replace").splitlines()
    else:
        try:
            found = read_kernel_messages(str(host.path(_KMSG)))
            lines, lost = list(found.lines), found.lost
        except (OSError, LimitExceededError) as error:
            missing.append(_no_log(error))
    if lost:
        missing.append(
            NotCollected(
                f"{count(lost, 'message')} of the kernel's log, overwritten in the ring buffer",
                "what the kernel said of PCI and Live Update when it started may be among them",
                "collect soon after the start, or give the whole log: --dmesg <(journalctl -k)",
            )
        )
    before = _from_proc(host, lines, missing)
    # As the kernel's console and journalctl have it: readers of logs know both lines.
    gap = [f"** {lost} printk messages dropped **"] if lost else []
    boot = (host.line(_BOOT_ID) or "").replace("-", "")
    mark = [f"-- Boot {boot} --"] if len(boot) == 32 else []
    return [*mark, *before, *gap, *lines] if before or lines else []


def _no_log(error: Exception) -> NotCollected:
    if isinstance(error, PermissionError):
        what = "the kernel's log (/dev/kmsg: no permission)"
        advice = "run it as root, or give the log: --dmesg FILE"
    else:
        reason = error.strerror if isinstance(error, OSError) else error
        what = f"the kernel's log (/dev/kmsg: {reason})"
        advice = "give the log: --dmesg FILE"
    matters = "it lists the preserved functions, and shows resets and links that went down"
    return NotCollected(what, matters, advice)


def _from_proc(host: _Host, lines: list[str], missing: list[NotCollected]) -> list[str]:
    """Release and command line as the kernel's log states them, if the log does not."""
    runs = kernel_log.parse_lines(lines).runs
    added = []
    if not any(run.release for run in runs):
        banner = host.line(_BANNER)
        if banner is not None and banner.startswith("Linux version "):
            added.append(banner)
    if not any(run.cmdline is not None for run in runs):
        cmdline = host.line(_CMDLINE)
        if cmdline is None:
            missing.append(
                NotCollected(
                    "the kernel's command line (/proc/cmdline)",
                    "pci=noari and pci=pcie_scan_all change what an incoming kernel does",
                    "give it to the analysis: --cmdline TEXT",
                )
            )
        else:
            added.append(f"Kernel command line: {cmdline}")
    return added


def _of_preserved(
    host: _Host, notes: Notes, moment: Moment | None, table: pl.DataFrame
) -> Iterator[NotCollected]:
    """Take the preserved set from the kernel's memory, or name it as missing, unless a message lists it.

    The set that this kernel was handed is of the kexec before: it belongs only in a file from after that. The
    one that it will hand over is written at the kexec itself (Linux 7.3 ``luo_flb_serialize``).
    """
    matters = "which functions were preserved is assumed from what used ARI"
    advice = (
        "copy it with traces/capture/pci_ser_dump.py (docs/capturing.md), and give it: --flb FILE, here or to"
        " the analysis"
    )
    runs = kernel_log.parse_lines(line.text for line in notes.log).runs
    if any(run.will_be_preserved or run.was_preserved for run in runs):
        return
    if moment == "before":
        if host.path(_LIVE_UPDATE).exists():
            yield NotCollected(
                "the set of functions that this kernel will hand over (it writes it at the kexec itself)",
                matters,
                "give it to the analysis: --preserved @FILE",
            )
        return
    try:
        blobs = [path.name for path in host.path(f"{_HANDOVER}/sub_fdts").iterdir()]
    except PermissionError:
        what = "whether this kernel was handed preserved functions (/sys/kernel/debug: no permission)"
        yield NotCollected(what, matters, "run it as root")
        return
    except OSError:  # no handover, no debugfs, or a kernel without it
        blobs = ["LUO"] if any(run.liveupdate_number is not None for run in runs) else []
    if "LUO" not in blobs:
        return
    what = "the set of preserved functions: Live Update handed one to this kernel"
    if moment is None:
        yield NotCollected(
            f"{what}, and that the kexec in question is over was not said",
            matters,
            "say --after, or give the set: --flb FILE",
        )
        return
    keys = {bdf.key(*row) for row in table.select("domain", "bus", "devfn").unique().iter_rows()}
    try:
        found = handed_over.read(host.path("proc"), host.path(f"{_HANDOVER}/sub_fdts/LUO"), keys)
    except kernel_memory.KernelMemoryError as error:
        yield NotCollected(
            f"{what}, which lies in its memory ({error}), and no message lists it", matters, advice
        )
        return
    if found.dump is not None:
        notes.preserved = [found.dump]
    else:
        names = ", ".join(found.names)
        yield NotCollected(
            f"a set of preserved functions: Live Update handed this kernel nothing of PCI (but {names})",
            "no function was preserved",
            "nothing is to be done",
        )


def _dump(path: str) -> bytes:
    return read_limited(path, DUMP_LIMIT, "a pci_ser dump")
