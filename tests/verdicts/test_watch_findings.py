"""Findings of the state watch, beside secondary ones, of a panic, and of what is not in the input."""

from __future__ import annotations

from dataclasses import replace

import pytest
from result_samples import BELOW_PORT, PORT, ROOT, SWITCH, bridge, device, kexec

from analyzer.options import Options
from analyzer.results import ErrorBit, Finding, KexecResult, Secondary
from analyzer.results.state import StateVerdict
from analyzer.verdicts import findings

ONE, TWO = BELOW_PORT[:2]
ASSUMED = {"preserved_source": "assumed", "observed_policy": "unknown"}


def added(result: KexecResult, *selected: str, not_preserved: frozenset[str] = frozenset()) -> list[Finding]:
    """The findings, without their weights."""
    findings.add(result, Options(selected=frozenset(selected) or None), not_preserved)
    return [replace(item, weight=None) for item in result.findings]


def row(
    bdf: str, code: str | None, severity: str = "alarm", field: str = "SrcValid", **more: object
) -> object:
    """A row of the watch: ACS Control lost."""
    values = {"name": "ACS", "register": "ECAP_ACS+06.w", "before": "0x001d", "after": "0x0000"}
    values |= {"verdict": "lost", "access_before": 1, "access_after": 2, "depends": ""}
    return StateVerdict(bdf=bdf, code=code, severity=severity, field=field, **(values | more))


def test_a_kernel_that_panicked_makes_one_finding_of_everything() -> None:
    reasons = [("stranded", ONE), ("stranded", TWO), ("undetermined", ROOT)]
    devices = [device(name, verdict, "kernel-panicked") for verdict, name in reasons]
    said = "the incoming kernel panicked over the handed-over data when it set up the first function: "
    said += "{} stranded"
    assert added(kexec([bridge(PORT, "lost")], devices=[*devices, device(PORT)])) == [
        Finding("ARI017", "error", None, said.format("2 preserved devices"))
    ]
    assert added(kexec([], devices=devices[1:])) == [
        Finding("ARI017", "error", None, said.format("1 preserved device"))
    ]


def test_what_is_not_in_the_input_casts_doubt() -> None:
    missing = ["0000:00:03.0 before the kexec", "byte 0e"]
    expected = [Finding("ARI010", "warning", None, f"not in the input: {one}") for one in missing]
    assert added(kexec([], not_in_input=missing)) == expected
    assert added(kexec([], not_in_input=missing, preservation="none")) == []


@pytest.mark.parametrize(
    ("preservation", "observed", "severity"),
    [
        ("no-scan", "unknown", "error"),
        ("no-scan", "stock", "error"),
        ("unrecognised", "unknown", "error"),
        ("unrecognised", "stock", "note"),
        ("live-update", "unknown", "note"),
        ("none", "unknown", "note"),
    ],
)
def test_what_is_gone_may_have_been_preserved(preservation: str, observed: str, severity: str) -> None:
    """Where neither the scan nor the kernel's rule is known, a missing function counts as a loss."""
    changes = {"preservation": preservation, "observed_policy": observed, "preserved_source": "assumed"}
    gone = device(ONE, "missing", "no-response", preserved=False)
    expected = Finding("ARI015", severity, ONE, f"{ONE} missing (no-response)")
    assert added(kexec([], devices=[gone], **changes)) == [expected]


def test_what_was_not_handed_over_for_certain_is_a_note() -> None:
    gone = device(ONE, "missing", preserved=False)
    for not_preserved, severity in ((PORT, "note"), (SWITCH, "error")):
        result = kexec([], devices=[gone], preservation="no-scan", **ASSUMED)
        (found,) = added(result, not_preserved=frozenset({not_preserved}))
        assert found.severity == severity


@pytest.mark.parametrize(
    ("preserved", "severity"), [(True, "warning"), (False, "note")], ids=["preserved", "not preserved"]
)
def test_a_doubt_counts_on_preserved_bridges(preserved: bool, severity: str) -> None:
    doubt = bridge(PORT, "undetermined", preserved=preserved)
    assert [item.severity for item in added(kexec([doubt]))] == [severity]


@pytest.mark.parametrize(
    ("severities", "expected"),
    [
        (["note"], "note"),
        (["warning"], "warning"),
        (["alarm"], "error"),
        (["warning", "note"], "warning"),
        (["alarm", "warning", "note"], "error"),
        (["note", "alarm", "warning"], "error"),
    ],
)
def test_of_several_rows_the_worst_counts(severities: list[str], expected: str) -> None:
    rows = [row(ONE, "STATE003", severity) for severity in severities]
    assert [item.severity for item in added(kexec([], state=rows))] == [expected]


def test_one_finding_for_a_function_and_a_code() -> None:
    rows = [
        row(ONE, "STATE003", field="SrcValid"),
        row(ONE, "STATE003", "note", "ReqRedir", verdict="cleared", before="0x0004"),
        row(ONE, "STATE011", "warning", "BusMaster", register="COMMAND"),
        row(TWO, "STATE003", "warning"),
        row(TWO, None, "alarm"),
    ]
    assert sorted(added(kexec([], state=rows)), key=lambda item: (item.code, item.bdf)) == [
        Finding(
            "STATE003",
            "error",
            ONE,
            f"{ONE}: ECAP_ACS+06.w SrcValid lost (0x001d to 0x0000);"
            " ECAP_ACS+06.w ReqRedir cleared (0x0004 to 0x0000)",
        ),
        Finding("STATE003", "warning", TWO, f"{TWO}: ECAP_ACS+06.w SrcValid lost (0x001d to 0x0000)"),
        Finding("STATE011", "warning", ONE, f"{ONE}: COMMAND BusMaster lost (0x001d to 0x0000)"),
    ]


