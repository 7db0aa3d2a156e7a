"""The main job: captures in, verdicts out, an exit status that a script can act on."""

from typing import TYPE_CHECKING

import typer

from analyzer.cli import exit_status
from analyzer.cli.option_values import Format, reading_options, selection
from analyzer.cli.parameters import (
    AssumeOption,
    Captures,
    CmdlineOption,
    ConfigBdfOption,
    DmesgOption,
    EcamBaseOption,
    ExitZeroOption,
    FlbNameOption,
    FlbOption,
    FormatOption,
    GuestOption,
    HtmlOption,
    IgnoreOption,
    InputFormatOption,
    JoinOption,
    KexecAtOption,
    LinkTypeOption,
    MapOption,
    OutputOption,
    PerfettoOption,
    PolicyOption,
    PreservedOption,
    QuietOption,
    SeedOption,
    SelectOption,
    SeriesOption,
    ShowCompletionOption,
    StrictOption,
    VerboseOption,
    VersionOption,
)
from analyzer.cli.parsing import refuse_mistyped
from analyzer.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.questions.explain.working import DetailsGatherer
    from analyzer.readers.sources import Sources
    from analyzer.results import Analysis, CaptureResult

    #: Collects what a report needs beyond the results of a capture.
    CaptureGatherer = Callable[[Capture, Study], None]


def captures_command(  # noqa: PLR0913 typer makes an option of each parameter
    ctx: typer.Context,
    captures: Captures = None,
    *,
    version: VersionOption = False,
    show_completion: ShowCompletionOption = None,
    policy: PolicyOption = "observed",
    series: SeriesOption = None,
    cmdline: CmdlineOption = None,
    kexec_at: KexecAtOption = None,
    join: JoinOption = False,
    seed: SeedOption = None,
    preserved: PreservedOption = None,
    flb: FlbOption = None,
    flb_name: FlbNameOption = None,
    dmesg: DmesgOption = None,
    assume_preserved: AssumeOption = False,
    input_format: InputFormatOption = None,
    config_function: ConfigBdfOption = None,
    field_names: MapOption = None,
    ecam: EcamBaseOption = None,
    guest: GuestOption = None,
    linktype_raw_tlp: LinkTypeOption = None,
    form: FormatOption = "text",
    output: OutputOption = None,
    html: HtmlOption = None,
    perfetto: PerfettoOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    strict: StrictOption = False,
    exit_zero: ExitZeroOption = False,
    select: SelectOption = None,
    ignore: IgnoreOption = None,
) -> None:
    """Analyse captures: report losses and set the exit status; does nothing if a sub-command is named."""
    if show_completion is not None:
        from analyzer.cli.shell_completion import script
        from analyzer.report.output import put_text

        put_text([script(show_completion)], None)
        raise typer.Exit(exit_status.OK)
    if version:
        from analyzer.report.output import put_text
        from analyzer.version import ISSUES, NAME
        from analyzer.version import version as installed

        put_text([f"{NAME} {installed()}\nreport faults at {ISSUES}\n"], None)
        raise typer.Exit(exit_status.OK)
    if ctx.invoked_subcommand is not None:
        return
    if not captures:
        ctx.fail("Missing argument CAPTURE: name at least one file, directory or -")
    refuse_mistyped(captures[0], getattr(ctx.command, "commands", ()))
    options = reading_options(locals(), strict=strict, selected=selection(select, ignore))
    from analyzer.cli.outputs import HtmlOutput, PerfettoOutput
    from analyzer.report import machine_formats

    machine_formats.refuse_output(form, output)
    html_page = HtmlOutput(html, output, options)
    timeline = PerfettoOutput(perfetto, output, html)
    details = _details(options) if form == "text" and verbose > 1 else None
    wanted = (html_page.gatherer, timeline.gather if perfetto else None, details)
    analysis = analyze_all(
        captures,
        options,
        outputs=(output, html, perfetto),
        quiet=quiet,
        gatherers=[gatherer for gatherer in wanted if gatherer is not None],
    )
    try:
        html_page.write(analysis)
        timeline.write()
    finally:  # the other report is written even if the page cannot be, or its reader went away
        if form == "text":
            _put_page(analysis, output, verbose, details)
        else:
            machine_formats.put(analysis, form, output)
    _print_problems(analysis, form, output, quiet)
    raise typer.Exit(exit_status.of_analysis(analysis, exit_zero=exit_zero))


