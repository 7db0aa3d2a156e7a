"""Take the needed records out of ring-buffer pages: which events they are, and where their fields are.

Everything is taken from the ``format`` texts in the file, because offsets and sizes differ between kernels.
Sources: Linux ``include/trace/events/kvm.h`` and ``arch/x86/kvm/trace.h`` (``kvm_mmio``, ``kvm_pio``),
``kernel/trace/trace_probe.h`` (``__probe_ip``, ``__probe_func``, ``__probe_ret_ip``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analyzer.capture.accesses import READ, WRITE
from analyzer.readers.config_events import ROLES, FieldNames, refuse
from analyzer.readers.tallies import report_kinds
from analyzer.readers.trace import rows
from analyzer.readers.trace.evidence import EVIDENCE_EVENTS, describe
from schemas.bulk import gather

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.readers.trace.dat_pages import Block, Records, Trouble
    from analyzer.readers.trace.dat_parts import EventFormat, Field
    from analyzer.readers.trace.rows import TraceRows

_COMMON_SIZE = 8
#: What QEMU's ftrace backend writes into the trace begins with the name of a trace event.
_QEMU_TEXTS = (b"pci_cfg_", b"memory_r", b"vfio_pci")
_PORTS = (0xCF8, 0xCFF)
_RETURN_FIELDS = ("__probe_func", "__probe_ret_ip")
#: kvm_mmio.type (include/trace/events/kvm.h): 0 is a read whose data is still to come.
_MMIO_READ, _MMIO_WRITE = 1, 2


@dataclass(frozen=True)
class _Plan:
    """What is to be done with the records of one event.

    ``fields`` are by role for CONFIG, by name otherwise. ``end`` is what a record holds at least. An event
    that is ``unused`` is only counted.
    """

    number: int
    kind: int
    format: EventFormat
    fields: dict[str, Field]
    op: int | None = None
    unused: bool = False
    end: int = field(init=False)

    def __post_init__(self) -> None:
        ends = [part.offset + part.size for part in self.fields.values()]
        object.__setattr__(self, "end", max([_COMMON_SIZE, *ends]))


class EventReader:
    """Turns records into rows.

    Args:
        formats: events that the file describes.
        names: names of fields and events.
        order: byte order of the file.
        notes: gets a problem for each event that cannot be used.

    Attributes:
        texts: content of PRINT rows and description of EVIDENCE rows; ``TraceRows.text`` counts in here.
    """

    def __init__(
        self,
        formats: Iterable[EventFormat],
        names: FieldNames,
        order: Literal["little", "big"],
        notes: Notes,
    ) -> None:
        self.texts: list[bytes] = []
        self._notes = notes
        self._sign = "<" if order == "little" else ">"
        self._known = np.zeros(1 << 16, bool)
        self._formats: dict[int, EventFormat] = {}
        self._seen = np.zeros(1 << 16, np.int64)
        self._plans: dict[int, _Plan] = {}
        self._names = names
        bus_names = set(names.roles["bus"])
        for event in formats:
            self._known[event.id] = True
            self._formats[event.id] = event
            plan = self._plan(event, bus_names)
            if plan is not None:
                self._plans[event.id] = plan
        self._without_entry_reads()

    def _plan(self, event: EventFormat, bus_names: set[str]) -> _Plan | None:
        number = len(self._plans)
        wanted: tuple[str, ...]
        if event.system == "ftrace" and event.name == "print":
            wanted, kind = ("buf",), rows.PRINT
        elif event.system == "kvm" and event.name == "kvm_pio":
            wanted, kind = ("rw", "port", "size", "count", "val"), rows.PORT
        elif event.system == "kvm" and event.name == "kvm_mmio":
            wanted, kind = ("type", "len", "gpa", "val"), rows.MEMORY
        elif (event.system, event.name) in EVIDENCE_EVENTS:
            return _Plan(number, rows.EVIDENCE, event, {})
        elif event.system != "ftrace" and event.mentions(bus_names):
            return self._config_plan(number, event)
        else:
            return None
        fields = {name: event.fields[name] for name in wanted if name in event.fields}
        if len(fields) == len(wanted) and (kind == rows.PRINT or all(map(_is_number, fields.values()))):
            return _Plan(number, kind, event, fields)
        self._notes.problem(
            "unsupported",
            f"the event {event.name} of this kernel lacks one of the fields {', '.join(wanted)}: not used",
        )
        return None

    def _config_plan(self, number: int, event: EventFormat) -> _Plan | None:
        numbers = {name for name, part in event.fields.items() if _is_number(part)}
        matched = self._names.match(numbers)
        if matched is None:
            return None
        op = self._names.direction(
            event.system,
            event.name,
            returns=_returns(event),
            has_status="status" in matched,
        )
        fields = {role: event.fields[name] for role, name in matched.items()}
        return _Plan(number, rows.CONFIG, event, fields, op)

    def _without_entry_reads(self) -> None:
        """Leave out reads that were recorded when a function was entered, if others record what it returned.

        At its entry there is no value yet.
        """
        reads = [plan for plan in self._plans.values() if plan.kind == rows.CONFIG and plan.op == READ]
        if not any(_returns(plan.format) for plan in reads):
            return
        for plan in reads:
            if "__probe_ip" in plan.format.fields and plan.format.name not in self._names.events:
                self._plans[plan.format.id] = replace(plan, unused=True)

    def rows(
        self, block: Block, records: Records, cpu: int | None, buffer: int, trouble: Trouble
    ) -> tuple[TraceRows, NDArray[np.int64]]:
        """Return the rows of a block in order, and for each the number of its record.

        ``TraceRows.event`` is another one in each ``buffer``.
        """
        raw = block.data
        whole = records.size >= _COMMON_SIZE
        if not whole.all():
            trouble.add("short", block.where + int(records.payload[~whole][0]), int((~whole).sum()))
        event = gather(raw, np.dtype(self._sign + "u2"), np.where(whole, records.payload, 0)).astype(np.int64)
        event[~whole] = -1
        unnamed = whole & ~self._known[event]
        if unnamed.any():
            trouble.add("unnamed", block.where + int(records.payload[unnamed][0]), int(unnamed.sum()))
        self._seen += np.bincount(event[whole], minlength=1 << 16)
        parts, places = [], []
        for number, plan in self._plans.items():
            index = np.flatnonzero(event == number)
            if not len(index):
                continue
            if plan.unused:
                place = block.where + int(records.payload[index[0]])
                trouble.add("entry", place, len(index))
                continue
            short = records.size[index] < plan.end
            if short.any():
                trouble.add("short", block.where + int(records.payload[index[short]][0]), int(short.sum()))
                index = index[~short]
            source = _EventOrigin(block, records, cpu, buffer << 16 | plan.number)
            found = _Gathered(source, plan, self._sign, index)
            part, kept = self._read(found, trouble)
            parts.append(part)
            places.append(kept)
        merged = rows.concat(parts)
        index = np.concatenate(places) if places else np.zeros(0, np.int64)
        if len(parts) > 1:
            order = np.argsort(index, kind="stable")
            merged, index = merged.pick(order), index[order]
        return merged, index

    def close(self) -> None:
        """Note which events were not used."""
        other = {
            f"{self._formats[number].system}:{self._formats[number].name}": int(self._seen[number])
            for number in np.flatnonzero(self._seen).tolist()
            if number in self._formats and number not in self._plans
        }
        report_kinds(self._notes, "events of other kinds", dict(sorted(other.items())))

    def _read(self, found: _Gathered, trouble: Trouble) -> tuple[TraceRows, NDArray[np.int64]]:
        kind = found.plan.kind
        if kind == rows.CONFIG:
            return self._config(found)
        if kind == rows.PORT:
            return self._ports(found, trouble)
        if kind == rows.MEMORY:
            return self._memory(found)
        return self._texts(found, kind)

    def _config(self, found: _Gathered) -> tuple[TraceRows, NDArray[np.int64]]:
        plan = found.plan
        if plan.op is None and len(found.index):
            raise refuse(self._notes.path, plan.format.name, int(found.where[0]))
        zero = np.zeros(len(found.index), np.int64)
        number = {role: found.number(role) if role in plan.fields else zero for role in ROLES}
        return found.rows(
            op=plan.op,
            domain=number["domain"],
            bus=number["bus"],
            devfn=number["devfn"],
            address=number["offset"],
            width=number["width"],
            value=number["value"].astype(np.uint64),
            failed=number["status"] != 0,
        ), found.index

    def _ports(self, found: _Gathered, trouble: Trouble) -> tuple[TraceRows, NDArray[np.int64]]:
        port = found.number("port")
        of_config = (port >= _PORTS[0]) & (port <= _PORTS[1])
        count = found.number("count")
        several = of_config & (count != 1)
        if several.any():
            trouble.add("several", int(found.where[several][0]), int(several.sum()))
        found = found.pick(of_config & ~several)
        return found.rows(
            op=np.where(found.number("rw") == 1, WRITE, READ),
            address=found.number("port"),
            width=found.number("size"),
            value=found.number("val").astype(np.uint64),
        ), found.index

    def _memory(self, found: _Gathered) -> tuple[TraceRows, NDArray[np.int64]]:
        kind = found.number("type")
        found = found.pick((kind == _MMIO_READ) | (kind == _MMIO_WRITE))
        return found.rows(
            op=np.where(found.number("type") == _MMIO_WRITE, WRITE, READ),
            address=found.number("gpa"),
            width=found.number("len"),
            value=found.number("val").astype(np.uint64),
        ), found.index

    def _texts(self, found: _Gathered, kind: int) -> tuple[TraceRows, NDArray[np.int64]]:
        first = len(self.texts)
        if kind == rows.PRINT:
            offset = found.plan.fields["buf"].offset
            found = found.pick(np.isin(found.start(offset, 8), np.array(_QEMU_TEXTS)))
            self.texts.extend(payload[offset:].split(b"\0", 1)[0] for payload in found.payloads())
        else:
            event = found.plan.format
            order: Literal["little", "big"] = "little" if self._sign == "<" else "big"
            self.texts.extend(describe(event, payload, order).encode() for payload in found.payloads())
        return found.rows(text=np.arange(first, len(self.texts))), found.index


@dataclass(frozen=True)
class _EventOrigin:
    """Where records come from, and the number of their event."""

    block: Block
    records: Records
    cpu: int | None
    event: int


class _Gathered:
    """The records of one event in a block: those that ``index`` counts."""

    def __init__(self, source: _EventOrigin, plan: _Plan, sign: str, index: NDArray[np.int64]) -> None:
        self.plan = plan
        self.index = index
        self._source = source
        self._raw, self._sign = source.block.data, sign
        self._payload = source.records.payload[index]
        self.where = source.block.where + self._payload

    def pick(self, chosen: NDArray[np.bool_]) -> _Gathered:
        """Return those records that ``chosen`` selects."""
        if chosen.all():
            return self
        return _Gathered(self._source, self.plan, self._sign, self.index[chosen])

    def number(self, name: str) -> NDArray[np.int64]:
        """Return a field as i64 (of u64 values beyond, the two's complement)."""
        return self._at(self.plan.fields[name])

    def _at(self, part: Field) -> NDArray[np.int64]:
        dtype = np.dtype(f"{self._sign}{'i' if part.signed else 'u'}{part.size}")
        return gather(self._raw, dtype, self._payload + part.offset).astype(np.int64)

    def start(self, offset: int, size: int) -> NDArray[Any]:
        """Return ``size`` bytes of each record from ``offset`` on."""
        last = len(self._raw) - size
        return gather(self._raw, np.dtype(f"S{size}"), np.minimum(self._payload + offset, last))

    def payloads(self) -> Iterable[bytes]:
        """Yield the payload of each record: for events that are few."""
        sizes = self._source.records.size[self.index].tolist()
        for at, size in zip(self._payload.tolist(), sizes, strict=True):
            yield self._raw[at : at + size].tobytes()

    def rows(self, **columns: Any) -> TraceRows:
        """Return rows with these columns and what every record says."""
        pid = self.plan.format.fields.get("common_pid")
        agent = self._at(pid) if pid is not None and _is_number(pid) else 0
        return rows.make(
            len(self.index),
            time=self._source.records.time[self.index].astype(np.int64),
            cpu=rows.UNKNOWN if self._source.cpu is None else self._source.cpu,
            agent=agent,
            where=self.where,
            kind=self.plan.kind,
            event=self._source.event,
            **columns,
        )


def _is_number(part: Field) -> bool:
    return part.size in (1, 2, 4, 8) and not part.is_string


def _returns(event: EventFormat) -> bool:
    return any(name in event.fields for name in _RETURN_FIELDS)
