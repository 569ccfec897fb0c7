"""The feed as a process: a gRPC server with mutual TLS, its health, and its gentle end.

In: the hub's folder, a store, and where to listen. Out: a service that says NOT_SERVING until the store's tables are
made and its chains were checked, and again from SIGTERM on. The hub's certificate may be renewed while it runs.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import sqlalchemy as sa
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from server.feed import feed_pb2_grpc
from server.feed.chain_check import check_chains
from server.feed.messages import MAX_MESSAGE_BYTES
from server.feed.receiver import Receiver
from server.feed.sender_certificates import Senders
from server.hub.certificates import read_pair
from server.hub.hub_folder import HubFolder
from server.store.database import open_store
from shared.errors import RoundsError, ServiceError, StoreError

log = logging.getLogger("rounds.feed")
SERVICE: Final = "teaching_rounds.audit.v1.AuditFeed"
_THREADS: Final = 8
_MAX_CALLS: Final = 64  # at once, waiting ones included; more are told RESOURCE_EXHAUSTED
_GRACE_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 5.0
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # a second server on this port is a mistake, not a helper
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
)


@dataclass
class FeedServer:
    """A started server: `open` gives it the store, `end` ends it gently."""

    server: grpc.Server
    receiver: Receiver
    health: health.HealthServicer
    port: int

    def open(self, store: sa.Engine) -> None:
        """Begin to take records."""
        self.receiver.store = store
        for name in ("", SERVICE):
            self.health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def end(self) -> None:
        """Say NOT_SERVING, let calls in progress end, and take no more."""
        self.health.enter_graceful_shutdown()
        self.server.stop(_GRACE_SECONDS).wait()
        if self.receiver.store is not None:
            self.receiver.store.dispose()


def start_server(hub: HubFolder, listen: str) -> FeedServer:
    """Start to listen, without a store yet; `ServiceError` where the address is taken."""
    senders = Senders(hub.feed)
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, thread_name_prefix="feed"),
        options=_OPTIONS,
        maximum_concurrent_rpcs=_MAX_CALLS,
    )
    receiver, state = Receiver(senders), health.HealthServicer()
    feed_pb2_grpc.add_AuditFeedServicer_to_server(receiver, server)
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    for name in ("", SERVICE):
        state.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
    try:
        port = server.add_secure_port(listen, _credentials(hub, senders))
    except RuntimeError as error:
        raise ServiceError(f"--listen is {listen}: cannot be listened on; is it in use?") from error
    server.start()
    return FeedServer(server, receiver, state, port)


def serve_feed(hub: HubFolder, store: str, listen: str) -> None:
    """Serve until SIGTERM."""
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    started = start_server(hub, listen)
    log.info("feed: listening at %s", listen)
    opening = threading.Thread(target=_open, args=(started, store, end), daemon=True)
    opening.start()
    end.wait()
    started.end()
    log.info("feed: ended")


def _credentials(hub: HubFolder, senders: Senders) -> grpc.ServerCredentials:
    """Return TLS with the hub's certificate, which asks for one of the feed's CA; files that change are read anew."""
    files = (hub.key_file, hub.certificate_file, senders.ca_file)

    def read() -> Any:
        key, certificate, ca = (file.read_bytes() for file in files)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=ca)

    return grpc.dynamic_ssl_server_credentials(
        read(), _when_changed(files, read), require_client_authentication=True
    )


def _when_changed(files: Sequence[Path], read: Callable[[], Any]) -> Callable[[], Any]:
    """Return what gRPC asks at each handshake: the new configuration where a file changed, None to keep the old."""
    seen = [file.stat().st_mtime_ns for file in files]

    def fetch() -> Any:
        nonlocal seen
        try:
            now = [file.stat().st_mtime_ns for file in files]
            if now == seen:
                return None
            read_pair(files[0].read_bytes(), files[1].read_bytes(), "tls")
            fresh = read()
        except (OSError, RoundsError):  # in the middle of a renewal: at the next handshake
            return None
        seen = now
        return fresh

    return fetch


def _open(started: FeedServer, store: str, end: threading.Event) -> None:
    """Open the store and check its chains, again and again until it can be opened; a broken chain is never served."""
    told = ""
    while not end.is_set():
        try:
            engine = open_store(store)
            begun = time.monotonic()
            records = check_chains(engine)
        except StoreError as error:
            if str(error) != told:
                log.error("feed: not serving: %s", error)
            told = str(error)
            end.wait(_AGAIN_SECONDS)
            continue
        started.open(engine)
        log.info("feed: serving; %d records checked in %.1f s", records, time.monotonic() - begun)
        return
