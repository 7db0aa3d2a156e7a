"""``analyze dump`` and ``analyze log``: look into a capture."""

import re
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from analyzer import bdf as addresses
from analyzer.cli import exit_status
from analyzer.cli.option_values import reading_options
from analyzer.cli.parameters import (
    ConfigBdfOption,
    EcamBaseOption,
    GuestOption,
    InputFormatOption,
    LinkTypeOption,
    MapOption,
    OneCapture,
    OutputOption,
    QuietOption,
)
from analyzer.options import Options

if TYPE_CHECKING:
    from analyzer.questions.dump import Selection

AccessOption = Annotated[
    str | None,
    typer.Option(
        "--access",
        metavar="N[-M]",
        show_default=False,
        help="Only access N, or N to M, as reports number them.",
    ),
]
FunctionOption = Annotated[
    str | None,
    typer.Option("--function", metavar="BDF", show_default=False, help="Only accesses to this function."),
]
RegisterOption = Annotated[
    str | None,
    typer.Option(
        "--register",
        metavar="REGISTER",
        show_default=False,
        help="Only accesses that touch it: CAP_EXP+28.w, ECAP_ARI, BRIDGE_CONTROL, DevCtl2, 3e.w.",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, show_default=False, help="Stop after N accesses."),
]
BytesOption = Annotated[
    bool,
    typer.Option("--bytes", help="Also the bytes of each record, uncompressed, or its line of text."),
]
DumpForm = Annotated[
    Literal["text", "jsonl"],
    typer.Option("--format", metavar="text|jsonl", rich_help_panel="Output", help="Form of the output."),
]
EverythingOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", rich_help_panel="Output", help="Also the fields that are 0."),
]
PlacesOption = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        rich_help_panel="Output",
        help="Also the number of the access that follows each line.",
    ),
]
_RANGE = re.compile(r"(\d{1,15})(?:-(\d{1,15}))?")


def dump_command(  # noqa: PLR0913 typer makes an option of each parameter
    capture: OneCapture,
    *,
    access: AccessOption = None,
    function: FunctionOption = None,
    register: RegisterOption = None,
    limit: LimitOption = None,
    with_bytes: BytesOption = False,
    input_format: InputFormatOption = None,
    config_function: ConfigBdfOption = None,
    field_names: MapOption = None,
    ecam: EcamBaseOption = None,
    guest: GuestOption = None,
    linktype_raw_tlp: LinkTypeOption = None,
    form: DumpForm = "text",
    output: OutputOption = None,
    quiet: QuietOption = False,
    everything: EverythingOption = False,
) -> None:
    """Show the accesses of a capture one by one, decoded: number, place, time, register, value, fields.

    The place (@) is the byte of the record in the uncompressed stream, as in reports. Memory does not grow
    with the capture.
    """
    from analyzer.cli.outputs import refuse_inputs
    from analyzer.questions import dump
    from analyzer.report import dump_report
    from analyzer.report.json_report import json_line
    from analyzer.report.output import put_text

    options = reading_options(locals())
    chosen = _selection(access, function, register, limit)
    refuse_inputs([output], [capture], options)
    remarks = dump.DumpRemarks()
    ask = dump.with_records if with_bytes else dump.dump
    found = ask(capture, chosen, options, remarks)
    put_text(
        map(json_line, found) if form == "jsonl" else dump_report.lines(found, everything=everything), output
    )
    if not quiet:
        dump_report.print_remarks(remarks, register)


def log_command(
    capture: OneCapture,
    *,
    guest: GuestOption = None,
    output: OutputOption = None,
    places: PlacesOption = False,
) -> None:
    """Print the kernel log that a capture keeps."""
    from analyzer.cli.outputs import refuse_inputs
    from analyzer.questions.dump import kept_log
    from analyzer.report.dump_report import log_lines
    from analyzer.report.output import put_text

    refuse_inputs([output], [capture])
    put_text(log_lines(kept_log(capture, Options(guest=guest)), places=places), output)
    raise typer.Exit(exit_status.OK)


def _selection(
    access: str | None, function: str | None, register: str | None, limit: int | None
) -> "Selection":
    from analyzer.errors import UsageError
    from analyzer.questions.dump import Selection
    from analyzer.questions.register_names import parse_register

    first, last = 0, None
    if access is not None:
        match = _RANGE.fullmatch(access.replace("#", "").strip())
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise UsageError(f"--access: expected N or N-M, found {access!r}", advice="as in --access 15004")
        first, last = int(match[1]), int(match[2] or match[1])
    if limit is not None and limit < 1:
        raise UsageError(f"--limit: expected 1 or more, found {limit}")
    try:
        key = None if function is None else addresses.parse(function)
    except ValueError as error:
        raise UsageError(f"--function: {error}", advice="as lspci -D prints it") from None
    wanted = None if register is None else parse_register(register)
    return Selection(first, last, key, wanted, limit)
