import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.pld import PLDAccountant

from server.dashboard.views.head import study_head
from server.dashboard.views.privacy import NOT_SHOWN, PrivacyView, privacy_view, rounds_left
from server.presentation.formatting import NOT_STATED
from server.presentation.membership_statements import HEAD, MODELS
from server.presentation.privacy_label import REQUIRED
from server.store.record_kinds import DataBody, DocumentBody, StatementBody
from shared.messages.release_kinds import LedgerStatement
from shared.privacy.mechanisms import PoissonGaussian
from tests.audit_records import SMALL_UID, Entry, small_study
from tests.membership_figures import drawn_membership


def read(engine: sa.Engine) -> PrivacyView:
    with engine.connect() as connection:
        head = study_head(connection, SMALL_UID)
        assert head is not None
        return privacy_view(connection, head)


def without_statements_of(site: str) -> list[Entry]:
    return [
        entry
        for entry in small_study()
        if not (isinstance(entry[0], StatementBody) and entry[0].statement.site == site)
    ]


def test_the_page_takes_at_most_ten_statements(small: sa.Engine, counted: Callable[..., Any]) -> None:
    """Head and view together."""
    with counted(small) as statements:
        read(small)
    assert 3 < len(statements) <= 10


def test_spend_is_that_of_the_newest_statements(small: sa.Engine) -> None:
    """Each figure is found again in the records that the sites released, by hand."""
    newest = {
        body.statement.site: body for body, _ in small_study() if isinstance(body, StatementBody)
    }  # a later statement takes an earlier one's place
    view = read(small)
    assert {one.site: one.epsilon for one in view.sites} == {
        site: f"{body.statement.epsilon:.2f}" for site, body in newest.items()
    }
    assert {one.site: one.as_of_round for one in view.sites} == {
        site: str(body.round) for site, body in newest.items()
    }


def test_every_figure_follows_from_the_rows_of_the_ledgers(small: sa.Engine) -> None:
    """Spend, share of the cap and rounds left, made again from the ledger's rows by another accountant."""
    rows: dict[str, dict[int, LedgerStatement]] = {}
    for body, _ in small_study():
        if isinstance(body, StatementBody):
            rows.setdefault(body.statement.site, {})[body.round] = body.statement
    shown = {one.site: one for one in read(small).sites}
    assert set(shown) == set(rows)
    for site, by_round in rows.items():
        said = [by_round[number] for number in sorted(by_round)]
        last, before = said[-1], next(one for one in reversed(said) if one.epsilon != said[-1].epsilon)
        epsilon = spent_by_rows(last)
        assert float(shown[site].epsilon) == pytest.approx(epsilon, abs=0.02)
        assert shown[site].head == f"{last.head_seq} · {last.head_hash[:16]}"
        if last.cap_epsilon is not None:
            bar = re.search(r"epsilon (\S+) of (\S+), (\d+)% of the cap", str(shown[site].bar))
            assert bar is not None
            assert int(bar[3]) == pytest.approx(100 * epsilon / last.cap_epsilon, abs=1)
            left = (last.cap_epsilon - epsilon) / (epsilon - spent_by_rows(before))
            assert shown[site].rounds_left == f"at least {math.floor(left)}"
    assert sum(one.cap != NOT_SHOWN for one in shown.values()) == 2


def spent_by_rows(one: LedgerStatement) -> float:
    """Compose what the ledger's rows list, by privacy loss distributions; the site used another method."""
    accountant = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, 1e-3)
    for counted in one.partitions[0].mechanisms:
        steps = counted.mechanism
        assert isinstance(steps, PoissonGaussian)
        once = PoissonSampledDpEvent(steps.sample_rate, GaussianDpEvent(steps.noise_multiplier))
        accountant.compose(once, steps.steps)
    return float(accountant.get_epsilon(one.delta))


def test_a_silent_site_has_spent_an_unknown_amount(filled: Callable[[list[Entry]], sa.Engine]) -> None:
    """It is named, each field is 'not stated', and no number stands for it."""
    view = read(filled(without_statements_of("film")))
    film = next(one for one in view.sites if one.site == "film")
    assert (film.epsilon, film.cap, film.gaps) == (NOT_STATED, NOT_STATED, REQUIRED)
    assert "film let no ledger statement out" in view.finding
    assert set(dict(view.label.rows)["film"]) == {NOT_STATED}
    assert view.claim.startswith("The ledgers of bedside, children, processed confirmed a spend")


