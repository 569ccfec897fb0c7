import gzip
import hashlib
import re
from pathlib import Path

import pytest

from server.dashboard.rendering.static_files import FOLDER, by_url, statics
from tests.dashboard_site import SMALL, Ask

# SHA-256 of the files in the packages htmx.org 2.0.11 and htmx-ext-sse 2.2.4, as their registry has them
VENDORED = {
    "htmx-2.0.11.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    "htmx-sse-2.2.4.min.js": "98a46496de0c3605fbffdce9167ba427bdd9553184f83f149c261891a92c0136",
    "htmx-LICENSE.txt": "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
    "htmx-sse-LICENSE.txt": "a17d224ce9afdc21ec9491b76a2f5d036d19aa641ac4f85ca29c21f9f7e54fdf",
}


@pytest.mark.parametrize("name", VENDORED)
def test_what_others_wrote_is_as_they_published_it(name: str) -> None:
    """Byte for byte, with its licence beside it."""
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == VENDORED[name]


def test_each_url_holds_the_digest_of_its_content() -> None:
    """A changed file has another URL, so that what browsers keep for ever is never wrong."""
    for one in statics().values():
        stated = Path(one.url).name.split(".")[-2]
        assert hashlib.sha256(one.content).hexdigest().startswith(stated)
        assert gzip.decompress(one.compressed) == one.content
    assert len(by_url()) == len(statics())


def test_no_file_of_ours_asks_for_another_host() -> None:
    """Style and scripts name no address outside."""
    for name in ("style.css", "theme.js", "live.js"):
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", text), name


def test_htmx_is_configured_for_the_policy(ask: Ask) -> None:
    """No evaluation, no inline style, no foreign request, no pages kept in the browser's storage."""
    page = ask("viewer").get("/studies").text
    for setting in (
        '"allowEval":false', '"includeIndicatorStyles":false', '"selfRequestsOnly":true', '"historyCacheSize":0',
    ):  # fmt: skip
        assert setting in page


@pytest.mark.parametrize("path", ["/studies", "/events", f"/studies/{SMALL}/events"])
def test_a_page_asks_for_few_things_and_is_small(ask: Ask, path: str) -> None:
    """Well under 40 requests and 300 kB compressed, all of it from here."""
    client = ask("viewer")
    page = client.get(path, headers={"accept-encoding": "gzip"})
    assert page.headers["content-encoding"] == "gzip"
    asked = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    sizes = [len(by_url()[url].compressed) for url in asked]
    assert len(asked) <= 8
    assert int(page.headers["content-length"]) + sum(sizes) < 60_000
    assert not re.search(r'(?:src|href|action)="(?!/|#|data:)', page.text)
