"""``analyze convert``: captures of any accepted format into the native ``.bin`` or Parquet."""

from typing import Annotated, Literal

import typer

from analyzer.cli import exit_status
from analyzer.cli.parameters import Captures, DmesgOption, FlbNameOption, FlbOption, QuietOption
from analyzer.options import Options

Target = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        show_default=False,
        help="NAME.bin, NAME.parquet, or a directory (DIR/).",
    ),
]
To = Annotated[
    Literal["bin", "parquet"] | None,
    typer.Option(
        "--to",
        metavar="bin|parquet",
        show_default=False,
        help="Format, where the name of OUT does not say it.",
    ),
]


def convert_command(
    captures: Captures = None,
    *,
    output: Target,
    to: To = None,
    dmesg: DmesgOption = None,
    flb: FlbOption = None,
    flb_name: FlbNameOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write captures as native .bin or Parquet, with the kernel log and preserved set beside them."""
    from analyzer import conversion, sources
    from analyzer.errors import AritraceError, UsageError
    from analyzer.report import convert_report, problems
    from analyzer.report.output import refuse_inputs

    found = sources.leave_out_others(sources.expand(captures or ()))
    if not found.found:
        raise UsageError("name at least one capture")
    pairs = conversion.plan(found.paths, output, ending=f".{to}" if to else None)
    inputs = [*found.paths, *(path for path in (dmesg, flb) if path)]
    for _, target in pairs:
        refuse_inputs(target, inputs)
    options = Options(dmesg=dmesg, flb=flb, flb_name=flb_name)
    failed = [source.error for source in found.found if source.error is not None]
    for path, target in pairs:
        try:
            converted = conversion.convert(path, target, options, parquet=to == "parquet" or None)
        except UsageError:
            raise
        except AritraceError as error:
            failed.append(error)
            continue
        if not quiet:
            convert_report.tell(converted)
    if not quiet:
        problems.tell_skipped(found.left_out)
    for failure in failed:
        problems.complain_about(failure)
    raise typer.Exit(exit_status.DOUBT if failed else exit_status.OK)
