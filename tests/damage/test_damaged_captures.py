"""Every format cut and corrupted: an answer that says what is missing, or a clear error, and nothing else."""

from __future__ import annotations

import random

import pytest
from damage_samples import MAKERS, judged, outcome, registers, sample, tells_more

from analyzer.capture import Capture, accesses
from analyzer.errors import AritraceError

SEED = 20261122


@pytest.fixture(params=list(MAKERS))
def of_format(request):
    return sample(request.param)


def test_every_sample_is_whole(of_format, tmp_path):
    found = outcome(tmp_path, of_format.data, of_format.name, join=of_format.join)
    assert not isinstance(found, AritraceError)
    assert not found.notes.truncated
    assert found.accesses.height >= 10


def shown_bits(capture: Capture) -> dict[tuple[int, int, int, int], tuple[int, int]]:
    """Value and mask of each byte that a snapshot shows, by its function and offset."""
    found = {}
    for row in capture.accesses.iter_rows(named=True):
        mask = row.get(accesses.KNOWN)
        for lane in range(row["width"]):
            at = row["domain"], row["bus"], row["devfn"], row["offset"] + lane
            shown = 0xFF if mask is None else mask >> 8 * lane & 0xFF
            found[at] = row["value"] >> 8 * lane & 0xFF, shown
    return found


def test_cut_at_edges_and_at_random_bytes(of_format, tmp_path):
    data, edges = of_format.data, of_format.edges
    generator = random.Random(SEED)  # noqa: S311 - repeatable, nothing secret
    whole = outcome(tmp_path, data, of_format.name, join=of_format.join)
    rows = registers(whole)
    most = of_format.cuts
    chosen = edges if len(edges) <= most else generator.sample(edges, most)
    cuts = {
        edge + shift
        for edge in chosen
        for shift in (0, *(of_format.shifts or (generator.choice((-2, -1, 1, 7)),)))
    }
    cuts |= {generator.randrange(len(data)) for _ in range(most)}
    answers = 0
    for cut in sorted(cut for cut in cuts if 0 < cut < len(data)):
        found = judged(tmp_path, data[:cut], of_format.name, join=of_format.join)
        if isinstance(found, AritraceError):
            continue
        answers += 1
        assert tells_more(found, whole) or of_format.complete(data, cut), cut
        height = found.accesses.height
        assert height <= rows.height
        if found.format != whole.format:
            assert found.format == "lspci-text", cut  # cut before the first row of bytes
            known, certain = shown_bits(found), shown_bits(whole)
            assert all(not (value ^ certain[at][0]) & mask for at, (value, mask) in known.items()), cut
        elif of_format.in_order:
            sure = max(height - of_format.partial, 0)
            assert registers(found).head(sure).equals(rows.head(sure)), cut
    assert answers


def test_single_damaged_bytes(of_format, tmp_path):
    data = of_format.data
    generator = random.Random(SEED + 1)  # noqa: S311 - repeatable, nothing secret
    whole = outcome(tmp_path, data, of_format.name, join=of_format.join)
    rows = registers(whole)
    answers = silent = 0
    for _ in range(of_format.corruptions):
        damaged = bytearray(data)
        place = generator.randrange(len(data))
        damaged[place] ^= generator.choice((1 << generator.randrange(8), 0xFF))
        found = judged(tmp_path, bytes(damaged), of_format.name, join=of_format.join)
        if isinstance(found, AritraceError):
            continue
        answers += 1
        # A damaged byte may split a record, but never make many.
        assert found.accesses.height <= rows.height + 2, place
        # Rows that are gone were not lost silently, as far as the format lets anybody see it.
        silent += found.accesses.height < rows.height and not tells_more(found, whole)
    assert answers > of_format.corruptions // 10
    assert silent <= (0 if of_format.checked else of_format.corruptions * of_format.unseen // 1000)


def test_emptied_and_overwritten_blocks(of_format, tmp_path):
    data = of_format.data
    generator = random.Random(SEED + 2)  # noqa: S311 - repeatable, nothing secret
    for fill in (b"\0", b"\xff", b"\n", b" "):
        for size in (16, 512, 4096):
            place = generator.randrange(len(data))
            judged(
                tmp_path,
                data[:place] + fill * size + data[place + size :],
                of_format.name,
                join=of_format.join,
            )
            judged(tmp_path, data[:place] + fill * size + data[place:], of_format.name, join=of_format.join)
            judged(tmp_path, data[:place] + data[place + size :], of_format.name, join=of_format.join)
