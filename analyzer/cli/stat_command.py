"""``analyze stat``: what captures hold and lack."""

import typer

from analyzer.cli import exit_status
from analyzer.cli.parameters import (
    Captures,
    EcamBaseOption,
    LinkTypeOption,
    MapOption,
    OutputOption,
    QuietOption,
    TextOrJsonOption,
    ecam_base,
    field_map,
)


def stat_command(
    captures: Captures = None,
    *,
    field_names: MapOption = None,
    ecam: EcamBaseOption = None,
    linktype_raw_tlp: LinkTypeOption = None,
    form: TextOrJsonOption = "text",
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Show what captures hold (accesses, boots, kexecs, gaps) and what is missing for a full answer."""
    from analyzer.cli.output_files import refuse_inputs
    from analyzer.errors import AritraceError, UsageError
    from analyzer.options import Options
    from analyzer.questions.statistics import CaptureStatistics, describe
    from analyzer.readers import open_capture, sources
    from analyzer.report import json_report, problems, stat_report
    from analyzer.report.output import new_page, put_page, put_text

    found = sources.expand(captures or ())
    if not found.found:
        raise UsageError("name at least one capture")
    output = None if output == "-" else output
    refuse_inputs([output], found.paths)
    options = Options(
        field_map=field_map(field_names),
        ecam_base=ecam_base(ecam),
        linktype_raw_tlp=linktype_raw_tlp,
    )
    results = []
    for source in found.found:
        try:
            if source.error is not None:
                raise source.error
            results.append(describe(open_capture(source.path, options)))
        except AritraceError as error:
            results.append(CaptureStatistics(source.path, error=str(error)))
            problems.complain_about(error)
    if not quiet:
        problems.print_left_out(found.left_out)
    if form == "json":
        put_text([json_report.dumps(results)], output)
    else:
        put_page(stat_report.fill(new_page(output), results), output)
    unread = any(result.error is not None for result in results)
    raise typer.Exit(exit_status.DOUBT if unread else exit_status.OK)
