"""The commands of one question: ``explain``, ``atrisk``, ``snapshot``, ``stat``, ``rule``, ``corpus``."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analyzer import bdf as addresses
from analyzer.cli import exit_status
from analyzer.cli.option_values import TextOrJson, reading_options
from analyzer.cli.parameters import (
    AssumeOption,
    Captures,
    CmdlineOption,
    ConfigBdfOption,
    DmesgOption,
    EcamBaseOption,
    FlbNameOption,
    FlbOption,
    GuestOption,
    InputFormatOption,
    JoinOption,
    KexecAtOption,
    LinkTypeOption,
    MapOption,
    OneCapture,
    OutputOption,
    PolicyOption,
    PreservedOption,
    QuietOption,
    SeedOption,
    SeriesOption,
    TextOrJsonOption,
    verbosity,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.report.page import Page

#: Exit status of ``atrisk`` by verdict (interface, section 6).
RISK_STATUS = {"safe": 0, "at-risk": 0, "already-lost": 1, "cannot-tell": 3}
_CORPUS = "traces"

corpus_app = typer.Typer(name="corpus", help="Check or update the regression corpus.")

Pieces = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CAPTURE",
        show_default=False,
        help="A file, or - for standard input; with --join the pieces in order.",
    ),
]
Function = Annotated[
    str,
    typer.Argument(metavar="BDF", show_default=False, help="A function: 02:00.0 or 0000:02:00.0."),
]
ExplainVerboseOption = Annotated[
    int,
    verbosity("-v: every access and field; -vv: also the packets of the evidence (captures of TLPs)."),
]
StrictRiskOption = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit with 1 where functions depend on ARI Forwarding that is on (AT RISK)."
    ),
]
BootNumber = Annotated[
    int | None,
    typer.Option(
        "--boot",
        metavar="N",
        show_default=False,
        help="The boot at whose end it is taken, as analyze stat numbers them. Default: the last.",
    ),
]
Code = Annotated[
    str | None,
    typer.Argument(metavar="[CODE]", show_default=False, help="As in ARI001; without one, all are listed."),
]
CorpusDirectory = Annotated[
    str, typer.Argument(metavar="[DIR]", help="Folder of NAME.bin files with a NAME.toml beside each.")
]
Write = Annotated[bool, typer.Option("--write", help="Write the new expectations into the case files.")]


def explain_command(  # noqa: PLR0913 typer makes an option of each parameter
    captures: Pieces = None,
    *,
    bdf: Function,
    join: JoinOption = False,
    seed: SeedOption = None,
    policy: PolicyOption = "observed",
    series: SeriesOption = None,
    cmdline: CmdlineOption = None,
    kexec_at: KexecAtOption = None,
    preserved: PreservedOption = None,
    flb: FlbOption = None,
    flb_name: FlbNameOption = None,
    dmesg: DmesgOption = None,
    assume_preserved: AssumeOption = False,
    input_format: InputFormatOption = None,
    config_function: ConfigBdfOption = None,
    field_names: MapOption = None,
    ecam: EcamBaseOption = None,
    guest: GuestOption = None,
    linktype_raw_tlp: LinkTypeOption = None,
    form: TextOrJsonOption = "text",
    output: OutputOption = None,
    verbose: ExplainVerboseOption = 0,
) -> None:
    """Explain one function: ARI Forwarding over time, each policy's decision, why it is (not) found."""
    from analyzer.capture.joining import refuse_single
    from analyzer.cli.outputs import refuse_inputs
    from analyzer.errors import UsageError
    from analyzer.questions.explain.function import explain
    from analyzer.report import explain_report

    try:
        function = addresses.text(addresses.parse(bdf))
    except ValueError as error:
        if not captures:  # the last word is taken as the function
            raise UsageError("Missing argument 'BDF'", advice="analyze explain CAPTURE BDF") from None
        raise UsageError(str(error), advice="as lspci -D prints it") from None
    if not captures:
        raise UsageError("Missing argument 'CAPTURE'", advice="analyze explain CAPTURE BDF")
    options = reading_options(locals())
    if len(captures) > 1 and not join:
        raise UsageError(
            f"expected one capture, found {len(captures)}",
            advice="--join takes them as pieces of one history",
        )
    if join:
        refuse_single(captures)
    refuse_inputs([output], captures, options)
    explanation = explain(captures, function, options)

    def fill(page: "Page") -> None:
        from analyzer.questions.explain import evidence_packets

        one = verbose > 1 and len(captures) == 1
        packets = evidence_packets.of_explanation(explanation, options) if one else {}
        explain_report.fill(page, explanation, verbosity=verbose, packets=packets)

    _put(form, explanation, fill, output)


