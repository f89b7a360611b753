"""The page in a real browser: what it shows, what it fetches, who can read and operate it, and what it prints.

Needs a Chromium (`apt install chromium`) and Playwright (`pip install 'ptaudit[browser]'`); no browser is downloaded.
Skipped without.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from example_run import CASES, EXAMPLE_CHECK, example_comparison, example_run, leaking_run
from special_runs import big_run, hostile_run, pictured_run

from ptaudit.report import Page, Subject, open_format

api = pytest.importorskip("playwright.sync_api", reason="no browser to drive: pip install 'ptaudit[browser]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt install chromium")

MEASURE = (Path(__file__).parent / "browser_measures.js").read_text(encoding="utf-8")
"""Functions that look at a page from inside; see there."""


@dataclass
class Opened:
    """A page in the browser, and what was heard from it."""

    tab: object
    heard: list[str] = field(default_factory=list)

    def __call__(self, expression: str) -> object:
        return self.tab.evaluate(f"() => {{ {MEASURE}; return {expression} }}")


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Files of the pages by name."""
    folder = tmp_path_factory.mktemp("pages")
    pictured = pictured_run(folder / "kept")
    subjects: dict[str, tuple[Subject, Page]] = {
        "example": (example_run(), Page()),
        "leaking": (leaking_run(), Page()),
        "hostile": (hostile_run(), Page()),
        "pictured": (pictured, Page(kept=folder / "kept")),
        "big": (big_run(), Page()),
        "comparison": (example_comparison(), Page()),
        "check": (EXAMPLE_CHECK, Page()),
        "selftest": (CASES, Page()),
    }
    for name, (subject, page) in subjects.items():
        (folder / f"{name}.html").write_text(open_format("html").render(subject, page), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in subjects}


@pytest.fixture
def shown(browser, pages):
    """Opens a page: `shown(name, width=..., color_scheme=...)`."""
    contexts = []

    def opened(name: str, width: int = 1280, **options: object) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = Opened(context.new_page())
        page.tab.on("console", lambda message: page.heard.append(f"console: {message.text}"))
        page.tab.on("pageerror", lambda error: page.heard.append(f"error: {error}"))
        page.tab.on("dialog", lambda dialog: (page.heard.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.tab.on("request", lambda request: page.heard.append(f"request: {request.url[:60]}"))
        page.tab.on("requestfailed", lambda request: page.heard.append(f"failed: {request.url[:60]}"))
        page.tab.goto(pages[name].as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


RUNS = ("example", "leaking", "hostile", "pictured")
ALL = (*RUNS, "comparison", "check", "selftest")


@pytest.mark.parametrize("name", ALL)
def test_it_is_silent_and_asks_for_nothing_but_itself(shown, pages, name):
    page = shown(name)
    own, *others = page.heard
    assert own == f"request: {pages[name].as_uri()}"[: len(own)]
    assert [heard for heard in others if not heard.startswith("request: data:image/png")] == []


def test_a_script_in_a_name_is_text(shown):
    page = shown("hostile")
    assert page("document.scripts.length + document.images.length") == 0
    assert page("document.title") == page("document.querySelector('h1').textContent")
    text = page("document.body.innerText")
    assert "<script>alert(1)</script>" in text
    assert r"\u202e" in text
    assert "\u202e" not in page("document.documentElement.outerHTML")


@pytest.mark.parametrize("name", ALL)
def test_headings_are_in_order_landmarks_are_there_and_links_lead_somewhere(shown, name):
    page = shown(name)
    levels = page("headings()")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page("['header', 'main'].map(tag => document.querySelectorAll(tag).length)") == [1, 1]
    assert page("document.documentElement.lang") == "en"
    assert page("lostLinks()") == []
    assert page("doubleIds()") == []


def test_every_figure_is_there_and_visible(shown):
    page = shown("pictured")
    titles = page("[...document.querySelectorAll('figcaption')].map(one => one.textContent)")
    for part in ("identity.bits", "dynamics.exposed", "How many records become exposed", "Early warning",
                 "Accuracy against leakage", "Members found at few", "Single records", "Risk by difficulty",
                 "seed 0"):  # fmt: skip
        assert any(part in title for title in titles), part
    assert page("invisible('figure svg, figure img')") == []
    assert page("unnamed('figure svg, figure img')") == []


@pytest.mark.parametrize("name", RUNS)
def test_every_cell_of_a_heat_map_is_told_when_pointed_at_and_read_aloud(shown, name):
    page = shown(name)
    cells = page("document.querySelectorAll('.heat td:not(.last)').length")
    assert cells >= 100
    assert page("[...document.querySelectorAll('.heat td:not(.last)')].filter(one => !one.title).length") == 0
    tree = page.tab.context.new_cdp_session(page.tab).send("Accessibility.getFullAXTree")["nodes"]
    heat = page("document.querySelectorAll('details[open] .heat td:not(.last)').length")
    said = [n for n in tree if n["role"]["value"] in ("cell", "gridcell") and n.get("description", {}).get("value")]
    assert len(said) >= heat > 0
    assert all(n["name"]["value"] for n in said)


@pytest.mark.parametrize("name", ["pictured"])
def test_the_keyboard_reaches_what_can_be_operated(shown, name):
    page = shown(name)
    for _ in range(page("operable().length") + 5):
        page.tab.keyboard.press("Tab")
        page("document.activeElement.dataset.reached = 1")
        assert page("hasOutline(document.activeElement)")
    assert page("operable().filter(one => !one.dataset.reached).map(told)") == []
    closed = "document.querySelectorAll('details:not([open])')"
    before = page(f"{closed}.length")
    page(f"{closed}[0].querySelector('summary').focus()")
    page.tab.keyboard.press("Enter")
    assert page(f"{closed}.length") == before - 1


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", ALL)
def test_nothing_sticks_out_of_the_page(shown, name, width):
    page = shown(name, width=width)
    page("openAll()")
    assert page("document.documentElement.scrollWidth") <= width
    assert page("sticksOut()") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["leaking", "pictured", "comparison"])
def test_text_stands_out_from_what_is_behind_it(shown, name, scheme):
    page = shown(name, color_scheme=scheme)
    page("openAll()")
    assert (page("luminance(background(document.body))") > 0.5) == (scheme == "light")
    assert page("document.querySelectorAll('p, td, th, text, li, summary, a').length") > 30
    assert page("faint(4.5)") == []


def test_print_shows_everything_on_white(shown):
    page = shown("pictured", color_scheme="dark")
    page.tab.emulate_media(media="print", color_scheme="dark")
    assert page("background(document.body)") == [255, 255, 255]
    assert page("faint(4.5)") == []
    assert page("invisible('section, section h2, details > *, .heat, figure svg')") == []
    assert page("invisible('nav')") != []
    page.tab.set_viewport_size({"width": 720, "height": 1000})
    assert page("sticksOut()") == []
    assert len(page.tab.pdf()) > 20_000


def test_a_page_of_100_layers_and_20_epochs_is_small_and_opens(shown, pages):
    assert 500_000 < pages["big"].stat().st_size < 5_000_000
    page = shown("big", width=400)
    assert page("document.querySelectorAll('.heat td').length") > 100 * 20
    assert page("document.documentElement.scrollWidth") <= 400
