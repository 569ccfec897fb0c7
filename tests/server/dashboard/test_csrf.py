import pytest

from tests.dashboard_site import Ask, token_of


@pytest.mark.parametrize(
    "sent",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
        {"origin": "null", "sec-fetch-site": "cross-site"},  # a sandboxed frame
        {"origin": "https://testserver.evil.example"},
    ],
)
def test_a_form_of_another_site_is_refused(ask: Ask, sent: dict[str, str]) -> None:
    """Even with the right token: the browser says that another site's page sent it."""
    client = ask("viewer")
    answer = client.post("/account/sessions", data={"csrf": token_of(client)}, headers=sent)
    assert answer.status_code == 403
    assert "another site" in answer.text


def test_a_form_of_our_own_page_is_taken_though_its_origin_is_kept_back(ask: Ask) -> None:
    """Under `Referrer-Policy: no-referrer` a browser writes "null" for the origin of our own forms."""
    client = ask("viewer")
    answer = client.post("/account/sessions", data={"csrf": token_of(client)}, headers={"origin": "null"})
    assert answer.status_code == 303


def test_a_null_origin_alone_is_refused(ask: Ask) -> None:
    """Without the browser's own word about the site nobody can tell whose form it was."""
    client = ask("viewer")
    token = token_of(client)
    del client.headers["sec-fetch-site"]
    answer = client.post("/account/sessions", data={"csrf": token}, headers={"origin": "null"})
    assert answer.status_code == 403


@pytest.mark.parametrize(("origin", "status"), [("http://testserver", 303), ("http://evil", 403)])
def test_a_browser_without_fetch_metadata_is_told_by_its_origin(ask: Ask, origin: str, status: int) -> None:
    """Old browsers do not send Sec-Fetch-Site: then the origin must be ours."""
    client = ask("viewer")
    token = token_of(client)
    del client.headers["sec-fetch-site"]
    answer = client.post("/account/sessions", data={"csrf": token}, headers={"origin": origin})
    assert answer.status_code == status


def test_a_request_without_any_origin_is_refused(ask: Ask) -> None:
    """A client that says nothing of where it comes from is no browser on our page."""
    client = ask("viewer")
    token = token_of(client)
    for name in ("origin", "sec-fetch-site"):
        del client.headers[name]
    assert client.post("/account/sessions", data={"csrf": token}).status_code == 403


@pytest.mark.parametrize("field", [{}, {"csrf": ""}, {"csrf": "x" * 43}])
def test_a_form_without_the_sessions_token_is_refused(ask: Ask, field: dict[str, str]) -> None:
    """From our own origin, but not from a page that this session was given."""
    assert ask("viewer").post("/account/sessions", data=field).status_code == 403


def test_the_token_of_another_session_is_refused(ask: Ask) -> None:
    """Each session has a token of its own."""
    mine, other = ask("viewer"), ask("viewer")
    assert mine.post("/account/sessions", data={"csrf": token_of(other)}).status_code == 403


def test_htmx_sends_the_token_in_a_header(ask: Ask) -> None:
    """What the page's body gives htmx to send opens the same door."""
    client = ask("viewer")
    sent = {"x-csrf-token": token_of(client)}
    assert client.post("/account/sessions", headers=sent).status_code == 303
