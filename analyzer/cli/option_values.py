"""The values that options take: the choices of each, and the reading of texts."""

# No "from __future__ import annotations": typer evaluates the choices at start.

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from analyzer import bdf as addresses
from analyzer import series
from analyzer.option_values import ecam_base, field_map
from analyzer.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

Format = Literal["text", "json", "jsonl", "csv", "junit", "sarif", "parquet"]
TextOrJson = Literal["text", "json"]
if TYPE_CHECKING:
    SeriesName: TypeAlias = str
else:
    # The names of the table are the choices: a new row is one more.
    SeriesName = Literal[series.names()]

#: Names of the formats that have a reader (analyzer.readers.formats.READ, which would bring polars at start).
InputFormat = Literal[
    "native", "qemu-log", "qemu-simpletrace", "trace-dat", "ftrace-text", "printed-events", "pcap", "pcapng",
    "lspci-dump", "lspci-text", "sysfs-config", "config-hex-dump", "earlydump", "dmesg",
]  # fmt: skip
INPUT_FORMATS: tuple[str, ...] = get_args(InputFormat)

#: Parameters of commands that are fields of Options as they are.
_AS_GIVEN = frozenset({
    "policy", "series", "preserved", "flb", "flb_name", "dmesg", "cmdline", "assume_preserved", "join",
    "seed", "guest", "input_format", "linktype_raw_tlp",
})  # fmt: skip


def reading_options(arguments: "Mapping[str, Any]", **others: Any) -> Options:
    """Return how captures are read and analysed, of the parameters of a command.

    Args:
        arguments: ``locals()`` of the command: the shared parameters have one name in all of them, and
            what is no option of this kind is left out.
        others: fields of :class:`Options` that only this command has.

    Raises:
        UsageError: a value of the wrong form.
    """
    found = {name: value for name, value in arguments.items() if name in _AS_GIVEN}
    return Options(
        **found,
        bdf=config_bdf(arguments.get("config_function")),
        field_map=field_map(arguments.get("field_names")),
        ecam_base=ecam_base(arguments.get("ecam")),
        kexec_at=tuple(arguments.get("kexec_at") or ()),
        **others,
    )


def selection(select: str | None, ignore: str | None) -> frozenset[str] | None:
    """Return the finding codes that count, None for all.

    Raises:
        UsageError: a code that does not exist.
    """
    from analyzer.errors import UsageError
    from analyzer.results import rules

    if select is None and ignore is None:
        return None
    try:
        chosen = rules.matching(_split(select)) if select is not None else frozenset(rules.RULES)
        return chosen - rules.matching(_split(ignore or ""))
    except KeyError as error:
        raise UsageError(
            f"there is no finding code that starts with {error.args[0]!r}", advice="'analyze rule' lists them"
        ) from None


def config_bdf(text: str | None) -> int | None:
    """Return the key of the function that ``--bdf`` gives.

    Raises:
        UsageError: not the address of a function.
    """
    from analyzer.errors import UsageError

    if text is None:
        return None
    try:
        return addresses.parse(text)
    except ValueError as error:
        raise UsageError(f"--bdf: {error}", advice="as lspci -D prints it") from None


def _split(codes: str) -> list[str]:
    return [code for code in codes.replace(",", " ").split() if code]
