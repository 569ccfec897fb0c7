"""The feed as a process: when it serves, how it ends, and what it does when files change under it."""

import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import sqlalchemy as sa
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.feed.connection import Connection
from server.feed.credential import read_credential
from server.feed.health_probe import FeedProbe
from server.feed.sender_certificates import Senders, hub_senders
from server.feed.service import SERVICE, check_chains, start_server
from server.hub.certificates import Names
from server.hub.hub_folder import HubFolder, make_hub, renew, replace_authority
from server.store.database import open_store, writing
from server.store.intake.outbox import Outbox
from shared.errors import ServiceError, StoreError
from tests.feed_hub import RUN, UID, FeedHub, events

SECONDS = 60
REPOSITORY = Path(__file__).resolve().parents[3]


@contextmanager
def feed_process(hub: HubFolder, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `rounds-hub feed serve` as the hub's supervisor does."""
    words = ["feed", "serve", "--hub", str(hub.path), "--listen", f"127.0.0.1:{port}"]
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "server.main", *words], cwd=REPOSITORY, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def made(tmp_path: Path) -> HubFolder:
    hub = make_hub(tmp_path / "hub", "tiny", "127.0.0.1:8443", Names.of([], ["127.0.0.1"]))
    hub_senders(hub)
    return hub


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_process_serves_and_ends_gently(made: HubFolder, port: int, tmp_path: Path) -> None:
    """It says that it serves, watchers hear NOT_SERVING at SIGTERM, and it ends with status 0."""
    address, ca = f"127.0.0.1:{port}", made.ca_file.read_bytes()
    Senders(made.feed).issue_own(RUN, address, ca)
    heard: list[int] = []
    with feed_process(made, port, tmp_path / "log") as process:
        probe = FeedProbe(made, address)
        until(probe.serves)
        held = read_credential(Senders(made.feed).own / f"{RUN}.json")
        trust = grpc.ssl_channel_credentials(ca, held.key.encode(), held.certificate.encode())
        with grpc.secure_channel(address, trust) as channel:
            request = health_pb2.HealthCheckRequest(service=SERVICE)
            watch = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=SECONDS)
            listener = threading.Thread(target=lambda: heard.extend(_statuses(watch)))
            listener.start()
            until(lambda: heard != [])
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
            listener.join(SECONDS)
        assert not probe.serves()
    served, not_served = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert heard == [served, not_served]
    log = (tmp_path / "log").read_text()
    assert "feed: serving; 0 records checked" in log
    assert "feed: ended" in log
    assert "Traceback" not in log


def _statuses(watch: Iterator[health_pb2.HealthCheckResponse]) -> Iterator[int]:
    try:
        for answer in watch:
            yield answer.status
    except grpc.RpcError:
        return


def test_nothing_is_served_before_the_store_is_there(made: HubFolder) -> None:
    """Health says NOT_SERVING, and calls are told to come again."""
    server = start_server(made, "127.0.0.1:0")
    try:
        address = f"127.0.0.1:{server.port}"
        file = Senders(made.feed).issue_own(RUN, address, made.ca_file.read_bytes())
        assert not FeedProbe(made, address).serves()
        with Connection(read_credential(file)) as connection, pytest.raises(grpc.RpcError) as refused:
            connection.head()
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    finally:
        server.end()


def test_a_broken_chain_is_never_served(made: HubFolder, port: int, tmp_path: Path) -> None:
    """One record that somebody changed in the database: the feed stays up, says so in its log, and takes nothing."""
    store = open_store(made.store())
    filled(made, store)
    with writing(store).begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER records_update")
        connection.execute(
            sa.text("UPDATE records SET body = replace(body, 'number 2', 'number 9') WHERE seq = 2")
        )
    with pytest.raises(StoreError, match=f"record 2 of study/{RUN} does not follow"):
        check_chains(store)
    store.dispose()
    with feed_process(made, port, tmp_path / "log"):
        until(lambda: "feed: not serving: store: record 2" in (tmp_path / "log").read_text())
        assert not FeedProbe(made, f"127.0.0.1:{port}").serves()


def filled(made: HubFolder, store: sa.Engine) -> None:
    """Put three records into a store, over a feed."""
    server = start_server(made, "127.0.0.1:0")
    server.open(store)
    outbox = Outbox(made.path)
    outbox.add(UID, *events(3))
    file = Senders(made.feed).issue_own(RUN, f"127.0.0.1:{server.port}", made.ca_file.read_bytes())
    with Connection(read_credential(file)) as connection:
        connection.append(outbox.after(0, 3))
    server.end()


def test_a_renewed_certificate_is_used_without_a_restart(hub: FeedHub) -> None:
    """Those who dial after the renewal see the new one; a half-renewed pair is left alone."""
    file = hub.file()
    before = hub.hub.certificate().serial_number
    key = hub.hub.key_file.read_bytes()
    renew(hub.hub, names=Names.of([], ["127.0.0.1"]))
    good = hub.hub.key_file.read_bytes()
    hub.hub.key_file.write_bytes(key)  # as between the two writes of a renewal
    with Connection(read_credential(file)) as connection:
        assert connection.head().seq == 0
    assert served_serial(hub) == before
    hub.hub.key_file.write_bytes(good)
    with Connection(read_credential(file)) as connection:
        assert connection.head().seq == 0
    assert served_serial(hub) == hub.hub.certificate().serial_number != before


def served_serial(hub: FeedHub) -> int:
    pem = ssl.get_server_certificate(("127.0.0.1", hub.server.port), timeout=SECONDS)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_a_new_authority_ends_all_senders(made: HubFolder) -> None:
    """Where keys were stolen the feed begins anew: another CA, an empty list."""
    senders = Senders(made.feed)
    senders.issue_own(RUN, "127.0.0.1:1", made.ca_file.read_bytes())
    before = senders.ca_file.read_bytes()
    replace_authority(made)
    hub_senders(made)
    assert senders.ca_file.read_bytes() != before
    assert senders.listed() == {}


def test_a_port_in_use_is_one_sentence(made: HubFolder, port: int) -> None:
    """Nobody else's port is shared."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(ServiceError, match=f"--listen is 127.0.0.1:{port}: cannot be listened on"):
            start_server(made, f"127.0.0.1:{port}")


def test_the_store_may_come_later(made: HubFolder, port: int, tmp_path: Path) -> None:
    """A store that cannot be opened at first is tried again, and served then."""
    made.store()
    made.own_store.write_bytes(b"this is no database, and longer than SQLite's header is" * 10)
    with feed_process(made, port, tmp_path / "log"):
        until(lambda: "feed: not serving: store" in (tmp_path / "log").read_text())
        made.own_store.unlink()
        until(FeedProbe(made, f"127.0.0.1:{port}").serves)
