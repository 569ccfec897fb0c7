"""Decisions of people, asked of the real application as a browser asks."""

from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import sqlalchemy as sa

from server.dashboard.chai_card import NAMESPACE
from server.dashboard.decisions import CHANGED, Decision, evidence_of, history
from server.store.append import append_own
from server.store.blobs import get_blob
from server.store.database import writing
from server.store.records import FiguresBody, GateBody
from server.store.schema import RECORDS, SESSIONS
from tests.audit_records import small_study
from tests.dashboard_site import SMALL, Ask, TestClient

PAGE = f"/studies/{SMALL}/model"


def evidence(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        return evidence_of(connection, SMALL)


def told(engine: sa.Engine) -> tuple[Decision, ...]:
    with engine.connect() as connection:
        return history(connection, SMALL)


def token(client: TestClient) -> str:
    return client.get(PAGE).text.split('name="csrf" value="', 1)[1].split('"', 1)[0]


def say_view(client: TestClient, engine: sa.Engine, view: str = "accept") -> Any:
    return client.post(
        f"{PAGE}/view", data={"csrf": token(client), "view": view, "evidence": evidence(engine)}
    )


def decide(client: TestClient, engine: sa.Engine, action: str = "accept", **fields: str) -> Any:
    form = {
        "csrf": token(client),
        "action": action,
        "reason": "maps and figures agree",
        "evidence": evidence(engine),
    }
    return client.post(f"{PAGE}/decision", data=form | fields)


def new_evidence(engine: sa.Engine) -> None:
    with writing(engine).begin() as connection:
        append_own(connection, "test", SMALL, FiguresBody(of="shortcut", figures=()))


def test_an_auditor_accepts_with_a_reason_on_the_evidence_shown(ask: Ask, engine: sa.Engine) -> None:
    """The decision is chained under the auditor's name, with the own view given before it."""
    client = ask("auditor")
    assert say_view(client, engine, "undecided").status_code == 303
    assert decide(client, engine).status_code == 303
    last = told(engine)[0]
    assert (last.person, last.action, last.own_view, last.evidence) == (
        "auditor", "accept", "undecided", evidence(engine),
    )  # fmt: skip
    with engine.connect() as connection:
        kinds = (
            connection.execute(sa.select(RECORDS.c.kind).where(RECORDS.c.source == "people")).scalars().all()
        )
    assert kinds[-2:] == ["opinion", "decision"]


def test_the_verdict_is_hidden_until_the_auditor_said_what_they_think(ask: Ask, engine: sa.Engine) -> None:
    """Before: neither sentence nor checks nor badge; after: all of them. A viewer sees them at once."""
    client = ask("auditor")
    before = client.get(PAGE).text
    assert "Accepted:" not in before
    assert "hidden until your own view" in before
    say_view(client, engine, "hold")
    assert "Accepted:" in client.get(PAGE).text
    assert "Accepted:" in ask("viewer").get(PAGE).text


def test_a_decision_before_the_own_view_is_refused(ask: Ask, engine: sa.Engine) -> None:
    """Nothing is stored, and the page says what comes first."""
    answer = decide(ask("auditor"), engine, "hold")
    assert answer.status_code == 409
    assert "Say first what you think" in answer.text
    assert told(engine) == ()


def test_evidence_that_changed_since_is_a_conflict_and_nothing_is_stored(ask: Ask, engine: sa.Engine) -> None:
    """A record between loading and sending gives 409 and the sentence; the page then asks for a fresh look."""
    client = ask("auditor")
    say_view(client, engine)
    shown = evidence(engine)
    new_evidence(engine)
    before = len(told(engine))
    answer = decide(client, engine, evidence=shown)
    assert answer.status_code == 409
    assert CHANGED in answer.text
    assert len(told(engine)) == before


@pytest.mark.parametrize(
    ("action", "reason", "said"), [("hold", "  ", "reason is empty"), ("", "why", "decision is")]
)
def test_a_gap_in_the_form_is_one_sentence(
    ask: Ask, engine: sa.Engine, action: str, reason: str, said: str
) -> None:
    """422, the field is named, nothing is stored."""
    client = ask("auditor")
    say_view(client, engine)
    answer = decide(client, engine, action, reason=reason)
    assert answer.status_code == 422
    assert said in answer.text
    assert not any(one.decides for one in told(engine))


def test_a_viewer_decides_nothing(ask: Ask, engine: sa.Engine) -> None:
    """The form is not there, and sending it is refused."""
    client = ask("viewer")
    assert 'name="action"' not in client.get(PAGE).text
    assert decide(client, engine, "hold").status_code == 403
    assert told(engine) == ()


def test_a_password_given_long_ago_is_asked_again(ask: Ask, engine: sa.Engine) -> None:
    """After five minutes the decision leads to the password, and nothing is stored."""
    client = ask("auditor")
    csrf = token(client)
    with writing(engine).begin() as connection:
        connection.execute(sa.update(SESSIONS).values(proved=datetime.now(UTC) - timedelta(minutes=6)))
    answer = client.post(
        f"{PAGE}/decision", data={"csrf": csrf, "action": "hold", "reason": "x", "evidence": evidence(engine)}
    )
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/account/prove")
    assert told(engine) == ()


def test_a_student_leaves_only_when_gate_and_person_accepted_it(ask: Ask, engine: sa.Engine) -> None:
    """403 with the reason before, the very bytes after, and 403 again once it is withdrawn."""
    client, file = ask("auditor"), f"{PAGE}/student.safetensors"
    assert client.get(file).status_code == 403
    say_view(client, engine)
    decide(client, engine)
    given = client.get(file)
    assert given.status_code == 200
    with engine.connect() as connection:
        kept = get_blob(connection, given.headers["etag"].strip('"'))
    assert kept is not None
    assert given.content == kept.content
    decide(client, engine, "withdraw")
    assert client.get(file).status_code == 403


def test_nobody_accepts_in_the_gates_place(ask: Ask, engine: sa.Engine) -> None:
    """A held student can be held or withdrawn, never accepted."""
    client = ask("auditor")
    held = next(body for body, _ in small_study("held") if isinstance(body, GateBody))
    with writing(engine).begin() as connection:
        append_own(connection, "test", SMALL, held)
    say_view(client, engine)
    answer = decide(client, engine)
    assert answer.status_code == 409
    assert "nobody may accept it" in answer.text
    assert decide(client, engine, "hold").status_code == 303


def test_the_card_is_complete_xml_in_the_order_of_the_schema(ask: Ask) -> None:
    """Every required part of CHAI's v0.2 is there, in order, and nothing is empty."""
    answer = ask("viewer").get(f"{PAGE}/card.xml")
    assert answer.status_code == 200
    root = ET.fromstring(answer.text)  # noqa: S314 - made by this very software
    assert root.tag == f"{{{NAMESPACE}}}AppliedModelCard"
    assert [one.tag.split("}")[1] for one in root] == [
        "BasicInfo", "ReleaseInfo", "ModelSummary", "UsesAndDirections", "Warnings", "TrustIngredients", "KeyMetrics",
        "Resources", "Bibliography",
    ]  # fmt: skip
    leaves = [one for one in root.iter() if not len(one) and not one.tag.endswith("Keywords")]
    assert all(one.text and one.text.strip() for one in leaves)
