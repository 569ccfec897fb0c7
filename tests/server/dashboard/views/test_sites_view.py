from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from server.dashboard.views.head import study_head
from server.dashboard.views.sites import SitesView, sites_view
from server.store.record_kinds import SiteBody, StudyBody
from tests.audit_records import SMALL_UID, Entry, small_study


def read(engine: sa.Engine) -> SitesView:
    with engine.connect() as connection:
        head = study_head(connection, SMALL_UID)
        assert head is not None
        return sites_view(connection, head)


def test_the_page_takes_at_most_ten_statements(small: sa.Engine, counted: Callable[..., Any]) -> None:
    """Head and view together."""
    with counted(small) as statements:
        read(small)
    assert 3 < len(statements) <= 10


def test_sites_stand_by_name_with_what_they_sent(small: sa.Engine) -> None:
    """Counts of answers are those of the releases, and who was missing last is marked by shape and word."""
    view = read(small)
    assert [one.site for one in view.sites] == ["bedside", "children", "film", "processed"]
    film = next(one for one in view.sites if one.site == "film")
    assert (film.mark, film.health) == ("✕", "missing: budget_spent")
    assert "Missing: film" in view.finding


def test_public_images_of_a_real_federation_are_none_of_its_hospitals(
    filled: Callable[[list[Entry]], sa.Engine],
) -> None:
    """Made hospitals are compared as sites; beside real ones the same names are sources of public images."""
    real: list[Any] = [
        (body.model_copy(update={"simulation": False}), blobs)
        if isinstance(body, StudyBody)
        else (body, blobs)
        for body, blobs in small_study()
    ]
    assert read(filled(small_study())).comparison.heading == "Between sites"
    told = read(filled(real)).comparison
    assert told.heading == "Between sources of the public images"
    assert "The hospitals of this federation are not compared" in told.words


def test_other_code_than_the_studys_is_marked(filled: Callable[[list[Entry]], sa.Engine]) -> None:
    """A site that enrolled with another code digest shows it."""
    entries: list[Any] = [
        (body.model_copy(update={"code_digest": "0" * 64}), blobs)
        if isinstance(body, SiteBody) and body.site == "film"
        else (body, blobs)
        for body, blobs in small_study()
    ]
    marks = {one.site: one.code_mark for one in read(filled(entries)).sites}
    assert marks == {"bedside": "✓", "children": "✓", "film": "✕", "processed": "✓"}
