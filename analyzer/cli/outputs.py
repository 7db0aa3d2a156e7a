"""Files that a command writes: a page or a timeline beside the report, and what none of them may overwrite.

What a command writes is never what it reads, and no two outputs share a file: both are refused before
anything is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.options import Options
    from analyzer.questions.explain.lanes import Lanes
    from analyzer.questions.explain.working import DetailsGatherer
    from analyzer.results import Analysis, CaptureResult


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


def refuse_run(outputs: Iterable[str | None], directory: str) -> None:
    """Refuse an output that replaces a file of a fleet run in its directory, or lies among its tables.

    Raises:
        UsageError: the run could not be read or finished any more.
    """
    from analyzer.fleet.directory import is_of_run

    for output in outputs:
        if output is not None and is_of_run(output, directory):
            raise UsageError(
                "this would overwrite a file of the run, or lie among its tables",
                path=output,
                advice="give it another name, best in another directory",
            )


def refuse_shared(option: str, path: str, others: Iterable[str | None], advice: str) -> None:
    """Refuse an output without a file of its own.

    Args:
        option: names the output.
        path: its argument.
        others: files of the other reports, None for standard output.
        advice: what standard output is for.

    Raises:
        UsageError: ``path`` is standard output, or the file of another report.
    """
    from analyzer.writing import overwritten

    if path == "-":
        raise UsageError(f"{option}: expected the name of a file, found '-'", advice=advice)
    for _, other in overwritten([path], [other for other in others if other is not None]):
        raise UsageError(
            f"this would overwrite the other output {other}", path=path, advice="give it another name"
        )


class HtmlOutput:
    """``--html FILE`` of the main job: the page, or none.

    Args:
        path: the argument of ``--html``; None: no page.
        output: the file of the other report, None for standard output.
        options: as for the analysis.

    Attributes:
        gatherer: collects what the page needs while captures are analysed; None without a page.

    Raises:
        UsageError: the page has no file of its own.
    """

    def __init__(self, path: str | None, output: str | None, options: Options) -> None:
        self.path = path
        self.gatherer: DetailsGatherer | None = None
        if path is None:
            return
        from analyzer.questions.explain.working import DetailsGatherer

        refuse_shared("--html", path, [output], "standard output takes the other report")
        self.gatherer = DetailsGatherer(options)

    def write(self, analysis: Analysis) -> None:
        """Write the page atomically; nothing if none was asked for."""
        if self.path is None or self.gatherer is None:
            return
        from analyzer.report.html.page import pieces
        from analyzer.report.output import put_text

        put_text(pieces(analysis, self.gatherer.of), self.path)


class PerfettoOutput:
    """``--perfetto FILE`` of the main job: the timeline of one capture, or none.

    Args:
        path: the argument of ``--perfetto``; None: no timeline.
        others: files of the other reports, None for standard output.

    Raises:
        UsageError: the timeline has no file of its own, or a package is missing.
    """

    def __init__(self, path: str | None, *others: str | None) -> None:
        self.path = path
        self._found: tuple[CaptureResult, Lanes] | None = None
        if path is None:
            return
        from analyzer.report import perfetto_report

        perfetto_report.require()
        advice = "a trace is binary, standard output takes the report"
        refuse_shared("--perfetto", path, others, advice)

    def gather(self, capture: Capture, study: Study) -> None:
        """Collect what the timeline needs from the one capture.

        Raises:
            UsageError: there are several captures.
        """
        from analyzer.questions.explain.lanes import gather

        if self._found is not None:
            raise UsageError(
                "--perfetto shows one capture, found several", advice="name one, or --join its pieces"
            )
        self._found = study.result, gather(capture, study, everything=True)

    def write(self) -> None:
        """Write the timeline atomically; nothing if none was asked for or no capture could be read."""
        if self.path is None or self._found is None:
            return
        from analyzer.report.output import put_bytes
        from analyzer.report.perfetto_report import perfetto_trace

        put_bytes(perfetto_trace(*self._found), self.path)
