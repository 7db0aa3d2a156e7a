"""Very long captures without what they say over and over: a driver that polls a register for hours.

Only captures beyond :data:`LONG` accesses are thinned, at decode, so that memory does not grow with the file.
A read is left out where the same register of the same function was just read with the same result, nothing
was written to that function in between, and the same will be read again; of at least ``RUN`` such reads in a
row the first and the last remain. In the header (below 0x40), where the order of a scan is recognised, the
reads must follow each other without any other access to the function. Every ``SAMPLE``-th access remains
whatever it is, so that no silence appears where there was none. Access numbers stay those of the recording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

#: Captures of up to so many accesses are kept whole.
LONG: Final = 1 << 18
RUN: Final = 16
SAMPLE: Final = 256
_HEADER: Final = 0x40


def thin(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``frame`` (columns of ``accesses.SCHEMA``, in order) without reads that say nothing new."""
    if not frame.height:
        return frame
    keep = ~_repeats(frame)
    keep |= frame.get_column("seq").to_numpy() % SAMPLE == 0
    return frame if keep.all() else frame.filter(keep)


def _repeats(frame: pl.DataFrame) -> NDArray[np.bool_]:
    """Mask of the reads inside a run of equal reads of one register."""
    functions = _codes(frame)
    offsets = frame.get_column("offset").to_numpy()
    is_write = frame.get_column("op").to_physical().to_numpy() == 1
    by_function = np.argsort(functions, kind="stable")
    place = np.empty(frame.height, np.int64)  # of an access, function by function
    place[by_function] = np.arange(frame.height)
    written = np.empty(frame.height, np.int64)  # writes to the function so far; other functions' count too
    written[by_function] = np.cumsum(is_write[by_function])
    by_offset = np.argsort(offsets, kind="stable")
    order = by_offset[np.argsort(functions[by_offset], kind="stable")]

    here, before = order[1:], order[:-1]
    same = (functions[here] == functions[before]) & (offsets[here] == offsets[before])
    same &= ~is_write[here] & ~is_write[before] & (written[here] == written[before])
    for name in ("value", "width", "status", "absent"):
        column = frame.get_column(name)
        values = (column.to_physical() if name == "status" else column).to_numpy()
        same &= values[here] == values[before]
    same &= (offsets[here] >= _HEADER) | (place[here] == place[before] + 1)

    again = np.r_[False, same]  # equal to the one before
    more = np.r_[same, False]  # and so is the one behind
    run = np.cumsum(~again) - 1
    long = np.bincount(run)[run] >= RUN
    found = np.zeros(frame.height, np.bool_)
    found[order[again & more & long]] = True
    return found


def _codes(frame: pl.DataFrame) -> NDArray[np.unsignedinteger]:
    """A small number for each function: 16 bits sort in linear time."""
    domain = frame.get_column("domain").to_numpy()
    routing = frame.get_column("bus").to_numpy().astype(np.uint16) << 8 | frame.get_column("devfn").to_numpy()
    if not domain.any():
        return np.asarray(routing)
    _, codes = np.unique(domain.astype(np.int64) << 16 | routing, return_inverse=True)
    return codes.astype(np.uint16 if codes.max() < 1 << 16 else np.uint32)
