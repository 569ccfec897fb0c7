import re
from html import unescape

import pytest
import sqlalchemy as sa

from server.metrics.intervals import Interval
from server.store.record_kinds import Figure, FiguresBody, MapBody
from tests.audit_records import small_study
from tests.dashboard_maps import figure_of
from tests.dashboard_site import RUNNING, SMALL, Ask, Open

AT = f"/studies/{SMALL}/explanations"
HTMX = {"hx-request": "true"}


def test_the_page_leads_with_the_finding_in_words(ask: Ask) -> None:
    """The value, its interval and what it means stand first, and what a map cannot show stands beside it."""
    text = ask("viewer").get(f"{AT}?label=opacity").text
    lede = re.search(r'class="lede">(.*?)</p>', text, re.DOTALL)
    assert lede is not None
    assert re.search(
        r"puts \d\.\d\d times as much energy into the lungs as chance; 95 of 100 such intervals hold the true value",
        unescape(lede[1]),
    )
    assert "A map cannot show" in text
    assert "random maps reach" in text


def test_every_figure_has_name_description_and_table(ask: Ask) -> None:
    """No drawing without a title, a description that says more than that it is a map, and its numbers in the page."""
    text = ask("viewer").get(f"{AT}?label=opacity").text
    figures = re.findall(r'<figure class="chart">.*?</figure>', text, re.DOTALL)
    assert len(figures) >= 7
    for one in figures:
        title, said = (
            re.search(r"<title>(.*?)</title>", one),
            re.search(r"<desc>(.*?)</desc>", one, re.DOTALL),
        )
        assert title is not None
        assert said is not None
        assert len(said[1]) > 40
        assert f'aria-label="{title[1]}: ' in one
        assert one.count("<tr>") > 1
    assert "times even)" in figure_of(text, "Teacher, mask and student")


def test_every_picture_of_a_map_has_scale_unit_and_number(ask: Ask) -> None:
    """The bar, the unit, the number of images and the noise are drawn with each."""
    text = ask("viewer").get(f"{AT}?label=opacity").text
    maps = re.findall(r'<svg class="fig maps".*?</figure>', text, re.DOTALL)
    assert len(maps) == 4
    for one in maps:
        assert one.count('href="data:image/png;base64,') >= 2  # a bar and the sample of hatching
        assert "times uniform" in one
        assert "no noise added" in one
        assert re.search(r"\d+ images of \d+ patients", one)
        assert one.count(">R</text>") == one.count(">L</text>") > 0


@pytest.mark.parametrize("path", [f"/studies/{RUNNING}/explanations", f"{AT}?label=normal"])
def test_what_was_not_measured_is_said(ask: Ask, path: str) -> None:
    """A running study has no maps yet, a finished one none per site and no drift; no zero stands in their place."""
    answer = ask("viewer").get(path)
    assert answer.status_code == 200
    assert "Per site: not measured" in answer.text
    assert "Drift: not measured" in answer.text
    if RUNNING in path:
        assert "Not measured yet" in answer.text
        assert "0.00" not in answer.text


def test_drift_is_shown_once_it_was_measured(open_page: Open) -> None:
    """Figures of drift have their table, with intervals."""
    moved = Figure(
        name="agreement_before", subject="student", interval=Interval(value=0.81, low=0.7, high=0.9, n=12)
    )
    text = open_page([*small_study(), (FiguresBody(of="drift", figures=(moved,)), ())]).get(AT).text
    assert "0.81 (0.70 to 0.90)" in text
    assert "Drift: not measured" not in text


def test_the_page_keeps_within_its_statements_and_requests(ask: Ask, engine: sa.Engine) -> None:
    """At most 10 statements, the session's and the head's included; at most 40 requests and 300 kB."""
    client, seen = ask("viewer"), []
    sa.event.listen(engine, "before_cursor_execute", lambda *told: seen.append(str(told[2])))
    answer = client.get(f"{AT}?label=opacity", headers={"accept-encoding": "gzip"})
    statements = [one for one in seen if one.lstrip().upper().startswith("SELECT")]
    assert 5 < len(statements) <= 10
    addresses = set(
        re.findall(r'(?:src|href)="(/(?:studies/[^"]+/(?:maps|films)|static)/[^"]+)"', answer.text)
    )
    sizes = [len(client.get(unescape(one)).content) for one in addresses]
    html = int(answer.headers["content-length"])
    print(
        f"{len(statements)} statements, {1 + len(addresses)} requests, {html} B of HTML, {sum(sizes)} B beside it"
    )
    assert len(addresses) < 40
    assert html < 150_000


@pytest.mark.parametrize(("asked", "shown", "before"), [(0, 0, None), (5, 5, 4), (99, 8, 7), (None, 8, 7)])
def test_the_slider_works_as_a_form(ask: Ask, asked: int | None, shown: int, before: int | None) -> None:
    """Without script, each round has an address; what is beyond the last round shows the last."""
    text = ask("viewer").get(f"{AT}?label=opacity" + ("" if asked is None else f"&round={asked}")).text
    assert f"<strong>After round {shown}</strong>" in text
    assert f'type="range" id="round-number" name="round" min="0" max="8" step="1" value="{shown}"' in text
    assert ("Change since round" in text) is (before is not None)
    if before is not None:
        assert f"Change since round {before}" in text
        assert f"round={before}#rounds" in text


@pytest.mark.parametrize(
    ("block", "holds"), [("round", "After round 3"), ("images", "gallery"), ("sources", "Teacher")]
)
def test_htmx_gets_the_block_that_it_asks_for(ask: Ask, block: str, holds: str) -> None:
    """A part of the page alone, equal to what the whole page holds there."""
    client, path = ask("viewer"), f"{AT}?label=opacity&round=3"
    part = client.get(path, headers=HTMX | {"hx-target": block}).text
    assert "<html" not in part
    assert holds in part
    assert part.strip() in client.get(path).text


def test_numbers_of_all_cells_are_a_file(ask: Ask) -> None:
    """One line a cell of each final map, with its interval and whether it can be told from noise."""
    answer = ask("viewer").get(f"{AT}.csv?label=opacity")
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/csv")
    assert lines[0].startswith("map,class,source,round,site_release,images,patients")
    of_student = [line for line in lines if line.startswith("student,opacity,all,")]
    assert len(of_student) == 256
    assert all(line.count(",") >= 15 for line in lines)


def test_a_class_that_the_study_does_not_have_is_not_found(ask: Ask) -> None:
    """Nor is a study; and nobody sees either without logging in."""
    assert ask("viewer").get(f"{AT}?label=hernia").status_code == 404
    assert ask("viewer").get(f"/studies/{'0' * 32}/explanations").status_code == 404
    assert ask().get(AT).status_code in {303, 401}


def test_names_from_records_are_text(open_page: Open) -> None:
    """A source of images that is called like a script is shown as it is called."""
    evil = "<script>alert(1)</script>"
    entries = small_study()
    bodies = [
        body
        for body, _ in entries
        if isinstance(body, MapBody) and body.label == "opacity" and body.round is None
    ]
    entries += [(body.model_copy(update={"source": evil}), ()) for body in bodies if body.source == "film"]
    text = open_page(entries).get(f"{AT}?label=opacity").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_no_style_and_no_script_stands_in_the_page(ask: Ask) -> None:
    """The policy allows neither."""
    text = ask("viewer").get(AT).text
    assert " style=" not in text
    assert "<style" not in text
    assert not re.search(r"<script(?![^>]* src=)", text)
    assert not re.search(r"\son\w+=", text)
