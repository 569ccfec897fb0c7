"""Requests that are not answered: what to say, and how it looks as a page, to htmx and to a program.

In: a refusal raised anywhere. Out: a page with what happened and what to do, never an exception's text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from server.dashboard.rendering.templating import NOBODY, rendered


class LoginNeeded(Exception):  # noqa: N818 - it is a question, not an error
    """No person is logged in."""


class NewPasswordNeeded(Exception):  # noqa: N818 - likewise
    """The one-time password must be changed before anything else."""


class ProofNeeded(Exception):  # noqa: N818 - likewise
    """The password must be given again."""


class NotAllowed(HTTPException):
    """The role is too low, or the request does not come from our own page (`what` is `token` or `origin`)."""

    def __init__(self, what: str) -> None:
        super().__init__(403, _FORBIDDEN.get(what, f"This is for the role {what}; ask a coordinator."))


class TooMany(HTTPException):
    """Too many tries."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            429, f"Too many wrong logins; wait {seconds} seconds.", headers={"retry-after": str(seconds)}
        )


_FORBIDDEN: Final = {
    "token": "The page that sent this belongs to another login; load it again and repeat.",
    "origin": "This was sent from another site's page; open the dashboard itself and repeat.",
}
_SENTENCES: Final = {
    400: "The request was not addressed to this dashboard; use the address that `rounds-hub` printed.",
    401: "You are not logged in.",
    404: "There is nothing at this address. It may have been typed wrongly, or the study is not in this store.",
    405: "This address does not take that kind of request.",
    408: "The request did not arrive in time; try again.",
    409: "This changed since the page was loaded; load it again and look at it before you decide.",
    413: "The request is larger than any form of this dashboard; send less.",
    422: "A value in the address or form is not of an allowed form; go back and correct it.",
    500: "Something went wrong here. It stands in the operator's log; nothing was changed.",
    503: "More readers are here than this process takes at once; try again in a minute.",
}


@dataclass(frozen=True)
class Refused:
    """What a refused reader sees."""

    status: int
    title: str
    sentence: str


def refusal(
    request: Request, status: int, sentence: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer to a refused request: JSON under /api/, else a page."""
    said = Refused(status, HTTPStatus(status).phrase, sentence or _SENTENCES.get(status, ""))
    if request.url.path.startswith("/api/"):
        return JSONResponse({"status": status, "error": said.sentence or said.title}, status, headers)
    text = rendered("error.html", {"refused": said} | NOBODY)
    return HTMLResponse(text, status, headers)


async def refused_by_limits(request: Request, status: int) -> Response:
    """Answer for `Limits`."""
    return refusal(request, status)


async def failed(request: Request) -> Response:
    """Answer for a request that raised."""
    return refusal(request, 500)


async def broke(request: Request, _: Exception) -> Response:
    """Answer what no page expected; Starlette raises it again, so that it is logged."""
    return await failed(request)


async def http_refusal(request: Request, error: Any) -> Response:
    """Answer an `HTTPException`; its detail is shown where a route gave one of its own."""
    usual = error.detail == HTTPStatus(error.status_code).phrase
    headers = dict(error.headers) if error.headers else None
    return refusal(request, error.status_code, "" if usual else error.detail, headers)


async def invalid(request: Request, _: Exception) -> Response:
    """Answer a value of the wrong form; what was sent is not repeated."""
    return refusal(request, 422)


async def login_needed(request: Request, _: Exception) -> Response:
    """Send to the login, and back afterwards."""
    return _sent(request, "/login")


async def new_password_needed(request: Request, _: Exception) -> Response:
    """Send to the page where the one-time password is changed."""
    return _sent(request, "/account/password")


async def proof_needed(request: Request, _: Exception) -> Response:
    """Send to the page that asks for the password again."""
    return _sent(request, "/account/prove")


def _sent(request: Request, where: str) -> Response:
    is_htmx = request.headers.get("hx-request") == "true"
    target = f"{where}?next={quote(_page_of(request, is_htmx=is_htmx), safe='/')}"
    if is_htmx:
        return Response(status_code=401, headers={"hx-redirect": target})
    return RedirectResponse(target, 303)


def _page_of(request: Request, *, is_htmx: bool) -> str:
    """Return the page that a request came from: a form's address is that of its page with one word more."""
    shown = urlsplit(request.headers.get("hx-current-url", "")) if is_htmx else None
    url = shown or urlsplit(str(request.url))
    if shown or request.method in {"GET", "HEAD"}:
        return f"{url.path}?{url.query}" if url.query else url.path
    return url.path.rpartition("/")[0] or "/"


def local(path: str) -> str:
    """Return a path of this dashboard, or its first page where the path leads elsewhere."""
    is_ours = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_ours else "/"
