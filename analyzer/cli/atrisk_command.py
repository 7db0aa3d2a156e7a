"""``analyze atrisk``: before a kexec, what a lost bit or a reset would cost."""

from typing import Annotated

import typer

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

#: Exit status by verdict (interface, section 6).
STATUS = {"safe": 0, "at-risk": 0, "already-lost": 1, "cannot-tell": 3}

StrictRiskOption = Annotated[
    bool,
    typer.Option("--strict", help="Exit with 1 where functions depend on a bit that is on (AT RISK)."),
]


def atrisk_command(
    snapshot: OneCapture,
    *,
    series: SeriesOption = None,
    preserved: PreservedOption = None,
    flb: FlbOption = None,
    flb_name: FlbNameOption = None,
    form: TextOrJsonOption = "text",
    output: OutputOption = None,
    strict: StrictRiskOption = False,
) -> None:
    """Before a kexec: which functions depend on ARI Forwarding of which bridge, and what can clear it.

    The first word decides the exit status: SAFE 0, AT RISK 0 (with --strict 1: functions depend on a bit that
    is on, the normal state of a host with ARI functions), ALREADY LOST 1 (the bit is off in hardware),
    CANNOT TELL 3 (what would exclude a loss is not in the input; the report names the bytes).
    """
    from analyzer.cli.output_files import refuse_inputs
    from analyzer.questions.atrisk import atrisk
    from analyzer.report import atrisk_report, json_report
    from analyzer.report.output import new_page, put_page, put_text

    output = None if output == "-" else output
    options = Options(series=series, preserved=preserved, flb=flb, flb_name=flb_name)
    refuse_inputs([output], [snapshot], options)
    found = atrisk(snapshot, options)
    if form == "json":
        put_text([json_report.dumps(found)], output)
    else:
        put_page(atrisk_report.fill(new_page(output), found), output)
    raise typer.Exit(1 if strict and found.verdict == "at-risk" else STATUS[found.verdict])
