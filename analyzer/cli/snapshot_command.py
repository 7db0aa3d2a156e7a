"""``analyze snapshot``: config space at the end of a boot, as text that lspci -F reads."""

from typing import Annotated

import typer

from analyzer.cli.parameters import (
    DmesgOption,
    EcamBaseOption,
    KexecAtOption,
    LinkTypeOption,
    MapOption,
    OneCapture,
    OutputOption,
    ecam_base,
    field_map,
)
from analyzer.options import Options

BootNumber = Annotated[
    int | None,
    typer.Option(
        "--boot",
        metavar="N",
        show_default=False,
        help="The boot at whose end it is taken, as analyze stat numbers them. Default: the last.",
    ),
]


def snapshot_command(
    capture: OneCapture,
    *,
    boot: BootNumber = None,
    kexec_at: KexecAtOption = None,
    dmesg: DmesgOption = None,
    field_names: MapOption = None,
    ecam: EcamBaseOption = None,
    linktype_raw_tlp: LinkTypeOption = None,
    output: OutputOption = None,
) -> None:
    """Write config space as the capture shows it at the end of a boot, as text for lspci -vvv -F."""
    from analyzer.cli.output_files import refuse_inputs
    from analyzer.questions.snapshot import take
    from analyzer.report.lspci_text import lspci_text
    from analyzer.report.output import put_text

    output = None if output == "-" else output
    options = Options(
        dmesg=dmesg,
        kexec_at=tuple(kexec_at or ()),
        field_map=field_map(field_names),
        ecam_base=ecam_base(ecam),
        linktype_raw_tlp=linktype_raw_tlp,
    )
    refuse_inputs([output], [capture], options)
    put_text(lspci_text(take(capture, boot, options)), output)