def test_a_site_without_guarantee_leaves_no_claim(filled: Callable[[list[Entry]], sa.Engine]) -> None:
    """One ledger that states no guarantee takes the claim away, as in the report, and the site is named."""
    entries = [
        (_unbounded(body), blobs)
        if isinstance(body, StatementBody) and body.statement.site == "film"
        else (body, blobs)
        for body, blobs in small_study()
    ]
    view = read(filled(entries))
    assert not view.holds
    assert view.claim.startswith("No privacy guarantee holds at film")
    assert view.not_covered[-1] == view.claim


def _unbounded(body: StatementBody) -> StatementBody:
    return body.model_copy(update={"statement": body.statement.model_copy(update={"epsilon": None})})


def test_a_cap_that_the_hospital_keeps_to_itself_is_not_guessed(small: sa.Engine) -> None:
    """Without a shown cap there is no bar and no number of rounds left."""
    children = next(one for one in read(small).sites if one.site == "children")
    assert (children.cap, children.bar, children.rounds_left) == (NOT_SHOWN, None, NOT_SHOWN)


def test_a_ledger_that_lost_rows_is_told_first(filled: Callable[[list[Entry]], sa.Engine]) -> None:
    """One statement whose head does not follow marks the site for good."""
    entries: list[Any] = small_study()
    place = next(
        number
        for number, (body, _) in enumerate(entries)
        if isinstance(body, StatementBody) and body.statement.site == "bedside" and body.round == 4
    )
    entries[place] = (entries[place][0].model_copy(update={"follows": False}), entries[place][1])
    view = read(filled(entries))
    assert "bedside does not follow the head remembered" in view.finding
    assert next(one.head_word for one in view.sites if one.site == "bedside") == "does not follow"


@pytest.mark.parametrize(
    ("points", "cap", "said"),
    [
        (((1, 1.0), (2, 1.5)), 3.0, "at least 3"),
        (((1, 1.0), (3, 2.0), (4, 2.0)), 3.2, "at least 2"),  # the last rise, 0.5 a round
        (((1, 1.0), (2, 1.5)), 1.2, "at least 0"),
        (((1, 1.0),), 3.0, NOT_STATED),
        (((1, 1.0), (2, 1.5)), None, NOT_STATED),
        (((1, None), (2, None)), 3.0, NOT_STATED),
    ],
)
def test_rounds_left_go_on_along_the_last_rise(points: Any, cap: float | None, said: str) -> None:
    """Room under the cap over the spend of the last round that cost anything, worked by hand."""
    assert rounds_left(points, cap) == said


def test_membership_is_not_measured_until_a_record_says_otherwise(
    filled: Callable[[list[Entry]], sa.Engine],
) -> None:
    """A store without the record opens as ever; of real data the reason is that patients never leave."""
    entries: list[Any] = small_study()
    made = read(filled(entries)).membership
    assert (made.state, made.rows) == ("not measured", ())
    assert "The command make membership measures it" in made.finding
    real = [
        (body.model_copy(update={"data_kind": "real"}) if isinstance(body, DataBody) else body, blobs)
        for body, blobs in entries
    ]
    assert "never leave their hospital" in read(filled(real)).membership.finding


def test_membership_is_that_of_the_newest_record(filled: Callable[[list[Entry]], sa.Engine]) -> None:
    """Measured again with more non-members, the page shows the later figures of every student."""
    told = [drawn_membership("5" * 64, count).model_dump(mode="json") for count in (60, 600)]
    records: list[Any] = [(DocumentBody(name="membership", document=one), ()) for one in told]
    view = read(filled([*small_study(), *records]))
    assert view.membership.state == "measured"
    assert [row[0] for row in view.membership.rows[::3]] == list(MODELS.values())
    assert {row[HEAD.index("members / non-members")] for row in view.membership.rows} == {"600 / 600"}
