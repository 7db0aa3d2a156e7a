"""What the records of a trace.dat mean: probes, a KVM host, printed text, evidence, lost events."""

from __future__ import annotations

import pytest
from trace_dat_builder import Pages, TraceFile, probes
from trace_dat_samples import GOOD, one_cpu, read, record, rows

from analyzer.errors import SeveralGuestsError, UnsupportedFormatError, UsageError
from schemas.trace_dat import Option


def test_names_of_fields_and_events_can_be_given():
    page = Pages().page(1, [record("access_rd", segment=1, b=3, df=0x10, r=0x100, v=0x1_2345_6789)])
    data = TraceFile().buffer(page).build()
    assert read(data)[0].height == 0
    names = {"domain": "segment", "bus": "b", "devfn": "df", "pos": "r", "val": "v"}
    table, _ = read(data, field_map=names)
    assert rows(table) == [("read", 1, 3, 0x10, 0x100, 0, 0x2345_6789)]
    assert read(data, field_map=names | {"write": "access_rd"})[0]["op"][0] == "write"
    assert read(data, field_map=names | {"write": "odd:access_rd"})[0]["op"][0] == "write"
    with pytest.raises(UsageError, match="found 'nonsense'"):
        read(data, field_map={"nonsense": "x"})


def test_an_event_of_unknown_direction_is_refused_only_if_it_occurs():
    data = one_cpu(record("neutral", **GOOD)).build()
    with pytest.raises(UnsupportedFormatError, match="neither read nor write") as caught:
        read(data)
    assert "--map read=neutral" in caught.value.advice
    assert data[caught.value.offset : caught.value.offset + 2] == (367).to_bytes(2, "little")
    assert read(data, field_map={"write": "neutral"})[0]["op"].to_list() == ["write"]


def test_reads_at_the_entry_of_a_function_have_no_value_yet():
    page = Pages().page(1, [record("entry_read", **GOOD), record("cfg_read", **GOOD)])
    table, notes = read(TraceFile().buffer(page).build())
    assert table.height == 1
    assert "1 read is not used: recorded at the entry of a function" in notes.problems[0].message
    assert notes.dropped == 0
    # In the middle of a function, with no other probe, they have one.
    alone = TraceFile(events=[probes()["entry_read"]]).buffer(Pages().page(1, [record("entry_read", **GOOD)]))
    assert read(alone.build())[0].height == 1


def test_errors_and_all_ones():
    page = Pages().page(
        1,
        [
            record("cfg_read", **GOOD | {"len": 4, "val": 0xFFFFFFFF}),
            record("cfg_read", **GOOD | {"val": 0xFFFFFFFF, "ret": -22}),
            record("cfg_read", **GOOD | {"reg": 0x1000, "val": 0xFFFFFFFF, "ret": -22}),
            record("cfg_read", **GOOD | {"reg": 0x1000}),
            record("cfg_read", **GOOD | {"bus": 256}),
            record("cfg_read", **GOOD | {"devfn": 256}),
            record("cfg_read", **GOOD | {"len": 3}),
            record("cfg_read", **GOOD | {"reg": 0xFFF, "len": 4}),
        ],
    )
    table, notes = read(TraceFile().buffer(page).build())
    assert rows(table, "status", "absent", "value") == [
        ("ok", False, 0xFFFFFFFF),
        ("abort", False, 0xFFFF),
    ]
    # The kernel refuses registers beyond 0xfff itself: no access. Without an error such a record is damage.
    assert notes.dropped == 5
    assert "5 events name a register that does not exist" in notes.problems[0].message


