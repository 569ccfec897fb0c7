"""The table of routes and roles, made from the application itself: nothing is open that is not listed here."""

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from server.cli.audit.dashboard import app as dashboard_commands
from server.dashboard.auth.roles import ROLES, at_least
from server.dashboard.route_table import EVERYBODY, TOKEN, Table, markdown, own_table, route_table
from tests.dashboard_site import SMALL, Ask, token_of

PAGE = Path(__file__).parents[4] / "deploy" / "dashboard.md"
BEGIN, END = "<!-- routes: begin -->\n", "<!-- routes: end -->"

OPEN = {("GET", "/login"), ("POST", "/login"), ("GET", "/health"), ("GET", "/static/{name}")}
COORDINATORS = {
    ("GET", "/connections"),
    ("GET", "/connections/changes"),
    ("GET", "/people"),
    *(("POST", f"/people/{what}") for what in ("add", "reset", "role", "disable", "enable")),
}


@pytest.fixture(scope="module")
def rows() -> Table:
    """Return the table of the application."""
    return own_table()


def test_only_login_health_and_static_files_are_open(rows: Table) -> None:
    """Every other route asks for a role or a token."""
    assert {row for row, asked in rows.items() if asked == EVERYBODY} == OPEN


def test_the_api_asks_for_a_token_and_nothing_else_does(rows: Table) -> None:
    """A browser's session does not open the API, a token no page."""
    assert {row for row, asked in rows.items() if asked == TOKEN} == {
        row for row in rows if row[1].startswith("/api/")
    }


def test_accounts_and_connections_are_the_coordinators(rows: Table) -> None:
    """Only a coordinator sees and changes accounts, and sees how sites are connected."""
    assert {row for row, asked in rows.items() if asked == "coordinator"} == COORDINATORS


def test_reading_changes_nothing(rows: Table) -> None:
    """Routes take GET or POST, none takes both under one name of a change."""
    assert {method for method, _ in rows} == {"GET", "POST"}


def test_the_page_for_auditors_has_the_table_of_the_application(rows: Table) -> None:
    """`deploy/dashboard.md` shows what is true of this version, and the command prints it."""
    shown = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == markdown(rows), (
        f"run `rounds-hub dashboard routes` and paste what it prints into {PAGE.name}"
    )
    assert CliRunner().invoke(dashboard_commands, ["routes"]).output.strip() == shown


def test_each_route_answers_each_role_as_the_table_says(ask: Ask, app: FastAPI) -> None:
    """Asked by nobody and by each role: the login, 403 below the route's role, anything else from it on."""
    browsers = {role: ask(role) for role in ROLES}
    for browser in browsers.values():
        browser.headers["x-csrf-token"] = token_of(browser)
    for (method, path), asked in route_table(app).items():
        if path.endswith("/changes") or asked in {EVERYBODY, TOKEN} or path == "/logout":
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
    for (method, path), asked in route_table(app).items():
        if method != "GET" or asked in {EVERYBODY, TOKEN} or path in {"/account/password", "/"}:
            continue
        answer = client.get(re.sub(r"{[^}]*}", SMALL, path))
        assert answer.headers.get("location", "").startswith("/account/password"), path
