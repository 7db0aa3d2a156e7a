"""Files that a command shall write are never files that it reads: refused before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.options import Options


def refuse_inputs(
    outputs: Iterable[str | None], captures: Iterable[str], options: Options | None = None
) -> None:
    """Refuse an output that is a capture, lies beside one as its sidecar, or is named by an option.

    By name, link or hard link; a file of a capture that is a directory counts, and so does the file that
    standard input comes from.

    Args:
        outputs: files that will be written; None is standard output.
        captures: paths of the captures, ``-`` for standard input.
        options: may name further files.

    Raises:
        UsageError: writing there would destroy what is to be read.
    """
    wanted = [output for output in outputs if output is not None]
    if not wanted:
        return
    from analyzer.capture import sidecars
    from analyzer.writing import overwritten

    inputs = [] if options is None else options.files
    for capture in captures:
        inputs += [capture, *sidecars.every(capture)]
    for output, path in overwritten(wanted, inputs):
        raise UsageError(
            f"the output would overwrite the input {path}", path=output, advice="give -o another name"
        )


def refuse_same(output: str, others: Iterable[str | None]) -> None:
    """Refuse two outputs in one file; None is standard output.

    Raises:
        UsageError: as said.
    """
    from analyzer.writing import overwritten

    for _, other in overwritten([output], [other for other in others if other is not None]):
        raise UsageError(
            f"this would overwrite the other output {other}", path=output, advice="give it another name"
        )


def refuse_run(outputs: Iterable[str | None], directory: str) -> None:
    """Refuse an output in place of what a fleet run keeps in its directory, or among it; None as above.

    Raises:
        UsageError: the run could not be read or finished any more.
    """
    from analyzer.fleet.own_files import is_of_run

    for output in outputs:
        if output is not None and is_of_run(output, directory):
            raise UsageError(
                "this would overwrite a file of the run, or lie among its tables",
                path=output,
                advice="give it another name, best in another directory",
            )
