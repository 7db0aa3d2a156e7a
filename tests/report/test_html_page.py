"""The HTML page as text: structure, references, escapes, size; what it looks like is tested in a browser."""

import base64
import functools
import hashlib
import itertools
import re
from dataclasses import replace
from pathlib import Path

import html_document
import pytest
import result_samples as samples
from result_samples import OTHER, PORT, SWITCH

from analyzer.analysis import analyze
from analyzer.capture import Problem
from analyzer.options import Options
from analyzer.questions.explain.working import DetailsGatherer
from analyzer.report.html.page import pieces
from analyzer.report.wording import CAUSES
from analyzer.results import (
    POLICIES,
    BridgeVerdict,
    DeviceVerdict,
    Divergence,
    ErrorBit,
    Observed,
    PolicyOutcome,
    Secondary,
)

TRACES = Path(__file__).parents[2] / "traces"
#: What a hostile capture may try: markup, an attribute's end, a script, bidirectional and zero-width signs.
HOSTILE = "</style><script>x()</script>\"' onload=x <img src=//evil> \u202etxt\u200b\x1b[31m\udcff"


def page(*captures, **more):
    return "".join(pieces(samples.analysis(*captures), **more))


def document(*captures, **more):
    return html_document.parse(page(*captures, **more))


def real(*names):
    gatherer = DetailsGatherer(Options())
    result = analyze([str(TRACES / f"{name}.bin") for name in names], studied=gatherer)
    return "".join(pieces(result, gatherer.of))


parsed = functools.cache(html_document.parse)
EVERY_KIND = {
    "lost": [samples.lost()],
    "clean": [samples.clean()],
    "hidden": [samples.hidden()],
    "healed": [samples.healed()],
    "undetermined": [samples.undetermined()],
    "unreadable": [samples.unreadable()],
    "no kexec": [samples.capture("idle.bin", [], "no-kexec")],
    "two kexecs": [samples.capture("two.bin", [*samples.lost().kexecs, *samples.clean().kexecs])],
    "many": [samples.lost(), samples.clean(), samples.unreadable(), samples.undetermined()],
}


@pytest.fixture(scope="module")
def corpus_pages():
    names = ["lost-explicit-write", "hidden-after-secondary-bus-reset", "clean-inherit"]
    return [*(real(name) for name in names), real(*names)]


@pytest.fixture(params=[*EVERY_KIND, "real 0", "real 1", "real 2", "real 3"])
def any_page(request, corpus_pages):
    if request.param.startswith("real"):
        return corpus_pages[int(request.param[-1])]
    return page(*EVERY_KIND[request.param])


def test_the_page_is_well_formed_and_says_it_in_one_heading(any_page):
    root = parsed(any_page)
    (heading,) = root.all("h1")
    assert heading.inside("main") is not None
    assert any_page.startswith("<!doctype html>\n<html lang=")
    assert {"header", "main", "footer"} <= {element.tag for element in root.all()}


