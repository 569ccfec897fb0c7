"""The dashboard as one ASGI application.

In: a store and settings. Out: an application whose every response carries the same headers, and whose every route
asks for a login unless it is listed as open.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

import sqlalchemy as sa
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from server.dashboard.api import routes as api
from server.dashboard.auth.access import READER
from server.dashboard.auth.passwords import Hashing
from server.dashboard.http import error_pages as refusals
from server.dashboard.http.headers import SecurityHeaders
from server.dashboard.http.limits import Limits
from server.dashboard.http.origin import OwnOrigin
from server.dashboard.http.settings import Settings
from server.dashboard.pages import OPEN, OWN, PAGES
from server.dashboard.rendering.view_cache import ViewCache
from server.dashboard.views.connections import ConnectionsCache

_COMPRESS_FROM = 1_000  # bytes


class Dashboard(FastAPI):
    """A FastAPI application inside the headers: Starlette would answer an exception outside of all middleware."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return everything that a request passes, outermost first."""
        settings: Settings = self.state.settings
        inside = Limits(super().build_middleware_stack(), refusals.refused_by_limits, settings)
        return SecurityHeaders(inside, refusals.failed, secure=settings.secure)


class Life(TypedDict):
    """What the server that runs the application can reach: it sets `closing` before it waits for streams."""

    closing: asyncio.Event


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[Life]:
    yield {"closing": app.state.closing}


def create_app(engine: sa.Engine, settings: Settings | None = None) -> FastAPI:
    """Return the application over an open store; several may share a store."""
    app = Dashboard(
        title="Teaching Rounds", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        lifespan=_lifespan,
        # Pages hold a reader's own token beside what was searched for; the SameSite=Strict cookie keeps other sites
        # from asking for them, so compressing gives nobody lengths to compare (BREACH).
        middleware=[Middleware(OwnOrigin), Middleware(GZipMiddleware, minimum_size=_COMPRESS_FROM, compresslevel=6)],
    )  # fmt: skip
    app.state.engine, app.state.settings, app.state.views = engine, settings or Settings(), ViewCache()
    app.state.closing = asyncio.Event()
    app.state.connections = ConnectionsCache(app.state.settings.hub, app.state.settings.hub_seconds)
    app.state.hashing = Hashing(app.state.settings.hashes_at_once)
    for refused, answer in (
        (Exception, refusals.broke),
        (HTTPException, refusals.http_refusal),
        (RequestValidationError, refusals.invalid),
        (refusals.LoginNeeded, refusals.login_needed),
        (refusals.NewPasswordNeeded, refusals.new_password_needed),
        (refusals.ProofNeeded, refusals.proof_needed),
    ):
        app.add_exception_handler(refused, answer)
    for router in (*OPEN, *OWN):
        app.include_router(router)
    for router in PAGES:
        app.include_router(router, dependencies=[Depends(READER)])
    app.include_router(api.router)
    return app