def analyze_all(
    captures: list[str],
    options: Options,
    *,
    outputs: "Sequence[str | None]",
    quiet: bool,
    gatherers: "Sequence[CaptureGatherer]" = (),
) -> "Analysis":
    """Analyse what the arguments name; an argument without a capture gets a row of its own.

    Args:
        captures: files, directories, globs.
        options: as given.
        outputs: files that will be written; None is standard output.
        quiet: no progress and no notes.
        gatherers: each is called with every capture and its study (``studied`` of
            ``analyzer.analysis.analyze``).
    """
    from analyzer.analysis import analyze
    from analyzer.capture.joining import refuse_single
    from analyzer.cli.outputs import refuse_inputs
    from analyzer.readers import sources
    from analyzer.report import problems
    from analyzer.report.progress import reporting

    found = sources.expand(captures, join=options.join)
    refuse_inputs(outputs, [source.path for source in found.found], options)
    if not quiet:
        problems.print_left_out(found.left_out)
    if options.join:
        refuse_single([source.path for source in found.found])
        missing = _missing_piece(found, options)
        if missing is not None:
            return missing

    def studied(capture: "Capture", study: "Study") -> None:
        for gather in gatherers:
            gather(capture, study)

    with reporting(len(found.paths), quiet=quiet) as progress:
        analysis = analyze(found.paths, options, progress=progress, studied=studied if gatherers else None)
    return _with_errors(analysis, found)


def _missing_piece(found: "Sources", options: Options) -> "Analysis | None":
    """The one row of ``--join`` if a piece is missing: the others say nothing about the whole."""
    from analyzer.capture import joining
    from analyzer.verdicts.verdict import unreadable

    paths = [source.path for source in found.found]
    for number, source in enumerate(found.found, start=1):
        if source.error is not None:
            error = joining.of_piece(source.error, number, paths)
            return _analysis(options.policy, [unreadable(joining.path_of(paths), error)])
    return None


def _with_errors(analysis: "Analysis", found: "Sources") -> "Analysis":
    """All results with a row in the place of each source that gave nothing to open."""
    from analyzer.verdicts.verdict import unreadable

    if all(source.error is None for source in found.found):
        return analysis
    left = list(reversed(analysis.captures))
    rows: list[CaptureResult] = []
    for source in found.found:
        if source.error is not None:
            rows.append(unreadable(source.path, source.error))
            continue
        first = len(rows)
        rows.append(left.pop())
        if rows[first].path != source.path:  # one guest of a recording: the others follow
            known = {rows[first].path}
            while left and left[-1].path.startswith(f"{source.path}[") and left[-1].path not in known:
                rows.append(left.pop())
                known.add(rows[-1].path)
    return _analysis(analysis.policy, rows)


def _analysis(policy: str, captures: "list[CaptureResult]") -> "Analysis":
    from analyzer.results import Analysis
    from analyzer.verdicts.verdict import summarise

    return Analysis(policy, captures, summarise(captures))


def _details(options: Options) -> "DetailsGatherer":
    from analyzer.questions.explain.working import DetailsGatherer

    return DetailsGatherer(options)


def _put_page(
    analysis: "Analysis", output: str | None, verbose: int, details: "DetailsGatherer | None"
) -> None:
    from analyzer.report import text_report
    from analyzer.report.output import new_page, put_page

    page = new_page(output)
    text_report.fill(page, analysis, verbosity=verbose, details=details)
    put_page(page, output)


def _print_problems(analysis: "Analysis", form: Format, output: str | None, quiet: bool) -> None:
    import sys

    from analyzer.report import problems

    # On a terminal the report has just named them.
    if form != "text" or output is not None or not sys.stdout.isatty():
        problems.print_unreadable(analysis)
    if not quiet and (form != "text" or output is not None):
        problems.print_warnings(analysis)
