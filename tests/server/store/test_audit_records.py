"""The made studies that pages are tested with are such as a study process could have written."""

import pytest
import sqlalchemy as sa

from server.runs.summary import Summary
from server.store.record_kinds import DocumentBody, StatementBody
from server.store.schema import FIGURES, IMAGES, MAPS, PARTICIPATION, RECORDS, SITES, STATEMENTS, STUDIES
from shared.privacy.accountant import spend
from tests.audit_plan import SMALL
from tests.audit_records import BIG_UID, big_study, fill, records_of, running_study, small_study


def test_the_same_study_twice_has_the_same_records() -> None:
    """Equal arguments give equal chains, down to the last hash."""
    first, second = ([record for record, _ in records_of(small_study())] for _ in range(2))
    assert first == second


def test_a_filled_store_holds_the_whole_study(small_store: sa.Engine) -> None:
    """Every record of the study is in the store, and every table that pages read has rows of it."""
    with small_store.connect() as connection:
        counts = {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (RECORDS, STUDIES, SITES, PARTICIPATION, STATEMENTS, FIGURES, MAPS, IMAGES)
        }
        study = connection.execute(sa.select(STUDIES)).one()
    assert counts["records"] == len(small_study())
    assert (counts["sites"], counts["participation"], counts["images"]) == (4, 8 * 4, 12)
    assert min(counts.values()) > 0
    assert (study.state, study.rounds_done, study.verdict) == ("completed", 8, "accepted")


def test_a_running_study_has_no_verdict(store: sa.Engine) -> None:
    """A study that stands at round 5 has five rounds and no figures."""
    fill(store, running_study(5))
    with store.connect() as connection:
        study = connection.execute(sa.select(STUDIES)).one()
        figures = connection.execute(sa.select(FIGURES)).all()
    assert (study.state, study.rounds_done, study.verdict, figures) == ("running", 5, "none", [])


def test_the_summary_has_the_schema_of_the_report() -> None:
    """The document `summary` is what `summary.json` may hold."""
    found = [body.document for body, _ in small_study() if isinstance(body, DocumentBody)]
    assert Summary.model_validate(found[0]).study.uid == SMALL.uid


@pytest.mark.parametrize("rounds", [1, 5])
def test_the_spend_is_what_the_accountant_says(rounds: int) -> None:
    """A statement's epsilon is that of the mechanisms which it lists."""
    said = [body.statement for body, _ in small_study() if isinstance(body, StatementBody)]
    one = next(one for one in said if one.partitions[0].mechanisms[0].rows == rounds)
    mechanisms = [counted.mechanism for counted in one.partitions[0].mechanisms]
    assert one.epsilon == pytest.approx(spend(mechanisms, one.delta).epsilon, abs=1e-4)


def test_a_big_study_has_the_size_that_was_asked(store: sa.Engine) -> None:
    """Rounds, sites, classes and images are those of the arguments."""
    fill(store, big_study(rounds=3, sites=12, classes=5, images=30), BIG_UID, "run:big")
    with store.connect() as connection:
        study = connection.execute(sa.select(STUDIES)).one()
        sites = connection.execute(sa.select(sa.func.count()).select_from(SITES)).scalar_one()
        images = connection.execute(sa.select(sa.func.count()).select_from(IMAGES)).scalar_one()
        labels = connection.execute(sa.select(MAPS.c.label).distinct()).all()
    assert (study.rounds_done, sites, images, len(labels)) == (3, 12, 30, 6)
