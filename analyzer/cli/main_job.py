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
    IgnoreOption,
    JoinOption,
    KexecAtOption,
    LinkTypeOption,
    MapOption,
    OutputOption,
    PolicyOption,
    PreservedOption,
    QuietOption,
    SeedOption,
    SelectOption,
    SeriesOption,
    StrictOption,
    VerboseOption,
    VersionOption,
    ecam_base,
    field_map,
    selection,
)
from analyzer.options import Options

if TYPE_CHECKING:
    from analyzer.results import Analysis
    from analyzer.sources import Sources


def captures_command(  # noqa: PLR0913 typer makes an option of each parameter
    ctx: typer.Context,
    captures: Captures = None,
    *,
    version: VersionOption = False,
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
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    strict: StrictOption = False,
    exit_zero: ExitZeroOption = False,
    select: SelectOption = None,
    ignore: IgnoreOption = None,
) -> None:
    """Judge captures: report losses and give the exit status; does nothing if a sub-command was named."""
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
    )
    selected = selection(select, ignore)
    output = None if output == "-" else output
    analysis = judge(captures, options, output=output, quiet=quiet)
    if selected is not None:
        _keep_only(analysis, selected)
    _report(analysis, options, form, output, verbose)
    _tell(analysis, form, output, quiet)
    raise typer.Exit(
        exit_status.of_analysis(
            analysis,
            strict=strict,
            exit_zero=exit_zero,
            assume_preserved=assume_preserved,
            selected=selected,
        )
    )


def judge(captures: list[str], options: Options, *, output: str | None, quiet: bool) -> "Analysis":
    """Analyse what the arguments name; an argument that gives no capture is a row of its own."""
    from analyzer import sources
    from analyzer.analysis import analyze
    from analyzer.report import problems
    from analyzer.report.output import refuse_inputs
    from analyzer.report.progress import reporting

    found = sources.leave_out_others(sources.expand(captures))
    beside = [path for path in (options.dmesg, options.flb, options.seed) if path is not None]
    refuse_inputs(output, [*(source.path for source in found.found), *beside])
    if not quiet:
        problems.tell_skipped(found.left_out)
    with reporting(len(found.paths), quiet=quiet) as progress:
        analysis = analyze(found.paths, options, progress=progress)
    return _with_errors(analysis, found)


def _with_errors(analysis: "Analysis", found: "Sources") -> "Analysis":
    from analyzer import unreadable
    from analyzer.results import Analysis
    from analyzer.verdicts import verdict

    if all(source.error is None for source in found.found):
        return analysis
    rows = iter(analysis.captures)
    captures = [
        next(rows) if source.error is None else unreadable.row(source.path, source.error)
        for source in found.found
    ]
    return Analysis(analysis.policy, captures, verdict.summarise(captures))


def _keep_only(analysis: "Analysis", selected: frozenset[str]) -> None:
    for capture in analysis.captures:
        for kexec in capture.kexecs:
            kexec.findings = [finding for finding in kexec.findings if finding.code in selected]


def _report(analysis: "Analysis", options: Options, form: Format, output: str | None, verbose: int) -> None:
    from analyzer.report.output import new_page, put_page, put_text

    if form == "text":
        from analyzer.report import text_report

        page = new_page(output)
        text_report.fill(page, analysis, verbosity=verbose, assume_preserved=options.assume_preserved)
        put_page(page, output)
        return
    from analyzer.report import json_report

    put_text(
        [json_report.json_text(analysis)] if form == "json" else json_report.json_lines(analysis), output
    )


def _tell(analysis: "Analysis", form: Format, output: str | None, quiet: bool) -> None:
    import sys

    from analyzer.report import problems

    # On a terminal the report has just said it.
    if form != "text" or output is not None or not sys.stdout.isatty():
        problems.tell_unreadable(analysis)
    if not quiet and (form != "text" or output is not None):
        problems.tell_warnings(analysis)
