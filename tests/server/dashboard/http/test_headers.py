import ast
from pathlib import Path

import pytest
from fastapi import FastAPI

from server.dashboard.http.settings import Settings
from server.dashboard.rendering.static_files import static_url
from tests.dashboard_site import SMALL, Ask

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
EXPECTED = {
    "cache-control": "no-store",
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


def broken() -> None:
    raise RuntimeError("/srv/hospital/patient-7.dcm cannot be read")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies", 200),
        (f"/studies/{SMALL}/events", 200),
        ("/studies?page=0", 422),
        ("/nowhere", 404),
        ("/static/nothing.css", 404),
        ("/broken", 500),
        ("/api/v1/nowhere", 404),
    ],
)
def test_every_answer_carries_the_policy_byte_for_byte(
    ask: Ask, app: FastAPI, path: str, status: int
) -> None:
    """Pages, errors of every kind and failures carry the same policy and headers, and are not kept."""
    app.add_api_route("/broken", broken)
    answer = ask("viewer").get(path)
    assert answer.status_code == status
    assert answer.headers.get_list("content-security-policy") == [POLICY]
    assert {name: answer.headers.get_list(name) for name in EXPECTED} == {
        name: [value] for name, value in EXPECTED.items()
    }


def test_no_test_lets_a_browser_past_the_policy() -> None:
    """Playwright's way around it is used nowhere: neither as an argument nor as a name in a mapping."""
    names = {"bypass_csp", "bypassCSP"}
    files = [one for one in Path(__file__).parents[3].rglob("*.py") if one != Path(__file__)]
    assert Path(__file__).parents[3] / "browser" / "conftest.py" in files
    for file in files:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        used = {node.arg for node in nodes if isinstance(node, ast.keyword)}
        used |= {
            node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not names & used, file


def test_refusals_before_any_page_carry_the_policy(ask: Ask) -> None:
    """A request of the wrong method, one that is too large and one from elsewhere carry it too."""
    client = ask("viewer")
    wrong = client.post("/studies", headers={"x-csrf-token": "none"})
    large = client.post("/events", content=b"x" * (Settings().max_body_bytes + 1))
    foreign = client.post("/events", headers={"sec-fetch-site": "cross-site"})
    assert [one.status_code for one in (wrong, large, foreign)] == [405, 413, 403]
    assert {one.headers["content-security-policy"] for one in (wrong, large, foreign)} == {POLICY}


def test_static_files_are_kept_for_ever_under_a_name_with_their_digest(ask: Ask) -> None:
    """Style and scripts answer without a login, with the policy, and may be kept: their name holds their digest."""
    answer = ask().get(static_url("style.css"))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers.get_list("content-security-policy") == [POLICY]
    assert answer.headers["content-type"] == "text/css; charset=utf-8"


def test_a_failure_tells_the_reader_nothing_of_its_cause(
    ask: Ask, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """The text of an exception stands in the operator's log, and on no page."""
    app.add_api_route("/broken", broken)
    answer = ask("coordinator").get("/broken")
    assert "patient-7" not in answer.text
    assert "Something went wrong here" in answer.text
    assert "patient-7" in caplog.text
