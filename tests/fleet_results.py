"""Results of a fleet prepared by hand, written as a run writes them: every number can be worked out."""

from __future__ import annotations

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
from analyzer.version import version

DAY_NS = 86_400_000_000_000


def write(directory, results, batch_size=4, names=None):
    """A directory of results as a run writes it: (host, result, recording's day); names sorted."""
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
            outcome = "unsupported" if result.verdict == "unreadable" else "ok"
            analyzed.append(AnalyzedInput(at, entries[at], result, outcome, created_ns=created))
        parts.write(job, batch, rows.tables(analyzed, None))
    return job


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
