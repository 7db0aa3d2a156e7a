"""The ``analyze`` program: its commands put together, and every way it can end."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from analyzer.cli import exit_status, signals
from analyzer.cli.atrisk_command import atrisk_command
from analyzer.cli.convert_command import convert_command
from analyzer.cli.corpus_command import corpus_app
from analyzer.cli.default_command import CaptureGroup
from analyzer.cli.explain_command import explain_command
from analyzer.cli.fleet_command import fleet_app
from analyzer.cli.lab_command import lab_app
from analyzer.cli.main_job import captures_command
from analyzer.cli.plain_parameters import HELP_NAMES, make_plain
from analyzer.cli.rule_command import rule_command
from analyzer.cli.snapshot_command import snapshot_command
from analyzer.cli.stat_command import stat_command
from analyzer.errors import AritraceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "analyze"
#: Set by a shell's completion script (analyzer.cli.shell_completion).
COMPLETION_VARIABLE = "_ANALYZE_COMPLETE"
_HELP = (
    "Which bridges lost PCIe ARI Forwarding across a kexec, why, and which preserved devices were "
    "stranded.\n\nReads captures of PCI config-space accesses taken around a Live Update kexec. The first "
    "word is the verdict, and goes with the exit status: LOST, STRANDED, RENUMBERED 1; DIVERGES, UNREADABLE, "
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
        epilog="A first word that is no command is a capture; for a file named like a command write ./NAME.",
    )
    app.callback(help=_HELP)(captures_command)
    app.command("explain")(explain_command)
    app.command("atrisk")(atrisk_command)
    app.command("snapshot")(snapshot_command)
    app.command("convert")(convert_command)
    app.command("stat")(stat_command)
    app.command("rule")(rule_command)
    app.add_typer(corpus_app)
    app.add_typer(fleet_app)
    app.add_typer(lab_app)
    command = typer.main.get_command(app)
    make_plain(command)
    return command


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; nothing but a report or a message is ever printed."""
    from analyzer.report import problems

    _prepare_streams()
    shell = os.environ.get(COMPLETION_VARIABLE)
    if shell:
        return _complete(arguments, shell)
    try:
        status = build().main(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        status = _wrong_usage(error)
    except typer.Abort as error:  # typer's word for an EOFError: nothing here asks for input
        problems.complain_about_crash(error.__cause__ or error, trace=_wants_trace(arguments))
        status = exit_status.FAILED
    except SystemExit as error:
        if error.code != 1:
            raise
        status = exit_status.BROKEN_PIPE  # rich's way to say that nobody reads any more
    except UsageError as error:
        problems.complain_about(error)
        status = exit_status.FAILED
    except AritraceError as error:
        problems.complain_about(error)
        status = exit_status.DOUBT
    except MemoryError:
        problems.complain("there is not enough memory for this; cut the capture around one kexec")
        status = exit_status.FAILED
    except Exception as error:  # the last resort: a plea for a report instead of a trace
        if signals.status() is not None:
            raise
        problems.complain_about_crash(error, trace=_wants_trace(arguments))
        status = exit_status.FAILED
    return _flush(status if isinstance(status, int) else exit_status.OK)


def _complete(words: Sequence[str], shell: str) -> int:
    """Answer a shell's completion script; a shell in the middle of a line must never see a message."""
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
    # Whatever a signal's exception became on its way through other people's code.
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
    """Make printing safe: a closed stream swallows, a character that the encoding lacks is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 open until exit
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flush(status: int) -> int:
    """Flush standard output while the status can still tell of it; a reader that left is no error of ours."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = exit_status.BROKEN_PIPE
    except OSError:
        status = exit_status.FAILED  # told where the report could not be written
    else:
        return status
    # What could not be written must not be tried again when the interpreter ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status