def test_lost_events():
    page = Pages()
    page.page(1, [record("cfg_read", **GOOD)])
    page.page(2000, [record("cfg_read", **GOOD)], missed=9)
    page.page(4000, [record("cfg_read", **GOOD)], missed=0)
    file = TraceFile().buffer(page, page.data[:4096]).buffer(page.data[:4096], name="b")
    stat = "CPU: {}\nentries: 0\noverrun: {}\ncommit overrun: 2\ndropped events: {}\n\0"
    texts = [stat.format(0, 10, 0), stat.format(1, 3, 4), "\nBuffer: b\n\n\0", stat.format(0, 1, 0)]
    file.options += [(Option.CPUSTAT, text.encode()) for text in texts]
    table, notes = read(file.build())
    assert table.height == 4  # the second buffer's record is one of the first buffer's
    # Marks: 9 and at least 1. Counted: 10 + 2 there, 3 + 2 + 4 on CPU 1, and 1 + 2 in the other buffer.
    assert notes.dropped == 10 + 2 + 9 + 3
    places = [p.offset_bytes for p in notes.problems if "before this page" in p.message]
    assert places == [places[0], places[0] + 4096]
    assert "lost 9 events of CPU 0" in notes.problems[0].message
    assert "lost some events" in notes.problems[1].message


@pytest.mark.parametrize("order", ["little", "big"])
def test_evidence_beside_the_accesses(order):
    page = Pages(order)
    probe = probes()

    def loc(event, name, text, before=b""):
        at = max(a + s for a, s in event.offsets.values()) + len(before)
        return {name: at | len(text) << 16}, before + text

    link_name, text = loc(probe["pcie_link_event"], "port_name", b"0000:00:03.0\0")
    link = probe["pcie_link_event"].payload(
        order, type=4, width=2, link_status=0x2800, tail=text, **link_name
    )
    hot_name, text = loc(probe["pci_hp_event"], "port_name", b"0000:00:04.0\0")
    slot, text = loc(probe["pci_hp_event"], "slot", b"4\0", text)
    hot = probe["pci_hp_event"].payload(order, event=1, tail=text, **hot_name, **slot)
    aer_name, text = loc(probe["aer_event"], "dev_name", b"10000:e1:00.1\0")
    aer = probe["aer_event"].payload(order, status=1 << 5, severity=1, tail=text, **aer_name)
    parts = [record("cfg_read", pages=page, **GOOD), page.record(link, 1), page.record(hot, 1)]
    parts += [record("cfg_read", pages=page, **GOOD), page.record(aer, 1)]
    table, notes = read(TraceFile(order).buffer(page.page(0, parts)).build())
    assert table.height == 2
    assert [(e.kind, e.seq, e.bdf, e.time_ns) for e in notes.events] == [
        ("link", 1, (0, 0, 0x18), 2),
        ("hotplug", 1, (0, 0, 0x20), 3),
        ("aer", 2, (0x10000, 0xE1, 1), 5),
    ]
    assert "status:LT|DLLLA" in notes.events[0].text
    assert "slot:4, event:LINK_DOWN (Link Down)" in notes.events[1].text
    assert "severity=Fatal, Surprise Down Error" in notes.events[2].text


def test_what_qemu_s_ftrace_backend_printed():
    lines = [
        b"pci_cfg_read mch 00:00.0 @0x0 -> 0x29c08086",
        b"memory_region_ops_read cpu 0 mr 0x5 addr 0xcfc value 0x29c08086 size 4 name 'pci-conf-data'",
        b"nothing of interest",
        b"pci_cfg_write nvme 03:09.0 @0x4 <- 0x6",
    ]
    latch = b"memory_region_ops_write cpu 0 mr 0x5 addr 0xcf8 value 0x80000000 size 4 name 'pci-conf-idx'"
    parts = [record("print", tail=line + b"\n\0") for line in (latch, *lines)]
    parts.insert(3, record("cfg_read", **GOOD))
    table, notes = read(one_cpu(*parts).build())
    assert rows(table, "op", "bus", "devfn", "offset", "width", "value") == [
        ("read", 0, 0, 0, 4, 0x29C08086),
        ("read", 2, 0x48, 0x90, 2, 0x20),
        ("write", 3, 0x48, 4, 0, 6),
    ]
    assert table["time_ns"].to_list() == [1002, 1004, 1006]
    assert notes.problems == []


