"""Who may do what: every route but those listed as open asks here, and a request that changes something twice.

In: a request's cookie. Out: the session of the person who sent it. Roles grow: viewer, auditor, coordinator.
"""

import hmac
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import sqlalchemy as sa
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from server.dashboard.auth import sessions
from server.dashboard.auth.roles import at_least
from server.dashboard.http.error_pages import LoginNeeded, NewPasswordNeeded, NotAllowed, ProofNeeded
from server.dashboard.http.settings import Settings
from server.store.database import writing

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
FORM_FIELD, HEADER = "csrf", "x-csrf-token"


def give_cookie(response: Response, cookie: str, settings: Settings) -> Response:
    """Hand the browser its session: never to scripts, never with a request that another site began."""
    response.set_cookie(
        cookie_name(settings), cookie, max_age=int(settings.longest.total_seconds()), path="/",
        secure=settings.secure, httponly=True, samesite="strict",
    )  # fmt: skip
    return response


def drop_cookie(response: Response, settings: Settings) -> Response:
    """Let the browser forget its session, and what it kept of our pages."""
    response.delete_cookie(
        cookie_name(settings), path="/", secure=settings.secure, httponly=True, samesite="strict"
    )
    response.headers["clear-site-data"] = '"cache"'
    return response


def cookie_name(settings: Settings) -> str:
    """Return the name of the session's cookie; a browser takes `__Host-` only over TLS, for one host and all paths."""
    return "__Host-rounds" if settings.secure else "rounds"


async def visit_of(request: Request) -> sessions.Visit | None:
    """Return the session that a request belongs to; looked up once a request."""
    if not hasattr(request.state, "visit"):
        cookie = request.cookies.get(cookie_name(request.app.state.settings), "")
        request.state.visit = await run_in_threadpool(_find, request, cookie) if cookie else None
    visit: sessions.Visit | None = request.state.visit
    return visit


class Role:
    """A dependency: the person has this role or a higher one, and a change carries the session's token."""

    def __init__(self, role: str, *, fresh: bool = False, new_password: bool = False) -> None:
        self.role, self.fresh, self.new_password = role, fresh, new_password

    async def __call__(self, request: Request) -> sessions.Visit:
        """Return the session, or refuse."""
        visit = await visit_of(request)
        if visit is None:
            raise LoginNeeded
        if request.method not in SAFE_METHODS:
            await check_token(request, visit)
        if visit.must_change and not self.new_password:
            raise NewPasswordNeeded
        if not at_least(visit.role, self.role):
            raise NotAllowed(self.role)
        if self.fresh and not visit.is_fresh(request.app.state.settings):
            raise ProofNeeded
        return visit


async def check_token(request: Request, visit: sessions.Visit) -> None:
    """Refuse what does not carry the session's own token, in a field of its form or in a header."""
    said = request.headers.get(HEADER)
    if said is None:
        form = await request.form()
        field = form.get(FORM_FIELD)
        said = field if isinstance(field, str) else ""
    if not hmac.compare_digest(said.encode(), visit.csrf.encode()):
        raise NotAllowed("token")


def _find(request: Request, cookie: str) -> sessions.Visit | None:
    engine: sa.Engine = request.app.state.engine
    settings: Settings = request.app.state.settings
    token, now = sessions.hashed(cookie), datetime.now(UTC)
    with engine.connect() as connection:
        visit = sessions.look_up(connection, token, settings, now)
    if visit is not None and visit.wants_seen(now) and not request.url.path.endswith("/changes"):
        with writing(engine).begin() as connection:
            sessions.note_seen(connection, token, now)
    return visit


Guard = Callable[[Request], Coroutine[Any, Any, sessions.Visit]]
READER: Final = Role("viewer")
AUDITOR: Final = Role("auditor")
COORDINATOR: Final = Role("coordinator")
ANY_ACCOUNT: Final = Role("viewer", new_password=True)
Reader = Annotated[sessions.Visit, Depends(READER)]
Auditor = Annotated[sessions.Visit, Depends(AUDITOR)]
Coordinator = Annotated[sessions.Visit, Depends(COORDINATOR)]
FreshAuditor = Annotated[sessions.Visit, Depends(Role("auditor", fresh=True))]
FreshCoordinator = Annotated[sessions.Visit, Depends(Role("coordinator", fresh=True))]
AnyAccount = Annotated[sessions.Visit, Depends(ANY_ACCOUNT)]
