from dataclasses import replace

import pytest
import result_samples as samples
from result_samples import ABOVE_EIGHT, OTHER, PORT, bridge, capture, kexec

from analyzer.report import headline
from analyzer.results import Divergence

ASSUMED = {"kind": "plain", "observed_policy": "stock", "policy": "stock", "preserved_source": "assumed"}


def several(*verdicts):
    return capture("x.bin", [kexec([bridge(f"0000:{n:02x}:00.0", v) for n, v in enumerate(verdicts, 1)])])


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (samples.lost(), "LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded"),
        (
            samples.hidden(),
            "LOST: bus numbers of 0000:01:00.0, 1 bridge below hidden; 6 preserved devices stranded",
        ),
        (several("gone"), "LOST: 0000:01:00.0 does not answer; no preserved device stranded"),
        (
            several("lost", "lost", "lost", "lost", "lost", "lost"),
            (
                "LOST: ARI Forwarding on 0000:01:00.0, 0000:02:00.0, 0000:03:00.0, 0000:04:00.0 and 2 more;"
                " no preserved device stranded"
            ),
        ),
        (
            capture("x", [kexec([bridge(PORT, "kept")], ABOVE_EIGHT[:1], "chain-broken")]),
            "STRANDED: 1 preserved device stranded, no preserved bridge lost ARI Forwarding or bus numbers",
        ),
        (
            capture("x", [kexec([bridge(PORT, "undetermined")], ABOVE_EIGHT[:1], "needs-ari")]),
            f"STRANDED: 1 preserved device stranded, {PORT} undetermined",
        ),
        (
            several("lost", "undetermined"),
            "LOST: ARI Forwarding on 0000:01:00.0; no preserved device known to be stranded",
        ),
        (
            samples.healed(),
            "HEALED: ARI Forwarding on 0000:02:00.0 was lost and switched on again; nothing is stranded",
        ),
        (
            several("renumbered"),
            "RENUMBERED: 0000:01:00.0 renumbered; no preserved device stranded",
        ),
        (
            samples.clean(divergences=[Divergence(OTHER, True, False, "", explained=False)]),
            "DIVERGES: the incoming kernel did not do what the replay predicts for 0000:00:04.0",
        ),
        (
            samples.undetermined(),
            (
                "UNDETERMINED (capture cut short): 0000:02:00.0 is undetermined, not in the capture: a "
                "read of CAP_EXP+28 "
                "after the kexec; no loss is seen elsewhere"
            ),
        ),
        (
            capture("x", [kexec([replace(bridge(PORT, "lost"), preserved=False)], **ASSUMED)]),
            "NOTED: ARI Forwarding lost on 0000:02:00.0; none of it is known to be preserved",
        ),
        (
            capture("x", [kexec([bridge(PORT, "lost")], **ASSUMED | {"kind": "unknown"})]),
            "LOST (preserved set unknown): ARI Forwarding on 0000:02:00.0; no preserved device stranded",
        ),
        (
            capture("x", [kexec([bridge(PORT, "renumbered")], **ASSUMED | {"kind": "unknown"})]),
            "LOST (preserved set unknown): 0000:02:00.0 renumbered; no preserved device stranded",
        ),
        (
            capture("x", [kexec([bridge(PORT, "lost")])], truncated=True),
            "LOST (capture cut short): ARI Forwarding on 0000:02:00.0; no preserved device stranded",
        ),
        (
            capture("x", [kexec([bridge(PORT, "off")])], "clean", truncated=True),
            (
                "clean up to the cut: 1 kexec, no bridge used ARI Forwarding; no ARI Forwarding or bus"
                " number lost, no device stranded"
            ),
        ),
        (
            samples.clean(),
            (
                "clean: 1 kexec, ARI Forwarding kept on 2 bridges; no ARI Forwarding or bus number lost, no"
                " device stranded"
            ),
        ),
        (
            capture("x", [kexec([bridge(PORT, "off")])], "clean"),
            (
                "clean: 1 kexec, no bridge used ARI Forwarding; no ARI Forwarding or bus number lost, no"
                " device stranded"
            ),
        ),
        (
            capture("x", [], "no-kexec"),
            "NO KEXEC: 3 boots and no kexec boundary in 20,123 accesses",
        ),
    ],
)
def test_the_first_line_of_one_capture(result, line):
    assert str(headline.of_analysis(samples.analysis(result))) == line


def test_an_unreadable_capture_is_named():
    line = str(headline.of_analysis(samples.analysis(samples.unreadable())))
    assert line == "UNREADABLE: bad.bin: expected a capture, found 7 bytes of text; see the README"


def test_two_kexecs_are_told():
    result = samples.lost()
    result.kexecs.append(samples.clean().kexecs[0])
    line = str(headline.of_analysis(samples.analysis(result)))
    assert line.endswith("3 preserved devices stranded (2 kexecs in the capture)")


def test_what_select_and_ignore_leave_out_is_said():
    analysis = samples.analysis(samples.lost(), selected=frozenset({"ARI003"}))
    line = str(headline.of_analysis(analysis))
    assert line == (
        "LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded (not counted: ARI001, ARI007)"
    )


@pytest.mark.parametrize(
    ("results", "line"),
    [
        (
            [samples.clean(), samples.lost(), samples.unreadable()],
            "LOST: 1 of 3 captures; 3 preserved devices stranded; the others: 1 unreadable, 1 clean",
        ),
        ([samples.clean(), samples.healed()], "HEALED: 1 of 2 captures; the others: 1 clean"),
        ([samples.clean(), samples.clean()], "clean: 2 of 2 captures"),
        ([], "UNREADABLE: nothing to analyse"),
    ],
)
def test_the_first_line_of_several_captures(results, line):
    assert str(headline.of_analysis(samples.analysis(*results))) == line
