"""trace.dat of forms that no recording at hand has: other options, more of everything, other texts."""

from __future__ import annotations

import pytest
from trace_dat_builder import Event, Pages, TraceFile, probes
from trace_dat_samples import GOOD, one_cpu, read, record, rows

from analyzer.errors import DamagedInputError, LimitExceededError, UnsupportedFormatError
from analyzer.readers.tallies import MOST_LISTED
from analyzer.readers.trace import whole_content
from schemas import trace_dat as layout
from schemas.trace_dat import Option

ROW = ("read", 0, 2, 0x48, 0x90, 2, 0x20)


def page(*parts: bytes, time: int = 1000) -> Pages:
    return Pages().page(time, list(parts))


def test_version_6_with_more_cpus_than_its_head_says():
    """As trace-cmd writes it after a conversion: the option comes behind the count, and is right."""
    file = TraceFile(version=6).buffer(page(record("cfg_read", **GOOD)))
    file.options.append((Option.CPUCOUNT, (1).to_bytes(4, "little")))
    data = file.build()
    count = data.index(layout.OPTIONS_MARK) - 4
    wrong = data[:count] + (0).to_bytes(4, "little") + data[count + 4 :]
    table, notes = read(wrong)
    assert (rows(table), notes.problems) == ([ROW], [])


def test_version_6_with_options_in_front_of_the_pages_of_a_buffer():
    file = TraceFile(version=6).buffer(page(record("cfg_read", **GOOD)))
    file.buffer(page(record("cfg_read", **GOOD | {"reg": 0x94}), time=2000), name="second")
    data = file.build()
    name = data.index(b"second\0")
    place = int.from_bytes(data[name - 8 : name], "little")
    options = layout.OPTIONS_MARK + file.option(Option.VERSION, b"another\0") + file.number(0, 2)
    moved = options + data[place : place + len(layout.FLYRECORD_MARK) + 16]
    table, notes = read(data[: name - 8] + len(data).to_bytes(8, "little") + data[name:] + moved)
    assert rows(table, "offset") == [(0x90,), (0x94,)]
    assert (notes.problems, notes.tool) == ([], "trace-cmd 3.3.1")  # the options of a buffer are its own


def test_a_number_of_cpus_that_no_machine_has():
    file = TraceFile(version=6).buffer(page(record("cfg_read", **GOOD)))
    data = file.build()
    count = data.index(layout.OPTIONS_MARK) - 4
    with pytest.raises(DamagedInputError, match=r"expected at most .* CPUs, found 4294967295"):
        read(data[:count] + b"\xff\xff\xff\xff" + data[count + 4 :])


def test_a_latency_trace_of_version_7_is_refused():
    file = TraceFile(events=[probes()["cfg_read"]])
    file.options.append((Option.BUFFER_TEXT, bytes(8)))
    # A file without a buffer has its options in one section at its end.
    with pytest.raises(UnsupportedFormatError, match="latency tracer"):
        read(file.build())


def test_a_chunk_that_claims_to_be_larger_than_any():
    pages = Pages()
    for number in range(4):  # two chunks of two pages
        pages.page(1000 * number, [record("cfg_read", **GOOD | {"reg": 4 * number})])
    data = TraceFile(compression="zstd").buffer(pages).build()
    first = data.rindex(b"\x28\xb5\x2f\xfd", 0, data.rindex(b"\x28\xb5\x2f\xfd"))
    table, notes = read(data[: first - 4] + (1 << 31).to_bytes(4, "little") + data[first:])
    assert rows(table, "offset") == [(8,), (12,)]
    assert (notes.dropped, [problem.kind for problem in notes.problems]) == (1, ["damaged"])


@pytest.mark.parametrize(("mult", "shift"), [(0x80000000, 32), (0x55555555, 31), (2863311531, 30), (3, 1)])
def test_cycles_of_the_tsc_become_ns(mult, shift):
    cycles = [5, 1 << 32, (1 << 40) + 12345, 0x0123_4567_89AB]
    pages = Pages()
    for time in cycles:
        pages.page(time, [record("cfg_read", delta=0, **GOOD)])
    file = TraceFile(clock="x86-tsc").buffer(pages)
    scale = {"mult": mult, "shift": shift, "offset": 0}
    file.options.append((Option.TSC2NSEC, file.lay.tsc2nsec.build(scale)))
    table, notes = read(file.build())
    assert rows(table, "time_ns") == [(time * mult >> shift,) for time in cycles]
    assert notes.clock is None  # ns since an unknown moment


@pytest.mark.parametrize("shift", [0, 33, 255])
def test_a_scale_of_the_tsc_that_cannot_be_gives_no_times(shift):
    file = one_cpu(record("cfg_read", **GOOD), clock="x86-tsc")
    scale = {"mult": 5, "shift": shift, "offset": 0}
    file.options.append((Option.TSC2NSEC, file.lay.tsc2nsec.build(scale)))
    table, _ = read(file.build())
    assert table["time_ns"].to_list() == [None]


def test_of_very_many_marks_of_lost_events_the_first_are_listed():
    pages = Pages()
    for number in range(MOST_LISTED + 5):
        pages.page(1000 * number, [record("cfg_read", **GOOD)], missed=2)
    _, notes = read(TraceFile().buffer(pages).build())
    told = [problem.message for problem in notes.problems]
    assert len(told) == MOST_LISTED + 1
    assert told[-1] == "5 more marks of lost events, not listed"
    assert notes.dropped == 2 * (MOST_LISTED + 5)


def link_event(kind: str, name: bytes, *, relative: bool) -> tuple[Event, bytes]:
    """A link event whose port stands behind its fields, placed from the record's start or the field's end."""
    numbers = [("unsigned int", field, 4) for field in ("type", "width", "link_status")]
    event = Event("pci", "pcie_link_event", 501, [(kind, "port_name", 4), *numbers])
    end = max(at + size for at, size in event.offsets.values())
    start = end - sum(event.offsets["port_name"]) if relative else end
    place = start | len(name) << 16
    said = event.payload("little", port_name=place, type=4, width=2, link_status=0x2800, tail=name)
    return event, said


@pytest.mark.parametrize(
    ("kind", "relative"), [("__data_loc char[]", False), ("__rel_loc char[]", True)], ids=["data", "rel"]
)
@pytest.mark.parametrize(
    ("name", "expected"),
    [(b"0000:00:03.0\0", (0, 0, 0x18)), (b"0000:00:3f.0\0", None), (b"nowhere\0", None)],
    ids=["a port", "no such device number", "no address"],
)
def test_where_an_event_says_its_port_stands(kind, relative, name, expected):
    event, said = link_event(kind, name, relative=relative)
    pages = Pages()
    pages.page(0, [record("cfg_read", **GOOD), pages.record(said, 1)])
    events = [event if event.name == one.name else one for one in probes().values()]
    _, notes = read(TraceFile(events=events).buffer(pages).build())
    (found,) = notes.events
    assert (found.kind, found.bdf) == ("link", expected)
    assert found.text.split()[1] == name.rstrip(b"\0").decode()


def test_content_that_must_be_kept_whole_has_a_limit(monkeypatch):
    data = one_cpu(record("cfg_read", **GOOD)).build()
    monkeypatch.setattr(whole_content, "MAX_CONTENT", len(data) - 1)
    with pytest.raises(LimitExceededError, match="expected at most"):
        read(data)
