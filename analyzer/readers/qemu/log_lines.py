"""Take the ``pci_cfg_*`` lines of QEMU's ``log`` trace backend apart, a block of text at a time.

Every dialect and both argument schemas are one grammar (source: QEMU ``scripts/tracetool/backend/log.py`` and
``hw/pci/trace-events`` of 2.12 to 10.1)::

    [PREFIX ] [TIME] EVENT DEVICE ADDRESS @0xOFFSET {->|<-} 0xVALUE
    TIME      TID@SEC.USEC:  or  YYYY-MM-DDTHH:MM:SS[.USEC]Z and a space (with nine digits: docker logs -t)
    ADDRESS   BUS:SLOT.FUNC  or, before QEMU 7.0,  SLOT:FUNC in decimal

What does not fit in every detail is not an access. Two regular expressions are this grammar: one for the
lines that QEMU writes, one for the same lines after a prefix or with a blank in the device's name. A reader
in numpy that went through all lines of a block at once was 1.7 times as fast (2.6 against 1.5 million
lines/s, bench/qemu_log.py), but took 2.5 times the code and was hard to follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analyzer.capture.accesses import READ, WRITE
from analyzer.readers import line_cleaning
from analyzer.readers.qemu.events import CfgEvents
from analyzer.readers.text_blocks import MAX_LINE, line_table
from schemas.simpletrace import ABSENT_NAME

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: ``first`` is the thread or the year: of two alternatives that begin alike the regex engine could not know
#: in one pass which one it is in.
TIME = (
    r"(?:(?P<first>[0-9]{1,10})(?:@(?P<seconds>[0-9]{1,10})\.(?P<micros>[0-9]{6}):"
    r"|(?P<rest>-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)Z ))?"
)
_EVENT = r"pci_cfg_(?P<op>read|write) "
#: ``a:b.c`` is BUS:SLOT.FUNC, ``a:b`` SLOT:FUNC.
_ARGUMENTS = (
    r" (?P<a>[0-9a-fA-F]{2}):(?P<b>[0-9a-fA-F]{1,2})(?:\.(?P<c>[0-7]))? @0x(?P<offset>[0-9a-fA-F]{1,8})"
    r" (?P<arrow>->|<-) 0x(?P<value>[0-9a-fA-F]{1,8})[ \t\r]*$"
)
#: What QEMU writes: no prefix, no blank in the device's name. At each character there is one way to go on, so
#: that the regex engine finds all groups in one pass over the line: three times as fast as ``_ANY``.
_USUAL = rf"^{TIME}{_EVENT}(?P<device>[!-~]+){_ARGUMENTS}"
_ANY = rf"(?:^|[ \t]){TIME}{_EVENT}(?P<device>.+){_ARGUMENTS}"
#: Characters of a damaged line that a message shows.
_MOST_SHOWN = 80
_LAST_REGISTER = 0xFFF
_LATEST_S = np.iinfo(np.int64).max // 10**9


@dataclass(frozen=True)
class Lines:
    """What the lines of a block are.

    Attributes:
        events: the accesses that say their bus; ``where`` is the start of the line.
        no_bus: the accesses in the schema before QEMU 7.0, ``bus`` 0 for lack of a number.
        damaged: starts of lines that begin an access and do not end as one.
        example: the beginning of the first of them, without its time.
        long: starts of lines longer than ``MAX_LINE``.
        foreign: ``text`` and ``where`` (start) of the other lines that are not empty.
    """

    events: CfgEvents
    no_bus: CfgEvents
    damaged: NDArray[np.int64]
    example: str
    long: NDArray[np.int64]
    foreign: pl.DataFrame


def parse(text: bytes, base: int = 0) -> Lines:
    """Take whole lines apart.

    Args:
        text: lines, the last one with its newline too.
        base: place of ``text`` in the uncompressed stream; all places in the result count from there.
    """
    lines = line_table(text, base)
    too_long = lines["text"].str.strip_chars_end("\r ").str.len_chars() > MAX_LINE
    long = lines.filter(too_long)["where"]
    if len(long):
        lines = lines.filter(~too_long)
    events = lines["text"].str.count_matches(_EVENT)
    single = _parts(lines.filter(events == 1))
    several, bad = lines.filter(events > 1)["where"], single.filter(~single["good"])["where"]
    return Lines(
        events=_events(single.filter(pl.col("good") & pl.col("c").is_not_null())),
        no_bus=_events(single.filter(pl.col("good") & pl.col("c").is_null())),
        damaged=(damaged := pl.concat([several, bad]).sort()).to_numpy(),
        example=_example(lines.filter(lines["where"] == damaged[0])["text"][0]) if len(damaged) else "",
        long=long.to_numpy(),
        foreign=lines.filter((events == 0) & lines["text"].str.contains(r"[^ \t\r]")),
    )


def _example(text: str) -> str:
    """Return an event as a message shows it."""
    at = max(text.find("pci_cfg_"), 0)
    return text[at : at + _MOST_SHOWN].rstrip()


def _parts(lines: pl.DataFrame) -> pl.DataFrame:
    """Return the parts of lines with one event each, and whether all of them fit (``good``)."""
    parts = _groups(lines, _USUAL)
    unusual = parts["op"].is_null()
    if unusual.any():
        others = _groups(lines.filter(unusual), _ANY)
        odd = others["op"].is_null()
        if odd.any():  # what stands around them was not in the sample of the block
            others = pl.concat(
                [others.filter(~odd), _groups(_cleaned(lines.filter(unusual).filter(odd)), _ANY)]
            )
        parts = pl.concat([parts.filter(~unusual), others]).sort("where")
    numbers = parts.with_columns(
        time_ns(),
        pl.col("a", "b").str.to_integer(base=16, dtype=pl.UInt8),
        pl.col("c").cast(pl.UInt8),
        pl.col("offset", "value").str.to_integer(base=16, dtype=pl.UInt32),
        slot=pl.col("a").cast(pl.UInt8, strict=False),  # in decimal, where ``a`` is not a bus
        address_size=pl.col("b").str.len_bytes(),
    )
    new = pl.col("c").is_not_null() & (pl.col("address_size") == 2) & (pl.col("b") < 32)
    old = pl.col("c").is_null() & (pl.col("address_size") == 1) & (pl.col("b") < 8) & (pl.col("slot") < 32)
    arrow = pl.col("arrow") == pl.when(pl.col("op") == "write").then(pl.lit("<-")).otherwise(pl.lit("->"))
    timely = pl.col("seconds").is_null() | pl.col("time_ns").is_not_null()
    good = (new | old) & arrow & timely & (pl.col("offset") <= _LAST_REGISTER)
    return numbers.with_columns(good=good.fill_null(False))


def _cleaned(lines: pl.DataFrame) -> pl.DataFrame:
    text = "\n".join(lines["text"]).encode("latin-1")
    cleaned = line_cleaning.clean(text, line_cleaning.QEMU).decode("latin-1")
    return lines.with_columns(text=pl.Series(cleaned.split("\n"), dtype=pl.String))


def _groups(lines: pl.DataFrame, pattern: str) -> pl.DataFrame:
    return lines.select("where", pl.col("text").str.extract_groups(pattern).alias("parts")).unnest("parts")


def time_ns() -> pl.Expr:
    """Return ns since 1970 from the groups of :data:`TIME`, null where there is none that can be."""
    seconds = pl.col("seconds").cast(pl.Int64)
    unix = seconds * 10**9 + pl.col("micros").cast(pl.Int64) * 1000
    iso = pl.concat_str("first", "rest").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ns", strict=False)
    in_range = pl.col("first").str.len_bytes() == 4, pl.col("first") >= "1970", pl.col("first") < "2262"
    return pl.coalesce(
        pl.when(seconds < _LATEST_S).then(unix), pl.when(*in_range).then(iso.cast(pl.Int64))
    ).alias("time_ns")


def _events(parts: pl.DataFrame) -> CfgEvents:
    has_bus = pl.col("c").is_not_null()
    table = parts.select(
        "where",
        pl.col("time_ns").fill_null(0),
        pl.col("time_ns").is_not_null().alias("timed"),
        pl.when(pl.col("op") == "write").then(WRITE).otherwise(READ).cast(pl.UInt8).alias("op"),
        pl.when(has_bus).then("a").otherwise(0).alias("bus"),
        pl.when(has_bus)
        .then(pl.col("b") * 8 + pl.col("c"))
        .otherwise(pl.col("slot") * 8 + pl.col("b"))
        .alias("devfn"),
        pl.col("offset").cast(pl.UInt16),
        "value",
        (pl.col("device") == ABSENT_NAME.decode()).alias("absent"),
    )
    return CfgEvents.bare(**{column.name: column.to_numpy() for column in table})
