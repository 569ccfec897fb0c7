import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from server.dashboard.http.limits import Limits
from server.dashboard.http.settings import Settings
from tests.dashboard_site import Ask

SETTINGS = Settings(
    hosts=("audit.example.org", "[::1]"), max_body_bytes=100, body_seconds=0.05, most_requests=1
)


async def refuse(_: Request, status: int) -> Response:
    return PlainTextResponse("", status)


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(body)(scope, receive, send)


async def status_of(limits: Limits, *messages: Message, method: str = "POST", **more: Any) -> int:
    """Send one request, piece by piece, and return the status of its answer."""
    headers = {"host": "audit.example.org"} | more.pop("headers", {})
    scope = {
        "type": "http", "method": method, "path": "/login", "query_string": b"", "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "server": ("x", 1),
    } | more  # fmt: skip
    pieces, sent = list(messages), []

    async def receive() -> Message:
        if pieces:
            return pieces.pop(0)
        await asyncio.Event().wait()  # a client that says nothing more
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await limits(scope, receive, send)
    return int(sent[0]["status"])


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_within_its_limits_arrives_whole() -> None:
    """Pieces are put together before the application begins."""
    assert (
        asyncio.run(status_of(Limits(inner, refuse, SETTINGS), piece(b"a" * 60, more=True), piece(b"b" * 40)))
        == 200
    )


def test_a_body_that_is_larger_than_it_says_is_refused() -> None:
    """Counted as it comes, without waiting for its end."""
    assert asyncio.run(status_of(Limits(inner, refuse, SETTINGS), piece(b"a" * 101, more=True))) == 413


@pytest.mark.parametrize("length", ["101", "-1", "ten", "9" * 40])
def test_a_length_that_cannot_be_is_refused_before_anything_is_read(length: str) -> None:
    """Too long, negative or no number."""
    asked = status_of(Limits(inner, refuse, SETTINGS), headers={"content-length": length})
    assert asyncio.run(asked) == 413


def test_a_body_that_does_not_come_is_refused() -> None:
    """A client that stops in the middle of its form is not waited for."""
    assert asyncio.run(status_of(Limits(inner, refuse, SETTINGS), piece(b"a", more=True))) == 408


@pytest.mark.parametrize(
    "host", ["evil.example", "", "audit.example.org.evil.example", "a b", "[::", "x" * 300]
)
def test_another_host_is_refused(host: str) -> None:
    """A name that leads here but is not ours, or is no name."""
    asked = status_of(Limits(inner, refuse, SETTINGS), method="GET", headers={"host": host})
    assert asyncio.run(asked) == 400


@pytest.mark.parametrize("host", ["audit.example.org", "AUDIT.example.org:8470", "[::1]:8470"])
def test_our_hosts_are_answered_at_any_port(host: str) -> None:
    """With or without a port, in any case of letters."""
    asked = status_of(Limits(inner, refuse, SETTINGS), piece(b""), method="GET", headers={"host": host})
    assert asyncio.run(asked) == 200


@pytest.mark.parametrize(
    "asked", [{"path": "/studies/\0"}, {"query_string": b"search=%00"}, {"query_string": b"a=1&b=x%00y"}]
)
def test_a_zero_character_is_refused(asked: dict[str, Any]) -> None:
    """No text of ours holds it, and PostgreSQL takes none that does."""
    assert asyncio.run(status_of(Limits(inner, refuse, SETTINGS), piece(b""), method="GET", **asked)) == 422


@pytest.mark.parametrize("body", [b"name=a%00b", b"name=a\0b"])
def test_a_zero_character_in_a_form_is_refused(body: bytes) -> None:
    """Written either way."""
    assert asyncio.run(status_of(Limits(inner, refuse, SETTINGS), piece(body))) == 422


def test_more_requests_at_once_than_fit_are_refused() -> None:
    """The second is told to come again; once the first is answered, the next one is."""

    async def crowd() -> list[int]:
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            inside.set()
            await go_on.wait()
            await PlainTextResponse("")(scope, receive, send)

        limits = Limits(slow, refuse, SETTINGS)
        first = asyncio.create_task(status_of(limits, piece(b""), method="GET"))
        await inside.wait()
        second = await status_of(limits, piece(b""), method="GET")
        go_on.set()
        return [await first, second, await status_of(limits, piece(b""), method="GET")]

    assert asyncio.run(crowd()) == [200, 503, 200]


def test_a_refused_request_gets_a_page_in_words(ask: Ask) -> None:
    """A person reads what happened and what to do."""
    page = ask("viewer").get("/studies?search=%00")
    assert page.status_code == 422
    assert "not of an allowed form" in page.text
