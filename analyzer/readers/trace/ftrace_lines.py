"""Take lines of ftrace events apart, as ``trace-cmd report``, tracefs and ``perf script`` print them.

One grammar (Linux ``kernel/trace/trace_output.c``, libtraceevent ``event-parse.c``, ``perf script``)::

    [BUFFER:] COMM{-| }[TGID/]PID [(TGID)] [CPU] [FLAGS] [SEC.FRACTION:] EVENT WHAT IT SAYS
    EVENT     [(+TIME SINCE THE LINE BEFORE)] [PERIOD] [GROUP:]NAME:[MODIFIERS:]
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from analyzer.readers.text_blocks import line_table

_CPU = r"\[\d{3,5}\]"
_PID = r"[- ](?:\d+/)?(\d+) +(?:\([ \d-]+\) +)?$"
#: Name of a thread, and its process: in front of the thread's number (perf script) or after it (tracefs).
_THREAD = re.compile(
    r"^ *(?:[^\s:]+: +)?(?P<comm>\S.*?)[- ] *(?:(?P<before>\d{1,10})/)?\d+ +"
    r"(?:\([ -]*(?P<after>\d{0,10})-*\) +)?$"
)
_BUFFER = r"^ *([^\s:]+): "
#: What stands between the CPU and the event: flags, and the time, of which 3 parts are looked at.
_SECONDS, _FRACTION = r"(?:^|[ \]])(\d+)(?:\.(?:\d{6}|\d{9}))?$", r"\.(\d{6}|\d{9})$"
#: What trace-cmd report --ts-diff and perf script -F +period put in front of the event.
_BETWEEN = r"^ *(?:\(\+[\d.]+\) +)?(?:\d+ +)?"
#: After a group perf script also prints how the event was asked for (kvm:kvm_pio:H:).
_MODIFIERS = r"(?:[a-zA-Z]+:)?"
_EVENT, _GROUP, _SAID = (
    _BETWEEN + r"(?:\w+:)?(\w+):",
    _BETWEEN + r"(\w+):\w+:",
    _BETWEEN + rf"(?:\w+:\w+:{_MODIFIERS}|\w+:) *",
)
#: What the kernel and trace-cmd print where a ring buffer lost events.
_LOST = r"^CPU:(?P<cpu>\d{1,5}) \[(?:LOST )?(?P<number>\d{0,15}) ?EVENTS(?: DROPPED)?\]"
_WRITTEN = r"^# entries-in-buffer/entries-written: (?P<held>\d{1,15})/(?P<written>\d{1,15})"
_NANO_DIGITS = 9
#: Columns of ``EventLines.events``.
SCHEMA = {
    "where": pl.Int64, "left": pl.String, "buffer": pl.String, "pid": pl.Int64, "cpu": pl.Int64,
    "time_ns": pl.Int64, "group": pl.String, "event": pl.String, "said": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class EventLines:
    """The lines of a block.

    Attributes:
        events: those of events: ``where`` (start of the line), ``left`` (what stands before the CPU),
            ``buffer`` and ``group`` (may be null), ``pid``, ``cpu``, ``time_ns`` (null: the time does not
            count seconds), ``event``, ``said``.
        lost: places and numbers (at least 1) of marks of lost events.
        unsaid: events that the header says were overwritten.
        foreign: lines of another kind that are neither empty nor comments.
    """

    events: pl.DataFrame
    lost: list[tuple[int, int]]
    unsaid: int
    foreign: int


def parse(text: bytes, base: int) -> EventLines:
    """Take whole lines apart.

    Args:
        text: lines, the last one with its newline too.
        base: place of ``text`` in the uncompressed stream.
    """
    lines = line_table(text, base)
    # Several simple expressions: one that takes a line apart as a whole is ten times slower.
    text_of = pl.col("text")
    place = text_of.str.find(_CPU)
    lines = lines.with_columns(
        pl.when(place.is_not_null()).then(text_of.str.slice(0, place)).alias("left"),
        text_of.str.slice(place + 1).alias("right"),
    )
    colon = pl.col("right").str.find(": ", literal=True)
    lines = lines.with_columns(
        pl.col("left").str.extract(_PID).alias("pid"),
        pl.col("right").str.slice(0, colon).str.strip_chars_end(" ").alias("head"),
        pl.col("right").str.slice(colon + 1).alias("tail"),
    )
    lines = lines.with_columns(
        pl.col("head").str.extract(_SECONDS).alias("s"), pl.col("tail").str.extract(_EVENT).alias("event")
    )
    whole = pl.all_horizontal(pl.col("pid", "s", "event").is_not_null())
    events, others = lines.filter(whole), lines.filter(~whole).select("where", "text")
    lost = _lost(others)
    noise = others["text"].str.contains(r"^(?:#|\s*$|cpus=\d|version = |CPU \d+ is empty)")
    return EventLines(
        events=_typed(events),
        lost=lost,
        unsaid=_unsaid(others["text"]),
        foreign=others.height - int(noise.sum()) - len(lost),
    )


def thread_of(left: str) -> tuple[str, int | None]:
    """Return the name of a thread and its process, as far as what stands before the CPU says them."""
    match = _THREAD.match(left)
    if match is None:
        return "", None
    process = match["before"] or match["after"]
    return match["comm"].rstrip(), int(process) if process else None


def _typed(events: pl.DataFrame) -> pl.DataFrame:
    fraction = pl.col("head").str.extract(_FRACTION)
    unit = pl.when(fraction.str.len_bytes() == _NANO_DIGITS).then(1).otherwise(1000)
    seconds = pl.col("s").cast(pl.Int64, strict=False)
    in_range = seconds < np.iinfo(np.int64).max // 10**9
    return events.select(
        "where",
        "left",
        pl.col("left").str.extract(_BUFFER).alias("buffer"),
        pl.col("pid").cast(pl.Int64, strict=False).fill_null(-1),
        pl.col("head").str.extract(r"^(\d{3,5})\]").cast(pl.Int64).alias("cpu"),
        pl.when(in_range).then(seconds * 1_000_000_000 + fraction.cast(pl.Int64) * unit).alias("time_ns"),
        pl.col("tail").str.extract(_GROUP).alias("group"),
        "event",
        pl.col("tail").str.replace(_SAID, "").str.strip_chars_end().alias("said"),
    )


def _lost(others: pl.DataFrame) -> list[tuple[int, int]]:
    marks = others.select("where", pl.col("text").str.extract_groups(_LOST).alias("g")).unnest("g")
    marks = marks.filter(pl.col("cpu").is_not_null())
    return [
        (where, max(int(number or 0), 1)) for where, number in marks.select("where", "number").iter_rows()
    ]


def _unsaid(others: pl.Series) -> int:
    counts = others.str.extract_groups(_WRITTEN).struct.unnest().drop_nulls()
    return sum(max(int(written) - int(held), 0) for held, written in counts.iter_rows())
