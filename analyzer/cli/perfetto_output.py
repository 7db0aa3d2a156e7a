"""``--perfetto FILE`` of the main job: a timeline beside the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.questions.explain.lanes import Lanes
    from analyzer.results import CaptureResult


class PerfettoOutput:
    """The timeline that was asked for, or none.

    Attributes:
        path: where to; None: no timeline.
        taker: takes what it needs when the capture was studied; None without a timeline.
    """

    def __init__(self, path: str | None, *outputs: str | None) -> None:
        """Refuse a timeline that has no file of its own.

        Args:
            path: the argument of ``--perfetto``.
            outputs: files of the other reports, None for standard output.

        Raises:
            UsageError: standard output, the file of another report, or a package is missing.
        """
        self.path = path
        self.taker: Callable[[Capture, Study], None] | None = None
        self._found: tuple[CaptureResult, Lanes] | None = None
        if path is None:
            return
        from analyzer.cli.output_files import refuse_same
        from analyzer.report import perfetto_report

        perfetto_report.require()
        if path == "-":
            advice = "a trace is binary, standard output takes the report"
            raise UsageError("--perfetto: expected the name of a file, found '-'", advice=advice)
        refuse_same(path, outputs)
        self.taker = self._take

    def _take(self, capture: Capture, study: Study) -> None:
        from analyzer.questions.explain.lanes import gather

        if self._found is not None:
            raise UsageError(
                "--perfetto shows one capture, found several", advice="name one, or --join its pieces"
            )
        self._found = study.result, gather(capture, study, everything=True)

    def write(self) -> None:
        """Write the timeline, whole or not at all; nothing if none was asked for or nothing could be read."""
        if self.path is None or self._found is None:
            return
        from analyzer.report.output import put_bytes
        from analyzer.report.perfetto_report import perfetto_trace

        put_bytes(perfetto_trace(*self._found), self.path)
