"""Accounts, for the coordinator: each change asks for a fresh login and is chained."""

from collections.abc import Callable
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.dashboard.auth import accounts as people
from server.dashboard.auth.access import COORDINATOR, FreshCoordinator
from server.dashboard.auth.passwords import one_time_password
from server.dashboard.auth.roles import ROLES
from server.dashboard.pages.page_tools import Page, PageTools
from server.store.database import writing
from shared.errors import ConfigError

router = APIRouter()
Name = Annotated[str, Form(max_length=200)]
Change = Callable[[sa.Connection], str | None]


@router.get("/people", dependencies=[Depends(COORDINATOR)])
def listed(page: Page) -> HTMLResponse:
    """List accounts."""
    return _page(page)


@router.post("/people/add")
async def add(
    page: Page, request: Request, visit: FreshCoordinator, name: Name = "", role: Name = ""
) -> Response:
    """Make an account; its one-time password is shown in this answer and nowhere again."""
    password = one_time_password()
    hashed = await request.app.state.hashing.hash(password)
    return await run_in_threadpool(
        _changed, page, lambda connection: people.add(connection, name, role, visit.person, password, hashed)
    )


@router.post("/people/reset")
async def reset(page: Page, request: Request, visit: FreshCoordinator, name: Name = "") -> Response:
    """Give a new one-time password, shown in this answer and nowhere again."""
    password = one_time_password()
    hashed = await request.app.state.hashing.hash(password)

    def change(connection: sa.Connection) -> str:
        people.reset(connection, name, visit.person, hashed)
        return password

    return await run_in_threadpool(_changed, page, change)


@router.post("/people/role")
def change_role(page: Page, visit: FreshCoordinator, name: Name = "", role: Name = "") -> Response:
    """Give another role; the person's sessions end."""
    return _changed(page, lambda connection: people.change_role(connection, name, role, visit.person))


@router.post("/people/disable")
def disable(page: Page, visit: FreshCoordinator, name: Name = "") -> Response:
    """Let a person log in no more; the person's sessions end."""
    return _changed(page, lambda connection: people.disable(connection, name, visit.person))


@router.post("/people/enable")
def enable(page: Page, visit: FreshCoordinator, name: Name = "") -> Response:
    """Let a person log in again."""
    return _changed(page, lambda connection: people.enable(connection, name, visit.person))


def _changed(page: PageTools, change: Change) -> Response:
    """Do a change in one transaction; a one-time password that it returns is shown."""
    try:
        with writing(page.request.app.state.engine).begin() as connection:
            password = change(connection)
    except ConfigError as error:
        return _page(page, mistake=str(error), status=422)
    if password is None:
        return RedirectResponse("/people", 303)
    return _page(page, password=password)


def _page(page: PageTools, status: int = 200, **values: Any) -> HTMLResponse:
    with page.request.app.state.engine.connect() as connection:  # after the change, which `page` does not see
        known = people.accounts(connection)
    shown = {"mistake": "", "password": "", "people": known, "roles": ROLES} | values
    return page.render("people.html", here="people", status=status, **shown)