def kvm(*touches: tuple) -> bytes:
    """Records from (pid, "in"/"out"/"read"/"write", address, size, value)."""
    parts = []
    for pid, what, address, size, value in touches:
        if what in ("in", "out"):
            fields = {"rw": int(what == "out"), "port": address, "size": size, "count": 1, "val": value}
            parts.append(record("kvm_pio", pid=pid, **fields))
        else:
            kind = {"unsatisfied": 0, "read": 1, "write": 2}[what]
            parts.append(record("kvm_mmio", pid=pid, type=kind, len=size, gpa=address, val=value))
    return one_cpu(*parts).build()


def test_kvm_ports_of_two_virtual_cpus_interleaved():
    data = kvm(
        (7, "out", 0xCF8, 4, 0x80001810),
        (8, "out", 0xCF8, 4, 0x8000A004),
        (7, "in", 0xCFC, 4, 0x11),
        (8, "out", 0xCFE, 2, 0x22),
        (9, "in", 0xCFC, 4, 0x33),
        (7, "out", 0x80, 1, 0),
    )
    table, notes = read(data)
    assert rows(table) == [("read", 0, 0, 0x18, 0x10, 4, 0x11), ("write", 0, 0, 0xA0, 6, 2, 0x22)]
    assert notes.dropped == 1
    assert "what was written to 0xcf8" in notes.problems[0].message


@pytest.mark.parametrize("version", [6, 7])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_guests_are_told_apart_by_the_names_of_threads(version, compression):
    accesses = [("kvm_pio", pid, value) for pid, value in ((7, 0x11), (8, 0x22), (17, 0x33))]
    parts = []
    for event, pid, value in accesses:
        fields = {"size": 4, "count": 1}
        parts.append(record(event, pid=pid, rw=1, port=0xCF8, val=0x80001810, **fields))
        parts.append(record(event, pid=pid, rw=0, port=0xCFC, val=value, **fields))
    file = one_cpu(*parts)
    file.version, file.compression = version, compression if version == 7 else "none"
    file.threads = b"7 CPU 0/KVM\n8 CPU 1/KVM\n17 CPU 0/KVM\n1 init\nx y\n\n"
    with pytest.raises(SeveralGuestsError) as caught:
        read(file.build())
    assert [(g.pid, sorted(g.threads), g.accesses) for g in caught.value.guests] == [
        (7, [7, 8], 2),
        (17, [17], 1),
    ]
    for guest, values in zip(caught.value.guests, ([0x11, 0x22], [0x33]), strict=True):
        table, notes = read(file.build(), threads=guest.threads)
        assert (table["value"].to_list(), notes.problems) == (values, [])


@pytest.mark.parametrize(
    ("ecam_base", "expected", "dropped"),
    [(None, [], 1), (0x40_1000_0000, [("read", 0, 3, 0x10, 0x100, 4, 5)], 0)],
)
def test_kvm_ecam_of_a_machine_that_does_not_say_where(ecam_base, expected, dropped):
    at = 0x40_1000_0000 + (3 << 20 | 0x10 << 12 | 0x100)
    data = kvm((7, "unsatisfied", at, 4, 0), (7, "read", at, 4, 5))
    table, notes = read(data, ecam_base=ecam_base)
    assert (rows(table), notes.dropped) == (expected, dropped)
    if dropped:
        assert "--ecam-base" in notes.problems[0].message


def test_kvm_accesses_of_several_items_cannot_be_used():
    fields = {"rw": 0, "port": 0xCFC, "size": 4, "val": 1}
    data = one_cpu(
        record("kvm_pio", count=3, **fields), record("kvm_pio", count=1, **fields | {"port": 0x60})
    ).build()
    _, notes = read(data)
    assert (notes.dropped, [p.kind for p in notes.problems]) == (1, ["unsupported"])
