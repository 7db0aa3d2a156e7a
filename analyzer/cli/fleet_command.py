"""``analyze fleet``: very many captures into tables, and reports from the tables."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from analyzer.cli import exit_status
from analyzer.cli.option_values import reading_options
from analyzer.cli.parameters import (
    AssumeOption,
    CmdlineOption,
    ExitZeroOption,
    HtmlOption,
    InputFormatOption,
    OutputOption,
    PolicyOption,
    QuietOption,
    SeriesOption,
    StrictOption,
    verbosity,
)

if TYPE_CHECKING:
    import datetime as dt

    from analyzer.fleet.answers import FleetReport

fleet_app = typer.Typer(
    name="fleet", help="Very many captures: analyse them into tables, and report on the tables."
)

_WORK = "Work"
_LIMITS = "Limits of one input"
_HISTORIES = "Histories of several files"


def _most(name: str, of_what: str) -> Any:
    """The option of a limit in bytes."""
    about = f"{of_what} (default: 4G)."
    return typer.Option(name, metavar="SIZE", rich_help_panel=_LIMITS, show_default=False, help=about)


Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="Files, directories, globs, @FILE with a source on each line, URLs (s3://, gs://, az://).",
    ),
]
Target = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        show_default=False,
        help="Directory for the tables: new, or of the same run (with --add: of a run to add to).",
    ),
]
Directories = Annotated[
    list[str],
    typer.Argument(metavar="DIR", show_default=False, help="Outputs of 'fleet run'."),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="DATE",
        show_default=False,
        help="First UTC day to report on, as 2026-03-31, by the time of the kexec, else of the capture.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="DATE", show_default=False, help="Last UTC day to report on."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        rich_help_panel=_WORK,
        show_default=False,
        help="Processes (default: cores).",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        rich_help_panel=_WORK,
        show_default=False,
        help="Only every N-th batch, from the I-th (0 to N-1): one job of an array of N jobs, all of"
        " one run.",
    ),
]
EngineOption = Annotated[
    Literal["local", "dask"],
    typer.Option("--engine", metavar="local|dask", rich_help_panel=_WORK, help="What runs the batches."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        rich_help_panel=_WORK,
        show_default=False,
        help="Address of the Dask scheduler, as in tcp://host:8786.",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        metavar="N",
        rich_help_panel=_WORK,
        show_default=False,
        help="Captures in a batch, the unit of work and of files (default: by their number and size).",
    ),
]
HostFromPath = Annotated[
    str | None,
    typer.Option(
        "--host-from-path",
        metavar="REGEX",
        show_default=False,
        help="Finds the host in a path: the group 'host', else the first group, else the whole match.",
    ),
]
Manifests = Annotated[
    list[str] | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        rich_help_panel=_HISTORIES,
        show_default=False,
        help=(
            "CSV, JSON lines or Parquet with a row for each history: host, pieces in order, sidecars,"
            " options."
            " May be repeated."
        ),
    ),
]
ManifestRoot = Annotated[
    str | None,
    typer.Option(
        "--manifest-root",
        metavar="DIR",
        rich_help_panel=_HISTORIES,
        show_default=False,
        help=(
            "Directory or URL that paths in manifests are relative to and lie below (default: the manifest's"
            " own directory)."
        ),
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="REGEX",
        rich_help_panel=_HISTORIES,
        show_default=False,
        help=(
            "Files in whose paths it matches the same text (in all groups, else as a whole) are pieces of one"
            " history. The groups 'host' and 'time' name its host and time, 'order' the place of a piece."
        ),
    ),
]
GroupOrder = Annotated[
    str | None,
    typer.Option(
        "--group-order",
        metavar="WORD,...",
        rich_help_panel=_HISTORIES,
        show_default=False,
        help="Words in the names of pieces, in their order: before,after (default: the order of the names).",
    ),
]
Add = Annotated[
    bool,
    typer.Option(
        "--add",
        rich_help_panel=_WORK,
        help="If DIR holds a run, finish it and add what is new or changed since; nothing is analysed twice.",
    ),
]
Tables = Annotated[
    bool,
    typer.Option(
        "--tables",
        rich_help_panel=_WORK,
        help="Keep every stage of each analysis but the accesses, as 'analyze tables' has them: DIR/stages.",
    ),
]
MaxBytes = Annotated[str | None, _most("--max-bytes", "Its size as stored")]
MaxSeconds = Annotated[
    int,
    typer.Option(
        "--max-seconds", metavar="N", rich_help_panel=_LIMITS, help="To fetch, read and analyse it."
    ),
]
MaxMemory = Annotated[str | None, _most("--max-memory", "Memory that reading and analysing it may use")]
EveryRowOption = Annotated[
    int,
    verbosity("Show every row of each list."),
]
FleetFormat = Annotated[
    Literal["text", "json", "prometheus"],
    typer.Option(
        "--format", metavar="text|json|prometheus", rich_help_panel="Output", help="Form of the report."
    ),
]
TrendOption = Annotated[
    Literal["day", "week"],
    typer.Option("--trend", metavar="day|week", help="Length of a period of the trend."),
]
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@fleet_app.command("run")
def run_command(  # noqa: PLR0913 typer makes an option of each parameter
    sources: Sources = None,
    *,
    output: Target,
    policy: PolicyOption = "observed",
    series: SeriesOption = None,
    cmdline: CmdlineOption = None,
    assume_preserved: AssumeOption = False,
    input_format: InputFormatOption = None,
    host_from_path: HostFromPath = None,
    manifest: Manifests = None,
    manifest_root: ManifestRoot = None,
    group_by: GroupBy = None,
    group_order: GroupOrder = None,
    add: Add = False,
    tables: Tables = False,
    jobs: Jobs = None,
    shard: Shard = None,
    engine: EngineOption = "local",
    scheduler: Scheduler = None,
    batch_size: BatchSize = None,
    max_bytes: MaxBytes = None,
    max_seconds: MaxSeconds = 600,
    max_memory: MaxMemory = None,
    quiet: QuietOption = False,
) -> None:
    """Analyse captures into Parquet tables, a row for each input; repeat the command to finish a stopped run.

    With --add, run the same command again, for instance every day, to analyse what is new.

    Exit status: 0 when the work is done, with or without findings ('fleet report' counts them); 2 for wrong
    usage or an output that cannot be written; 3 when an object store or a cluster failed: repeat the command.
    """
    import functools

    from analyzer import fleet
    from analyzer.fleet.job import Limits
    from analyzer.report import fleet_report, problems
    from analyzer.report.progress import reporting

    usual = Limits()
    summary = fleet.run(
        sources or (),
        output,
        options=reading_options(locals()),
        limits=Limits(
            max_bytes=_size(max_bytes, "--max-bytes", usual.max_bytes),
            max_seconds=max_seconds,
            max_memory=_size(max_memory, "--max-memory", usual.max_memory),
        ),
        batch_size=batch_size,
        host_from_path=host_from_path,
        manifests=tuple(manifest or ()),
        manifest_root=manifest_root,
        group_by=group_by,
        group_order=group_order,
        add=add,
        tables=tables,
        jobs=jobs,
        shard=_shard(shard),
        engine=engine,
        scheduler=scheduler,
        progress=functools.partial(reporting, quiet=quiet),
        skipped=None if quiet else problems.print_left_out,
    )
    if not quiet:
        fleet_report.print_run(summary)


@fleet_app.command("report")
def report_command(  # noqa: PLR0913 typer makes an option of each parameter
    directories: Directories,
    *,
    since: Since = None,
    until: Until = None,
    trend: TrendOption = "day",
    form: FleetFormat = "text",
    output: OutputOption = None,
    html: HtmlOption = None,
    verbose: EveryRowOption = 0,
    strict: StrictOption = False,
    exit_zero: ExitZeroOption = False,
) -> None:
    """Report how often ARI Forwarding was lost, where and why, and what another policy would have saved.

    Exit status as of the main job: 1 for a loss, 3 for inputs without an answer or an unfinished run, else 0.
    """
    from analyzer import extras, fleet
    from analyzer.cli.outputs import refuse_run, refuse_shared
    from analyzer.report import problems
    from analyzer.report.output import put_text

    if html is not None:
        refuse_shared("--html", html, [output], "standard output takes the other report")
    for directory in directories:
        refuse_run([output, html], directory)
    if form == "prometheus":
        from analyzer.report import fleet_prometheus

        fleet_prometheus.require()
    if not extras.installed("scipy"):
        problems.complain(
            f"rates without their 95 % intervals: scipy is not installed; {extras.advice('fleet')}", "note"
        )
    answers = fleet.report(
        directories, trend_by=trend, since=_day(since, "--since"), until=_day(until, "--until")
    )
    if form == "json":
        from analyzer.report import fleet_json

        put_text([fleet_json.text(answers)], output)
    elif form == "prometheus":
        put_text([fleet_prometheus.text(answers)], output)
    else:
        from analyzer.report import fleet_report
        from analyzer.report.output import new_page, put_page

        put_page(fleet_report.fill(new_page(output), answers, everything=verbose > 0), output)
    if html is not None:
        from analyzer.fleet.drilldown import drill_down
        from analyzer.report.html import fleet_page

        shown = fleet_page.shown_part(answers)
        put_text(fleet_page.pieces(shown, drill_down(shown)), html)
    raise typer.Exit(exit_status.OK if exit_zero else _status(answers, strict=strict))


def _status(answers: "FleetReport", *, strict: bool) -> int:
    if answers.losses or (strict and answers.tally.healed):
        return exit_status.LOSS
    return exit_status.DOUBT if answers.unsure else exit_status.OK


def _day(text: str | None, option: str) -> "dt.date | None":
    import datetime as dt

    from analyzer.errors import UsageError

    try:
        return None if text is None else dt.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: expected a date, found {text!r}", advice="as in 2026-03-31") from None


def _size(text: str | None, option: str, usual: int) -> int:
    from analyzer.errors import UsageError

    if text is None:
        return usual
    number, unit = text.rstrip("KMGTkmgt"), text.lstrip("0123456789").upper()
    if not number.isdecimal() or unit not in _UNITS:
        raise UsageError(f"{option}: expected a size, found {text!r}", advice="as in 500M or 4G")
    return int(number) * _UNITS[unit]


def _shard(text: str | None) -> tuple[int, int] | None:
    from analyzer.errors import UsageError

    if text is None:
        return None
    index, slash, number = text.partition("/")
    if not (slash and index.isdecimal() and number.isdecimal()):
        raise UsageError(f"--shard: expected I/N, found {text!r}", advice="0/4 to 3/4 are one run")
    return int(index), int(number)
