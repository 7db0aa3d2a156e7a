"""What a capture does to the exit status, and what is said of one that could not be read."""

from __future__ import annotations

import pytest
from result_samples import PORT, bridge, kexec

from analyzer.capture import Problem
from analyzer.errors import AritraceError
from analyzer.options import Options
from analyzer.results import CaptureResult, Finding
from analyzer.verdicts import verdict


def captured(word: str, *weights: str | None) -> CaptureResult:
    findings = [Finding("ARI001", "error", PORT, "", weight) for weight in weights]
    results = [kexec([]), kexec([], findings=findings)]
    return CaptureResult("a.bin", [], None, None, 0, False, 0, word, kexecs=results)


@pytest.mark.parametrize(
    ("word", "weights", "whole", "expected"),
    [
        ("clean", [], True, None),
        ("clean", [None], True, None),
        ("clean", [], False, "doubt"),  # what is missing may hold a kexec
        ("no-kexec", [], False, "doubt"),
        ("no-kexec", [], True, None),
        ("findings", [None], True, None),
        ("findings", ["doubt"], True, "doubt"),
        ("findings", ["loss"], True, "loss"),
        ("findings", ["doubt", "loss", None], False, "loss"),
        ("undetermined", [], True, "doubt"),
        ("undetermined", ["loss"], True, "loss"),
        ("unreadable", [], True, "doubt"),
    ],
)
def test_what_a_capture_weighs(
    word: str, weights: list[str | None], whole: bool, expected: str | None
) -> None:
    assert verdict.weight(captured(word, *weights), Options(), whole=whole) == expected
    if whole:
        assert verdict.weight(captured(word, *weights), Options()) == expected


@pytest.mark.parametrize(
    ("word", "selected", "whole", "expected"),
    [
        ("undetermined", "ARI001", True, None),
        ("undetermined", "ARI010", True, "doubt"),
        ("clean", "ARI001", False, None),
        ("clean", "ARI010", False, "doubt"),
        ("clean", "ARI010", True, None),
        ("unreadable", "ARI001", True, "doubt"),
    ],
)
def test_a_doubt_counts_where_it_is_selected(
    word: str, selected: str, whole: bool, expected: str | None
) -> None:
    options = Options(selected=frozenset({selected}))
    assert verdict.weight(captured(word), options, whole=whole) == expected


@pytest.mark.parametrize(
    ("error", "file", "message"),
    [
        (AritraceError("found 7 bytes"), "a.bin", "found 7 bytes"),
        (
            AritraceError("found 7 bytes", path="a.bin", offset=16, advice="see the README"),
            "a.bin",
            "found 7 bytes; see the README",
        ),
        (
            AritraceError("found 7 bytes", path="b.log", offset=16, advice="see the README"),
            "b.log",
            "b.log at byte 0x10: found 7 bytes; see the README",
        ),
    ],
)
def test_a_capture_that_cannot_be_read(error: AritraceError, file: str, message: str) -> None:
    assert verdict.unreadable("a.bin", error) == CaptureResult(
        path="a.bin",
        files=[],
        format=None,
        host=None,
        accesses=0,
        truncated=False,
        dropped=0,
        verdict="unreadable",
        errors=[Problem("error", file, error.offset, message)],
        weight="doubt",
    )


def test_findings_know_what_was_not_handed_over() -> None:
    for not_preserved, severity in ((frozenset(), "warning"), (frozenset({PORT}), "note")):
        result = kexec([bridge(PORT, "undetermined", preserved=False)], preserved_source="assumed")
        verdict.conclude(result, Options(), not_preserved)
        assert [item.severity for item in result.findings] == [severity]


def test_consequences_are_stored_beside_findings() -> None:
    result = kexec([bridge(PORT, "healed")])
    verdict.conclude(result, Options())
    assert [item.code for item in result.consequences] == ["healed-by-stock"]
