"""The table of routes and roles, made from the application itself: nothing is open that is not listed here."""

import re

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from server.dashboard.access import Role
from server.dashboard.api.guard import token_holder
from server.dashboard.app import create_app
from server.dashboard.roles import ROLES, at_least
from server.store.database import open_store
from tests.dashboard_site import SMALL, Ask, token_of

OPEN = {("GET", "/login"), ("POST", "/login"), ("GET", "/health"), ("GET", "/static/{name}")}
COORDINATORS = {
    ("GET", "/people"),
    *(("POST", f"/people/{what}") for what in ("add", "reset", "role", "disable", "enable")),
}


def needs(dependant: Dependant) -> set[str]:
    """Return what a route asks for: roles, or a token."""
    found = {needed for one in dependant.dependencies for needed in needs(one)}
    if isinstance(dependant.call, Role):
        found.add(dependant.call.role)
    if dependant.call is token_holder:
        found.add("token")
    return found


def table(app: FastAPI) -> dict[tuple[str, str], str]:
    """Return what each method and path asks for: the highest role, `token`, or nothing."""
    made = {}
    for route in iter_route_contexts(app.routes):
        asked = needs(route.dependant)
        roles = [role for role in ROLES if role in asked]
        word = "token" if "token" in asked else roles[-1] if roles else ""
        made |= {(method, route.path): word for method in route.methods}
    return made


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """Return the table of an application over an empty store."""
    engine = open_store(tmp_path_factory.mktemp("empty") / "store.sqlite")
    made = table(create_app(engine))
    engine.dispose()
    return made


def test_only_login_health_and_static_files_are_open(rows: dict[tuple[str, str], str]) -> None:
    """Every other route asks for a role or a token."""
    assert {row for row, asked in rows.items() if not asked} == OPEN


def test_the_api_asks_for_a_token_and_nothing_else_does(rows: dict[tuple[str, str], str]) -> None:
    """A browser's session does not open the API, a token no page."""
    assert {row for row, asked in rows.items() if asked == "token"} == {
        row for row in rows if row[1].startswith("/api/")
    }


def test_accounts_are_the_coordinators(rows: dict[tuple[str, str], str]) -> None:
    """Only a coordinator sees and changes accounts."""
    assert {row for row, asked in rows.items() if asked == "coordinator"} == COORDINATORS


def test_reading_changes_nothing(rows: dict[tuple[str, str], str]) -> None:
    """Routes take GET or POST, none takes both under one name of a change."""
    assert {method for method, _ in rows} == {"GET", "POST"}


def test_each_route_answers_each_role_as_the_table_says(ask: Ask, app: FastAPI) -> None:
    """Asked by nobody and by each role: the login, 403 below the route's role, anything else from it on."""
    browsers = {role: ask(role) for role in ROLES}
    for browser in browsers.values():
        browser.headers["x-csrf-token"] = token_of(browser)
    for (method, path), asked in table(app).items():
        if path.endswith("/changes") or asked in {"", "token"} or path == "/logout":
            continue
        url = re.sub(r"{[^}]*}", SMALL, path)
        assert ask().request(method, url).headers.get("location", "").startswith("/login"), (method, path)
        for role, browser in browsers.items():
            answer = browser.request(method, url)
            is_refused = answer.status_code == 403 and "This is for the role" in answer.text
            assert is_refused != at_least(role, asked), (method, path, role, answer.status_code)


@pytest.mark.usefixtures("must_change")
def test_a_person_with_a_one_time_password_gets_nowhere_else(ask: Ask, app: FastAPI) -> None:
    """Until it is changed, every page leads to the one where that is done."""
    client = ask("coordinator")
    for (method, path), asked in table(app).items():
        if method != "GET" or asked in {"", "token"} or path in {"/account/password", "/"}:
            continue
        answer = client.get(re.sub(r"{[^}]*}", SMALL, path))
        assert answer.headers.get("location", "").startswith("/account/password"), path
