"""The main job: captures in, verdicts out, an exit status that a script can act on."""

from typing import TYPE_CHECKING

import typer

from analyzer.cli import exit_status
from analyzer.cli.parameters import (
    AssumeOption,
    Captures,
    CmdlineOption,
    DmesgOption,
    EcamBaseOption,
    ExitZeroOption,
    FlbNameOption,
    FlbOption,
    Format,
    FormatOption,
    HtmlOption,
    IgnoreOption,
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
    ecam_base,
    field_map,
    selection,
)
from analyzer.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.questions.explain.details import DetailsGatherer
    from analyzer.readers.sources import Sources
    from analyzer.results import Analysis

    #: Takes what a report needs beyond the results of a capture.
    Taker = Callable[[Capture, Study], None]


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
    field_names: MapOption = None,
    ecam: EcamBaseOption = None,
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
    """Judge captures: report losses and give the exit status; does nothing if a sub-command was named."""
    if show_completion is not None:
        from analyzer.cli.shell_completion import script
        from analyzer.report.output import put_text

        put_text([script(show_completion)], None)
        raise typer.Exit(exit_status.OK)
    if version:
        from analyzer.report.output import put_text
        from analyzer.version import NAME
        from analyzer.version import version as installed

        put_text([f"{NAME} {installed()}\n"], None)
        raise typer.Exit(exit_status.OK)
    if ctx.invoked_subcommand is not None:
        return
    if not captures:
        ctx.fail("Missing argument CAPTURE: name at least one file, directory or -")
    options = Options(
        policy=policy,
        series=series,
        preserved=preserved,
        flb=flb,
        flb_name=flb_name,
        dmesg=dmesg,
        cmdline=cmdline,
        assume_preserved=assume_preserved,
        kexec_at=tuple(kexec_at or ()),
        join=join,
        seed=seed,
        field_map=field_map(field_names),
        ecam_base=ecam_base(ecam),
        linktype_raw_tlp=linktype_raw_tlp,
        strict=strict,
        selected=selection(select, ignore),
    )
    from analyzer.cli.html_output import HtmlOutput
    from analyzer.cli.perfetto_output import PerfettoOutput
    from analyzer.report import machine_formats

    output = None if output == "-" else output
    machine_formats.refuse_output(form, output)
    html_page = HtmlOutput(html, output, options)
    timeline = PerfettoOutput(perfetto, output, html)
    details = _details(options) if form == "text" and verbose > 1 else None
    analysis = judge(
        captures,
        options,
        outputs=(output, html_page.path, timeline.path),
        quiet=quiet,
        takers=(html_page.gatherer, timeline.taker, details),
    )
    try:
        html_page.write(analysis)
        timeline.write()
    finally:  # neither a page that cannot be written nor a reader that left costs the other report
        if form == "text":
            _put_page(analysis, output, verbose, details)
        else:
            machine_formats.put(analysis, form, output)
    _tell(analysis, form, output, quiet)
    raise typer.Exit(exit_status.of_analysis(analysis, exit_zero=exit_zero))


def judge(
    captures: list[str],
    options: Options,
    *,
    outputs: "Sequence[str | None]",
    quiet: bool,
    takers: "Sequence[Taker | None]" = (),
) -> "Analysis":
    """Analyse what the arguments name; an argument that gives no capture is a row of its own.

    Args:
        captures: files, directories, globs.
        options: as given.
        outputs: files that will be written; None is standard output.
        quiet: no progress and no notes.
        takers: each is given every capture with its working (``studied`` of ``analyzer.analysis.analyze``).
    """
    from analyzer.analysis import analyze
    from analyzer.capture.joining import refuse_single
    from analyzer.cli.output_files import refuse_inputs
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
    wanted = [taker for taker in takers if taker is not None]

    def studied(capture: "Capture", study: "Study") -> None:
        for taker in wanted:
            taker(capture, study)

    with reporting(len(found.paths), quiet=quiet) as progress:
        if wanted:
            analysis = analyze(found.paths, options, progress=progress, studied=studied)
        else:
            analysis = analyze(found.paths, options, progress=progress)
    return _with_errors(analysis, found)


def _missing_piece(found: "Sources", options: Options) -> "Analysis | None":
    """The one row of pieces of which one is not there: what the others hold is no answer about the whole."""
    from analyzer.capture import joining
    from analyzer.results import Analysis
    from analyzer.verdicts import verdict
    from analyzer.verdicts.verdict import unreadable

    paths = [source.path for source in found.found]
    for number, source in enumerate(found.found, start=1):
        if source.error is not None:
            error = joining.of_piece(source.error, number, paths)
            row = unreadable(joining.path_of(paths), error)
            return Analysis(options.policy, [row], verdict.summarise([row]))
    return None


def _with_errors(analysis: "Analysis", found: "Sources") -> "Analysis":
    from analyzer.results import Analysis
    from analyzer.verdicts import verdict
    from analyzer.verdicts.verdict import unreadable

    if all(source.error is None for source in found.found):
        return analysis
    rows = iter(analysis.captures)
    captures = [
        next(rows) if source.error is None else unreadable(source.path, source.error)
        for source in found.found
    ]
    return Analysis(analysis.policy, captures, verdict.summarise(captures))


def _details(options: Options) -> "DetailsGatherer":
    from analyzer.questions.explain.details import DetailsGatherer

    return DetailsGatherer(options)


def _put_page(
    analysis: "Analysis",
    output: str | None,
    verbose: int,
    details: "DetailsGatherer | None",
) -> None:
    from analyzer.report import text_report
    from analyzer.report.output import new_page, put_page

    page = new_page(output)
    text_report.fill(page, analysis, verbosity=verbose, details=details)
    put_page(page, output)


def _tell(analysis: "Analysis", form: Format, output: str | None, quiet: bool) -> None:
    import sys

    from analyzer.report import problems

    # On a terminal the report has just said it.
    if form != "text" or output is not None or not sys.stdout.isatty():
        problems.print_unreadable(analysis)
    if not quiet and (form != "text" or output is not None):
        problems.print_warnings(analysis)
