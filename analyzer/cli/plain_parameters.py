"""Options and arguments checked without pydantic, and shown without the names of Python types.

typer 0.29 checks every value through pydantic, which costs 90 ms to import at each start: a fifth of what one
capture may take from the shell. The parameters here are text, whole numbers, switches and choices; for those
the checks below say the same. A parameter of any other kind is left to typer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin

import typer
from typer.core import TyperArgument, TyperOption

if TYPE_CHECKING:
    from typer._click.core import Context
    from typer._click.shell_completion import CompletionItem
    from typer._coercion import RuntimeParam

HELP_NAMES = ["-h", "--help"]
_PLAIN: tuple[type, ...] = (str, int, bool)


@dataclass(frozen=True)
class _Check:
    """Stands in for typer's own run-time parameter: ``coerce`` is all that typer calls."""

    kind: type
    choices: tuple[str, ...]

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return ``value`` as the type of the parameter.

        Raises:
            typer.BadParameter: not of that type, or none of the choices.
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


class PlainOption(TyperOption):
    """An option of a plain kind."""

    def get_runtime_param(self) -> RuntimeParam:
        """Return the check of this option's value."""
        return _check(self) or super().get_runtime_param()

    def display_type_rich(self, ctx: Context) -> str | None:  # noqa: ARG002 the signature is typer's
        """Return what stands for the value in the help: nothing for a switch."""
        return self.metavar

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Return what fits as this option's value."""
        from analyzer.cli.shell_completion import of_parameter

        return of_parameter(self, ctx, incomplete)


class PlainArgument(TyperArgument):
    """An argument of a plain kind."""

    def get_runtime_param(self) -> RuntimeParam:
        """Return the check of this argument's values."""
        return _check(self) or super().get_runtime_param()

    def display_type_rich(self, ctx: Context) -> str | None:  # noqa: ARG002 as above
        """Return what stands beside the argument's name in the help: nothing."""
        return None

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Return what fits as this argument."""
        from analyzer.cli.shell_completion import of_parameter

        return of_parameter(self, ctx, incomplete)


def make_plain(command: Any) -> None:
    """Turn the parameters of ``command`` and its sub-commands into plain ones (typer has no hook for it)."""
    for below in getattr(command, "commands", {}).values():
        make_plain(below)
    # Asked for now, the help option is made and kept by the command.
    context = typer.Context(command, help_option_names=HELP_NAMES)
    for parameter in [*command.params, command.get_help_option(context)]:
        if type(parameter) is TyperOption:
            parameter.__class__ = PlainOption
        elif type(parameter) is TyperArgument:
            parameter.__class__ = PlainArgument


def _check(parameter: TyperOption | TyperArgument) -> RuntimeParam | None:
    annotation: Any = parameter.type_descriptor.annotation
    if get_origin(annotation) is list:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return cast("RuntimeParam", _Check(str, tuple(get_args(annotation))))
    return cast("RuntimeParam", _Check(annotation, ())) if annotation in _PLAIN else None
