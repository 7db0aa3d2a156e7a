"""Options that several commands share, declared once."""

# No "from __future__ import annotations" here and in the commands: typer evaluates the annotations at start,
# and strings would cost it a lookup each.

from typing import Annotated, Any, Literal

import typer

from analyzer import series
from analyzer.cli.option_values import INPUT_FORMATS, Format, InputFormat, SeriesName, TextOrJson
from analyzer.options import PolicyChoice

_REPLAY = "Replay"
_PRESERVED = "Preserved set"
_OUTPUT = "Output"
_INPUT = "Input formats"
_FLB_NAMES = sorted(series.flb_names())


def _none_for_standard_output(file: str | None) -> str | None:
    return None if file == "-" else file


Captures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CAPTURE", show_default=False, help="Files, directories, globs, or - for standard input."
    ),
]
OneCapture = Annotated[
    str, typer.Argument(metavar="CAPTURE", show_default=False, help="A file, or - for standard input.")
]

PolicyOption = Annotated[
    PolicyChoice,
    typer.Option(
        "--policy",
        metavar="POLICY",
        rich_help_panel=_REPLAY,
        help=(
            "Policy that verdicts are given under: observed, stock, inherit, serialize or heal. 'observed' "
            "is the one the incoming kernel followed; the others are always shown too."
        ),
    ),
]
SeriesOption = Annotated[
    SeriesName | None,
    typer.Option(
        "--series",
        metavar=series.span(series.TABLE, "..."),
        rich_help_panel=_REPLAY,
        show_default=False,
        help=(
            "Version of the Live Update patches, for the bus-number rules (default: recognised, else "
            f"{series.newest().name})."
        ),
    ),
]
CmdlineOption = Annotated[
    str | None,
    typer.Option(
        "--cmdline",
        metavar="TEXT|@FILE",
        rich_help_panel=_REPLAY,
        show_default=False,
        help=(
            "The incoming kernel's command line, if nothing else says it (pci=noari, pci=pcie_scan_all, "
            "pci=assign-busses)."
        ),
    ),
]
KexecAtOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kexec-at",
        metavar="access:N|time:NS",
        rich_help_panel=_REPLAY,
        show_default=False,
        help="A kexec boundary, given explicitly: the incoming kernel's first access. May be repeated.",
    ),
]
JoinOption = Annotated[
    bool,
    typer.Option(
        "--join",
        rich_help_panel=_REPLAY,
        help="The captures are consecutive pieces of one history, in this order; each junction is a kexec.",
    ),
]
SeedOption = Annotated[
    str | None,
    typer.Option(
        "--seed",
        metavar="SNAPSHOT",
        rich_help_panel=_REPLAY,
        show_default=False,
        help=(
            "State of the machine where the capture begins, if that is not a boot: lspci -xxxx, a sysfs "
            "tree, or a capture."
        ),
    ),
]
PreservedOption = Annotated[
    str | None,
    typer.Option(
        "--preserved",
        metavar="BDF,...|@FILE",
        rich_help_panel=_PRESERVED,
        show_default=False,
        help=(
            "Preserved endpoints, as KEXEC:BDF for one of several kexecs; every bridge above them is implied."
        ),
    ),
]
FlbOption = Annotated[
    str | None,
    typer.Option(
        "--flb",
        metavar="FILE",
        rich_help_panel=_PRESERVED,
        show_default=False,
        help="Raw kernel data of the preserved set (struct pci_ser, followed by its KHO blocks).",
    ),
]
FlbNameOption = Annotated[
    str | None,
    typer.Option(
        "--flb-name",
        metavar="NAME",
        rich_help_panel=_PRESERVED,
        show_default=False,
        help=f"FLB name of the data of --flb, if known: {', '.join(_FLB_NAMES[:-1])} or {_FLB_NAMES[-1]}.",
    ),
]
DmesgOption = Annotated[
    str | None,
    typer.Option(
        "--dmesg",
        metavar="FILE",
        rich_help_panel=_PRESERVED,
        show_default=False,
        help="Kernel log of one or both kernels: preserved lines, command lines, link and reset evidence.",
    ),
]
AssumeOption = Annotated[
    bool,
    typer.Option(
        "--assume-preserved",
        rich_help_panel=_PRESERVED,
        help="Take every function seen below a bridge with ARI Forwarding as preserved.",
    ),
]
LinkTypeOption = Annotated[
    int | None,
    typer.Option(
        "--linktype-raw-tlp",
        metavar="N",
        rich_help_panel=_INPUT,
        show_default=False,
        help="In pcap files, take packets of this link type as bare TLPs (125, 147 to 162).",
    ),
]
InputFormatOption = Annotated[
    InputFormat | None,
    typer.Option(
        "--input-format",
        metavar="NAME",
        rich_help_panel=_INPUT,
        show_default=False,
        help=(
            f"Format of every capture, where its content does not say it: {', '.join(INPUT_FORMATS[:-1])} or"
            f" {INPUT_FORMATS[-1]}."
        ),
    ),
]
ConfigBdfOption = Annotated[
    str | None,
    typer.Option(
        "--bdf",
        metavar="DDDD:BB:DD.F",
        rich_help_panel=_INPUT,
        show_default=False,
        help="The function whose config file this is (as bytes or a hex dump), if its name does not say it.",
    ),
]
MapOption = Annotated[
    str | None,
    typer.Option(
        "--map",
        metavar="FIELD=NAME,...",
        rich_help_panel=_INPUT,
        show_default=False,
        help=(
            "In ftrace recordings, unusual names of the fields domain, bus, devfn, offset, width, value and "
            "status, and of events that read or write (read=EVENT)."
        ),
    ),
]
EcamBaseOption = Annotated[
    str | None,
    typer.Option(
        "--ecam-base",
        metavar="ADDR",
        rich_help_panel=_INPUT,
        show_default=False,
        help="Physical address of a guest's ECAM window, where a host's recording does not say it.",
    ),
]
GuestOption = Annotated[
    int | None,
    typer.Option(
        "--guest",
        metavar="PID",
        min=0,
        rich_help_panel=_INPUT,
        show_default=False,
        help=(
            "In a host's recording of several guests, only the guest with this process or thread; 0 is the "
            "host itself. Default: each guest is a capture of its own."
        ),
    ),
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        metavar="FORMAT",
        rich_help_panel=_OUTPUT,
        help=(
            "Form of the report: text, json (one object), jsonl (one a line for each capture), csv or "
            "parquet (a row for each verdict), junit (XML), or sarif."
        ),
    ),
]
TextOrJsonOption = Annotated[
    TextOrJson,
    typer.Option("--format", metavar="text|json", rich_help_panel=_OUTPUT, help="Form of the report."),
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        rich_help_panel=_OUTPUT,
        show_default=False,
        callback=_none_for_standard_output,
        help="Write to FILE, atomically, in place of standard output.",
    ),
]
PerfettoOption = Annotated[
    str | None,
    typer.Option(
        "--perfetto",
        metavar="FILE",
        rich_help_panel=_OUTPUT,
        show_default=False,
        help="Also write a timeline of one capture to FILE, for ui.perfetto.dev.",
    ),
]
HtmlOption = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="FILE",
        rich_help_panel=_OUTPUT,
        show_default=False,
        help="Also write the report as one self-contained HTML page.",
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", rich_help_panel=_OUTPUT, help="No progress, no warnings on standard error."
    ),
]


