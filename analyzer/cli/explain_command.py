"""``analyze explain``: everything the capture knows of one function."""

from typing import Annotated

import typer

from analyzer import bdf as addresses
from analyzer.cli.parameters import (
    AssumeOption,
    CmdlineOption,
    DmesgOption,
    EcamBaseOption,
    FlbNameOption,
    FlbOption,
    KexecAtOption,
    LinkTypeOption,
    MapOption,
    OneCapture,
    OutputOption,
    PolicyOption,
    PreservedOption,
    SeriesOption,
    TextOrJsonOption,
    ecam_base,
    field_map,
)
from analyzer.options import Options

Function = Annotated[
    str,
    typer.Argument(metavar="BDF", show_default=False, help="A function: 02:00.0 or 0000:02:00.0."),
]

TalkativeOption = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        rich_help_panel="Output",
        help="-v: every access and field; -vv: also the packets behind the evidence (captures of TLPs).",
    ),
]


def explain_command(  # noqa: PLR0913 typer makes an option of each parameter
    capture: OneCapture,
    bdf: Function,
    *,
    policy: PolicyOption = "observed",
    series: SeriesOption = None,
    cmdline: CmdlineOption = None,
    kexec_at: KexecAtOption = None,
    preserved: PreservedOption = None,
    flb: FlbOption = None,
    flb_name: FlbNameOption = None,
    dmesg: DmesgOption = None,
    assume_preserved: AssumeOption = False,
    field_names: MapOption = None,
    ecam: EcamBaseOption = None,
    linktype_raw_tlp: LinkTypeOption = None,
    form: TextOrJsonOption = "text",
    output: OutputOption = None,
    verbose: TalkativeOption = 0,
) -> None:
    """Tell one function's story: its ARI bit over time, each policy's decision, why it is (not) found."""
    from analyzer.cli.output_files import refuse_inputs
    from analyzer.errors import UsageError
    from analyzer.questions.explain.function import explain
    from analyzer.report import explain_report, json_report
    from analyzer.report.output import new_page, put_page, put_text

    try:
        function = addresses.text(addresses.parse(bdf))
    except ValueError as error:
        raise UsageError(str(error), advice="as lspci -D prints it") from None
    output = None if output == "-" else output
    options = Options(
        policy=policy,
        series=series,
        preserved=preserved,
        flb=flb,
        flb_name=flb_name,
        dmesg=dmesg,
        cmdline=cmdline,
        assume_preserved=assume_preserved,
        kexec_at=tuple(kexec_at or ()),
        field_map=field_map(field_names),
        ecam_base=ecam_base(ecam),
        linktype_raw_tlp=linktype_raw_tlp,
    )
    refuse_inputs([output], [capture], options)
    explanation = explain(capture, function, options)
    if form == "json":
        put_text([json_report.dumps(explanation)], output)
    else:
        from analyzer.questions.explain import evidence_packets

        packets = evidence_packets.of_explanation(explanation, options) if verbose > 1 else {}
        page = explain_report.fill(new_page(output), explanation, verbosity=verbose, packets=packets)
        put_page(page, output)
