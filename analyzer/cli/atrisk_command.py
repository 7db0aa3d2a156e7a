"""``analyze atrisk``: before a kexec, what a lost bit or a reset would cost."""

from analyzer.cli.parameters import (
    FlbNameOption,
    FlbOption,
    OneCapture,
    OutputOption,
    PreservedOption,
    SeriesOption,
    TextOrJsonOption,
)
from analyzer.options import Options


def atrisk_command(
    snapshot: OneCapture,
    *,
    series: SeriesOption = None,
    preserved: PreservedOption = None,
    flb: FlbOption = None,
    flb_name: FlbNameOption = None,
    form: TextOrJsonOption = "text",
    output: OutputOption = None,
) -> None:
    """Before a kexec: which functions hang on ARI Forwarding of which bridge, and what would take it."""
    from analyzer.at_risk import at_risk
    from analyzer.cli.output_files import refuse_inputs
    from analyzer.report import atrisk_report, json_report
    from analyzer.report.output import new_page, put_page, put_text

    output = None if output == "-" else output
    options = Options(series=series, preserved=preserved, flb=flb, flb_name=flb_name)
    refuse_inputs([output], [snapshot], options)
    found = at_risk(snapshot, options)
    if form == "json":
        put_text([json_report.dumps(found)], output)
    else:
        put_page(atrisk_report.fill(new_page(output), found), output)
