"""A command group that does the main job itself when the first word is no sub-command.

``analyze a.bin`` and ``analyze explain a.bin 02:00.0`` coexist. The group owns the options and the argument
of the main job, so that one ``--help`` shows them and the sub-commands; this class only decides which of the
two a command line means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from analyzer.cli.exit_status import BROKEN_PIPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typer._click.core import Context


def first_word(arguments: Sequence[str], with_value: frozenset[str]) -> int | None:
    """Return the index of the first argument that is no option or option value, None if there is none.

    ``--`` ends the options, and what follows it is never a sub-command: then the result is None too.

    Args:
        arguments: the command line behind the program's name.
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
    """Tell whether the word behind this option is its value."""
    if argument.startswith("--"):
        return argument in with_value
    # A cluster of short options: -vo takes the next word, -oFILE holds its value.
    for place, letter in enumerate(argument[1:], start=1):
        if f"-{letter}" in with_value:
            return place == len(argument) - 1
    return False


class CaptureGroup(TyperGroup):
    """The ``analyze`` command: the main job, or one of the sub-commands."""

    def make_context(self, *args: Any, **kwargs: Any) -> Context:
        """Parse the command line; help into a closed pipe is no error of ours."""
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError:
            raise typer.Exit(BROKEN_PIPE) from None

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Decide between the main job and a sub-command, and parse the options of the one that is meant.

        Options that stand before a sub-command's name are handed to the sub-command.
        """
        word = first_word(args, self._options_with_value())
        if word is not None and args[word] in self.commands and not _asks_for_help(args[:word]):
            name = args[word]
            # No argument of this group's own, so that every default applies and the callback does nothing.
            super(TyperGroup, self).parse_args(ctx, [])
            ctx._protected_args = [name]  # noqa: SLF001 the vendored click knows no public way
            ctx.args = [*args[:word], *args[word + 1 :]]
            return ctx.args
        ctx.allow_interspersed_args = True
        super(TyperGroup, self).parse_args(ctx, list(args))
        return ctx.args

    def invoke(self, ctx: Context) -> Any:
        """Run what was chosen; a reader that went away ends the program quietly."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise typer.Exit(BROKEN_PIPE) from None

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """Return the usage line of the main job; the sub-commands stand in their own section."""
        return super(TyperGroup, self).collect_usage_pieces(ctx)

    def get_params(self, ctx: Context) -> list[Any]:
        """Return the parameters; in the usage line of a sub-command those of the main job do not appear."""
        parameters: list[Any] = super().get_params(ctx)
        if ctx.command is not self:
            return [parameter for parameter in parameters if not isinstance(parameter, TyperArgument)]
        return parameters

    def _options_with_value(self) -> frozenset[str]:
        options: Iterable[TyperOption] = (p for p in self.params if isinstance(p, TyperOption))
        return frozenset(
            name for option in options if not option.is_flag and not option.count for name in option.opts
        )


def _asks_for_help(arguments: Sequence[str]) -> bool:
    return "--help" in arguments or "-h" in arguments
