"""Deletions that leave a trace in what remains: of dumps, of native captures, of the lines of a log.

A dump is held as an ``analyzer.questions.snapshot.Snapshot``. Each deletion takes it and a random generator
and returns the text of what is left, or None where the dump has nothing that it could be done to.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from native_chunks import chunks

from analyzer import analysis, bdf
from analyzer.converting.native import NativeWriter
from analyzer.observed import virtual_functions
from analyzer.questions.snapshot import FunctionSpace, Snapshot, take_capture
from analyzer.readers import open_capture
from analyzer.report.lspci_text import lspci_text
from schemas.native import FILE_HEADER_START

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology

TRACES = Path(__file__).parents[1] / "traces"


@dataclass(frozen=True)
class Machine:
    """A dump, and what it says of its functions (None: nothing of the sort).

    Attributes:
        name: for messages.
        snapshot: its bytes.
        functions: what is read from them.
        above: bridges that have a function below them.
        named: functions that a Next Function Number names, and virtual functions that need ARI.
    """

    name: str
    snapshot: Snapshot
    functions: dict[int, Function]
    above: list[int]
    named: list[int]

    @property
    def text(self) -> str:
        """The dump."""
        return "".join(lspci_text(self.snapshot))


def machine(name: str, snapshot: Snapshot, topology: Topology) -> Machine:
    """What there is to delete in a dump, and what is read from it."""
    listed = {space.function for space in snapshot.functions}
    parents = {above.function for key in listed if (above := topology.parent(key)) is not None}
    named = {
        function.bus << 8 | function.next_function
        for function in topology.functions.values()
        if function.next_function
    }
    for virtual in virtual_functions.of_topology(topology):
        named |= {bdf.parse(text) for text in virtual.need_ari}
    return Machine(name, snapshot, topology.functions, sorted(parents & listed), sorted(named & listed))


def of_text(name: str, path: Path) -> Machine:
    """The machine that a dump shows."""
    capture = open_capture(str(path))
    (topology,) = analysis.study(capture).topologies
    return machine(name, take_capture(capture), topology)


@cache
def kernels(path: Path) -> list[int]:
    """Numbers of the boots of a corpus capture that are kernels with functions."""
    topologies = analysis.study(open_capture(str(path))).topologies
    return [one.boot.index for one in topologies if one.boot.kind != "firmware" and one.functions]


@cache
def of_boot(path: Path, boot: int, folder: Path) -> Machine:
    """The machine that the snapshot of one boot of a capture shows."""
    text = folder / f"{path.stem}.{boot}.txt"
    text.write_text("".join(lspci_text(take_capture(open_capture(str(path)), boot))))
    return of_text(text.name, text)


# --- dumps ---


def _changed(dump: Machine, key: int, change: Callable[[FunctionSpace], FunctionSpace | None]) -> str:
    """The text with one function changed, or without it."""
    spaces = [change(space) if space.function == key else space for space in dump.snapshot.functions]
    rest = [space for space in spaces if space is not None and space.known.any()]
    return "".join(lspci_text(replace(dump.snapshot, functions=rest)))


def _some_function(dump: Machine, random: Random) -> FunctionSpace:
    """Mostly one that matters: a bridge with functions below it, or one that another names."""
    matter = {*dump.above, *dump.named} | {key for key, one in dump.functions.items() if one.has_ari}
    chosen = [space for space in dump.snapshot.functions if space.function in matter]
    return random.choice(chosen if chosen and random.random() < 0.8 else dump.snapshot.functions)


def _some_offset(dump: Machine, space: FunctionSpace, random: Random) -> int:
    """Mostly one of a register that is asked for."""
    function = dump.functions.get(space.function)
    places = [0x00, 0x06, 0x0E, 0x18, 0x34]
    if function is not None:
        places += function.capabilities.standard.values()
        places += [start + at for start in function.capabilities.extended.values() for at in (0, 4, 8, 0x14)]
        if function.pcie is not None:
            places += [function.pcie + at for at in (2, 0x24, 0x28)]
    end = _size(space)
    return (
        random.choice([at for at in places if at < end]) if random.random() < 0.8 else random.randrange(end)
    )


def _size(space: FunctionSpace) -> int:
    end = int(np.flatnonzero(space.known)[-1]) + 1
    return next(size for size in (64, 256, 4096) if end <= size)


def _edit_row(dump: Machine, random: Random, edit: Callable[[str], str]) -> str | None:
    """The text with one row edited; an empty result leaves the line out."""
    space = _some_function(dump, random)
    row = f"{_some_offset(dump, space, random) & ~15:02x}: "
    lines = dump.text.splitlines(keepends=True)
    start = next(n for n, line in enumerate(lines) if line.startswith(bdf.text(space.function)))
    at = next(n for n in range(start, len(lines)) if lines[n].startswith(row))
    lines[at] = edit(lines[at])
    return "".join(lines)


def missing_row(dump: Machine, random: Random) -> str | None:
    return _edit_row(dump, random, lambda line: "")  # noqa: ARG005


def short_row(dump: Machine, random: Random) -> str | None:
    kept = random.randrange(1, 16)
    return _edit_row(dump, random, lambda line: line[: line.index(":") + 1 + 3 * kept] + "\n")


def garbled_row(dump: Machine, random: Random) -> str | None:
    place = random.randrange(46)
    return _edit_row(dump, random, lambda line: line[: line.index(":") + 2] + _garbled(line[-48:], place))


def _garbled(text: str, place: int) -> str:
    return text[:place] + "~" + text[place + 1 :]


def unknown_bytes(dump: Machine, random: Random) -> str | None:
    """Bytes that the dump says it does not know."""
    space = _some_function(dump, random)
    first, count = _some_offset(dump, space, random), random.choice((1, 2, 4, 16, 256))
    known = space.known.copy()
    known[first : first + count] = False
    return _changed(dump, space.function, lambda space: replace(space, known=known))


def _narrow(space: FunctionSpace, size: int) -> FunctionSpace:
    return replace(space, known=space.known & (np.arange(4096) < size))


def narrow(dump: Machine, random: Random) -> str | None:
    """64 bytes a function, as lspci shows them to users other than root."""
    spaces = [_narrow(space, 64) for space in dump.snapshot.functions]
    del random
    return "".join(
        lspci_text(replace(dump.snapshot, functions=[space for space in spaces if space.known.any()]))
    )


def narrow_one(dump: Machine, random: Random) -> str | None:
    size = random.choice((64, 256))
    return _changed(dump, _some_function(dump, random).function, lambda space: _narrow(space, size))


def all_ones(dump: Machine, random: Random) -> str | None:
    """A function that is powered down, or off the bus."""

    def silent(space: FunctionSpace) -> FunctionSpace:
        return replace(space, data=np.full(4096, 0xFF, np.uint8), known=np.arange(4096) < _size(space))

    return _changed(dump, _some_function(dump, random).function, silent)


def bridge_gone(dump: Machine, random: Random) -> str | None:
    """A bridge is left out, what is below it is not."""
    return _changed(dump, random.choice(dump.above), lambda space: None) if dump.above else None  # noqa: ARG005


def named_gone(dump: Machine, random: Random) -> str | None:
    """A function is left out that another one names."""
    return _changed(dump, random.choice(dump.named), lambda space: None) if dump.named else None  # noqa: ARG005


def damaged_address(dump: Machine, random: Random) -> str | None:
    """The line that says whose rows follow is damaged."""
    address = bdf.text(random.choice(dump.snapshot.functions).function)
    damaged = random.choice((_garbled(address, 3), address[:-1] + "9", "~" + address))
    return re.sub(rf"^{re.escape(address)}", damaged, dump.text, flags=re.MULTILINE)


def cut(dump: Machine, random: Random) -> str | None:
    """The text ends within the rows of a function, where lspci never ends one."""
    text = dump.text
    rows = [match.start() for match in re.finditer(r"^[0-9a-f]{2,3}: ", text, re.MULTILINE)]
    inside = [row for row in rows if not text.startswith(("00: ", "40: ", "100: "), row)]
    return text[: random.choice(inside) + random.choice((0, 0, 1, 30))] if inside else None


def function_gone(dump: Machine, key: int) -> str:
    """The dump without one function."""
    return _changed(dump, key, lambda space: None)  # noqa: ARG005


#: Every deletion of a dump.
OF_DUMPS = (
    missing_row,
    short_row,
    garbled_row,
    unknown_bytes,
    narrow,
    narrow_one,
    all_ones,
    bridge_gone,
    named_gone,
    damaged_address,
    cut,
)


# --- native captures ---


@cache
def small_chunks(path: Path, rows: int = 64) -> bytes:
    """A native capture written anew in chunks of a few accesses, uncompressed."""
    capture = open_capture(str(path))
    stream = io.BytesIO()
    notes = capture.notes
    with NativeWriter(stream, host=notes.host, releases=notes.releases, clock=notes.clock, level=0) as writer:
        writer.preserved(*notes.preserved)
        writer.log(*notes.log)
        writer.event(*notes.events)
        writer.boundary(*notes.boundaries)
        writer.accesses(capture.accesses.drop("capture", "file", "seq"), rows)
    return stream.getvalue()


@cache
def pieces(path: Path) -> tuple[bytes, bytes]:
    """A native capture up to its first kexec, and the rest."""
    capture = open_capture(str(path))
    at = analysis.study(capture).result.kexecs[0].at_access
    found = []
    for first, end in ((0, at), (at, capture.accesses.height)):
        stream = io.BytesIO()
        with NativeWriter(stream, clock=capture.notes.clock, level=0) as writer:
            if not first:
                writer.preserved(*capture.notes.preserved)
            marks = [mark for mark in capture.notes.boundaries if first <= mark.seq < end]
            writer.boundary(*(replace(mark, seq=mark.seq - first) for mark in marks))
            rows = capture.accesses.slice(first, end - first)
            writer.accesses(rows.drop("capture", "file", "seq"), 64)
        found.append(stream.getvalue())
    return found[0], found[1]


def damaged_native(path: Path, random: Random) -> tuple[str, bytes]:
    """A capture with one of its small chunks damaged: what, and bytes."""
    return _damaged(small_chunks(path), random)


def damaged_piece(data: bytes, random: Random) -> tuple[str, bytes]:
    """A piece that is empty, no capture, without a chunk, or with a damaged chunk: what, and bytes."""
    header = FILE_HEADER_START.parse(data).header_size
    whole = {"empty": b"", "no capture": b"nothing that anybody recorded\n", "a header": data[:header]}
    what = random.choice([*whole, "chunk"])
    return (what, whole[what]) if what in whole else _damaged(data, random)


def _damaged(data: bytes, random: Random) -> tuple[str, bytes]:
    """A chunk is dropped, broken, emptied, or cut off with all that follows."""
    begin, end = random.choice(chunks(data))
    place = random.randrange(begin, end)
    changes = {
        "dropped": data[:begin] + data[end:],
        "broken": data[:place] + bytes([data[place] ^ random.randrange(1, 256)]) + data[place + 1 :],
        "emptied": data[:begin] + bytes(end - begin) + data[end:],
        "cut": data[:place],
    }
    what = random.choice(sorted(changes))
    return f"{what} at {begin:#x} ({place:#x})", changes[what]


# --- logs ---


def damaged_log(data: bytes, random: Random) -> tuple[str, bytes]:
    """A log with one access damaged, or cut within one: what, and bytes."""
    place = data.find(b"pci_cfg_", random.randrange(len(data)))
    if place < 0:
        place = data.find(b"pci_cfg_")
    end = data.index(b"\n", place)
    arrow = data.index(b"@", place, end)
    changes = {
        "no value": data[:arrow] + data[end:],
        "no end": data[:arrow] + data[end + 1 :],
        "a strange byte": data[: arrow + 3] + b"~" + data[arrow + 4 :],
        "cut": data[:arrow],
    }
    what = random.choice(sorted(changes))
    return f"{what} at {place:#x}", changes[what]
