"""``analyze convert``: captures of any accepted format into the native ``.bin`` or Parquet."""

from typing import Annotated, Literal

import typer

from analyzer.cli import exit_status
from analyzer.cli.option_values import reading_options
from analyzer.cli.parameters import (
    Captures,
    ConfigBdfOption,
    DmesgOption,
    EcamBaseOption,
    FlbNameOption,
    FlbOption,
    GuestOption,
    InputFormatOption,
    JoinOption,
    LinkTypeOption,
    MapOption,
    QuietOption,
    SeedOption,
)

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
Minimal = Annotated[
    bool,
    typer.Option(
        "--minimal",
        help="Keep only the accesses that the verdict needs; the verdict is checked to stay the same.",
    ),
]
Redact = Annotated[
    bool,
    typer.Option(
        "--redact",
        help="Keep only what is known to be harmless: no serial numbers, host names, paths, free text.",
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


def convert_command(  # noqa: PLR0913 typer makes an option of each parameter
    captures: Captures = None,
    *,
    output: Target,
    to: To = None,
    join: JoinOption = False,
    seed: SeedOption = None,
    dmesg: DmesgOption = None,
    flb: FlbOption = None,
    flb_name: FlbNameOption = None,
    input_format: InputFormatOption = None,
    config_function: ConfigBdfOption = None,
    field_names: MapOption = None,
    ecam: EcamBaseOption = None,
    guest: GuestOption = None,
    linktype_raw_tlp: LinkTypeOption = None,
    minimal: Minimal = False,
    redact: Redact = False,
    quiet: QuietOption = False,
) -> None:
    """Write captures as native .bin or Parquet, including the kernel log and preserved set beside them."""
    from analyzer.capture.joining import refuse_single
    from analyzer.cli.outputs import refuse_inputs
    from analyzer.converting import conversion
    from analyzer.errors import AritraceError, UsageError
    from analyzer.readers import sources
    from analyzer.report import convert_report, problems

    found = sources.expand(captures or (), join=join)
    if not found.found:
        raise UsageError("name at least one capture")
    if join:
        refuse_single([source.path for source in found.found])
    planned = found.paths[:1] if join else found.paths
    pairs = conversion.plan(planned, output, ending=f".{to}" if to else None, anonymous=redact)
    options = reading_options(locals())
    refuse_inputs([target for _, target in pairs], found.paths, options)
    failed = [source.error for source in found.found if source.error is not None]
    for path, target in () if join and failed else pairs:
        try:
            converted = conversion.convert(
                found.paths if join else path,
                target,
                options,
                parquet=to == "parquet" or None,
                minimal=minimal,
                redact=redact,
            )
        except UsageError:
            raise
        except AritraceError as error:
            failed.append(error)
            continue
        if not quiet:
            convert_report.print_converted(converted)
    if not quiet:
        problems.print_left_out(found.left_out)
    for failure in failed:
        problems.complain_about(failure)
    raise typer.Exit(exit_status.DOUBT if failed else exit_status.OK)
