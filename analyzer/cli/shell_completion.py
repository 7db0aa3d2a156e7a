"""Completions for a place on the command line: the shells' completion scripts ask the program itself.

A script (``completion/``) runs the program with the words of the line, up to and including the one under the
cursor, and the name of the shell in the variable ``_ANALYZE_COMPLETE``. The answer is a line for each word
that fits: ``plain``, the word and its help; or ``file`` where file names fit, which the shell completes.

typer decides which option or argument a place belongs to. It has no public name for that (0.29): both names
from ``typer._click`` are imported when a shell asks, and cost no other start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from typer._click.shell_completion import CompletionItem, ShellComplete

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Script of each shell, in the folder ``completion``.
SCRIPTS = {"bash": "analyze.bash", "zsh": "_analyze", "fish": "analyze.fish"}
_FILE = "file"
#: Placeholders of values that are files or directories.
_FILES = frozenset({"CAPTURE", "FILE", "SNAPSHOT", "OUT", "DIR", "[DIR]", "SOURCE", "SCENARIO"})
_CODES, _CODE, _SCENARIO = "CODES", "[CODE]", "SCENARIO"


def script(shell: str) -> str:
    """Return the completion script of a shell (a key of :data:`SCRIPTS`)."""
    from importlib.resources import files

    return (files("analyzer.cli") / "completion" / SCRIPTS[shell]).read_text("utf-8")


def answer(command: Any, words: Sequence[str], shell: str) -> Iterator[str]:
    """Yield the lines for a completion script.

    Args:
        command: the whole program (:func:`analyzer.cli.application.build`).
        words: the words after the program's name; the last is the one to complete.
        shell: the shell that asks.
    """
    *before, current = _rejoined(words) or [""]
    completer = _Completer(command, {}, "analyze", "")
    # fish compares with the whole word under the cursor; the others with what follows the "=".
    lead = current.partition("=")[0] + "=" if shell == "fish" and _holds_value(current) else ""
    for item in completer.get_completions(before, current):
        if item.type == _FILE:
            yield _FILE
        else:
            yield "\t".join(("plain", lead + str(item.value), " ".join((item.help or "").split())))


def of_parameter(parameter: Any, ctx: Any, incomplete: str) -> list[CompletionItem]:
    """Return what fits as the value of an option or argument."""
    items: list[CompletionItem] = []
    if parameter.metavar == _CODES:
        # A list: what precedes the last comma stays.
        done = incomplete[: incomplete.rfind(",") + 1]
        items = [CompletionItem(done + code, help=title) for code, title in _codes()]
    elif parameter.metavar == _CODE:
        items = [CompletionItem(code, help=title) for code, title in _codes()]
    elif parameter.metavar == _SCENARIO:
        items = [CompletionItem(name) for name in _scenarios()]
    else:
        items = [CompletionItem(choice) for choice in _choices(parameter)]
    fitting = [item for item in items if str(item.value).lower().startswith(incomplete.lower())]
    if parameter.metavar in _FILES:
        if parameter.param_type_name == "argument" and not ctx.params.get(parameter.name):
            fitting += _commands(ctx, incomplete)
        fitting.append(CompletionItem(incomplete, type=_FILE))
    return fitting


class _Completer(ShellComplete):
    """Typer's way from words to the parameter that is meant; the words come as arguments."""

    name = "words"
    source_template = ""

    def source_vars(self) -> dict[str, Any]:
        return {}

    def get_completion_args(self) -> tuple[list[str], str]:
        return [], ""

    def format_completion(self, item: CompletionItem) -> str:
        return str(item.value)


def _commands(ctx: Any, incomplete: str) -> Iterator[CompletionItem]:
    """The sub-commands, where no capture is given yet."""
    for name, command in sorted(getattr(ctx.command, "commands", {}).items()):
        if name.startswith(incomplete):
            yield CompletionItem(name, help=command.get_short_help_str(80))


def _choices(parameter: Any) -> Sequence[str]:
    annotation = parameter.type_descriptor.annotation
    kinds = [annotation, *get_args(annotation)]
    return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())


def _codes() -> Iterable[tuple[str, str]]:
    from analyzer.results.rules import RULES

    return [(rule.code, rule.title) for rule in RULES.values()]


def _scenarios() -> list[str]:
    from analyzer.lab.data_files import names

    return ["all-built", "all-stock", *names("scenarios")]


def _holds_value(word: str) -> bool:
    return word.startswith("--") and "=" in word


def _rejoined(words: Sequence[str]) -> list[str]:
    """The words without the ``=`` that bash cuts out of ``--format=json`` as a word of its own."""
    kept: list[str] = []
    for place, word in enumerate(words):
        cut_out = word == "=" and place > 0 and words[place - 1].startswith("--")
        if not cut_out:
            kept.append(word)
        elif place == len(words) - 1:
            kept.append("")
    return kept