def test_headings_never_skip_a_level(any_page):
    levels = [int(element.tag[1]) for element in parsed(any_page).all() if re.fullmatch(r"h\d", element.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_name_is_there_once_and_every_reference_leads_somewhere(any_page):
    elements = list(parsed(any_page).all())
    names = [element.attributes["id"] for element in elements if "id" in element.attributes]
    assert len(names) == len(set(names))
    targets = {e.attributes["href"] for e in elements if e.tag in ("a", "use")}
    targets |= {f"#{e.attributes['aria-labelledby']}" for e in elements if "aria-labelledby" in e.attributes}
    assert targets - {f"#{name}" for name in names} == set()


def test_nothing_is_loaded_and_nothing_runs_but_the_page_s_own_script(any_page):
    root = parsed(any_page)
    for element in root.all():
        assert element.tag not in {"iframe", "object", "embed", "img", "form", "base"}
        assert not any(name.startswith("on") or name in ("style", "src") for name in element.attributes)
        if element.tag == "link":
            assert element.attributes == {"rel": "icon", "href": "data:,"}
    (policy,) = (
        element.attributes["content"]
        for element in root.all("meta")
        if element.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (own,) = root.all(tag)
        digest = base64.b64encode(hashlib.sha256("".join(own.children).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_tables_have_captions_and_scopes(any_page):
    for table in parsed(any_page).all("table"):
        assert next(table.all("caption")).text
        assert all(cell.attributes.get("scope") in ("col", "row") for cell in table.all("th"))
        assert table.parent.attributes.get("tabindex") == "0"


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("lost", "✗ LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded"),
        (
            "clean",
            (
                "✓ clean: 1 kexec, ARI Forwarding kept on 2 bridges; no ARI Forwarding or bus number lost,"
                " no device stranded"
            ),
        ),
        (
            "hidden",
            "✗ LOST: bus numbers of 0000:01:00.0, 1 bridge below hidden; 6 preserved devices stranded",
        ),
        ("unreadable", "? UNREADABLE: bad.bin: expected a capture, found 7 bytes of text; see the README"),
        ("many", "✗ LOST: 1 of 4 captures; 3 preserved devices stranded; the others: 1 unreadable, "),
    ],
)
def test_the_verdict_comes_first(kind, verdict):
    (heading,) = document(*EVERY_KIND[kind]).all("h1")
    assert heading.text.startswith(verdict)


def test_a_loss_tells_what_happened_what_to_do_and_what_proves_it():
    text = document(samples.lost()).text
    for said in (
        "Bridge 0000:02:00.0 (switch downstream port, bus 03 below it) lost ARI Forwarding: the outgoing",
        "3 preserved devices below it were not found by the incoming kernel (stranded): 0000:03:01.0, 0000",
        f"Cause: explicit-write: {CAUSES['explicit-write']}. Confidence: high.",
        "Reboot the host: preserved devices are stranded",
        "fails with EBUSY",
        "last seen on at access 9000, first seen off at access 9876: under the outgoing kernel",
        "ARI001, error",
        "the incoming kernel enumerated exactly the 8 functions predicted.",
    ):
        assert said in text
    (evidence,) = (
        t
        for t in document(samples.lost()).all("table", cls="evidence")
        if "prove" in next(t.all("caption")).text
    )
    rows = [row.text for row in evidence.all("tr")]
    assert rows[1].startswith(
        "#9876 write 0000:02:00.0 CAP_EXP+28.w = 0x0000 clears ARI Forwarding Enable ARIFwd-"
    )
    assert "0x12ab34" in rows[1]


def test_the_four_policies_stand_side_by_side():
    (table,) = document(samples.lost()).all("table", cls="policies")
    rows = [row.text for row in table.all("tr")][1:]
    assert [row.split()[0] for row in rows] == list(POLICIES)
    assert rows[1].startswith("inherit (this kernel followed it)")
    assert "✗ 3 0000:03:01.0, 0000:03:01.1, 0000:03:02.0" in rows[1]


def test_what_is_unknown_is_told_with_its_reason():
    text = document(samples.undetermined()).text
    for said in (
        "What became of bridge 0000:02:00.0: not in the capture: a read of CAP_EXP+28 after the",
        "Which rule the incoming kernel followed: no access shows it",
        "What happened after the end of the capture: it is cut short",
        "Record the missing access: capture both kernels whole",
    ):
        assert said in text


@pytest.mark.parametrize("verdict", ["undetermined", "findings"])
def test_a_capture_that_does_not_hold_all_is_never_told_to_be_good(verdict):
    """Every bridge in it was kept, but the scan of the incoming kernel is not in it to its end."""
    root = document(replace(samples.clean(), verdict="undetermined", truncated=True))
    (heading,) = root.all("h1")
    assert "good" not in heading.attributes["class"]
    (happened,) = root.all("section", cls="happened")
    assert list(happened.all("p", cls="good")) == []
    doubt = [Divergence("0000:05:00.0", predicted=True, observed=False, note="", explained=False)]
    doubted = document(replace(samples.clean(divergences=doubt), verdict=verdict))
    (happened,) = doubted.all("section", cls="happened")
    assert list(happened.all("p", cls="good")) == []
    assert "did not do what its rules predict for 0000:05:00.0" in happened.text


@pytest.mark.parametrize(
    ("truncated", "said"),
    [
        (False, "There is no boundary between two kernels in this capture: it says nothing about a kexec."),
        (
            True,
            "The capture ends before any boundary between two kernels: what came after the cut is unknown.",
        ),
    ],
)
def test_without_a_kexec_nothing_is_said_of_one(truncated, said):
    text = page(samples.capture("idle.bin", [], "no-kexec", truncated=truncated))
    assert said in text
    assert "nothing was lost" not in text


def test_another_policy_is_called_a_what_if():
    text = document(samples.lost(policy="stock")).text
    assert "What if: a kernel with policy stock would find" in text
    assert "Incoming kernel found" not in text


def test_many_captures_have_an_overview_the_worst_first():
    root = document(samples.clean(), samples.unreadable(), samples.lost(), samples.healed())
    (table,) = root.all("table", cls="overview")
    rows = [row.text for row in table.all("tr")][1:]
    assert [row.split()[1] for row in rows] == ["LOST", "UNREADABLE", "HEALED", "clean"]
    links = {link.text: link.attributes["href"] for link in table.all("a")}
    assert set(links) == {"lost.bin", "healed.bin", "clean.bin"}
    sections = list(root.all("details", cls="capture"))
    assert ["open" in section.attributes for section in sections] == [True, False, False]


def test_the_same_input_gives_the_same_bytes(corpus_pages):
    names = ["lost-explicit-write", "hidden-after-secondary-bus-reset", "clean-inherit"]
    assert real(*names) == corpus_pages[3]


def test_errors_beside_the_cause_and_those_that_healthy_hosts_show():
    error = ErrorBit("ECAP_AER+04.l", "UESta", "SDES", "Surprise Down Error", "fatal", False, False, 7, 9, 1)
    common = replace(error, bit="UnsupReq", severity="non-fatal")
    loss = samples.lost()
    kexec = loss.kexecs[0]
    kexec.bridges[3] = replace(kexec.bridges[3], path_errors="clean", path_errors_note="read and clean: x")
    kexec.secondary = [
        Secondary(OTHER, "error-status", "UESta: UnsupReq+", errors=[common]),
        Secondary(PORT, "error-status", "UESta: SDES+", errors=[error]),
    ]
    text = page(loss)
    assert "<dt>PCIe errors</dt><dd>read and clean: x</dd>" in text
    assert "error-status: UESta: SDES+" in text
    assert "error-status: UESta: UnsupReq+" not in text
    line = "error bits that healthy hosts show too, on 1 function (--format json lists them): UESta UnsupReq"
    assert f'<p class="note">{line}</p>' in text


def test_hostile_strings_are_inert_wherever_they_stand():
    loss = samples.lost(HOSTILE, warnings=[HOSTILE])
    kexec = loss.kexecs[0]
    proof = replace(samples.FIRST_READ, file=HOSTILE, note=HOSTILE, register=HOSTILE)
    kexec.bridges[3] = replace(
        kexec.bridges[3], evidence=[proof], missing_access=HOSTILE, path_errors_note=HOSTILE
    )
    kexec.secondary = [Secondary(PORT, HOSTILE, HOSTILE, [proof])]
    kexec.divergences = [Divergence(OTHER, True, False, HOSTILE, True)]
    capture = replace(
        loss,
        host=HOSTILE,
        format=HOSTILE,
        boots=[replace(boot, release=HOSTILE, cmdline=HOSTILE) for boot in loss.boots],
        errors=[Problem(HOSTILE, HOSTILE, 7, HOSTILE)],
    )
    for text in (page(capture), page(capture, samples.clean(HOSTILE))):
        text.encode("utf-8")
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\x00-\x08\x0b-\x1f\ud800-\udfff]", text)
        assert text.count("<script") == 1
        root = html_document.parse(text)
        assert not list(root.all("img"))
        assert r"\u202etxt\u200b\x1b[31m\xff" in root.text


def big_machine(ports=200, below=24, lost_every=10):
    """5,000 functions: ports with ``below`` functions each; every tenth lost ARI and strands three."""
    bridges, devices, stranded = [], [], []
    for number in range(ports):
        domain, slot = f"{number // 30:04x}", number % 30 + 1
        bdf = f"{domain}:00:{slot:02x}.0"
        names = [f"{domain}:{slot:02x}:{devfn >> 3:02x}.{devfn & 7}" for devfn in range(below)]
        lost = number % lost_every == 0
        gone = names[-3:] if lost else []
        state = samples.bridge(
            bdf, "lost" if lost else "kept", secondary=slot, subordinate=slot, stranded=gone
        )
        bridges.append(state if not lost else replace(state, cause="unknown", evidence=[samples.FIRST_READ]))
        devices.append(DeviceVerdict(bdf, "8086:1234", True, None, "reachable"))
        devices += [
            samples.DeviceVerdict(
                name,
                "15b3:101e",
                preserved=True,
                bridge=bdf,
                verdict="stranded" if name in gone else "reachable",
                reason="ari-off" if name in gone else None,
            )
            for name in names
        ]
        stranded += gone
    every = sorted(device.bdf for device in devices)
    found = [bdf for bdf in every if bdf not in set(stranded)]
    result = samples.kexec(bridges, observed=Observed(found))
    result.devices = sorted(devices, key=lambda device: device.bdf)
    result.policies = {name: PolicyOutcome(every, [], []) for name in POLICIES}
    result.policies["inherit"] = PolicyOutcome(found, stranded, [])
    return samples.capture("big.bin", [result])


def test_five_thousand_functions_fit_on_a_page():
    capture = big_machine()
    assert len(capture.kexecs[0].devices) == 5000
    text = page(capture)
    assert len(text) < 5_000_000
    root = html_document.parse(text)
    rows = [row for row in root.all("div", cls="row") if not row.has({"cls": "titles"})]
    assert len(rows) == 5000
    assert sum(row.has({"cls": "bad"}) for row in rows) == 20 + 60
    # What nothing happened to is folded away: what a reader meets is short.
    folded = [row for row in rows if row.inside("details") is not None]
    assert len(folded) > 4600


def test_what_does_not_fit_is_counted_not_dropped_silently():
    capture = big_machine()
    text = page(*[capture] * 3)
    told = r">(?:([0-9,]+) more bridges with )?([0-9,]+) (?:functions below|more) found again, not listed"
    left_out = [int(number.replace(",", "")) for pair in re.findall(told, text) for number in pair if number]
    listed = len(re.findall('<div class="row (?:good|bad)">', text))
    assert listed < 15_000
    assert listed + sum(left_out) == 15_000


def test_a_hundred_captures_are_one_page():
    captures = [samples.lost(f"lost-{number}.bin") for number in range(50)]
    captures += [samples.clean(f"clean-{number}.bin") for number in range(50)]
    text = page(*captures)
    assert len(text) < 5_000_000
    assert len(list(html_document.parse(text).all("details", cls="capture"))) == 100


def test_a_thousand_captures_keep_their_overview():
    root = document(*[samples.clean(f"{number}.bin") for number in range(1000)])
    (table,) = root.all("table", cls="overview")
    assert len(list(table.all("tr"))) == 1001
    assert len(list(root.all("details", cls="capture"))) == 100
    assert "900 captures of these have no section below" in root.text


def test_bridges_that_hang_in_a_cycle_are_shown():
    """Bus numbers of damaged data: each of two bridges claims to be below the other."""
    bridges = [samples.bridge(SWITCH, "kept"), samples.bridge(PORT, "lost")]
    result = samples.kexec(bridges)
    result.devices = [
        DeviceVerdict(SWITCH, None, True, PORT, "reachable"),
        DeviceVerdict(PORT, None, True, SWITCH, "reachable"),
    ]
    names = [
        row.text.split()[0] for row in document(samples.capture("loop.bin", [result])).all("div", cls="row")
    ]
    assert set(names[1:]) == {SWITCH, PORT}


def test_a_chain_of_256_bridges_is_no_problem():
    bridges = [
        BridgeVerdict(f"0000:{n:02x}:00.0", None, n + 1, 255, None, None, True, True, True, True, "kept")
        for n in range(255)
    ]
    bridges[-1] = replace(bridges[-1], verdict="lost")
    result = samples.kexec(bridges)
    result.devices = [
        DeviceVerdict(b.bdf, None, True, bridges[n - 1].bdf if n else None, "reachable")
        for n, b in enumerate(bridges)
    ]
    assert sum(1 for _ in document(samples.capture("deep.bin", [result])).all("div", cls="row")) == 256
