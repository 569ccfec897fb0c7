"""The door: logging in answers everybody, and says nothing of who has an account."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.dashboard.auth import sessions
from server.dashboard.auth.access import cookie_name, give_cookie
from server.dashboard.auth.login import WRONG, Try, log_in
from server.dashboard.http.error_pages import TooMany, local
from server.dashboard.rendering.templating import NOBODY, rendered

router = APIRouter()
Next = Annotated[str, Query(max_length=2000)]
Typed = Annotated[str, Form(max_length=1000)]


def caller(request: Request) -> str:
    """Return the address that a request came from."""
    return request.client.host if request.client else ""


@router.get("/login")
async def form(next: Next = "/") -> HTMLResponse:  # noqa: A002 - the word in the address
    """Ask for name and password."""
    return _form(next)


@router.post("/login")
async def log_in_by_form(
    request: Request,
    name: Typed = "",
    password: Typed = "",
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - likewise
) -> Response:
    """Begin a session, in place of the one that this browser had."""
    state = request.app.state
    old = request.cookies.get(cookie_name(state.settings), "")
    given = Try(" ".join(name.split()), password, caller(request))
    try:
        cookie = await log_in(
            state.engine, state.settings, state.hashing, given, sessions.hashed(old) if old else ""
        )
    except TooMany as refused:
        return _form(next, refused.detail, given.name, refused.status_code, refused.headers)
    if cookie is None:
        return _form(next, WRONG, given.name, 401)
    return give_cookie(RedirectResponse(local(next), 303), cookie, state.settings)


def _form(
    back: str, mistake: str = "", name: str = "", status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    values = {"back": local(back), "mistake": mistake, "name": name[:100]}
    return HTMLResponse(rendered("login.html", NOBODY | values), status, headers)
