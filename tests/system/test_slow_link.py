"""A site behind a slow and long link: 2 Mbit/s and 300 ms in each direction, for its node and all it sends."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.needs import NGINX, SLOW_LINKS
from tests.system.links import slow_link
from tests.system.slow_link import AWAY, BITS_PER_SECOND, DELAY_SECONDS, NEAR, Run, slow_study

pytestmark = SLOW_LINKS

SECONDS = 500
SENT_BYTES = 500_000
PROBE = """
import socket, sys, time
host, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
begun = time.monotonic()
with socket.create_connection((host, port)) as hub:
    hub.sendall(b"x")
    hub.recv(1)
    print(time.monotonic() - begun)
    begun = time.monotonic()
    hub.sendall(bytes(size))
    hub.shutdown(socket.SHUT_WR)
    while hub.recv(65536):
        pass
    print(time.monotonic() - begun)
"""


def echo(server: socket.socket) -> None:
    """Give back all that comes, one connection after the other, until the server is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)


def test_the_link_is_as_slow_and_long_as_it_says() -> None:
    """Opening and one answer take two round trips; what is sent and comes back takes what 2 Mbit/s allow, or more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        target = f"127.0.0.1:{server.getsockname()[1]}"
        with slow_link(target, bits_per_second=BITS_PER_SECOND, delay_seconds=DELAY_SECONDS) as link:
            words = [*link.words, sys.executable, "-c", PROBE, link.host, str(link.port), str(SENT_BYTES)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
            carried = link.carried_bytes()
        server.shutdown(socket.SHUT_RDWR)
    answer_seconds, echo_seconds = map(float, done.stdout.split())
    at_least = SENT_BYTES * 8 / BITS_PER_SECOND
    assert answer_seconds > 4 * DELAY_SECONDS
    assert echo_seconds > at_least
    assert min(carried.values()) > SENT_BYTES


@pytest.fixture(scope="module")
def run(tiny_federation: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run one study with one site behind the link and one beside the hub."""
    with slow_study(tmp_path_factory.mktemp("slow"), tiny_federation.workspace, {}, SECONDS) as run:
        yield run


@NGINX
def test_a_site_behind_a_slow_link_takes_part_in_every_round(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its updates are accepted in both rounds and charged once each; seconds and bytes are printed."""
    with capsys.disabled():
        print(f"\n{run.table()}")
    seconds = {site: run.seconds_to_answer(site) for site in (NEAR, AWAY)}
    assert [list(seconds[site]) for site in (NEAR, AWAY)] == [[1, 2], [1, 2]]
    assert all(taken > 4 * DELAY_SECONDS for taken in seconds[AWAY].values())
    uid = run.deployment.study_uid(run.study)
    assert run.deployment.charged(AWAY, uid) == run.deployment.charged(NEAR, uid)
    assert len(run.deployment.charged(AWAY, uid)) == 4  # reserve and commit, two rounds


@NGINX
def test_the_status_says_what_each_site_sent_in_each_round(run: Run) -> None:
    """`study status` lists the bytes by site and round, and the link carried that much and more."""
    done = run.deployment.command(
        "server.main", "study", "status", run.study.path.name, "--hub", str(run.deployment.hub.path), "--json"
    )
    (status,) = json.loads(done.stdout)
    sent = status["bytes_sent"]
    assert {site: sorted(rounds) for site, rounds in sent.items()} == {NEAR: ["1", "2"], AWAY: ["1", "2"]}
    assert 0 < sum(sent[AWAY].values()) < run.link.carried_bytes()["from the site"]
