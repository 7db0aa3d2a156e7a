"""The ``analyze`` program: its commands put together, and every way in which it can end."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from analyzer.cli import exit_status, signals
from analyzer.cli.collect_command import collect_command
from analyzer.cli.convert_command import convert_command
from analyzer.cli.dump_command import dump_command, log_command
from analyzer.cli.fleet_command import fleet_app
from analyzer.cli.lab_command import lab_app
from analyzer.cli.main_job import captures_command
from analyzer.cli.parsing import HELP_NAMES, CaptureGroup, make_plain
from analyzer.cli.question_commands import (
    atrisk_command,
    corpus_app,
    explain_command,
    rule_command,
    snapshot_command,
    stat_command,
)
from analyzer.cli.tables_command import tables_command
from analyzer.errors import AritraceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "analyze"
#: Set by a shell's completion script (analyzer.cli.shell_completion).
COMPLETION_VARIABLE = "_ANALYZE_COMPLETE"
_HELP = (
    "Which bridges lost PCIe ARI Forwarding across a kexec, why, and which preserved devices were "
    "stranded.\n\nReads captures of PCI config-space accesses taken around a Live Update kexec. The first "
    "word is the verdict and decides the exit status: LOST, STRANDED, RENUMBERED 1; DIVERGES, UNREADABLE, "
    "UNDETERMINED 3; HEALED, WARNING, NOTED, NO KEXEC, clean 0; wrong usage 2 (docs/verdicts.md). Of more "
    "than 3 captures only an overview is shown without -v."
)


def build() -> Any:
    """Return the command that parses a command line and runs what it asks for."""
    app = typer.Typer(
        cls=CaptureGroup,
        invoke_without_command=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": HELP_NAMES},
        epilog="A first word that is no command is a capture; write ./NAME for a file named like a command.",
    )
    app.callback(help=_HELP)(captures_command)
    app.command("explain")(explain_command)
    app.command("atrisk")(atrisk_command)
    app.command("snapshot")(snapshot_command)
    app.command("collect")(collect_command)
    app.command("convert")(convert_command)
    app.command("stat")(stat_command)
    app.command("tables")(tables_command)
    app.command("dump")(dump_command)
    app.command("log")(log_command)
    app.command("rule")(rule_command)
    app.add_typer(corpus_app)
    app.add_typer(fleet_app)
    app.add_typer(lab_app)
    command = typer.main.get_command(app)
    make_plain(command)
    return command


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; it prints reports and messages only."""
    from analyzer.report import problems

    _prepare_streams()
    shell = os.environ.get(COMPLETION_VARIABLE)
    if shell:
        return _complete(arguments, shell)
    try:
        status = build().main(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        status = _wrong_usage(error)
    except typer.Abort as error:  # typer's name for an EOFError: nothing here asks for input
        problems.complain_about_crash(error.__cause__ or error, trace=_wants_trace(arguments))
        status = exit_status.FAILED
    except SystemExit as error:
        if error.code != 1:
            raise
        status = exit_status.BROKEN_PIPE  # what rich does when the reader closed the pipe
    except UsageError as error:
        problems.complain_about(error)
        status = exit_status.FAILED
    except AritraceError as error:
        problems.complain_about(error)
        status = exit_status.DOUBT
    except MemoryError:
        problems.complain("there is not enough memory for this; cut the capture around one kexec")
        status = exit_status.FAILED
    except Exception as error:  # the last resort: asks for a report instead of a trace
        if signals.status() is not None:
            raise
        problems.complain_about_crash(error, trace=_wants_trace(arguments))
        status = exit_status.FAILED
    return _flush(status if isinstance(status, int) else exit_status.OK)


def _complete(words: Sequence[str], shell: str) -> int:
    """Answer a shell's completion script, which must never see a message in the middle of a line."""
    from analyzer.cli import shell_completion
    from analyzer.report.output import put_text

    with contextlib.suppress(Exception):
        put_text((f"{line}\n" for line in shell_completion.answer(build(), words, shell)), None)
    return _flush(exit_status.OK)


def main() -> NoReturn:
    """Entry point of the console script."""
    signals.take()
    try:
        status = run(sys.argv[1:])
    except BaseException:
        if signals.status() is None:
            raise
        status = exit_status.FAILED
    # Whatever a signal's exception became on its way through other packages.
    ending = signals.status()
    signals.let_go()
    sys.exit(status if ending is None else ending)


def _wrong_usage(error: typer.TyperException) -> int:
    from analyzer.report import problems

    context = getattr(error, "ctx", None)
    name = context.command_path if context is not None else PROGRAM
    problems.complain(error.format_message().rstrip("."))
    problems.complain(f"try '{name} --help'", "hint")
    return exit_status.FAILED


def _wants_trace(arguments: Sequence[str]) -> bool:
    clusters = [argument for argument in arguments if argument[:1] == "-" and argument[1:2] != "-"]
    return sum(cluster.count("v") for cluster in clusters) + arguments.count("--verbose") > 1


def _prepare_streams() -> None:
    """Make printing safe: a closed stream discards, a character that the encoding lacks is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 open until exit
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flush(status: int) -> int:
    """Flush standard output while the status can still report a failure."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = exit_status.BROKEN_PIPE
    except OSError:
        status = exit_status.FAILED  # the message was printed where the report could not be written
    else:
        return status
    # Python must not try again to write it when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status
