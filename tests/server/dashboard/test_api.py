from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from server.dashboard.auth import tokens
from server.store.database import writing
from server.store.schema import FIGURES, TOKENS
from tests.dashboard_site import RUNNING, SMALL, Ask, TestClient

LISTS = ("rounds", "sites", "statements", "figures", "maps", "events")


@pytest.fixture
def program(ask: Ask, engine: sa.Engine) -> Iterator[TestClient]:
    """Return a program with a token."""
    with writing(engine).begin() as connection:
        said = tokens.new(connection, "monitoring", 90)
    client = ask()
    client.headers["authorization"] = f"Bearer {said}"
    return client


def test_the_api_answers_nobody_without_a_token(ask: Ask) -> None:
    """Neither a stranger nor a coordinator's browser session opens the API, and the refusal is JSON."""
    for client in (ask(), ask("coordinator")):
        answer = client.get("/api/v1/studies")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert set(answer.json()) == {"status", "error"}


def test_a_token_opens_nothing_but_the_api(program: TestClient) -> None:
    """A program's token is no login."""
    assert program.get("/studies").headers["location"].startswith("/login")


def test_studies_are_listed_with_how_they_stand(program: TestClient) -> None:
    """Both studies are there; one is running without a verdict, one completed and accepted by the gate."""
    found = {one["study_uid"]: one for one in program.get("/api/v1/studies").json()["items"]}
    assert {uid: (one["state"], one["verdict"]) for uid, one in found.items()} == {
        SMALL: ("completed", "accepted"),
        RUNNING: ("running", "none"),
    }
    assert program.get(f"/api/v1/studies/{SMALL}").json() == found[SMALL]


@pytest.mark.parametrize("what", LISTS)
def test_pages_of_a_list_make_the_whole(program: TestClient, what: str) -> None:
    """Small pages one after the other hold the same items as one large page."""
    url = f"/api/v1/studies/{SMALL}/{what}"
    whole = program.get(url, params={"size": 500}).json()
    assert whole["total"] == len(whole["items"]) > 0
    size = max(1, whole["total"] // 3)
    pages = -(-whole["total"] // size)
    parts = [
        program.get(url, params={"size": size, "page": page + 1}).json()["items"] for page in range(pages)
    ]
    assert [one for part in parts for one in part] == whole["items"]


def test_rounds_name_who_was_missing_and_why(program: TestClient) -> None:
    """A round lists each site that was asked, with its outcome."""
    rounds = program.get(f"/api/v1/studies/{SMALL}/rounds").json()["items"]
    second = next(one for one in rounds if one["round"] == 2)
    outcomes = {one["site"]: one["outcome"] for one in second["sites"]}
    assert outcomes["children"] != "accepted"
    assert sum(outcome == "accepted" for outcome in outcomes.values()) == second["num_answered"]


def test_what_was_not_measured_is_null_with_its_reason(program: TestClient, engine: sa.Engine) -> None:
    """A figure without a value has none in the API either, never zero."""
    with writing(engine).begin() as connection:
        first = connection.execute(sa.select(sa.func.min(FIGURES.c.id))).scalar_one()
        connection.execute(
            sa.update(FIGURES)
            .where(FIGURES.c.id == first)
            .values(value=None, low=None, high=None, reason="too few")
        )
    first = program.get(f"/api/v1/studies/{SMALL}/figures").json()["items"][0]
    assert (first["value"], first["reason"]) == (None, "too few")


def test_the_gate_comes_with_its_checks_or_says_that_it_was_not_run(program: TestClient) -> None:
    """A finished study has checks; a running one has the verdict none and a sentence."""
    assert program.get(f"/api/v1/studies/{SMALL}/gate").json()["checks"]
    running = program.get(f"/api/v1/studies/{RUNNING}/gate").json()
    assert (running["verdict"], running["checks"]) == ("none", [])
    assert "not measured" in running["sentence"]


@pytest.mark.parametrize("what", ["", *(f"/{name}" for name in (*LISTS, "gate"))])
def test_a_study_that_is_not_there_is_no_empty_list(program: TestClient, what: str) -> None:
    """An unknown identifier is refused at every address."""
    assert program.get(f"/api/v1/studies/{'0' * 32}{what}").status_code == 404


@pytest.mark.parametrize("query", ["page=0", "size=501", "page=x", "page=99999999999999999999"])
def test_a_value_of_the_wrong_form_is_refused_without_being_repeated(program: TestClient, query: str) -> None:
    """What was sent does not come back."""
    answer = program.get(f"/api/v1/studies?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[2] not in answer.json()["error"]


def test_a_zero_character_is_refused_before_the_database_sees_it(program: TestClient) -> None:
    """PostgreSQL knows no text with it, so it is refused on any store."""
    assert program.get("/api/v1/studies?search=%00").status_code == 422
    assert program.get("/api/v1/studies/%00").status_code == 422


def test_a_revoked_or_expired_token_opens_nothing(program: TestClient, engine: sa.Engine) -> None:
    """A token ends at its date, or at once when it is revoked."""
    assert program.get("/api/v1/events").status_code == 200
    with writing(engine).begin() as connection:
        connection.execute(sa.update(TOKENS).values(expires=datetime.now(UTC) - timedelta(seconds=1)))
    assert program.get("/api/v1/events").status_code == 401
    with writing(engine).begin() as connection:
        connection.execute(sa.update(TOKENS).values(expires=datetime.now(UTC) + timedelta(days=1)))
        tokens.revoke(connection, "monitoring")
    assert program.get("/api/v1/events").status_code == 401


def test_the_store_holds_no_token_itself(program: TestClient, engine: sa.Engine) -> None:
    """A copy of the store opens nothing: only the hash is there."""
    said = program.headers["authorization"].removeprefix("Bearer ")
    with engine.connect() as connection:
        rows: list[Any] = [tuple(row) for row in connection.execute(sa.select(TOKENS))]
    assert said not in repr(rows)


def test_openapi_describes_every_address_of_the_api(program: TestClient) -> None:
    """Each address has a typed answer and the token as its security."""
    described = program.get("/api/v1/openapi.json").json()
    assert {f"/api/v1/studies/{{study_uid}}/{name}" for name in (*LISTS, "gate")} < set(described["paths"])
    for operations in described["paths"].values():
        assert set(operations) == {"get"}
        assert operations["get"]["security"] == [{"token": []}]
        assert "$ref" in operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
