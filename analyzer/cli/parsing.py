"""How a command line is parsed, where typer has no way of its own for it.

The program is one command group that also does the main job: ``analyze a.bin`` and ``analyze explain a.bin
02:00.0`` coexist. Values are checked without pydantic, and the help shows no names of Python types.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from analyzer.cli.exit_status import BROKEN_PIPE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

HELP_NAMES = ["-h", "--help"]
#: Key in a context's ``meta``: the command line names a sub-command.
_SUB_COMMAND: Final = "analyzer.cli.sub_command"
_PLAIN: Final = (str, int, bool)
_COMMAND_LIKE: Final = re.compile("[a-z-]{3,20}")
_INSIDE_A_PARAGRAPH: Final = re.compile(r"(?<!\n)\n(?!\n)")
#: How like a command a word must be (difflib's ratio): one letter wrong, missing, added or swapped.
_NEAR: Final = 0.7


def first_word(arguments: Sequence[str], with_value: frozenset[str]) -> int | None:
    """Return the index of the first argument that is neither an option nor its value, None if there is none.

    ``--`` ends the options, and what follows it is never a sub-command: then the result is None too.

    Args:
        arguments: the command line after the program's name.
        with_value: options (``--format``, ``-o``) that take a value.
    """
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        if argument == "--":
            return None
        if argument == "-" or not argument.startswith("-"):
            return index
        index += 2 if _takes_next(argument, with_value) else 1
    return None


def _takes_next(argument: str, with_value: frozenset[str]) -> bool:
    """Whether the word after this option is its value."""
    if argument.startswith("--"):
        return argument in with_value
    # A cluster of short options: -vo takes the next word, -oFILE holds its value.
    for place, letter in enumerate(argument[1:], start=1):
        if f"-{letter}" in with_value:
            return place == len(argument) - 1
    return False


def refuse_mistyped(word: str, commands: Collection[str]) -> None:
    """Refuse a first word that is no file, and nearly a command.

    Raises:
        UsageError: it looks like one of the commands.
    """
    if word in commands or not _COMMAND_LIKE.fullmatch(word) or os.path.lexists(word):
        return
    from difflib import get_close_matches

    from analyzer.errors import UsageError

    near = get_close_matches(word, list(commands), 1, _NEAR)
    if near:
        raise UsageError(
            f"there is no file {word!r}, and no such command",
            advice=f"did you mean 'analyze {near[0]}'? (./{word} is always a file)",
        )


class CaptureGroup(TyperGroup):
    """The ``analyze`` command: the main job, or one of the sub-commands.

    It owns the options and the argument of the main job, so that one ``--help`` shows them and the
    sub-commands.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the command line; help into a closed pipe is not an error of the program."""
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError:
            raise typer.Exit(BROKEN_PIPE) from None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Decide between the main job and a sub-command, and parse the options of the one that is meant.

        Options before a sub-command's name are passed to the sub-command.
        """
        word = first_word(args, self._options_with_value())
        if word is not None and args[word] in self.commands and not _asks_for_help(args[:word]):
            ctx.meta[_SUB_COMMAND] = True
            return super().parse_args(ctx, [args[word], *args[:word], *args[word + 1 :]])
        ctx.allow_interspersed_args = True
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run what was chosen; a reader that closes its end of the pipe ends the program silently."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise typer.Exit(BROKEN_PIPE) from None

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the usage line of the main job; the sub-commands have their own section."""
        return super(TyperGroup, self).collect_usage_pieces(ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; where a sub-command is named, without the argument of the main job."""
        parameters: list[Any] = super().get_params(ctx)
        if _SUB_COMMAND in ctx.meta:
            return [parameter for parameter in parameters if not isinstance(parameter, TyperArgument)]
        return parameters

    def _options_with_value(self) -> frozenset[str]:
        options: Iterable[TyperOption] = (p for p in self.params if isinstance(p, TyperOption))
        return frozenset(
            name for option in options if not option.is_flag and not option.count for name in option.opts
        )


def _asks_for_help(arguments: Sequence[str]) -> bool:
    return "--help" in arguments or "-h" in arguments


def make_plain(command: Any) -> None:
    """Let the parameters of ``command`` and its sub-commands check their own values.

    typer 0.29 checks every value through pydantic and offers no way to choose another class of parameters.
    Measured on 2026-11-30 with a capture of 6,146 accesses (median of 20 runs in turn, 2 cores): ``analyze
    ONE.bin`` takes 353 ms and 83 MiB like this, 389 ms and 90 MiB through pydantic; ``analyze --help``, which
    checks no value, takes 138 ms either way. The parameters here are text, whole numbers, switches and
    choices; one of any other kind is left to typer.
    """
    for below in getattr(command, "commands", {}).values():
        make_plain(below)
    if command.help:  # rich keeps the line breaks of all paragraphs but the first
        command.help = _INSIDE_A_PARAGRAPH.sub(" ", command.help)
    # Asked for now, the help option is made and kept by the command.
    context = typer.Context(command, help_option_names=HELP_NAMES)
    for parameter in [*command.params, command.get_help_option(context)]:
        if type(parameter) is TyperOption:
            parameter.__class__ = _PlainOption
        elif type(parameter) is TyperArgument:
            parameter.__class__ = _PlainArgument


class _PlainOption(TyperOption):
    def get_runtime_param(self) -> Any:
        return _check(self) or super().get_runtime_param()

    def display_type_rich(self, ctx: Any) -> str | None:  # noqa: ARG002 the signature is typer's
        """What the help shows for the value: nothing for a switch."""
        return self.metavar

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        return _completions(self, ctx, incomplete)


class _PlainArgument(TyperArgument):
    def get_runtime_param(self) -> Any:
        return _check(self) or super().get_runtime_param()

    def display_type_rich(self, ctx: Any) -> str | None:  # noqa: ARG002 as above
        return None

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        return _completions(self, ctx, incomplete)


def _completions(parameter: Any, ctx: Any, incomplete: str) -> Any:
    from analyzer.cli.shell_completion import of_parameter

    return of_parameter(parameter, ctx, incomplete)


@dataclass(frozen=True)
class _Check:
    """Takes the place of typer's own check of values, of which typer calls ``coerce`` only."""

    kind: type
    choices: tuple[str, ...] = ()

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return ``value`` as the type of the parameter.

        Raises:
            typer.BadParameter: not of that type, or not one of the choices.
        """
        if param.multiple or param.nargs == -1:
            return [self._one(item, param, ctx) for item in value or ()]
        return None if value is None else self._one(value, param, ctx)

    def _one(self, value: Any, param: Any, ctx: Any) -> Any:
        if self.choices and value not in self.choices:
            wanted = ", ".join(self.choices)
            raise typer.BadParameter(f"expected one of {wanted}; found {value!r}", ctx=ctx, param=param)
        if self.kind is not int:
            return value
        try:
            return int(value)
        except ValueError:
            message = f"expected a whole number; found {value!r}"
            raise typer.BadParameter(message, ctx=ctx, param=param) from None


def _check(parameter: TyperOption | TyperArgument) -> _Check | None:
    annotation: Any = parameter.type_descriptor.annotation
    if get_origin(annotation) is list:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return _Check(str, get_args(annotation))
    return _Check(annotation) if annotation in _PLAIN else None
