"""The report's page in headless Chromium: sorting, images, narrow screens."""

from pathlib import Path

import pytest

from sweep.__main__ import main
from tests.result_trees import few_shot

METHODS = [f"Method{k:02}" for k in range(17)]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    output = tmp_path_factory.mktemp("page") / "a_long_name_of_an_output_folder_that_has_no_blank_where_it_could_break"
    for m, method in enumerate(["CoOp", "BiomedDPT", *METHODS]):
        for shots in (1, 2, 4, 8, 16):
            for seed in (1, 2):
                few_shot(output, "busi", method, shots, seed, 50.0 + 7 * m % 40 + shots / 10 + seed / 100)
    next(output.rglob("Method00/1shots/seed2/COMPLETE")).unlink()
    assert main(["report", str(output), "--formats", "html"]) == 0
    return output / "report" / "index.html"


def opened(browser, page, width, scheme="light"):
    """Load a page at a given width, which may be narrower than a window can be."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(page.as_uri())


def column(browser, index):
    script = (
        "return [...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => r.cells[arguments[0]].innerText)"
    )
    return browser.execute_script(script, index)


def test_console_is_empty_and_images_load(browser, page):
    opened(browser, page, 1280)
    sizes = browser.execute_script("return [...document.images].map(i => [i.complete, i.naturalWidth])")
    assert sizes == [[True, 840]]
    assert browser.get_log("browser") == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_the_page_does_not_scroll_sideways(browser, page, width):
    opened(browser, page, width)
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true); "
                                  "return document.documentElement.scrollWidth") <= width  # fmt: skip
    if width < 400:
        inner = "return (e => e.scrollWidth > e.clientWidth)(document.querySelector('.scroll'))"
        assert browser.execute_script(inner)


def test_tables_sort_by_click_and_by_key(browser, page):
    from selenium.webdriver.common.keys import Keys

    opened(browser, page, 1280)
    heads = browser.find_elements("css selector", "table:first-of-type thead th")[:6]
    assert {head.get_attribute("aria-sort") for head in heads} == {"none"}
    names = column(browser, 0)
    heads[1].find_element("tag name", "button").click()
    assert [head.get_attribute("aria-sort") for head in heads] == ["none", "descending", *["none"] * 4]
    shown = column(browser, 1)
    assert shown[-1] == "– (1)"
    assert shown[:-1] == sorted(shown[:-1], key=lambda text: -float(text.split()[0]))
    heads[1].find_element("tag name", "button").send_keys(Keys.ENTER)
    assert heads[1].get_attribute("aria-sort") == "ascending"
    again = column(browser, 1)
    assert again[-1] == "– (1)"
    assert again[:-1] == sorted(shown[:-1], key=lambda text: float(text.split()[0]))
    heads[0].find_element("tag name", "button").send_keys(Keys.SPACE)
    assert column(browser, 0) == sorted(names)
    assert heads[1].get_attribute("aria-sort") == "none"


def test_dark_and_light(browser, page):
    colours = []
    for scheme in ("light", "dark"):
        opened(browser, page, 1280, scheme)
        colours.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(22, 24, 27)"]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_committed_example_shows_its_curve_and_fits(browser, width):
    opened(browser, Path(__file__).parent.parent / "docs" / "example_report" / "index.html", width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return [...document.images].every(i => i.complete && i.naturalWidth > 500)")
    assert "298 complete; 0 " in browser.page_source
    assert browser.get_log("browser") == []
