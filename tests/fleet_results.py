"""Results of a fleet prepared by hand, written as a run writes them: every number can be worked out."""

from __future__ import annotations

import numpy as np
import result_samples as samples
from result_samples import ABOVE_EIGHT, PORT, bridge, kexec

from analyzer import fleet
from analyzer.fleet import job as jobs
from analyzer.fleet import manifest, parts, rows
from analyzer.fleet.analysis import AnalyzedInput
from analyzer.fleet.drilldown import drill_down
from analyzer.fleet.job import Job, Request
from analyzer.fleet.manifest import Entry
from analyzer.report.html import fleet_page
from analyzer.results.state import StateCount
from analyzer.verdicts.state_counts import COUNTED, NAMES, StateGroups
from analyzer.version import version

DAY_NS = 86_400_000_000_000


def write(directory, results, batch_size=4, names=None, states=None):
    """A directory of results as a run writes it: (host, result, recording's day); names sorted.

    ``states``: of each result counts of watched registers by kexec (:func:`registers`).
    """
    directory.mkdir()
    names = names or [f"{number:03d}.bin" for number in range(len(results))]
    entries = [Entry(name.encode()) for name in names]
    name, captures, _ = manifest.write(manifest.listed(entries), str(directory))
    job = Job(str(directory), Request(sources=("x",)), name, captures, batch_size, version())
    jobs.write_once(job)
    parts.prepare(job)
    for batch in job.batches:
        first, number = job.slice_of(batch)
        analyzed = []
        for at in range(first, first + number):
            host, result, day = results[at]
            result.host = host
            for one in result.kexecs:
                samples.concluded(one)
            created = None if day is None else day * DAY_NS
            counted = () if states is None else states[at]
            for one, groups in zip(result.kexecs, counted, strict=bool(counted)):
                one.state_counts = [StateCount(list(NAMES)[name], 1, 0, 0) for name in groups.name]
            outcome = "unsupported" if result.verdict == "unreadable" else "ok"
            analyzed.append(
                AnalyzedInput(at, entries[at], result, outcome, created_ns=created, states=counted)
            )
        parts.write(job, batch, rows.tables(analyzed, None))
    return job


def registers(*rows):
    """Counts of one kexec: (state, vendor:device, port type, preserved), then counts by verdict."""
    kinds = list(dict.fromkeys(kind[1:] for kind, _ in rows))
    places = [(kinds.index(kind[1:]), list(NAMES).index(kind[0])) for kind, _ in rows]
    counts = [[counted.get(word, 0) for word in COUNTED] for _, counted in rows]
    kind, name = np.array(places, np.int64).reshape(-1, 2).T
    return StateGroups(kinds, kind, name, np.array(counts, np.int64).reshape(-1, len(COUNTED)))


def page(directory, **options):
    """The page of a directory of results."""
    shown = fleet_page.shown_part(fleet.report(str(directory), **options))
    return "".join(fleet_page.pieces(shown, drill_down(shown)))


def plain(path="plain.bin"):
    result = kexec([bridge(PORT, "lost", preserved=False)], kind="plain", preserved_source="assumed")
    result.policies["inherit"].stranded.extend(ABOVE_EIGHT)
    return samples.capture(path, [result], "clean")


FLEET = [
    ("a", samples.lost(), 20_000),
    ("a", samples.lost(), 20_000),
    ("a", samples.clean(), 20_001),
    ("b", samples.clean(), 20_001),
    ("b", samples.hidden(), 20_009),
    ("c", samples.healed(kind="live-update"), None),
    (None, samples.clean(), None),
    ("c", samples.undetermined(), 20_001),
    ("c", plain(), 20_001),
    ("c", samples.unreadable(), None),
]

_PORT, _DEVICE = ("1b36:000c", "root-port", True), ("8086:1572", "endpoint", True)
_KEPT = registers((("ACS", *_PORT), {"kept": 2}), (("BAR", *_DEVICE), {"kept": 8, "kept_at_reset": 3}))
_RESET = registers(
    (("ACS", *_PORT), {"kept": 1, "undetermined": 1}),
    (("BAR", *_PORT), {"kept": 1}),
    (("BAR", *_DEVICE), {"lost": 6, "healed": 2}),
    (("MPS", *_DEVICE), {"kept": 8, "kept_at_reset": 8}),
    (("SR-IOV", *_DEVICE), {"cleared": 1}),
)
_PLAIN = registers((("BAR", *_DEVICE[:2], False), {"changed": 3, "kept": 5}))
#: Counts of registers of :data:`FLEET`: nine kexecs, of which one is plain, and an input without any.
REGISTERS = [[_RESET], *([_KEPT],) * 7, [_PLAIN], []]
