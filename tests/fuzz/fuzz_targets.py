"""One target per reader, and for all else that is an input: logs, dumps, options, hosts, snapshots, fleets.

A target takes any bytes. Its oracle: an answer that keeps the promises of the access table, or an
:class:`AritraceError`; no other exception, no warning, and within ``SECONDS`` of processor time.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import fuzz_fleets as fleets
import fuzz_hosts as hosts
import fuzz_mutators as mutators
import fuzz_seeds as seeds
import fuzz_snapshots as snapshots
import fuzz_tables
from fuzz_oracle import allowed, analysed, opened, room

from analyzer.analysis import analyze_capture
from analyzer.converting import minimal, redaction
from analyzer.kernel_logs import cmdline, kernel_log
from analyzer.observed import junctions
from analyzer.options import Options
from analyzer.preservation import flb
from analyzer.questions.atrisk import atrisk_of
from analyzer.questions.snapshot import take_capture
from analyzer.readers import sniff
from analyzer.readers.unwrap import ByteStream, open_stream
from analyzer.report.lspci_text import lspci_text
from analyzer.series import names

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from analyzer.capture import Capture

#: Changed inputs of a target in the short form.
ROUNDS = 25


@dataclass(frozen=True)
class Target:
    """A function under test, what it starts from, and how its inputs are changed."""

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    mutators: tuple[mutators.Mutator, ...]
    repair: Callable[[bytes, random.Random], bytes] | None = None
    longest: int = 1 << 16
    rounds: int = ROUNDS

    def mutate(self, data: bytes, rng: random.Random, other: bytes) -> bytes:
        """A changed input, its checksums mostly right again."""
        data = mutators.mutate(data, self.mutators, rng, other)
        if self.repair is not None and rng.randrange(8):
            data = self.repair(data, rng)
        return data[: self.longest]


def native(data: bytes) -> None:
    opened(data, "a.bin")


def native_analysis(data: bytes) -> None:
    capture = opened(data, "a.bin")
    analysed(capture, Options(assume_preserved=True))


def any_reader(data: bytes) -> None:
    opened(data)


def pcap(data: bytes) -> None:
    allowed(lambda raw: opened(raw, options=Options(linktype_raw_tlp=150)), data)
    opened(data)


def trace_dat(data: bytes) -> None:
    opened(data, options=Options(ecam_base=0xB0000000))


def snapshot(data: bytes) -> None:
    capture = opened(data)
    analyze_capture(capture)
    atrisk_of(capture)
    list(lspci_text(take_capture(capture)))


def sysfs(data: bytes) -> None:
    snapshot_file = "0000:03:00.0" if len(data) in (64, 256, 4096) else "x.tar"
    list(lspci_text(take_capture(opened(data, snapshot_file))))


def hex_dump(data: bytes) -> None:
    list(lspci_text(take_capture(opened(data, "0000:03:00.0.txt"))))


def unwrap(data: bytes) -> None:
    path = room() / "packed"
    path.write_bytes(data)
    with open_stream(str(path)) as stream:
        while stream.read(1 << 16):
            pass
        assert len(stream.sha256) == 64


def identify(data: bytes) -> None:
    with ByteStream("0000:03:00.0/config", io.BytesIO(data)) as stream:
        sniff.identify(stream)


def replay(data: bytes) -> None:
    capture = fuzz_tables.capture_of(data[1:])
    if not capture.accesses.height:
        return
    choice = data[0]
    policies = ("observed", "stock", "inherit", "serialize", "heal")
    versions = (None, *names())
    series = versions[choice // 5 % len(versions)]
    analysed(
        capture,
        Options(
            policy=policies[choice % 5],
            series=series,
            assume_preserved=choice >= 128,
            preserved="0000:03:00.0" if choice & 64 else None,
        ),
    )


def convert(data: bytes) -> None:
    """A hostile table, minimised, redacted, written and read again: the same verdict."""
    capture = fuzz_tables.capture_of(data)
    if not capture.accesses.height:
        return
    before = analyze_capture(capture)
    again = opened(seeds.stored(capture), "b.bin")
    assert again.accesses.drop("where").equals(capture.accesses.drop("where"))
    assert analyze_capture(again).verdict == before.verdict
    little = minimal.minimise(capture).capture
    assert analyze_capture(little).verdict == before.verdict
    redaction.redact(capture)


def log(data: bytes) -> None:
    parsed = kernel_log.parse(data)
    for run in parsed.runs:
        cmdline.pci_options(run.cmdline or "")


def log_piece(data: bytes) -> None:
    """A hostile log as the second piece of a history."""
    piece = opened(data, options=Options(join=True))
    if piece.notes.scans:
        analysed(junctions.join([_small_capture(), piece]), Options(assume_preserved=True))


def log_beside(data: bytes) -> None:
    """A hostile log given beside a real capture."""
    path = room() / "log"
    path.write_bytes(data)
    capture = _small_capture()
    analysed(capture, Options(dmesg=str(path)))


def preserved_dump(data: bytes) -> None:
    for name in ("", "pci", "pci-v2"):
        found = allowed(lambda raw, name=name: flb.decode(raw, name), data)
        assert found is None or found.functions is not None


def option_texts(data: bytes) -> None:
    preserved, _, line = data.decode("utf-8", "surrogateescape").partition("\0")
    hand, _, line = line.partition("\0")
    cmdline.pci_options(line)
    cmdline.is_crash_kernel(line)
    options = Options(
        preserved=preserved.lstrip("@"), cmdline=line.lstrip("@"), kexec_at=(hand,) * bool(hand)
    )
    analysed(_small_capture(), options)


_SMALL: list[Capture] = []


def _small_capture() -> Capture:
    if not _SMALL:
        _SMALL.append(fuzz_tables.capture_of(seeds.simulated()))
    return _SMALL[0]


TARGETS: dict[str, Target] = {
    "native": Target(native, seeds.native, mutators.BINARY, mutators.native_repaired, 1 << 17),
    "native-analysis": Target(
        native_analysis, seeds.native, mutators.BINARY, mutators.native_repaired, 1 << 17
    ),
    "simpletrace": Target(any_reader, seeds.simpletrace, mutators.BINARY),
    "qemu-log": Target(any_reader, lambda: seeds.text("qemu-log*"), mutators.TEXT),
    "trace-dat": Target(trace_dat, seeds.trace_dat, mutators.BINARY),
    "ftrace-text": Target(any_reader, lambda: seeds.text("ftrace*", "tracefs*"), mutators.TEXT),
    "pcap": Target(pcap, seeds.pcap, mutators.BINARY),
    "lspci-dump": Target(snapshot, lambda: seeds.text("lspci*"), mutators.TEXT),
    "pasted": Target(any_reader, seeds.pasted, mutators.TEXT),
    "config-hex-dump": Target(hex_dump, lambda: [seeds.hex_dump()], mutators.TEXT),
    "printed-events": Target(any_reader, lambda: [seeds.printed_events()], mutators.TEXT),
    "lspci-text": Target(snapshot, seeds.lspci_text, mutators.TEXT),
    "earlydump": Target(snapshot, lambda: seeds.text("earlydump*"), mutators.TEXT),
    "sysfs-config": Target(sysfs, seeds.sysfs, mutators.BINARY, mutators.tar_repaired),
    "unwrap": Target(unwrap, seeds.wrapped, mutators.BINARY),
    "sniff": Target(identify, lambda: seeds.text("*.log", "*.txt"), mutators.TEXT),
    "replay": Target(replay, lambda: [b"\x80" + seed for seed in seeds.tables()], mutators.BINARY),
    "convert": Target(convert, seeds.tables, mutators.BINARY),
    "kernel-log": Target(log, lambda: seeds.text("console*", "earlydump*"), mutators.TEXT),
    "log-piece": Target(log_piece, seeds.logs, mutators.TEXT),
    "log-beside": Target(log_beside, lambda: seeds.text("console*", "earlydump*"), mutators.TEXT),
    "preserved-dump": Target(preserved_dump, seeds.dumps, mutators.BINARY),
    "options": Target(option_texts, seeds.options, mutators.TEXT, longest=4096),
    "sysfs-archive": Target(
        hosts.sysfs_archive, hosts.archive_seeds, mutators.BINARY, mutators.tar_repaired, rounds=5
    ),
    "several-guests": Target(hosts.several_guests, hosts.guest_seeds, mutators.TEXT),
    "kernel-messages": Target(hosts.kernel_messages, hosts.message_seeds, mutators.TEXT),
    "kernel-memory": Target(hosts.kernel_memory, hosts.memory_seeds, mutators.BINARY),
    "collect": Target(hosts.collect, hosts.host_seeds, mutators.MIXED, rounds=2),
    "two-dumps": Target(snapshots.two_dumps, snapshots.dump_seeds, mutators.TEXT, rounds=2),
    "two-snapshots": Target(snapshots.two_snapshots, snapshots.snapshot_seeds, mutators.BINARY, rounds=2),
    "every-form": Target(snapshots.every_form, lambda: [seeds.simulated()], mutators.BINARY, rounds=3),
    "manifest": Target(fleets.manifests, fleets.manifest_seeds, mutators.STRUCTURED),
    "manifest-parquet": Target(fleets.manifests, fleets.parquet_seeds, mutators.BINARY, rounds=2),
    "source-list": Target(fleets.source_list, fleets.list_seeds, mutators.TEXT),
    "group-by": Target(fleets.group_by, fleets.group_seeds, mutators.TEXT),
    "scenario": Target(fleets.scenario, fleets.scenario_seeds, mutators.STRUCTURED),
    "corpus-case": Target(fleets.corpus_case, fleets.case_seeds, mutators.STRUCTURED, rounds=2),
    "fleet-file": Target(
        fleets.fleet_file, fleets.file_seeds, (*mutators.MIXED, mutators.values, mutators.values), rounds=2
    ),
    "fleet-cells": Target(fleets.fleet_cells, fleets.cell_seeds, mutators.BINARY, longest=512, rounds=3),
}


def _all_seeds() -> list[bytes]:
    return [bytes([number]) + seed for number, one in enumerate(TARGETS.values()) for seed in one.seeds()]


class AllTargets(Target):
    """Every target in one, chosen by the first byte: for a short run."""

    def mutate(self, data: bytes, rng: random.Random, other: bytes) -> bytes:
        chosen = _chosen(data)
        return data[:1] + chosen.mutate(data[1:], rng, other[1:])


def _chosen(data: bytes) -> Target:
    return list(TARGETS.values())[(data[0] if data else 0) % len(TARGETS)]


ALL = AllTargets(lambda data: _chosen(data).run(data[1:]), _all_seeds, mutators.BINARY, longest=1 << 17)
