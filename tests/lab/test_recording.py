"""The guest's own recording: gzip members one after the other."""

import gzip

import pytest

from analyzer.lab.run_files import gzip_members, recording_names

# No time of packing in them: workers must collect the same tests.
ONE, TWO = gzip.compress(b"snapshot", mtime=0), gzip.compress(b"trace" * 1000, mtime=0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (ONE, [b"snapshot"]),
        (ONE + TWO, [b"snapshot", b"trace" * 1000]),
        (ONE + TWO[:-9], [b"snapshot"]),
        (ONE + b"noise", [b"snapshot"]),
        (b"noise" + ONE, []),
    ],
)
def test_members(content, expected):
    assert gzip_members(content) == expected


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ([], []),
        ([b"00:00.0 Host bridge", b"# tracer: nop"], ["guest-snapshot.txt", "guest-trace.txt"]),
        ([b".".ljust(257, b"\0") + b"ustar"], ["guest-kho.tar"]),
        ([b"# tracer: nop", b"# tracer: nop"], ["guest-trace.txt", "guest-trace-2.txt"]),
    ],
)
def test_names(recorded, expected):
    assert recording_names(recorded) == expected
