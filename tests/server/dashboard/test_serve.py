import os
import shutil
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

from server.dashboard.http.headers import POLICY
from server.dashboard.http.listen_address import Door
from server.store.database import open_store
from shared.errors import ConfigError
from tests.dashboard_server import Running, dashboard
from tests.dashboard_site import PASSWORD, give_password
from tests.hub_servers import Authority

HERE = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    """Return a store with accounts, of which `auditor` has a password."""
    path = Path(shutil.copyfile(filled, tmp_path / "store.sqlite"))
    engine = open_store(path)
    give_password(engine, "auditor")
    engine.dispose()
    return path


def log_in(running: Running, password: str) -> httpx.Response:
    """Log in on a connection of its own, so that any worker may answer."""
    return httpx.post(
        f"{running.url}/login", data={"name": "auditor", "password": password}, headers=HERE, timeout=60
    )


def workers_of(running: Running) -> list[psutil.Process]:
    """Return the worker processes, once both have begun."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        children = psutil.Process(running.process.pid).children()
        found = [one for one in children if "spawn_main" in " ".join(one.cmdline())]
        if len(found) == 2:
            return found
        time.sleep(0.05)  # there is nothing to wait on: workers tell nobody that they began
    pytest.fail("the workers did not begin")


def test_the_sixth_wrong_login_is_refused_whichever_process_hears_it(store: Path) -> None:
    """Two processes over one store, asked in turn: five wrong tries are heard in all, then not even the right one."""
    with dashboard(store) as one, dashboard(store) as other:
        codes = [log_in(running, "wrong" * 4).status_code for running in (one, other) * 3]
        assert codes == [401] * 5 + [429]
        for running in (one, other):
            refused = log_in(running, PASSWORD)
            assert refused.status_code == 429
            assert refused.headers["content-security-policy"] == POLICY


def test_two_workers_of_one_address_count_together(store: Path) -> None:
    """Twelve wrong tries at once on one address with two workers: five are heard."""
    with dashboard(store, "--workers", "2") as running:
        assert len(workers_of(running)) == 2
        with ThreadPoolExecutor(6) as threads:
            codes = list(threads.map(lambda _: log_in(running, "wrong" * 4).status_code, range(12)))
        assert sorted(codes) == [401] * 5 + [429] * 7


def test_the_first_start_prints_a_password_and_the_second_does_not(tmp_path: Path) -> None:
    """The first administrator's one-time password is shown once; with it one can log in."""
    with dashboard(tmp_path / "new.sqlite") as running:
        assert running.password is not None
        answer = httpx.post(
            f"{running.url}/login",
            data={"name": "admin", "password": running.password},
            headers=HERE,
            timeout=60,
        )
        assert answer.status_code == 303
        assert running.stop() == 0
    with dashboard(tmp_path / "new.sqlite") as again:
        assert again.password is None


def test_what_is_no_http_is_refused_with_the_policy(store: Path) -> None:
    """Even a request that no application saw is answered with the same headers."""
    with dashboard(store) as running:
        url = httpx.URL(running.url)
        with socket.create_connection((url.host, url.port or 0)) as connection:
            connection.sendall(b"NO HTTP AT ALL\r\n\r\n")
            answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 400 ")
    assert f"\r\ncontent-security-policy: {POLICY}\r\n" in answer


def test_another_sites_name_does_not_lead_here(store: Path) -> None:
    """A name that was made to lead to this machine is refused: the dashboard answers to its own."""
    with dashboard(store) as running:
        assert httpx.get(f"{running.url}/login", headers={"host": "evil.example"}).status_code == 400
        assert httpx.get(f"{running.url}/login").status_code == 200


def test_with_a_certificate_it_speaks_tls(store: Path, tmp_path: Path) -> None:
    """The cookie then carries the prefix of hosts, and browsers are told to come by TLS only."""
    authority = Authority(tmp_path)
    pem = authority.server()
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    with dashboard(store, "--certificate", str(pem), "--key", str(pem)) as running:
        assert running.url.startswith("https://")
        with httpx.Client(verify=trust, base_url=running.url, timeout=60) as client:
            answer = client.post("/login", data={"name": "auditor", "password": PASSWORD}, headers=HERE)
            assert answer.headers["set-cookie"].startswith("__Host-rounds=")
            assert "strict-transport-security" in answer.headers
            assert client.get("/studies").status_code == 200


def test_workers_end_with_the_process_that_looks_after_them(store: Path) -> None:
    """A killed supervisor leaves nobody behind who still answers."""
    with dashboard(store, "--workers", "2") as running:
        children = workers_of(running)
        running.stop(signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=30)
        assert alive == []


def test_a_slow_head_is_cut_off(store: Path) -> None:
    """A client that sends its request letter by letter does not hold its connection for ever."""
    with dashboard(store) as running:
        url = httpx.URL(running.url)
        with socket.create_connection((url.host, url.port or 0), timeout=60) as connection:
            began = time.monotonic()
            connection.sendall(b"GET /login HTTP/1.1\r\n")
            assert connection.recv(100) == b""
            assert 5 < time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("door", "why"),
    [
        (Door("8470"), "allowed is ADDRESS:PORT"),
        (Door("127.0.0.1:99999"), "allowed is ADDRESS:PORT"),
        (Door("0.0.0.0:8470"), "in the clear"),
        (Door("127.0.0.1:8470", certificate=Path("a.crt")), "only one of them"),
        (Door("127.0.0.1:8470", Path("no.crt"), Path("no.key")), "PEM files"),
    ],
)
def test_a_door_that_would_not_be_safe_is_refused(door: Door, why: str) -> None:
    """Passwords cross no network in the clear, and a mistake is one sentence."""
    with pytest.raises(ConfigError, match=why):
        door.check()


def test_an_address_that_is_taken_is_said_in_a_sentence() -> None:
    """Two dashboards cannot listen on one port."""
    door = Door("127.0.0.1:0")
    with door.bound() as first, pytest.raises(ConfigError, match="another dashboard"):
        Door(f"127.0.0.1:{first.getsockname()[1]}").bound()


def test_a_proxys_word_counts_only_from_its_address(store: Path) -> None:
    """Whoever is not the proxy cannot say that he is somebody else, so the throttle counts him."""
    with dashboard(store, "--proxy", "192.0.2.1") as running:
        for number in range(5):
            httpx.post(
                f"{running.url}/login", data={"name": f"nobody-{number}", "password": "wrong"},
                headers=HERE | {"x-forwarded-for": f"198.51.100.{number}"}, timeout=60,
            )  # fmt: skip
        assert log_in(running, PASSWORD).status_code == 429


def test_nothing_of_the_store_is_held_in_the_environment(store: Path) -> None:
    """A store's URL may hold a password: workers get it by a pipe."""
    with dashboard(store, "--workers", "2") as running:
        assert all(str(store) not in repr(worker.environ()) for worker in workers_of(running))
    assert str(store) not in repr(os.environ)