@pytest.mark.parametrize(
    ("rows", "severity"),
    [
        ([], "warning"),
        ([row(ONE, "STATE003", "alarm")], "error"),
        ([row(ONE, "STATE003", "note")], "note"),
        ([row(TWO, "STATE011", "alarm"), row(ONE, "STATE011", "alarm")], "warning"),
    ],
)
def test_acs_is_said_once_with_the_severity_of_the_watch(rows: list[object], severity: str) -> None:
    lost = Secondary(ONE, "acs-lost", "ACS Control was 0x001d")
    found = added(kexec([], secondary=[lost], state=rows))
    mine = [item for item in found if item.bdf == ONE and item.code == "STATE003"]
    assert mine == [Finding("STATE003", severity, ONE, "ACS Control was 0x001d")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verdict": "expected"}, []),
        ({"verdict": "lost"}, [ONE]),
        ({"verdict": "expected", "name": "Command"}, [ONE]),
        ({"verdict": "expected", "bdf": TWO}, [ONE]),
    ],
)
def test_acs_that_a_freeze_reset_is_no_finding(changes: dict[str, str], expected: list[str]) -> None:
    one = replace(row(ONE, None), **changes)
    result = kexec([], secondary=[Secondary(ONE, "acs-lost", "ACS is 0")], state=[one])
    assert [item.bdf for item in added(result)] == expected
    bus_master = kexec([], secondary=[Secondary(ONE, "bus-master-lost", "off")], state=[one])
    assert [item.code for item in added(bus_master)] == ["STATE011"]


HIERARCHY = Secondary(ONE, "sriov-hierarchy-lost", "ARI Capable Hierarchy was 1 and is 0")
SRIOV = {"name": "SR-IOV", "register": "ECAP_SRIOV+08.w", "field": "VFEnable ARIHierarchy"}
SRIOV_TEXT = "ECAP_SRIOV+08.w VFEnable ARIHierarchy lost (0x001d to 0x0000)"
IN_FULL = Finding("STATE006", "error", ONE, f"{ONE}: {SRIOV_TEXT}; ARI Capable Hierarchy was 1 and is 0")
BESIDE = Finding("ARI014", "note", ONE, "ARI Capable Hierarchy was 1 and is 0")


@pytest.mark.parametrize(
    ("selected", "expected", "ignored"),
    [
        ((), [IN_FULL], []),
        (("STATE006",), [IN_FULL], []),
        (("ARI014",), [BESIDE], [replace(IN_FULL, text=f"{ONE}: {SRIOV_TEXT}")]),
    ],
)
def test_one_fact_is_said_once_unless_the_watch_is_ignored(
    selected: tuple[str, ...], expected: list[Finding], ignored: list[Finding]
) -> None:
    result = kexec([], secondary=[HIERARCHY], state=[row(ONE, "STATE006", **SRIOV)])
    assert added(result, *selected) == expected
    assert result.ignored == ignored


def test_what_follows_stands_with_its_own_function() -> None:
    other = replace(HIERARCHY, bdf=TWO, note="of the other function")
    rows = [
        row(ONE, "STATE006", **SRIOV),
        row(TWO, "STATE006", "warning", **SRIOV),
        row(ONE, "STATE005", "warning", "MaxPayload"),
    ]
    texts = {
        (item.bdf, item.code): item.text
        for item in added(kexec([], secondary=[HIERARCHY, other], state=rows))
    }
    assert texts == {
        (ONE, "STATE006"): IN_FULL.text,
        (TWO, "STATE006"): f"{TWO}: {SRIOV_TEXT}; of the other function",
        (ONE, "STATE005"): f"{ONE}: ECAP_ACS+06.w MaxPayload lost (0x001d to 0x0000)",
    }


def bit(word: str, severity: str, *, masked: bool | None = False) -> ErrorBit:
    return ErrorBit("ECAP_AER+04.l", "UESta", word, "", severity, False, masked, None, 7, None)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (
            [bit("DLP", "fatal"), bit("SDES", "non-fatal")],
            Finding("ARI018", "warning", ONE, f"{ONE} recorded a fatal PCIe error (UESta: DLP+ SDES+)"),
        ),
        (
            [bit("CmpltTO", "non-fatal")],
            Finding("ARI018", "note", ONE, f"{ONE} recorded PCIe errors (UESta: CmpltTO+)"),
        ),
        (
            [bit("DLP", "fatal", masked=True)],
            Finding("ARI018", "note", ONE, f"{ONE} recorded PCIe errors (UESta: DLP+)"),
        ),
    ],
)
def test_recorded_errors(errors: list[ErrorBit], expected: Finding) -> None:
    result = kexec([], secondary=[Secondary(ONE, "error-status", "in the blackout", errors=errors)])
    assert added(result) == [expected]
