"""``analyze collect``: what this host shows before or after a kexec, in one file."""

from typing import TYPE_CHECKING, Annotated

import typer

from analyzer.cli import exit_status
from analyzer.cli.option_values import reading_options
from analyzer.cli.parameters import DmesgOption, FlbNameOption, FlbOption, QuietOption

if TYPE_CHECKING:
    from analyzer.converting.collection import Moment

Target = Annotated[
    str,
    typer.Option("--output", "-o", metavar="OUT", show_default=False, help="The file to write, NAME.bin."),
]
Before = Annotated[bool, typer.Option("--before", help="Collect before the kexec.")]
After = Annotated[bool, typer.Option("--after", help="Collect after the kexec.")]
Redact = Annotated[
    bool,
    typer.Option(
        "--redact",
        help="Keep only what is known to be harmless: no serial numbers, host names, paths, free text.",
    ),
]
Root = Annotated[
    str,
    typer.Option("--root", metavar="DIR", hidden=True, help="Read below DIR in place of /."),
]


def collect_command(  # noqa: PLR0913 typer makes an option of each parameter
    *,
    output: Target,
    before: Before = False,
    after: After = False,
    dmesg: DmesgOption = None,
    flb: FlbOption = None,
    flb_name: FlbNameOption = None,
    redact: Redact = False,
    quiet: QuietOption = False,
    root: Root = "/",
) -> None:
    """Collect this host's config space, its kernel log and the users of each function into one file.

    After the kexec it also collects the set of preserved functions. Run it as root before the kexec and after
    it; analyze --join BEFORE AFTER then says what was lost. Exit status 3: the file lacks something that an
    answer needs, and a message names it.
    """
    from analyzer.cli.outputs import refuse_inputs
    from analyzer.converting.collection import collect
    from analyzer.errors import UsageError
    from analyzer.report import collect_report

    if before and after:
        raise UsageError("--before and --after exclude each other", advice="collect once before, once after")
    if output == "-":
        raise UsageError("expected a file to write, found -", path=output, advice="as in -o host17.bin")
    options = reading_options(locals())
    refuse_inputs([output], [], options)
    moment: Moment | None = "before" if before else "after" if after else None
    found = collect(output, options, moment=moment, redact=redact, root=root)
    if not quiet:
        collect_report.print_collected(found)
    open_ends = any(thing.decides for thing in found.missing)
    raise typer.Exit(exit_status.DOUBT if open_ends else exit_status.OK)