def verbosity(text: str) -> Any:
    """``-v``, counted; ``text`` says what each of them adds."""
    return typer.Option("--verbose", "-v", count=True, show_default=False, rich_help_panel=_OUTPUT, help=text)


VerboseOption = Annotated[
    int,
    verbosity(
        "-v: all captures, bridges, functions and sources; -vv: also the accesses that show or change "
        "ARI Forwarding, and what each policy decides; -vvv: how everything was worked out."
    ),
]
VersionOption = Annotated[bool, typer.Option("--version", help="Print the version and exit.")]
ShowCompletionOption = Annotated[
    Literal["bash", "zsh", "fish"] | None,
    typer.Option(
        "--show-completion",
        metavar="bash|zsh|fish",
        show_default=False,
        help="Print a shell's completion script and exit; 'source' its output.",
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        rich_help_panel="Exit status",
        help="A healed loss counts as a loss.",
    ),
]
ExitZeroOption = Annotated[
    bool,
    typer.Option("--exit-zero", rich_help_panel="Exit status", help="Exit with 0 whatever is found."),
]
SelectOption = Annotated[
    str | None,
    typer.Option(
        "--select",
        metavar="CODES",
        rich_help_panel="Exit status",
        show_default=False,
        help="Only these findings count (ARI001,ARI007; prefixes work).",
    ),
]
IgnoreOption = Annotated[
    str | None,
    typer.Option(
        "--ignore",
        metavar="CODES",
        rich_help_panel="Exit status",
        show_default=False,
        help="These findings do not count.",
    ),
]
