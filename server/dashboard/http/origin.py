"""Requests that change something must come from our own pages.

In: any ASGI application. Out: the same, which refuses what a browser says to come from another site's page. This is the
first of two checks: `access.Role` asks for the session's own token besides.
"""

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from server.dashboard.http.error_pages import NotAllowed, refusal

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class OwnOrigin:
    """Looks at Sec-Fetch-Site, or at Origin where a browser does not send it; a request without either is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            request = Request(scope)
            if not is_own(request):
                error = NotAllowed("origin")
                await refusal(request, error.status_code, error.detail)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def is_own(request: Request) -> bool:
    """Tell whether a request says that it comes from a page of this very origin."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if site is None:
        return origin is not None and _is_here(origin, request)
    # under `Referrer-Policy: no-referrer` browsers write the origin of a form as "null", their own forms' too
    return site == "same-origin" and (origin in {None, "null"} or _is_here(str(origin), request))


def _is_here(origin: str, request: Request) -> bool:
    return urlsplit(origin).netloc == request.headers.get("host")
