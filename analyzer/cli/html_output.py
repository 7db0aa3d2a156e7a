"""``--html FILE``: a page beside the report of the main job, or of a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from analyzer.options import Options
    from analyzer.questions.explain.working import DetailsGatherer
    from analyzer.results import Analysis


def refuse_shared(path: str, output: str | None) -> None:
    """Refuse a page that has no file of its own.

    Args:
        path: the argument of ``--html``.
        output: the file of the other report, None for standard output.

    Raises:
        UsageError: standard output, or the file of the other report.
    """
    from analyzer.cli.output_files import refuse_same

    if path == "-":
        advice = "standard output takes the other report"
        raise UsageError("--html: expected the name of a file, found '-'", advice=advice)
    refuse_same(path, [output])


class HtmlOutput:
    """The page that was asked for, or none.

    Attributes:
        path: where to; None: no page.
        gatherer: takes what the page needs while captures are analysed; None without a page.
    """

    def __init__(self, path: str | None, output: str | None, options: Options) -> None:
        """Refuse a page that has no file of its own.

        Args:
            path: the argument of ``--html``.
            output: the file of the other report, None for standard output.
            options: as for the analysis.

        Raises:
            UsageError: standard output, or the file of the other report.
        """
        self.path = path
        self.gatherer: DetailsGatherer | None = None
        if path is None:
            return
        from analyzer.questions.explain.working import DetailsGatherer

        refuse_shared(path, output)
        self.gatherer = DetailsGatherer(options)

    def write(self, analysis: Analysis) -> None:
        """Write the page, whole or not at all; nothing if none was asked for."""
        if self.path is None or self.gatherer is None:
            return
        from analyzer.report.html.page import pieces
        from analyzer.report.output import put_text

        put_text(pieces(analysis, self.gatherer.of), self.path)
