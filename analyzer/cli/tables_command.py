"""``analyze tables``: every stage of an analysis as a table."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from analyzer.cli import exit_status
from analyzer.cli.option_values import reading_options
from analyzer.cli.parameters import (
    AssumeOption,
    Captures,
    CmdlineOption,
    ConfigBdfOption,
    DmesgOption,
    EcamBaseOption,
    FlbNameOption,
    FlbOption,
    GuestOption,
    InputFormatOption,
    JoinOption,
    KexecAtOption,
    LinkTypeOption,
    MapOption,
    PolicyOption,
    PreservedOption,
    SeedOption,
    SeriesOption,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars import DataFrame

#: As in :mod:`analyzer.questions.tables.schemas`, which takes polars to import.
TABLE_NAMES = (
    "captures",
    "accesses",
    "boots",
    "functions",
    "links",
    "registers",
    "decisions",
    "kexecs",
    "nodes",
    "predictions",
    "bridges",
    "devices",
    "evidence",
    "state",
)
TableOption = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        "-t",
        metavar="NAME",
        show_default=False,
        help=f"Show one of {', '.join(TABLE_NAMES)}; with -o write it, or several (-t A -t B).",
    ),
]
DirectoryOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        show_default=False,
        help="Write Parquet files: DIR/TABLE/NNNNNN.parquet, one for each capture.",
    ),
]
FormatOption = Annotated[
    Literal["text", "csv", "jsonl"],
    typer.Option("--format", metavar="text|csv|jsonl", help="Form of the table that is shown."),
]


def tables_command(  # noqa: PLR0913 typer makes an option of each parameter
    captures: Captures = None,
    *,
    table: TableOption = None,
    form: FormatOption = "text",
    output: DirectoryOption = None,
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
) -> None:
    """Show a stage of the analysis as a table (-t NAME), or write all of them as Parquet (-o DIR).

    From the accesses over boots, functions, registers, decisions, nodes and predictions to the verdicts and
    their evidence. docs/tables.md describes the columns and has queries.
    """
    from analyzer.cli.outputs import refuse_inputs
    from analyzer.errors import UsageError
    from analyzer.questions.tables import stages
    from analyzer.readers import sources
    from analyzer.report import problems, stage_table_report
    from analyzer.report.output import put_text

    found = sources.expand(captures or ())
    if not found.found:
        raise UsageError("name at least one capture")
    if output is None and len(table or ()) != 1:
        raise UsageError(
            f"expected one table to show, found {len(table) if table else 'none'}",
            advice="name it (-t bridges), or write them all: -o DIR",
        )
    options = reading_options(locals())
    refuse_inputs([output], found.paths, options)
    names: list[str] = list(table or ())
    unread = False

    def parts() -> "Iterator[dict[str, DataFrame]]":
        nonlocal unread
        for alone, part in stages.of_each(found.paths, options, names):
            unread |= alone.captures[0].verdict == "unreadable"
            problems.print_unreadable(alone)
            yield part

    problems.print_left_out(found.left_out)
    if output is None:
        put_text(stage_table_report.text((part[names[0]] for part in parts()), form), None)
    else:
        stage_table_report.refuse_directory(output)
        for number, part in enumerate(parts()):
            stage_table_report.write_part(output, number, part)
    raise typer.Exit(exit_status.DOUBT if unread else exit_status.OK)
