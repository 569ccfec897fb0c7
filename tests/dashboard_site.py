"""The dashboard as tests reach it: the real application, asked as a browser asks."""

import warnings
from collections.abc import Callable

with warnings.catch_warnings():  # starlette's client uses an old name of anyio
    warnings.simplefilter("ignore", DeprecationWarning)
    from fastapi.testclient import TestClient

SMALL, RUNNING = "5" * 32, "d" * 32
BROWSER = {"sec-fetch-site": "same-origin", "origin": "http://testserver"}
Ask = Callable[..., TestClient]


def token_of(client: TestClient, path: str = "/studies") -> str:
    """Return the session's token as a page's forms carry it."""
    text = client.get(path).text
    return str(text.partition('name="csrf" value="')[2].partition('"')[0])
