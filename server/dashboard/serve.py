"""The dashboard as processes: one listening socket, one or more workers, and a first administrator.

In: a store and an address. Out: pages, until SIGTERM. Streams end with the server, so that stopping takes no longer
than the pages that are being made.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from server.dashboard.app import create_app
from server.dashboard.auth import accounts as people
from server.dashboard.auth.passwords import MOST_AT_ONCE
from server.dashboard.http.listen_address import BACKLOG, Door
from server.dashboard.http.settings import Settings
from server.dashboard.http.slow_clients import ReaderProtocol
from server.store.database import open_store, writing
from server.store.intake.folder_tail import Tail
from server.store.intake.ingest import find_outboxes
from shared.errors import ConfigError

_HEAD_BYTES: Final = 16 * 1024
_KEEP_ALIVE_SECONDS, _STOP_SECONDS = 15, 5


@dataclass(frozen=True)
class Start:
    """Makes the application in a worker; crosses to it, so it holds words only."""

    store: str
    settings: Settings

    def __call__(self) -> FastAPI:
        """Return the application over a store that this process has opened itself."""
        _end_with_parent()
        return create_app(open_store(self.store), self.settings)


class Server(uvicorn.Server):
    """Uvicorn's server, which tells streams of its end before it waits for them."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then everything else."""
        self.lifespan.state["closing"].set()
        await super().shutdown(sockets)


def serve_dashboard(
    store: str, door: Door, workers: int, say: Callable[[str], None], hub: Path | None = None
) -> None:
    """Serve until SIGTERM; `say` tells the operator the address, and at the first start the one-time password.

    `hub` is the folder of the hub whose sites the page Connections shows.
    """
    _prepare_process()
    door.check()
    if not 1 <= workers <= MOST_AT_ONCE:
        raise ConfigError(f"--workers is {workers}: allowed is 1 to {MOST_AT_ONCE}; correct it")
    engine = open_store(store)
    with writing(engine).begin() as connection:
        password = people.first_administrator(connection)
    engine.dispose()  # workers open it themselves
    bound = door.bound()
    if password is not None:
        say(
            f"First login: name {people.FIRST}, one-time password {password} (shown this once; it must be changed)"
        )
    say(f"Dashboard: {door.url(bound)}")
    settings = replace(door.settings, hashes_at_once=MOST_AT_ONCE // workers, hub=hub)
    _run(_config(Start(store, settings), door, workers), bound)


def serve_results(
    path: Path, store: str | None, door: Door, workers: int, say: Callable[[str], None]
) -> None:
    """Serve the runs of a folder of this machine, finished or going on: their records are taken as they are written."""
    _prepare_process()
    door.check()
    where = store or str(path / "store.sqlite")
    if not find_outboxes(path):
        say(f"No run in {path} has a record yet; pages appear as soon as one does.")
    engine = open_store(where)
    with Tail(engine, path):
        serve_dashboard(where, door, workers, say)
    engine.dispose()


def _prepare_process() -> None:
    """Make new files this account's alone, the store holds hashes of passwords; and let libraries log what matters."""
    os.umask(0o077)
    for chatty in ("uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _run(config: uvicorn.Config, bound: socket.socket) -> None:
    server = Server(config)
    with bound:
        if config.workers > 1:
            Multiprocess(config, target=server.run, sockets=[bound]).run()
            return
        for sign in (signal.SIGINT, signal.SIGTERM):  # uvicorn hands them on once it has ended in order
            signal.signal(sign, server.handle_exit)
        server.run(sockets=[bound])


def _config(start: Start, door: Door, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        start,
        factory=True,
        workers=workers,
        http=ReaderProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # addresses say what a reader looked for
        server_header=False,
        proxy_headers=bool(door.proxy),
        forwarded_allow_ips=door.proxy or None,
        ssl_certfile=door.certificate,
        ssl_keyfile=door.key,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _end_with_parent() -> None:
    """End this worker when the process that looks after workers was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
