"""The hub's door, by real nginx over TLS: fleet paths and /health pass, everything else is a 404."""

import http.client
import shutil
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from server.hub.certificates import Names, make_authority, make_hub_certificate
from server.services.nginx import FLEET_PATHS, Proxy
from server.services.services import nginx
from tests.needs import NGINX

pytestmark = NGINX

NOW = datetime.now(UTC)
CONTROL = (
    "/v1/control/start-run",
    "/v1/control/list-runs",
    "/v1/runtime/acquire-task",
    "/docs",
    "/openapi.json",
    "/",
)
TRICKS = (
    "/v1/fleet/../control/start-run",
    "/v1/fleet/%2e%2e/control/start-run",
    "/v1/fleet/pull-messages/../../control/start-run",
    "/v1/fleet/..%2fcontrol/start-run",
    "/v1/fleet/pull-messages%00/v1/control/start-run",
    "/v1/fleet/pull-messages;/../../control/start-run",
    "//v1/control/start-run",
    "/v1/FLEET/pull-messages",
    "/v1/fleet/unheard-of",
    "/v1/fleet/",
)


class Answer(BaseHTTPRequestHandler):
    """Answers every request with the address that it was sent to."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    do_GET = do_POST  # noqa: N815 - the base class's name

    def log_message(self, *_: object) -> None:
        pass


class Door:
    """A running nginx in front of a server that would answer anything."""

    def __init__(self, folder: Path, proxy: Proxy) -> None:
        self.port = int(proxy.listen.rpartition(":")[2])
        self.folder = folder
        run = folder / "run"
        run.mkdir()
        self.configuration = folder / "nginx.conf"
        self.configuration.write_text(proxy.configuration(run, folder / "refused.log"), encoding="utf-8")
        command = [nginx(), "-e", "stderr", "-p", str(run), "-c", str(self.configuration)]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log)
        end = time.monotonic() + 20
        while not self.listens():
            assert self.process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def status(self, path: str, method: str = "POST", body: bytes = b"x") -> tuple[int, bytes]:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=10)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a CA and a hub's certificate; returns certificate and key."""
    ca = make_authority("lungs", NOW)
    hub = make_hub_certificate(ca, "lungs", Names.of([], ["127.0.0.1"]), NOW)
    (folder / f"{name}.ca").write_bytes(ca.certificate_pem())
    (folder / f"{name}.crt").write_bytes(hub.certificate_pem())
    (folder / f"{name}.key").write_bytes(hub.key_pem())
    return folder / f"{name}.crt", folder / f"{name}.key"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Serve anything over TLS on the loopback, and describe a door to it."""
    folder = tmp_path_factory.mktemp("hub")
    certificate, key = pair(folder, "hub")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Proxy("", f"127.0.0.1:{server.server_port}", certificate, key, folder / "hub.ca")
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_door(tmp_path: Path, behind: Proxy) -> Iterator[Door]:
    yield from opened(tmp_path, behind)


def opened(folder: Path, proxy: Proxy) -> Iterator[Door]:
    shutil.copy(proxy.ca, folder / "ca.crt")
    door = Door(folder, replace(proxy, listen=f"127.0.0.1:{free_port()}"))
    yield door
    door.process.terminate()
    door.process.wait(timeout=10)


def test_fleet_paths_and_health_pass(open_door: Door) -> None:
    """Every path a SuperNode asks for arrives as it was sent, without its query; /health answers to GET."""
    assert {path: open_door.status(f"/v1/fleet/{path}?a=b") for path in FLEET_PATHS} == {
        path: (200, f"/v1/fleet/{path}".encode()) for path in FLEET_PATHS
    }
    assert open_door.status("/health", "GET") == (200, b"/health")


@pytest.mark.parametrize("path", CONTROL + TRICKS)
def test_everything_else_is_not_there(open_door: Door, path: str) -> None:
    """Control and Runtime API, documentation, and attempts to reach them by a fleet path are a 404."""
    refused = 400 if "%00" in path else 404  # nginx itself finds a zero byte no address
    assert open_door.status(path)[0] == open_door.status(path, "GET")[0] == refused


def test_a_fleet_path_takes_posts_alone(open_door: Door) -> None:
    """Other methods are a 404; 401 and 403 would end a node or its run."""
    assert [open_door.status("/v1/fleet/get-run", method)[0] for method in ("GET", "PUT", "DELETE")] == [
        404
    ] * 3


def test_large_bodies_stop_at_the_door(open_door: Door) -> None:
    """A piece of an array passes, what is larger than any piece does not."""
    assert open_door.status("/v1/fleet/push-object", body=b"x" * (6 << 20))[0] == 200
    assert open_door.status("/v1/fleet/push-object", body=b"x" * (17 << 20))[0] == 413


def test_no_word_without_tls(open_door: Door) -> None:
    """Plain HTTP gets no answer of the hub's, and TLS before 1.2 no connection."""
    plain = http.client.HTTPConnection("127.0.0.1", open_door.port, timeout=10)
    plain.request("POST", "/v1/fleet/get-run", b"x")
    assert plain.getresponse().status == 400
    plain.close()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():  # Python advises against so old a version, as the door does
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", open_door.port)) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw)


def test_too_many_requests_are_told_to_come_again(tmp_path: Path, behind: Proxy) -> None:
    """Past the limit the answer is 503, which Flower's nodes try again."""
    for door in opened(tmp_path, replace(behind, requests_per_second=1, burst=3)):
        answers = [door.status("/v1/fleet/get-run")[0] for _ in range(8)]
        assert set(answers) == {200, 503}


def test_another_superlink_is_not_believed(tmp_path: Path, behind: Proxy) -> None:
    """What shows no certificate of the federation's CA behind the door is not passed on to."""
    pair(tmp_path, "other")
    for door in opened(tmp_path, replace(behind, ca=tmp_path / "other.ca")):
        shutil.copy(behind.ca, tmp_path / "ca.crt")
        assert door.status("/v1/fleet/get-run")[0] == 502


def test_refused_requests_are_logged_without_what_they_carried(open_door: Door) -> None:
    """The log has address, path and status of what was refused; no body, no query, and nothing of what passed."""
    open_door.status("/v1/control/start-run?secret=query", body=b"secret body")
    open_door.status("/v1/fleet/get-run", body=b"secret body")
    log = (open_door.folder / "refused.log").read_text(encoding="utf-8")
    assert "127.0.0.1 POST /v1/control/start-run 404" in log
    assert "secret" not in log
    assert "get-run" not in log


def test_readers_come_by_a_port_of_their_own(tmp_path: Path, behind: Proxy) -> None:
    """Browsers reach the dashboard by TLS, told apart by address; neither port shows what is the other's."""
    seen: list[dict[str, str]] = []

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(dict(self.headers))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a page")

        def log_message(self, *_: object) -> None:
            pass

    pages = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    port = free_port()
    proxy = replace(behind, readers=f"127.0.0.1:{port}", dashboard=f"127.0.0.1:{pages.server_port}")
    for door in opened(tmp_path, proxy):
        context = ssl.create_default_context(cafile=str(behind.ca))
        reader = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        reader.request(
            "GET", "/studies", headers={"X-Forwarded-For": "192.0.2.1", "Host": "hub.example.org:8446"}
        )
        assert reader.getresponse().read() == b"a page"
        reader.close()
        assert door.status("/studies", "GET")[0] == 404
        assert seen[0]["X-Forwarded-For"] == "127.0.0.1"
        assert (seen[0]["X-Forwarded-Proto"], seen[0]["Host"]) == ("https", "hub.example.org:8446")
    pages.shutdown()
    pages.server_close()
