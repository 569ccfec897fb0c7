"""What one request may cost: size and time of its body, and how many run at once.

In: any ASGI application. Out: the same, which refuses with 413, 408 or 503 before the application sees the request,
with 400 what is addressed to another host, and with 422 what holds a zero character.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.dashboard.http.settings import Settings

_HOST: Final = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
Refuse = Callable[[Request, int], Awaitable[Response]]


class Limits:
    """Reads a body whole, within its limits, before the application begins: all of ours are small forms."""

    def __init__(self, app: ASGIApp, refuse: Refuse, settings: Settings) -> None:
        self._app, self._refuse, self._settings = app, refuse, settings
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        status, body = await self._look(request)
        if status:
            await (await self._refuse(request, status))(scope, receive, send)
            return
        self._running += 1
        try:
            await self._app(scope, _replayed(body, receive), send)
        finally:
            self._running -= 1

    async def _look(self, request: Request) -> tuple[int, bytes]:
        """Return the status to refuse with, 0 for none, and the body."""
        if self._running >= self._settings.most_requests:
            return 503, b""
        if not self._is_ours(request):
            return 400, b""
        if _holds_nul(request):
            return 422, b""
        if request.method in {"GET", "HEAD"}:
            return 0, b""
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                return await self._body(request)
        except TimeoutError:
            return 408, b""

    def _is_ours(self, request: Request) -> bool:
        """Tell whether a request is addressed to a name of ours: another site's name may be made to lead here."""
        host, names = request.headers.get("host", ""), self._settings.hosts
        return _HOST.fullmatch(host) is not None and (not names or _HOST.sub(r"\1", host).lower() in names)

    async def _body(self, request: Request) -> tuple[int, bytes]:
        most = self._settings.max_body_bytes
        said = request.headers.get("content-length", "0")
        if not said.isdecimal() or int(said) > most:
            return 413, b""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                return 413, b""
        return (422 if b"\0" in body or b"%00" in body else 0), bytes(body)


def _holds_nul(request: Request) -> bool:
    """Tell whether an address holds a zero character, which no text of ours does and PostgreSQL cannot look for."""
    return "\0" in request.scope["path"] or b"%00" in request.scope["query_string"]


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read, then what the server says (that the client went)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
