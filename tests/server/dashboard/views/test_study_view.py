from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from server.dashboard.views.head import study_head
from server.dashboard.views.study import StudyView, study_view
from server.store.record_kinds import StudyBody
from tests.audit_records import SMALL_UID, Entry, running_study, small_study


def read(engine: sa.Engine) -> StudyView:
    with engine.connect() as connection:
        head = study_head(connection, SMALL_UID)
        assert head is not None
        return study_view(connection, head)


def test_a_study_that_the_store_does_not_hold_has_no_head(small: sa.Engine) -> None:
    """An unknown uid gives None, which the page answers with 404."""
    with small.connect() as connection:
        assert study_head(connection, "0" * 32) is None


def test_the_page_takes_at_most_ten_statements(small: sa.Engine, counted: Callable[..., Any]) -> None:
    """Head and view together."""
    with counted(small) as statements:
        read(small)
    assert 3 < len(statements) <= 10


def test_missing_sites_are_named_with_reason_and_rounds(small: sa.Engine) -> None:
    """Absences are those of the participation, most frequent first, and the strip shows as many."""
    view = read(small)
    assert [(one.site, one.times, one.first, one.last) for one in view.absences] == [
        ("film", 3, 6, 8), ("children", 1, 2, 2), ("processed", 1, 5, 5),
    ]  # fmt: skip
    assert view.timeline is not None
    frames = view.timeline.svg.split('"was-missing" d="')[1].split('"')[0]
    assert frames.count("M") == sum(one.times for one in view.absences)
    assert ("film", "6 to 8", "0", "3", "missing") in view.timeline.rows


def test_the_own_student_is_compared_by_differences_of_their_own(small: sa.Engine) -> None:
    """Every paired difference has an interval; models and pairs are never mixed."""
    view = read(small)
    assert {one.key for one in view.baselines.rows} >= {
        "teacher",
        "warm_start",
        "federated_private",
        "trivial",
    }
    assert {one.second for one in view.differences} >= {"Warm start (public cohort only)"}
    assert all("to" in one.text and one.first != one.second for one in view.differences)


def test_a_study_without_rounds_says_so_and_shows_no_zero(filled: Callable[[list[Entry]], sa.Engine]) -> None:
    """Nothing measured is no tile, no curve and a sentence, never 0."""
    begun = [entry for entry in running_study(0) if isinstance(entry[0], StudyBody)]
    view = read(filled(begun))
    assert "No round has closed yet" in view.finding
    assert (view.curve, view.timeline, view.baselines.rows) == (None, None, ())
    assert [name for _, name, _ in view.tiles] == ["rounds closed"]


def test_a_running_study_says_where_it_is(filled: Callable[[list[Entry]], sa.Engine]) -> None:
    """Without figures of the whole test set the sentence is about the rounds so far."""
    view = read(filled(running_study(5)))
    assert view.finding.startswith("5 of 8 rounds are closed")


def test_a_failed_study_says_why(filled: Callable[[list[Entry]], sa.Engine]) -> None:
    """The sentence of the failure stands first."""
    entries: list[Any] = running_study(3)
    status = next(body for body, _ in small_study() if body.model_dump()["kind"] == "status")
    failed = status.model_copy(update={"state": "failed", "why": "federation.quorum is 3"})
    view = read(filled([*entries, (failed, ())]))
    assert view.finding == "The study failed after 3 of 8 rounds: federation.quorum is 3"
