"""The page of a fleet as a person meets it: in Chromium, on desk and phone, light and dark, printed."""

import base64
import itertools
import re

import chromium
import fleet_results
import pytest
import result_samples as samples
from chromium import DESK, PHONE, assert_silent_and_fitting
from contrast import assert_text_stands_out
from fleet_results import FLEET, REGISTERS, page, write

pytestmark = pytest.mark.system

HOSTILE = "</title></style><script>document.title='owned'</script><img src=http://127.0.0.1:9/x onerror=x>"


@pytest.fixture(scope="module")
def browser():
    started = chromium.start()
    yield started
    started.driver.quit()


def many():
    """Hundreds of hosts over four months, most of them well."""
    kinds = {0: samples.lost, 1: samples.hidden, 2: samples.undetermined, 3: fleet_results.plain}
    return [
        (
            f"node{number % 250:03d}.rack{number % 12}.example",
            kinds.get(number % 40, samples.clean)(),
            20_000 + number // 4,
        )
        for number in range(480)
    ]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    hostile = [(HOSTILE, samples.lost(), 20_000)]
    for name, results, names in (
        ("few", FLEET, None),
        ("many", many(), None),
        ("one", [("a", samples.clean(), None)], None),
        ("none", [(None, samples.unreadable(), None)], None),
        ("hostile", hostile, [HOSTILE.replace("/", "")]),
    ):
        write(folder / name, results, 200, names, REGISTERS if name == "few" else None)
        (folder / f"{name}.html").write_text(page(folder / name), "utf-8")
    return {path.stem: path for path in folder.glob("*.html")}


@pytest.mark.parametrize("name", ["few", "many", "one", "none", "hostile"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_is_silent_loads_nothing_and_fits(browser, pages, name, size):
    assert_silent_and_fitting(browser, pages[name], size)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("few", "✗ LOST: ARI Forwarding at 3 of 7 decided kexecs: 42.9 % (95 %: 9.9 to 81.6 %)"),
        ("one", "✓ clean: no ARI Forwarding lost at 1 decided kexec, 0.0 % (95 %: 0.0 to 97.5 %)"),
        ("none", "? UNDETERMINED: no kexec here has a decided verdict"),
    ],
)
def test_the_verdict_is_on_the_first_screen(browser, pages, name, verdict, size):
    browser.open(pages[name], size)
    top, bottom = browser.run(
        "const r = document.querySelector('h1').getBoundingClientRect(); return [r.top, r.bottom]"
    )
    assert 0 <= top < bottom < size["height"] / 2
    assert " ".join(browser.text("h1").split()) == verdict
    answers = browser.run("return document.querySelector('.found').getBoundingClientRect().top")
    assert answers < size["height"] * 0.6


def test_a_number_opens_the_list_of_its_captures(browser, pages):
    from selenium.webdriver.common.keys import Keys

    browser.open(pages["few"])
    browser.run("document.querySelector('#hosts ~ p ~ .scroll a').focus()")
    browser.press(Keys.ENTER)
    browser.driver.execute_async_script("setTimeout(arguments[0], 100)")
    shown = browser.run(
        "const list = document.querySelector('details:target');"
        "return [list.open, list.checkVisibility(), list.querySelector('ul').innerText]"
    )
    assert shown == [True, True, "000.bin kexec 0\n001.bin kexec 0"]


def test_every_drawing_is_where_its_numbers_say(browser, pages):
    browser.open(pages["few"])
    found = browser.run(
        "return [...document.querySelectorAll('section[aria-labelledby=by-port-type] tbody tr')].map(row => {"
        " const box = row.querySelector('.interval').getBoundingClientRect(),"
        "  at = part => { const r = row.querySelector(part).getBoundingClientRect();"
        "   return [(r.left - box.left) / box.width, (r.right - box.left) / box.width] };"
        " const [left, right] = at('.dot'); return [(left + right) / 2, ...at('.range')] })"
    )
    # Three root, downstream and upstream ports: 0 of 7, 3 of 7, 1 of 1, by the tables of Clopper and Pearson.
    wanted = [[0, 0, 0.410], [0.429, 0.099, 0.816], [1, 0.025, 1]]
    assert found == [pytest.approx(row, abs=0.02) for row in wanted]


def test_the_bars_of_registers_are_where_their_numbers_say(browser, pages):
    """8 kexecs are the whole width: at one a BAR was lost, at 7 it was kept."""
    browser.open(pages["few"])
    found = browser.run(
        "const bar = document.querySelector('.registers tbody tr .shares'),"
        " box = bar.getBoundingClientRect();"
        "return [...bar.querySelectorAll('.share')].map(one => {"
        " const r = one.getBoundingClientRect();"
        " return [(r.left - box.left) / box.width, (r.right - box.left) / box.width] })"
    )
    assert found == [pytest.approx([0, 0.125], abs=0.02), pytest.approx([0.125, 1], abs=0.02)]


def test_the_trend_says_its_summary_and_shows_its_points_in_order(browser, pages):
    browser.open(pages["many"])
    label = browser.run("return document.querySelector('.trend').getAttribute('aria-label')")
    assert re.fullmatch(
        r"Loss per kexec over 120 periods, 2024-10-04 to 2025-01-31; highest \d+\.\d % in [\d-]+", label
    )
    places = browser.run(
        "return [...document.querySelectorAll('.plot .dot')].map(dot => dot.getBoundingClientRect().left)"
    )
    assert len(places) == 120
    assert places == sorted(places)
    labels = browser.run(
        "return [...document.querySelectorAll('.plot text')].map(text => text.getBoundingClientRect())"
        ".map(box => [box.left, box.right])"
    )
    assert all(before[1] < after[0] for before, after in itertools.pairwise(labels))


def test_screen_readers_get_tables_with_names_and_the_trend_as_an_image_with_words(browser, pages):
    browser.open(pages["few"])
    nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    there = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored")
    }
    for title in ("Causes", "Kernel releases", "Worst hosts", "Hosts over time"):
        assert ("table", title) in there
    assert any(role == "image" and name.startswith("Loss per kexec over 3 periods") for role, name in there)
    assert ("link", "3 lost, list of captures") in there


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser, pages, dark):
    assert_text_stands_out(browser, pages["few"], dark=dark, drawings=True)


def test_hostile_strings_are_text(browser, pages):
    browser.open(pages["hostile"])
    assert browser.driver.title.startswith("LOST: ")
    assert browser.run("return [document.images.length, document.scripts.length]") == [0, 1]
    assert browser.run("return [...document.links].every(a => a.getAttribute('href').startsWith('#'))")
    assert "<script>document.title='owned'</script>" in browser.text("main")


def test_the_printed_page_holds_what_matters(browser, pages, tmp_path):
    browser.open(pages["many"])
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = browser.run(
        "const seen = e => e.checkVisibility({contentVisibilityAuto: true});"
        "return [seen(document.querySelector('nav')), seen(document.querySelector('h1')),"
        " seen(document.querySelector('.trend')), document.documentElement.scrollWidth <= innerWidth]"
    )
    assert shown == [False, True, True, True]
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    path = tmp_path / "page.pdf"
    path.write_bytes(base64.b64decode(printed["data"]))
    assert 3 <= path.read_bytes().count(b"/Type /Page\n") <= 12
