"""The manual page analyze(1), from the commands and options that ``--help`` shows.

python -m analyzer.cli.manual > docs/man/analyze.1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperArgument, TyperOption

from analyzer.cli.application import PROGRAM, build
from analyzer.cli.exit_status import MEANINGS
from analyzer.cli.parsing import HELP_NAMES
from analyzer.report.man_page import ManPage, bold, italic, text
from analyzer.version import ISSUES, NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PURPOSE = "find PCIe bridges that lost ARI Forwarding across a kexec, and the devices that were stranded"
_EXAMPLES = (
    ("analyze host17.bin", "Analyse a capture:"),
    (
        "analyze -vv host17.log --dmesg console.txt",
        "The same with the kernel log and every step of the reasoning:",
    ),
    (
        "analyze captures/ --format junit -o report.xml",
        "All captures of a directory, for continuous integration:",
    ),
    ("analyze explain host17.bin 02:00.0", "Everything about one bridge:"),
    (
        "analyze collect --before -o before.bin",
        "Keep what this host shows before a kexec, for analyze --join before.bin after.bin:",
    ),
    (
        "analyze atrisk before.txt",
        "Before a kexec, which functions depend on which bridge (lspci -D -xxxx > before.txt):",
    ),
)
_FILES = (
    ("NAME.preserved", "preserved endpoints of the capture NAME, as for --preserved @FILE"),
    ("NAME.flb", "raw kernel data of its preserved set, as for --flb"),
    ("NAME.dmesg", "its kernel log, as for --dmesg"),
)
_ENVIRONMENT = (
    ("NO_COLOR", "no colours on a terminal"),
    ("FORCE_COLOR", "colours everywhere"),
)
_SEE_ALSO = (("lspci", 8), ("setpci", 8), ("trace-cmd", 1), ("kexec", 8))


def manual() -> str:
    """Return the page as roff."""
    program = build()
    page = ManPage(PROGRAM, NAME)
    page.section("Name")
    page.lines.append(f"{PROGRAM} \\- {text(_PURPOSE)}")
    page.section("Synopsis")
    for number, (names, command) in enumerate(_commands(program, PROGRAM)):
        page.lines += [".br"] if number else []
        page.lines.append(_usage(names, command))
    page.section("Description")
    for part in program.help.split("\n\n"):
        page.paragraph(text(part))
    page.paragraph(text(program.epilog))
    page.section("Options")
    _add_options(page, _options(program))
    _add_commands(page, program)
    _add_lists(page)
    return page.roff()


def _add_commands(page: ManPage, program: Any) -> None:
    shared = {_key(option) for option in _options(program)}
    page.section("Commands")
    for names, command in _commands(program, PROGRAM):
        if command is program:
            continue
        page.subsection(names)
        page.paragraph(_usage(names, command))
        page.paragraph(text(command.help))
        for argument in command.params:
            if isinstance(argument, TyperArgument) and argument.help:
                page.term(italic(_placeholder(argument)), text(argument.help))
        own = [option for option in _options(command) if _key(option) not in shared]
        for option in own:
            page.term(_term(option), _described(option))
        others = [option.opts[0] for option in _options(command) if _key(option) in shared]
        others = [name for name in others if name not in HELP_NAMES]
        if others:
            page.paragraph("Options as above: " + ", ".join(bold(name) for name in others) + ".")


def _add_lists(page: ManPage) -> None:
    """What follows the options: exit status, finding codes, files, environment, examples."""
    from analyzer.results.rules import RULES

    page.section("Exit status")
    for status, meaning in MEANINGS.items():
        page.term(bold(str(status)), text(meaning))
    page.section("Finding codes")
    page.paragraph(
        f"{bold('analyze rule')} {italic('CODE')} says what a finding means and where its rule comes from."
    )
    for rule in RULES.values():
        page.term(bold(rule.code), text(f"{rule.title} ({rule.severity})"))
    page.section("Files")
    page.paragraph(text("Files beside a capture belong to it, unless an option says otherwise:"))
    for name, meaning in _FILES:
        page.term(italic(name), text(meaning))
    page.section("Environment")
    for name, meaning in _ENVIRONMENT:
        page.term(bold(name), text(meaning))
    page.section("Examples")
    for command, meaning in _EXAMPLES:
        page.example(command, text(meaning))
    page.section("Reporting faults")
    page.paragraph(text(f"At {ISSUES}, with the smallest capture that shows it."))
    page.section("See also")
    page.lines.append(", ".join(f"{bold(name)}({number})" for name, number in _SEE_ALSO))


def _commands(command: Any, names: str) -> Iterator[tuple[str, Any]]:
    """The program and each command that can be run, with the words that call it."""
    below = getattr(command, "commands", {})
    if command.callback is not None or not below:
        yield names, command
    for name, sub in below.items():
        if not sub.hidden:
            yield from _commands(sub, f"{names} {name}")


def _usage(names: str, command: Any) -> str:
    arguments = [_placeholder(p) for p in command.params if isinstance(p, TyperArgument)]
    places = [bold(names)]
    if any(isinstance(parameter, TyperOption) for parameter in command.params):
        places.append(f"[{italic('options')}]")
    places += [_argument(name) for name in arguments]
    return " ".join(places)


def _argument(name: str) -> str:
    return f"[{italic(name[1:-1])}]" if name.startswith("[") else italic(name)


def _placeholder(argument: TyperArgument) -> str:
    name = argument.metavar or (argument.name or "").upper()
    return f"{name}..." if argument.nargs == -1 else name


def _options(command: Any) -> list[TyperOption]:
    context = typer.Context(command)
    return [p for p in command.get_params(context) if isinstance(p, TyperOption) and not p.hidden]


def _add_options(page: ManPage, options: Sequence[TyperOption]) -> None:
    panels: dict[str, list[TyperOption]] = {}
    for option in options:
        panels.setdefault(option.rich_help_panel or "", []).append(option)
    for panel, several in panels.items():
        if panel:
            page.subsection(panel)
        for option in several:
            page.term(_term(option), _described(option))


def _key(option: TyperOption) -> tuple[str, str | None, str | None]:
    return option.opts[0], option.metavar, option.help


def _term(option: TyperOption) -> str:
    names = sorted([*option.opts, *option.secondary_opts], key=len)
    value = "" if option.is_flag or option.count else f" {italic(option.metavar or 'VALUE')}"
    return ", ".join(bold(name) + value for name in names)


def _described(option: TyperOption) -> str:
    words = option.help or ""
    if option.show_default and option.default not in (None, False, 0) and not option.is_flag:
        words += f" Default: {option.default}."
    return text(words)


if __name__ == "__main__":
    from analyzer.report.output import put_text

    put_text([manual()], None)