def atrisk_command(  # noqa: PLR0913 typer makes an option of each parameter
    snapshot: OneCapture,
    *,
    seed: SeedOption = None,
    series: SeriesOption = None,
    preserved: PreservedOption = None,
    flb: FlbOption = None,
    flb_name: FlbNameOption = None,
    input_format: InputFormatOption = None,
    config_function: ConfigBdfOption = None,
    guest: GuestOption = None,
    form: TextOrJsonOption = "text",
    output: OutputOption = None,
    strict: StrictRiskOption = False,
) -> None:
    """Before a kexec: which functions depend on ARI Forwarding of which bridge, and what can clear it.

    The first word decides the exit status: SAFE 0, AT RISK 0 (with --strict 1: functions depend on ARI
    Forwarding that is on, the normal state of a host with ARI functions), ALREADY LOST 1 (it is off in
    hardware), CANNOT TELL 3 (what would exclude a loss is not in the input; the report names the bytes).
    """
    from analyzer.cli.outputs import refuse_inputs
    from analyzer.questions.atrisk import atrisk
    from analyzer.report import atrisk_report

    options = reading_options(locals())
    refuse_inputs([output], [snapshot], options)
    found = atrisk(snapshot, options)
    _put(form, found, lambda page: atrisk_report.fill(page, found), output)
    raise typer.Exit(1 if strict and found.verdict == "at-risk" else RISK_STATUS[found.verdict])


def snapshot_command(  # noqa: PLR0913 typer makes an option of each parameter
    capture: OneCapture,
    *,
    boot: BootNumber = None,
    kexec_at: KexecAtOption = None,
    dmesg: DmesgOption = None,
    input_format: InputFormatOption = None,
    config_function: ConfigBdfOption = None,
    field_names: MapOption = None,
    ecam: EcamBaseOption = None,
    guest: GuestOption = None,
    linktype_raw_tlp: LinkTypeOption = None,
    output: OutputOption = None,
) -> None:
    """Write config space as the capture shows it at the end of a boot, as text for lspci -vvv -F."""
    from analyzer.cli.outputs import refuse_inputs
    from analyzer.questions.snapshot import take
    from analyzer.report.lspci_text import lspci_text
    from analyzer.report.output import put_text

    options = reading_options(locals())
    refuse_inputs([output], [capture], options)
    put_text(lspci_text(take(capture, boot, options)), output)


def stat_command(  # noqa: PLR0913 typer makes an option of each parameter
    captures: Captures = None,
    *,
    input_format: InputFormatOption = None,
    config_function: ConfigBdfOption = None,
    field_names: MapOption = None,
    ecam: EcamBaseOption = None,
    guest: GuestOption = None,
    linktype_raw_tlp: LinkTypeOption = None,
    form: TextOrJsonOption = "text",
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Show what captures hold (accesses, boots, kexecs, gaps) and what is missing for a full answer."""
    from analyzer.cli.outputs import refuse_inputs
    from analyzer.errors import AritraceError, UsageError
    from analyzer.questions.statistics import CaptureStatistics
    from analyzer.questions.statistics import stat as statistics
    from analyzer.readers import each_machine, sources
    from analyzer.report import problems, stat_report

    found = sources.expand(captures or ())
    if not found.found:
        raise UsageError("name at least one capture")
    refuse_inputs([output], found.paths)
    options = reading_options(locals())
    results = []
    for source in found.found:
        try:
            if source.error is not None:
                raise source.error
            results.extend(each_machine(source.path, options, partial(statistics, source.path)))
        except AritraceError as error:
            results.append(CaptureStatistics(source.path, error=str(error)))
            problems.complain_about(error)
    if not quiet:
        problems.print_left_out(found.left_out)
    _put(form, results, lambda page: stat_report.fill(page, results), output)
    unread = any(result.error is not None for result in results)
    raise typer.Exit(exit_status.DOUBT if unread else exit_status.OK)


def rule_command(code: Code = None, *, form: TextOrJsonOption = "text") -> None:
    """Explain a finding's code: what it means, where the rule comes from, what to do."""
    from analyzer.report import rule_report
    from analyzer.results.rules import RULES, rule

    if code is None:
        every = list(RULES.values())
        _put(form, every, lambda page: rule_report.fill_list(page, every), None)
    else:
        chosen = rule(code)
        _put(form, chosen, lambda page: rule_report.fill_one(page, chosen), None)


@corpus_app.command("check")
def check_command(directory: CorpusDirectory = _CORPUS) -> None:
    """Analyse every capture of the corpus and compare with its case file; exit status 1 if one differs."""
    from analyzer.questions import corpus
    from analyzer.report import corpus_report

    cases = corpus.check(directory)
    _put("text", cases, lambda page: corpus_report.fill_check(page, cases), None)
    raise typer.Exit(exit_status.OK if all(case.ok for case in cases) else exit_status.LOSS)


@corpus_app.command("update")
def update_command(directory: CorpusDirectory = _CORPUS, *, write: Write = False) -> None:
    """Show as a diff what the case files would have to expect; nothing is written without --write."""
    from analyzer.questions import corpus
    from analyzer.report import corpus_report

    cases = corpus.update(directory, write=write)
    _put("text", cases, lambda page: corpus_report.fill_update(page, cases, written=write), None)


def _put(form: TextOrJson, answer: Any, fill: "Callable[[Page], object]", output: str | None) -> None:
    """Write an answer as JSON, or the page that ``fill`` makes of it."""
    from analyzer.report.output import new_page, put_page, put_text

    if form == "json":
        from analyzer.report import json_report

        put_text([json_report.dumps(answer)], output)
    else:
        page = new_page(output)
        fill(page)
        put_page(page, output)
