"""What a hospital is told of its way to the hub, by real servers on this machine."""

from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE

from client.readiness.finding import Finding
from client.readiness.hub_check import AHEAD_FAIL, BEHIND_FAIL, clock_finding, hub_findings
from tests.hub_servers import HERE, Authority, closed_port, proxying, serving


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin each test without proxies, whatever this machine has."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def federation(tmp_path: Path) -> Authority:
    """Return the federation's CA."""
    return Authority(tmp_path)


def told(address: str, ca_file: Path) -> dict[str, Finding]:
    """Return findings by what was asked."""
    return {finding.what: finding for finding in hub_findings(address, ca_file)}


def failed(found: dict[str, Finding]) -> str:
    """Return the one failure, which must be the last line."""
    *before, last = found.values()
    assert [one.mark for one in before].count("fail") == 0
    assert last.mark == "fail"
    return f"{last.what}: {last.sentence}"


def test_a_good_hub_passes_every_line(federation: Authority) -> None:
    """Name, connection, TLS for the right name, dates with days left, health and clock are ok."""
    with serving(federation.server(days=90.5)) as address:
        found = told(address, federation.ca_file)
    assert list(found) == ["proxy", "name", "connection", "CA", "TLS", "hub certificate", "health", "clock"]
    assert {one.mark for one in found.values()} == {"ok"}
    assert f"for {HERE}" in found["TLS"].sentence
    assert found["hub certificate"].sentence.endswith(", 90 days")


@pytest.mark.parametrize(
    ("host", "days", "begins", "sentence"),
    [
        (HERE, -1, -30, "a certificate ended (the hub's on "),
        (HERE, 60, 1, "not valid yet"),
        ("hub.example.org", 365, -30, f"is for hub.example.org, not for {HERE}"),
    ],
)
def test_a_wrong_certificate_is_told_by_what_is_wrong(
    federation: Authority, host: str, days: float, begins: float, sentence: str
) -> None:
    """Expired, not yet valid and wrong name are each named, and nothing more is asked."""
    with serving(federation.server(host, days=days, begins=begins)) as address:
        assert sentence in failed(told(address, federation.ca_file))


def test_another_authority_is_not_trusted(federation: Authority, tmp_path: Path) -> None:
    """A certificate of another CA is told apart from a wrong name: a proxy that opens TLS looks like this."""
    with serving(Authority(tmp_path, "other").server()) as address:
        assert "not signed by the federation's CA" in failed(told(address, federation.ca_file))


def test_certificates_that_end_soon_are_a_warning(tmp_path: Path) -> None:
    """Under 30 days, for the hub's certificate and for the CA."""
    soon = Authority(tmp_path, "soon", days=29.5)
    with serving(soon.server(days=20.5)) as address:
        found = told(address, soon.ca_file)
    assert found["CA"].mark == found["hub certificate"].mark == "warn"
    assert "29 days; ask the hub for a new FEDERATION.json" in found["CA"].sentence
    assert "20 days; ask the coordinator to renew it" in found["hub certificate"].sentence
    assert found["health"].mark == "ok"


def test_a_ca_file_that_is_none(federation: Authority, tmp_path: Path) -> None:
    """A missing file, and one that holds something else, name the field."""
    (tmp_path / "text.crt").write_text("no certificate")
    with serving(federation.server()) as address:
        for name in ("none.crt", "text.crt"):
            assert "holds no PEM certificate" in failed(told(address, tmp_path / name))


def test_a_closed_port_and_a_port_without_tls(federation: Authority) -> None:
    """Refused is told apart from a server that answers, but not in TLS."""
    assert "connection: " in failed(told(closed_port(), federation.ca_file))
    assert "refused" in failed(told(closed_port(), federation.ca_file))
    with serving(None) as address:
        assert "does not speak TLS" in failed(told(address, federation.ca_file))


def test_a_name_that_nobody_knows(federation: Authority) -> None:
    """The name is resolved before anything is opened."""
    assert failed(told("hub.invalid:8443", federation.ca_file)).startswith("name: hub.invalid has no address")


