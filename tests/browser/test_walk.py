"""Every page, in both themes, wide and narrow: the policy refuses nothing, nothing is foreign, axe finds nothing."""

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import Site
from tests.chromium import Reader

PARTS = ("", "/explanations", "/privacy", "/sites", "/model", "/events")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WINDOWS = [
    pytest.param({"color_scheme": theme, "viewport": size}, id=f"{theme}-{size['width']}")
    for theme in ("light", "dark")
    for size in (WIDE, NARROW)
]
# every figure has a name, a description and its table; every picture says what is seen; axe does not look for that
FIGURES = """() => [...document.querySelectorAll('figure.chart')].flatMap(figure => {
  const name = figure.querySelector('figcaption')?.textContent.trim();
  const drawing = figure.querySelector('svg[role=img]');
  const missing = [];
  if (!name) missing.push('a name');
  if (!drawing) missing.push('a drawing');
  else {
    if (!drawing.querySelector('title')?.textContent.trim()) missing.push('a title');
    if (!drawing.querySelector('desc')?.textContent.trim()) missing.push('a description');
  }
  if (!figure.querySelector('table tbody tr')) missing.push('its table');
  return missing.map(what => `${name}: ${what}`);
})"""


def pages(site: Site) -> list[str]:
    """Every page that a coordinator can open."""
    of_studies = [f"/studies/{uid}{part}" for uid in (site.finished, site.running) for part in PARTS]
    return ["/studies", "/connections", "/events", "/people", "/account", *of_studies]


@pytest.mark.parametrize("context", WINDOWS, indirect=True)
def test_every_page_keeps_the_policy_and_stays_at_home(
    reader: Reader, site: Site, request: pytest.FixtureRequest
) -> None:
    """0 violations, 0 foreign requests, no error in the console, and nothing wider than a narrow screen."""
    reader.log_in("coordinator")
    refused, broken = {}, []
    for path in pages(site):
        page = reader.see(path)
        refused |= {path: found} if (found := reader.refused()) else {}
        wide = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
        broken += [f"{path}: {wide} px too wide"] if wide > 1 else []
        _photograph(
            page,
            request.node.callspec.id,
            path.replace(site.finished, "finished").replace(site.running, "running"),
        )
    assert refused == {}
    assert reader.foreign == []
    assert reader.complaints == []
    assert broken == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_every_figure_is_told(browser: Any, site: Site, theme: str) -> None:
    """No page has a finding of axe, and each figure has name, description and table."""
    context = browser.new_context(color_scheme=theme, viewport=WIDE)
    try:
        reader = Reader(context.new_page(), site.address)
        reader.see("/login")
        found = _axe(reader, "/login")
        reader.log_in("coordinator")
        figures = 0
        for path in pages(site):
            page = reader.see(path)
            found += _axe(reader, path)
            found += [f"{path}: {what} is missing" for what in page.evaluate(FIGURES)]
            figures += page.locator("figure.chart").count()
            assert page.locator("img:not([alt])").count() == 0
    finally:
        context.close()
    assert found == [], "\n".join(found)
    assert figures >= 10


def _axe(reader: Reader, path: str) -> list[str]:
    violations = Axe().run(reader.page).response["violations"]
    return [f"{path}: {one['id']}: {one['nodes'][0]['html'][:160]}" for one in violations]


def _photograph(page: Any, window: str, path: str) -> None:
    """Keep a picture of the page where `ROUNDS_SCREENSHOTS` names a folder."""
    folder = os.environ.get("ROUNDS_SCREENSHOTS")
    if folder:
        name = path.strip("/").replace("/", "-") or "studies"
        page.screenshot(path=str(Path(folder) / f"{name}-{window}.png"), full_page=True)
