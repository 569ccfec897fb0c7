"""The page of connections in a browser: it changes by itself, and stays readable on a phone and at 200 percent."""

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import Site
from tests.chromium import Reader
from tests.connected_hub import NODES_NOW

TOO_WIDE = "() => document.documentElement.scrollWidth - window.innerWidth"
# a word that is wider than the box that holds it is cut or runs over its neighbour
CLIPPED = """() => [...document.querySelectorAll('.connections td *, .connections th *')]
  .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline' && one.clientWidth)
  .map(one => one.textContent.trim().slice(0, 60))"""


@pytest.mark.parametrize("context", [{"viewport": {"width": 1280, "height": 900}}], indirect=True)
def test_a_change_at_the_hub_reaches_an_open_page(reader: Reader, site: Site) -> None:
    """A site that goes offline is shown so without a reload, and a screen reader is told once."""
    assert site.hub is not None
    site.hub.serving(NODES_NOW)
    reader.log_in("coordinator")
    page = reader.see("/connections")
    row = page.get_by_role("row").filter(has_text="north")
    assert "online" in row.inner_text()
    try:
        site.hub.serving(None)
        page.get_by_text("The hub's SuperLink does not answer").wait_for()
        assert "not known" in row.inner_text()
        said = page.locator("#live")
        said.filter(has_text="The connections changed; the page was brought up to date.").wait_for(
            state="attached"
        )
    finally:
        site.hub.serving(NODES_NOW)
    page.get_by_text("The hub's SuperLink does not answer").wait_for(state="detached")
    assert reader.refused() == []
    assert reader.complaints == []


@pytest.mark.parametrize(
    "context",
    [
        pytest.param({"viewport": {"width": 390, "height": 844}}, id="phone"),
        pytest.param({"viewport": {"width": 640, "height": 450}}, id="zoom-200"),  # 1280 px at 200 percent
        pytest.param({"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"}, id="dark"),
    ],
    indirect=True,
)
def test_nothing_is_cut_off(reader: Reader, site: Site, request: pytest.FixtureRequest) -> None:
    """The page scrolls in no direction but down, no cell is cut, and axe finds nothing at this size either."""
    assert site.hub is not None
    site.hub.serving(NODES_NOW)
    reader.log_in("coordinator")
    page = reader.see("/connections")
    _photograph(page, request.node.callspec.id)
    assert page.evaluate(TOO_WIDE) <= 1
    assert page.evaluate(CLIPPED) == []
    assert Axe().run(page).response["violations"] == []


def _photograph(page: Page, name: str) -> None:
    folder = os.environ.get("ROUNDS_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"connections-{name}.png"), full_page=True)