@pytest.mark.parametrize("address", ["hub.example.org", "hub:0", "hub:70000", "https://hub:1", "a b:1", ""])
def test_an_address_that_is_none(federation: Authority, address: str) -> None:
    """Anything but HOST:PORT is refused with its value and an example."""
    assert f"{address!r}, allowed is HOST:PORT" in failed(told(address, federation.ca_file))


def test_another_service_at_the_port(federation: Authority) -> None:
    """A status other than 200 on /health is not the hub's."""
    with serving(federation.server(), status=503) as address:
        assert "says 503" in failed(told(address, federation.ca_file))


@pytest.mark.parametrize(
    ("hub_clock", "mark"),
    [(600, "fail"), (60, "warn"), (-20, "fail"), (-3, "warn"), (10, "ok")],
)
def test_the_clock_is_compared_with_the_hubs(federation: Authority, hub_clock: float, mark: str) -> None:
    """A hub 10 minutes ahead or 20 s behind would refuse this site's signatures."""
    with serving(federation.server(), clock_seconds=hub_clock) as address:
        assert told(address, federation.ca_file)["clock"].mark == mark


def test_clock_limits_are_inside_flowers() -> None:
    """Flower refuses a signed time 5 s ahead or 305 s behind; a hub without a date is a warning."""
    assert AHEAD_FAIL < SYSTEM_TIME_TOLERANCE
    assert BEHIND_FAIL < TIMESTAMP_TOLERANCE
    date = format_datetime(datetime.fromtimestamp(1_000_000, UTC), usegmt=True)
    marks = [clock_finding(date, 1_000_000.5 + off).mark for off in (-300, -100, 0, 1.5, 4.5)]
    assert marks == ["fail", "warn", "ok", "ok", "fail"]
    assert clock_finding(None, 0).mark == clock_finding("yesterday", 0).mark == "warn"


def test_a_proxy_is_named_and_used(federation: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """With https_proxy the checks go through it, with its credentials, which are not told."""
    with serving(federation.server("hub.test")) as address, proxying(address) as (proxy, asked):
        monkeypatch.setenv("https_proxy", f"http://user:secret%21@{proxy}")
        found = told("hub.test:8443", federation.ca_file)
    assert [one.mark for one in found.values()].count("ok") == len(found) - 1
    assert found["proxy"].mark == "warn"
    assert "add hub.test to no_proxy" in found["proxy"].sentence
    assert {path for path, _ in asked} == {"hub.test:8443"}
    assert {credentials for _, credentials in asked} == {"Basic dXNlcjpzZWNyZXQh"}
    assert not [one for one in found.values() if "secret" in one.sentence]


def test_a_proxy_that_opens_tls_is_found(
    federation: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the proxy shows is signed by its own authority."""
    with serving(Authority(tmp_path, "proxy").server()) as fake, proxying(fake) as (proxy, _):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        assert "a proxy opens TLS" in failed(told("hub.test:8443", federation.ca_file))


def test_a_proxy_of_another_kind_is_named(federation: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONNECT goes to http:// proxies alone; a SOCKS proxy is told before anything is opened."""
    monkeypatch.setenv("all_proxy", f"socks5://user:secret@{closed_port()}")
    said = failed(told("hub.test:8443", federation.ca_file))
    assert "the proxy is socks5://, allowed is http://" in said
    assert "secret" not in said


def test_an_exempt_hub_goes_past_the_proxy(federation: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """no_proxy with the hub's host: the proxy, which is not even up, is never asked."""
    monkeypatch.setenv("https_proxy", f"http://{closed_port()}")
    monkeypatch.setenv("no_proxy", f"localhost,{HERE}")
    with serving(federation.server()) as address:
        assert {one.mark for one in told(address, federation.ca_file).values()} == {"ok"}
    monkeypatch.delenv("no_proxy")
    assert "refused" in failed(told("hub.test:8443", federation.ca_file))
