"""The headers of every response, errors and streams included.

In: any ASGI application. Out: the same, whose responses carry the content security policy byte for byte, and whose
failures are a page. Plain ASGI: Starlette's BaseHTTPMiddleware would keep streams open on shutdown.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("rounds.dashboard")
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": (
        "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), display-capture=(), "
        "encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), "
        "magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(), "
        "screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()"
    ),
}
NO_STORE: Final = "no-store"
FOREVER: Final = "public, max-age=31536000, immutable"  # for what its digest names
FOREVER_PRIVATE: Final = "private, max-age=31536000, immutable"  # likewise, behind the login
_TLS_ONLY: Final = "max-age=31536000"

Failure = Callable[[Request], Awaitable[Response]]


class SecurityHeaders:
    """Adds the headers; `failed` makes the answer to a request that raised, unless its answer had begun."""

    def __init__(self, app: ASGIApp, failed: Failure, *, secure: bool) -> None:
        self._app, self._failed = app, failed
        self._headers = HEADERS | ({"strict-transport-security": _TLS_ONLY} if secure else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = ended = False

        async def dressed(message: Message) -> None:
            nonlocal began, ended
            if message["type"] == "http.response.start":
                began = True
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers.setdefault("cache-control", NO_STORE)
            elif message["type"] == "http.response.body":
                ended = not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, dressed)
        except Exception:
            # told to the operator's log alone: a reader gets a page without the exception's text
            log.exception("request failed: %s", scope["path"])
            if began and not ended:
                raise  # the server cuts the connection: half a page must not look whole
            if not began:
                response = await self._failed(Request(scope, receive))
                await response(scope, receive, dressed)
