"""Captures of any accepted format into the native ``.bin`` or Parquet, including what lies beside them.

A kernel log or preserved-set dump that is given, or that is a sidecar of the capture, goes into the new file:
one file then holds what several held before, and gives the same verdict.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.capture import LogLine, PreservedDump
from analyzer.capture.joining import path_of
from analyzer.capture.sidecars import beside, not_followed
from analyzer.errors import UsageError
from analyzer.options import Options
from analyzer.readers.small_files import DUMP_LIMIT, kernel_log_bytes, log_bytes, of_option, read_limited
from analyzer.writing import make_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.capture import Capture

#: Endings of the outputs that can be written, with the name of the format.
OUTPUTS = {".bin": "native", ".parquet": "parquet"}
_COMPRESSIONS = frozenset({".gz", ".zst", ".xz"})


@dataclass(frozen=True)
class Converted:
    """One capture that was written, with its file and what is in it.

    Attributes:
        of: accesses of the source, where ``minimal`` left some out; else None.
        blanked: accesses whose value ``redact`` replaced at least in part; None without ``redact``.
    """

    source: str
    output: str
    accesses: int
    log_lines: int
    preserved_sets: int
    size: int
    of: int | None = None
    blanked: int | None = None


def plan(
    paths: Sequence[str], output: str, *, ending: str | None = None, anonymous: bool = False
) -> list[tuple[str, str]]:
    """Decide which file each capture becomes.

    Args:
        paths: captures.
        output: a file for one capture, or a directory (existing, or named with a slash at the end).
        ending: ``.bin`` or ``.parquet``; None = by the ending of ``output``, ``.bin`` in a directory.
        anonymous: in a directory, name files ``capture-1``, ``capture-2``, ... with numbers that are free
            there, because captures are often named after hosts.

    Returns:
        pairs of capture and output file.

    Raises:
        UsageError: several captures for one file, two captures for one name, or an unknown ending.
    """
    if not (output.endswith("/") or os.path.isdir(output)):  # noqa: PTH112 raises for no name
        if len(paths) > 1:
            raise UsageError(
                f"{len(paths)} captures cannot become one file",
                path=output,
                advice="name a directory: -o DIR/",
            )
        if ending is None and Path(output).suffix not in OUTPUTS:
            raise UsageError(
                f"expected an output that ends in {' or '.join(OUTPUTS)}, found {Path(output).name!r}",
                advice="choose the ending, or give --to",
            )
        return [(path, output) for path in paths]
    if anonymous:
        return list(zip(paths, _numbered(Path(output), ending or ".bin"), strict=False))
    stems = [_stem(path) for path in paths]
    pairs: dict[str, str] = {}
    for path, stem in zip(paths, stems, strict=True):
        name = stem if stems.count(stem) == 1 else _uncompressed(path)
        target = str(Path(output) / (name + (ending or ".bin")))
        if target in pairs:
            raise UsageError(
                f"{pairs[target]} and {path} would both become {target}", advice="convert them one by one"
            )
        pairs[target] = path
    return [(path, target) for target, path in pairs.items()]


def convert(
    path: str | Sequence[str],
    output: str,
    options: Options | None = None,
    *,
    parquet: bool | None = None,
    minimal: bool = False,
    redact: bool = False,
) -> Converted:
    """Write one capture as native ``.bin`` or Parquet.

    Args:
        path: the capture, ``-`` for standard input; a sequence: consecutive pieces of one, in order.
        output: the file to write, atomically; missing directories are made.
        options: ``dmesg``, ``flb``, ``flb_name`` and ``seed`` go into the new file.
        parquet: Parquet or native; None = by the ending of ``output``.
        minimal: only the accesses that the verdict needs (:mod:`analyzer.converting.minimal`).
        redact: only what is known to be harmless (:mod:`analyzer.converting.redaction`).

    Raises:
        AritraceError: the capture or a sidecar cannot be read, the output cannot be written, or the capture
            cannot be redacted or joined with the same verdict, or shows only single bits, which Parquet alone
            can hold.
    """
    from analyzer.analysis import open_pieces
    from analyzer.converting.native import refuse_single_bits, write_capture
    from analyzer.converting.parquet import write_parquet

    chosen = options or Options()
    paths = [path] if isinstance(path, str) else list(path)
    capture = open_pieces(paths, chosen, thin=False)
    to_parquet = Path(output).suffix == ".parquet" if parquet is None else parquet
    if minimal or redact or not to_parquet:
        refuse_single_bits(capture)
    _add_beside(capture, chosen)
    whole = capture.accesses.height
    blanked = None
    if minimal:
        from analyzer.converting.minimal import minimise

        capture = minimise(capture).capture
    if redact:
        from analyzer.converting import redaction

        redacted = redaction.redact(capture)
        capture, blanked = redacted.capture, redacted.values
    if (len(paths) > 1 or chosen.seed is not None) and not to_parquet:
        from analyzer.converting.proof import refuse_other_answer

        refuse_other_answer(capture)
    make_directory(Path(output).parent)
    if to_parquet:
        write_parquet(capture, output)
    else:
        write_capture(capture, output)
    return Converted(
        source=path_of(paths),
        output=output,
        accesses=capture.accesses.height,
        log_lines=len(capture.notes.log),
        preserved_sets=len(capture.notes.preserved),
        size=Path(output).stat().st_size,
        of=whole if minimal else None,
        blanked=blanked,
    )


def _add_beside(capture: Capture, options: Options) -> None:
    # What is given explicitly overrides what the capture holds, so it must in the new file too.
    given = log_bytes(options)
    logs = [kernel_log_bytes(path) for path in beside(capture.pieces, ".dmesg")] if given is None else [given]
    if logs:
        texts = [log.decode("utf-8", "replace") for log in logs]
        capture.notes.log = [LogLine(line) for text in texts for line in text.splitlines()]
    dumps = (
        [of_option(options, "--flb", options.flb, _dump)]
        if options.flb is not None
        else [_dump(path) for path in beside(capture.pieces, ".flb")]
    )
    if dumps:
        capture.notes.preserved = [PreservedDump(data, options.flb_name or "") for data in dumps]
    capture.notes.problems.extend(not_followed(capture.pieces))


def _dump(path: str) -> bytes:
    return read_limited(path, DUMP_LIMIT, "a pci_ser dump")


def _numbered(directory: Path, ending: str) -> Iterator[str]:
    names = (directory / f"capture-{number}{ending}" for number in itertools.count(1))
    return (str(name) for name in names if not name.exists())


def _uncompressed(path: str) -> str:
    name = "stdin" if path == "-" else Path(path).name
    while Path(name).suffix in _COMPRESSIONS:
        name = Path(name).stem
    return name


def _stem(path: str) -> str:
    name = _uncompressed(path)
    return Path(name).stem or name
