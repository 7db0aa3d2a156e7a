"""The page as a person meets it: in Chromium, on desk and phone, light and dark, by keyboard, printed."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import chromium
import pytest
import result_samples as samples
from chromium import DESK, PHONE, assert_silent_and_fitting
from contrast import assert_text_stands_out

from analyzer.analysis import analyze
from analyzer.options import Options
from analyzer.questions.explain.working import DetailsGatherer
from analyzer.report.html.page import pieces

pytestmark = pytest.mark.system

TRACES = Path(__file__).parents[2] / "traces"
LOST, HIDDEN, HEALED = "lost-explicit-write", "hidden-after-secondary-bus-reset", "healed-by-stock-kernel"
HOSTILE = "</title></style><script>document.title='owned'</script><img src=http://127.0.0.1:9/x onerror=x>"


@pytest.fixture(scope="module")
def browser():
    started = chromium.start()
    yield started
    started.driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")

    def make(name, names):
        gatherer = DetailsGatherer(Options())
        result = analyze([str(TRACES / f"{each}.bin") for each in names], studied=gatherer)
        (folder / f"{name}.html").write_text("".join(pieces(result, gatherer.of)), "utf-8")

    for name in (LOST, HIDDEN, HEALED):
        make(name, [name])
    make("many", [HEALED, LOST, "clean-inherit"])
    capture = samples.lost(HOSTILE, warnings=[HOSTILE])
    capture = replace(capture, host=HOSTILE, boots=[replace(boot, release=HOSTILE) for boot in capture.boots])
    analysis = samples.analysis(capture, samples.clean(HOSTILE))
    (folder / "hostile.html").write_text("".join(pieces(analysis)), "utf-8")
    return {path.stem: path for path in folder.iterdir()}


VERDICTS = {
    LOST: "✗ LOST: ARI Forwarding on 0000:02:00.0; 3 preserved devices stranded",
    HIDDEN: "✗ LOST: bus numbers of 0000:01:00.0, 1 bridge below hidden; 6 preserved devices stranded",
    HEALED: "! HEALED: ARI Forwarding lost and healed on 0000:02:00.0 (selective-loss); nothing is stranded",
}


@pytest.mark.parametrize("name", [LOST, HIDDEN, HEALED, "many", "hostile"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_is_silent_loads_nothing_and_fits(browser, pages, name, size):
    assert_silent_and_fitting(browser, pages[name], size)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", [LOST, HIDDEN, HEALED])
def test_verdict_and_advice_are_on_the_first_screens(browser, pages, name, size):
    browser.open(pages[name], size)
    heading = browser.run(
        "const r = document.querySelector('h1').getBoundingClientRect(); return [r.top, r.bottom]"
    )
    assert 0 <= heading[0] < heading[1] < size["height"] / 2
    assert " ".join(browser.text("h1").split()).startswith(VERDICTS[name])
    top = browser.run("return document.querySelector('.act').getBoundingClientRect().top")
    assert top < size["height"] * (1 if size is DESK else 1.5)


TREES = {
    LOST: {
        "0000:02:00.0": "ARI on, bus 03 | ✗ LOST: ARI off",
        "0000:03:00.1": "found | ✓ found",
        "0000:03:01.0": "found | ✗ STRANDED: only ARI can address it and ARI is off; was nvme",
        "0000:02:01.0": "ARI on, bus 04 | ✓ ARI on, kept",
    },
    HIDDEN: {
        "0000:01:00.0": "ARI off, buses 02 to 04 | ✗ UNCONFIGURED: no bus numbers, nothing below was scanned",
        "0000:02:00.0": "ARI on, bus 03 | ✗ HIDDEN: never reached: a bridge above was lost",
        "0000:03:02.0": "found | ✗ STRANDED: a bridge further up is unconfigured or gone; was nvme",
        "0000:04:00.0": (
            "found | ! missing: not in the preserved set; a bridge further up is unconfigured or gone"
        ),
    },
    HEALED: {
        "0000:02:00.0": "ARI on, bus 03 | ! HEALED: ARI was off, the kernel switched it on",
        "0000:03:02.0": "found | ✓ found",
    },
}


@pytest.mark.parametrize("name", [LOST, HIDDEN, HEALED])
def test_the_tree_shows_both_kernels_side_by_side(browser, pages, name):
    browser.open(pages[name])
    rows = browser.run(
        "return [...document.querySelectorAll('.tree .row:not(.titles)')].map(row => {"
        " const own = part => row.querySelector(part), says = part => [...own(part).childNodes]"
        "  .filter(n => !(n.className == 'says')).map(n => n.textContent).join('');"
        " return [own('code').textContent, says('.before'), says('.after'), row.className,"
        "  own('.before').getBoundingClientRect().right <= own('.after').getBoundingClientRect().left + 1] })"
    )
    found = {bdf: f"{before} | {after}" for bdf, before, after, *_ in rows}
    found = {bdf: " ".join(text.split()) for bdf, text in found.items()}
    assert {bdf: found[bdf] for bdf in TREES[name]} == TREES[name]
    assert len(found) == len(rows) == 19
    assert all(beside for *_, beside in rows)
    for _, _, after, style, _ in rows:
        assert ("bad" in style) == ("✗" in after)


def lanes(browser):
    """Each lane: its bars and marks with their places in pixels."""
    found = browser.run(
        "return [...document.querySelectorAll('.track svg > g[role=group]')].map(lane => ["
        " lane.getAttribute('aria-label'),"
        " [...lane.querySelectorAll('.bar')].map(bar => [bar.classList[1],"
        "  bar.getBoundingClientRect().left, bar.getBoundingClientRect().right]),"
        " [...lane.querySelectorAll('.mark')].map(mark => {"
        "  const box = [...mark.querySelectorAll('use')].pop().getBoundingClientRect();"
        "  return [mark.querySelector('title').textContent, (box.left + box.right) / 2] })])"
    )
    return {label.split(",")[0]: (label, bars, marks) for label, bars, marks in found}


def kexec_band(browser):
    find = "const b = document.querySelector('.band.kexec rect').getBoundingClientRect();"
    return browser.run(f"{find} return [b.left, b.right]")


def test_the_timeline_of_an_explicit_write(browser, pages):
    label, bars, marks = lanes(browser.open(pages[LOST]))["0000:02:00.0"]
    assert "verdict LOST: ARI Forwarding off, then on, then off" in label
    assert [kind for kind, *_ in bars] == ["off", "on", "off"]
    places = {int(re.match(r"access (\d+)", title)[1]): place for title, place in marks}
    assert list(places) == [3598, 3599, 5365, 14108, 15003, 15004, 16881, 18199, 26843]
    assert list(places.values()) == sorted(places.values())
    assert bars[1][2] == pytest.approx(places[15004], abs=1)
    left, right = kexec_band(browser)
    assert places[15004] < left < right < places[16881]
    assert browser.run("return document.querySelector('.above').textContent") == "✗ bit lost here"


def test_the_timeline_of_a_reset(browser, pages):
    found = lanes(browser.open(pages[HIDDEN]))
    label, bars, marks = found["0000:02:00.0"]
    assert "verdict HIDDEN: ARI Forwarding off, then on;" in label
    left, _ = kexec_band(browser)
    (reset,) = (place for title, place in marks if "Secondary Bus Reset asserted" in title)
    assert bars[-1][2] < reset < left
    assert any("Secondary Bus Reset asserted" in title for title, _ in found["0000:00:03.0"][2])


def test_the_timeline_of_a_loss_in_the_blackout(browser, pages):
    _, bars, _ = lanes(browser.open(pages[HEALED]))["0000:02:00.0"]
    assert [kind for kind, *_ in bars] == ["off", "on", "gone", "off", "on"]
    left, right = kexec_band(browser)
    assert bars[2][1] < left < right < bars[2][2]


def test_the_timeline_zooms_to_single_accesses(browser, pages):
    browser.open(pages[LOST])

    def places():
        return dict(lanes(browser)["0000:02:00.0"][2])

    def apart():
        found = {int(re.match(r"access (\d+)", title)[1]): place for title, place in places().items()}
        return found[15004] - found[15003], found[15003] - found[5365]

    browser.run("document.querySelector('[data-scale]').click()")
    near, far = apart()
    assert near < 1 < far
    for _ in range(20):
        browser.run("document.querySelector('[data-zoom=in]').click()")
    near, far = apart()
    assert near == pytest.approx(8, abs=0.5)
    assert far == pytest.approx((15003 - 5365) * near, rel=0.05)
    browser.run("document.querySelector('[data-zoom=fit]').click()")
    scroll = browser.run("const t = document.querySelector('.track'); return [t.scrollWidth, t.clientWidth]")
    assert scroll[0] <= scroll[1] + 1
    assert browser.run("return document.documentElement.scrollWidth") <= DESK["width"]


def test_a_phone_shows_the_loss_first(browser, pages):
    browser.open(pages[LOST], PHONE)
    browser.run("document.querySelector('.track').scrollIntoView({behavior: 'instant'})")
    browser.driver.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
    inside = browser.run(
        "const mark = document.querySelector('.above').getBoundingClientRect();"
        "const track = document.querySelector('.track').getBoundingClientRect();"
        "return track.left < mark.left && mark.right < track.right"
    )
    assert inside


def test_a_mark_leads_to_its_row(browser, pages):
    browser.open(pages[LOST])
    browser.run(
        "document.querySelector('.mark.proof').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    row = browser.run(
        "const row = document.querySelector('tr:target'), box = row.getBoundingClientRect();"
        "return [row.innerText, box.height > 0, row.closest('details').open]"
    )
    assert row[0].startswith("#15004")
    assert row[1:] == [True, True]


def test_everything_can_be_reached_by_keyboard(browser, pages):
    from selenium.webdriver.common.keys import Keys

    browser.open(pages[LOST])
    browser.press(Keys.TAB)
    skip = (
        "const a = document.activeElement, r = a.getBoundingClientRect(); return [a.innerText, r.left >= 0]"
    )
    assert browser.run(skip) == ["Skip to the verdict", True]
    names, seen_focus = [], []
    for _ in range(60):
        browser.press(Keys.TAB)
        name, outline = browser.run(
            "const a = document.activeElement; return [a.closest('.mark') ? 'mark' : a.tagName.toLowerCase(),"
            " getComputedStyle(a).outlineStyle]"
        )
        names.append(name)
        seen_focus.append(outline)
    assert {"a", "button", "mark", "summary", "div"} <= set(names)
    reached = [outline for name, outline in zip(names, seen_focus, strict=True) if name != "body"]
    assert "none" not in reached


def test_arrow_keys_go_from_access_to_access_and_lane_to_lane(browser, pages):
    from selenium.webdriver.common.keys import Keys

    browser.open(pages[LOST])
    browser.run("document.querySelector('.mark').focus()")
    where = "return document.activeElement.querySelector('title').textContent"
    assert browser.run(where).startswith("access 3598,")
    browser.press(Keys.ARROW_RIGHT)
    assert browser.run(where).startswith("access 3599,")
    assert browser.text(".readout").startswith(
        "access 3599, 2026-11-22 06:14:09.973985: write 0000:02:00.0 CAP_EXP+28.w"
    )
    browser.press(Keys.END)
    assert browser.run(where).startswith("access 26843,")
    browser.press(Keys.HOME, Keys.ARROW_DOWN)
    assert "0000:00:03.0" in browser.run(where)


def test_the_page_says_the_same_without_script(browser, pages):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(pages[LOST])
        source = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    names = [node.get("name", {}).get("value", "") for node in source if not node.get("ignored")]
    assert any(name.startswith("✗ LOST: ") or "LOST:" in name for name in names)
    assert any(
        name.startswith("0000:02:00.0, switch downstream port, bus 03, verdict LOST") for name in names
    )
    assert any(name.startswith("access 15004, ") for name in names)
    assert "Zoom in" not in names


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", [LOST, HEALED, "many"])
def test_text_stands_out_in_light_and_dark(browser, pages, name, dark):
    assert_text_stands_out(browser, pages[name], dark=dark, drawings=False)


def test_hostile_strings_are_text(browser, pages):
    browser.open(pages["hostile"])
    assert browser.driver.title.startswith("LOST: ")
    assert browser.run("return document.images.length") == 0
    assert browser.run("return document.scripts.length") == 1
    assert HOSTILE in browser.text("main")


def test_the_policy_stops_whatever_might_slip_in(browser, pages, tmp_path):
    page = pages[LOST].read_text("utf-8")
    injected = "<script>document.title='owned'</script><p id=evil onclick=x style='color:red'>evil</p>"
    path = tmp_path / "injected.html"
    path.write_text(page.replace('<main id="main">', f'<main id="main">{injected}'), "utf-8")
    browser.open(path)
    assert browser.driver.title.startswith("LOST: ")
    assert browser.run("return getComputedStyle(document.querySelector('#evil')).color") != "rgb(255, 0, 0)"
    assert len(browser.complaints()) >= 2


def test_many_captures_open_from_their_overview(browser, pages):
    browser.open(pages["many"], PHONE)
    assert [row.split()[1] for row in browser.texts(".overview tbody tr")] == ["LOST", "HEALED", "clean"]
    opened = "return [...document.querySelectorAll('details.capture')].map(box => box.open)"
    assert browser.run(opened) == [True, False, False]
    browser.run("document.querySelectorAll('.overview a')[2].click()")
    assert browser.run(opened) == [True, False, True]
    # What was folded away at first works like everything else.
    browser.run("document.querySelectorAll('.overview a')[1].click()")
    zoomed = browser.run(
        "const box = document.querySelectorAll('details.capture')[1];"
        "const svg = box.querySelector('.track > svg');"
        "const before = svg.getBoundingClientRect().width; box.querySelector('[data-zoom=in]').click();"
        "return svg.getBoundingClientRect().width / before"
    )
    assert zoomed == pytest.approx(2, abs=0.01)


def test_the_printed_page_holds_what_matters(browser, pages, tmp_path):
    browser.open(pages[LOST])
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    path = tmp_path / "page.pdf"
    path.write_bytes(base64.b64decode(printed["data"]))
    assert 3 <= path.read_bytes().count(b"/Type /Page\n") <= 12
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = browser.run(
        "const seen = e => e.checkVisibility({contentVisibilityAuto: true});"
        "return [seen(document.querySelector('.tools')), seen(document.querySelector('nav')),"
        " seen(document.querySelector('h1')), seen(document.querySelector('.evidence')),"
        " getComputedStyle(document.body).backgroundColor]"
    )
    assert shown == [False, False, True, True, "rgb(255, 255, 255)"]
