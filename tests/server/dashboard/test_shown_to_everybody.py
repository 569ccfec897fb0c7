"""What readers without colour, sight or a mouse are given, as far as the pages' own text tells it."""

import itertools
import re

import pytest

from server.dashboard.rendering.static_files import FOLDER
from server.dashboard.rendering.templating import environment
from server.presentation.status_words import _KNOWN, status
from tests.dashboard_site import RUNNING, SMALL, Ask

NUM_TONES = 6

PARTS = ("", "/explanations", "/privacy", "/sites", "/model", "/events")
STYLE = (FOLDER / "style.css").read_text(encoding="utf-8")


def block(query: str) -> str:
    """Return the rules of one media query."""
    depth, begin = 0, STYLE.index("{", STYLE.index(f"@media {query}"))
    for end in range(begin, len(STYLE)):
        depth += {"{": 1, "}": -1}.get(STYLE[end], 0)
        if depth == 0:
            return STYLE[begin:end]
    raise AssertionError(query)


@pytest.mark.parametrize("uid", [SMALL, RUNNING])
def test_each_drawing_on_each_page_has_name_description_and_table(ask: Ask, uid: str) -> None:
    """A figure has all three; a bar in a cell stands beside its numbers; every picture has an alternative text."""
    client, figures, bars = ask("viewer"), 0, 0
    for part in PARTS:
        text = client.get(f"/studies/{uid}{part}").text
        for one in re.findall(r'<figure class="chart">.*?</figure>', text, re.DOTALL):
            figures += 1
            assert re.search(r"<figcaption>[^<]{5,}</figcaption>", one), part
            assert re.search(r"<table>.*?<tbody>\s*<tr>", one, re.DOTALL), part
        for begin in re.finditer(r"<svg [^>]*>", text):
            if 'aria-hidden="true"' in begin[0] or begin[0].startswith(
                "<svg x="
            ):  # a part of another drawing
                continue
            assert re.search(r'role="img".* aria-label="[^"]{10,}"', begin[0], re.DOTALL), (part, begin[0])
            told = r"<title>[^<]{3,}</title>\s*<desc>[^<]{3,}</desc>"
            assert re.compile(told).match(text, begin.end()), (part, begin[0])
            bars += 'class="fig inline' in begin[0]
        assert not re.search(r"<img(?![^>]*\balt=)", text), part
    print(f"{figures} figures and {bars} bars in cells")
    assert figures >= (10 if uid == SMALL else 3)


def test_states_of_one_kind_differ_by_word_and_shape() -> None:
    """Where one of several states stands, each has another word and another shape; colour only repeats them."""
    together = [
        ("running", "completed", "failed", "stopped"), ("accepted", "held", "withdrawn", "none"),
        ("passed", "failed", "does not apply"), ("present", "absent", "does not apply"), ("live", "stale"),
        ("active", "disabled"),
    ]  # fmt: skip
    for states in together:
        assert set(states) <= set(_KNOWN)
        for one, other in itertools.combinations(map(status, states), 2):
            assert one.word != other.word
            assert one.shape != other.shape, (one.word, other.word)


def test_each_shape_is_drawn_in_its_own_way() -> None:
    """No two names of shapes give the same drawing."""
    shape = environment().globals["m"].shape  # type: ignore[attr-defined]
    drawn = {one.shape: str(shape(one.shape)) for one in _KNOWN.values()}
    assert len(set(drawn.values())) == len(drawn) >= 7


def test_lines_are_told_apart_without_colour() -> None:
    """Each of the six tones of a line is broken in another way, and one is not broken."""
    dashes = [
        re.search(rf"\.line\.t{tone} {{ [^}}]*stroke-dasharray: ([^;]*);", STYLE) for tone in range(NUM_TONES)
    ]
    assert dashes[0] is None
    assert len({one[1] for one in dashes if one is not None}) == NUM_TONES - 1


def test_forced_colours_leave_maps_and_shapes_to_be_seen() -> None:
    """Maps keep their one scale, states their shape, bars and lines get the reader's own colours."""
    rules = block("(forced-colors: active)")
    assert ".fig.maps, .strip { forced-color-adjust: none; }" in rules
    for part in (".status .shape", ".shape .cut", ".fig .bar", ".fig .line", ".fig .band", "progress"):
        assert part in rules


def test_print_is_dark_on_white_and_opens_every_table() -> None:
    """In either theme; menus and forms stay away, and numbers that are folded in on screen are printed."""
    first, second = (one.partition("{")[2] for one in STYLE.split("@media print")[1:])
    assert re.search(r':root\[data-theme="dark"\][^{]*{ --paper: #fff;[^}]*--ink: #000;', first)
    assert re.search(r"\.tabs[^{]*form { display: none; }", first)
    assert "details::details-content { content-visibility: visible; }" in second


def test_a_change_of_a_live_page_is_told_politely(ask: Ask) -> None:
    """One region that screen readers read when they have time, outside of what is put in place anew."""
    text = ask("viewer").get(f"/studies/{RUNNING}").text
    region = text.index('<p id="live" class="hidden" role="status" aria-live="polite"></p>')
    assert text.index('id="now"') < text.index("</main>") < region
    assert text.count("aria-live") == 1
