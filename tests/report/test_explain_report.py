from analyzer.questions.explain.explanation import (
    ChainStep,
    DecodedField,
    Explanation,
    KexecExplanation,
    PolicyDecision,
    TimelineEntry,
)
from analyzer.report.explain_report import fill
from analyzer.report.page import Page, plain

BRIDGE, FUNCTION = "0000:02:00.0", "0000:03:01.1"
LOST_READ = TimelineEntry(
    access=16881,
    time_ns=1_795_328_056_089_710_000,
    boot=2,
    kind="decides",
    offset_bytes=0x11DFD8,
    op="read",
    bdf=BRIDGE,
    register="CAP_EXP+28.w",
    value="0x0000",
    fields=[
        DecodedField("CompletionTimeoutDisable", "4", 0, "TimeoutDis-"),
        DecodedField("ARIForwardingEnable", "5", 0, "ARIFwd-"),
        DecodedField("LTREnable", "10", 1),
    ],
    ari=False,
    note="inherit rule: taken as it is",
)
KEXEC = KexecExplanation(
    index=0,
    kind="live-update",
    at_access=15124,
    observed_policy="inherit",
    policy="inherit",
    series="v7",
    conclusion=f"{FUNCTION} is stranded",
    decisions=[
        PolicyDecision("stock", True, True, "bit 5 is written", "Linux 7.3 pci_configure_ari()", writes="1"),
        PolicyDecision("inherit", False, False, "bit 5 is read", "series v7", runs=True),
    ],
    walks={"stock": [ChainStep(FUNCTION, "found", True, True, 16, "Next Function Number 16", 42)]},
    cause="explicit-write",
    confidence="high",
)


def report(explanation, **more):
    return plain(fill(Page(), explanation, **more))


def explanation(**more):
    values = {
        "path": "x.bin",
        "bdf": FUNCTION,
        "vendor_device": "1b36:0010",
        "kind": "endpoint",
        "port_type": None,
        "bridge": BRIDGE,
        "path_from_root": ["0000:00:03.0", BRIDGE],
        "timeline": [LOST_READ],
        "kexecs": [KEXEC],
    }
    return Explanation(**(values | more))


def test_the_conclusion_comes_first():
    assert report(explanation()).startswith(
        "0000:03:01.1 [1b36:0010] endpoint\n"
        "  below 0000:00:03.0 -> 0000:02:00.0\n"
        "\n"
        "kexec 0: 0000:03:01.1 is stranded\n"
    )


def test_an_access_of_the_timeline_shows_the_fields_that_matter():
    assert (
        "  #16881  @0x11dfd8  2026-11-22 06:14:16.089710  boot 2  ARIFwd-  read  0000:02:00.0"
        " CAP_EXP+28.w = 0x0000  ARIFwd-, LTREnable=0x1; inherit rule: taken as it is\n"
    ) in report(explanation())
    assert "TimeoutDis-, ARIFwd-" in report(explanation(), verbosity=1)


def test_decisions_name_rule_and_source():
    text = report(explanation())
    assert "    stock     ARIFwd+, discovered, writes 1\n              bit 5 is written\n" in text
    assert "  * inherit   ARIFwd-, not discovered\n" in text
    assert "[Linux 7.3 pci_configure_ari()]" in text


def test_the_walk_shows_each_step():
    line = "found  multi-function, ARI capability, next function 16  #42  Next Function Number 16"
    assert line in report(explanation())


def test_context_and_the_middle_of_long_timelines_are_left_out():
    context = TimelineEntry(1, None, 1, "context", note="not shown")
    long = report(explanation(timeline=[context, *[LOST_READ] * 100]))
    assert "not shown" not in long
    assert "... 40 entries left out (-v shows all)" in long
    assert report(explanation(timeline=[context, *[LOST_READ] * 100]), verbosity=1).count("#16881") == 100


def test_a_root_bus_function_and_an_empty_capture():
    text = report(explanation(bridge=None, path_from_root=[], timeline=[], kexecs=[], unknown=["no read"]))
    assert "on a root bus" in text
    assert "no access in the capture shows it" in text
    assert "? no read" in text
