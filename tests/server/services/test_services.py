"""The hub's processes: what must hold before they start, and how they are started."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.dashboard.http.listen_address import Door
from server.feed.credential import read_credential
from server.feed.health_probe import FeedProbe
from server.feed.sender_certificates import hub_senders
from server.feed.service import start_server
from server.hub.certificates import Names
from server.hub.hub_folder import make_hub
from server.services.dashboard_service import dashboard_answers, dashboard_command
from server.services.listen_addresses import Doors, absolute_store
from server.services.running_hub import Hub
from server.services.services import (
    _Watch,
    check_start,
    feed_command,
    let_send,
    nginx,
    registry_command,
    superexec_command,
    superlink_command,
)
from server.store.database import open_store
from shared.errors import ConfigError, RoundsError, ServiceError
from shared.processes.supervisor import Supervisor
from tests.hub_servers import Authority, closed_port, serving
from tests.needs import NGINX

READERS = Door("127.0.0.1:8470")
DOORS = Doors("0.0.0.0:8443", 8000, "127.0.0.1:8444", "store.sqlite", READERS)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(make_hub(tmp_path / "hub", "lungs", "127.0.0.1:8443", Names.of([], ["127.0.0.1"])).path)


@NGINX
def test_a_made_hub_may_start(hub: Hub) -> None:
    """The checks pass, and what the services write into is closed to others."""
    check_start(hub, DOORS)
    assert [path.stat().st_mode & 0o077 for path in (hub.studies, hub.database.parent)] == [0, 0]


@pytest.mark.parametrize(
    ("listen", "superlink_port", "feed", "told"),
    [
        ("0.0.0.0:8000", 8000, "127.0.0.1:8444", "--superlink-port: has port 8000, --listen has the same"),
        ("0.0.0.0:8443", 8000, "0.0.0.0:8443", "--feed-listen: has port 8443, --listen has the same"),
        (
            "0.0.0.0:8443",
            8000,
            "127.0.0.1:8000",
            "--feed-listen: has port 8000, --superlink-port has the same",
        ),
        (
            "0.0.0.0:8443",
            8000,
            "127.0.0.1:8470",
            "--dashboard-listen: has port 8470, --feed-listen has the same",
        ),
    ],
)
def test_no_port_is_wanted_twice(hub: Hub, listen: str, superlink_port: int, feed: str, told: str) -> None:
    """The proxy, the SuperLink, the feed and the dashboard each have their own."""
    with pytest.raises(ConfigError, match=f"{told}; give another"):
        check_start(hub, Doors(listen, superlink_port, feed, "store.sqlite", READERS))


def test_own_studies_dial_an_address(hub: Hub) -> None:
    """A feed on all interfaces is dialled on the loopback; one on an address, there."""
    hub_senders(hub)
    own = [
        Doors("0.0.0.0:8443", 8000, feed, "", READERS).own_feed
        for feed in ("0.0.0.0:1", "[::]:1", "192.0.2.7:1")
    ]
    assert own == ["127.0.0.1:1", "127.0.0.1:1", "192.0.2.7:1"]
    assert read_credential(let_send(hub, DOORS, "lungs-1")).address == "127.0.0.1:8444"


@pytest.mark.parametrize(
    ("given", "absolute"),
    [
        ("a.sqlite", "{here}/a.sqlite"),
        ("sqlite:///a.sqlite", "sqlite:///{here}/a.sqlite"),
        ("sqlite:////data/a.sqlite", "sqlite:////data/a.sqlite"),
        ("postgresql://rounds@db/rounds", "postgresql://rounds@db/rounds"),
    ],
)
def test_a_store_is_found_from_any_folder(given: str, absolute: str) -> None:
    """Services run in folders of their own."""
    assert absolute_store(given) == absolute.format(here=Path.cwd())


def test_the_stores_password_is_on_no_command_line(hub: Hub) -> None:
    """What keeps records gets its URL by its environment, which other accounts do not see."""
    words = dashboard_command(hub.path, READERS, 1)
    assert not [word for word in words if "store" in word and word != str(hub.path)]
    assert feed_command(hub, "127.0.0.1:8444")[-4:] == [
        "--hub",
        str(hub.path.resolve()),
        "--listen",
        "127.0.0.1:8444",
    ]


def test_a_hub_without_its_key_does_not_start(hub: Hub) -> None:
    """A missing file is one sentence, before any process is started."""
    hub.key_file.unlink()
    with pytest.raises(RoundsError, match=r"hub\.key"):
        check_start(hub, DOORS)


def test_a_machine_without_nginx_is_told_what_to_install(tmp_path: Path) -> None:
    """Nothing is served without the door."""
    with pytest.raises(ConfigError, match="nginx: is not installed"):
        nginx([tmp_path])


def test_no_hub_runs_here(hub: Hub) -> None:
    """A command that needs the running hub says what to start."""
    with pytest.raises(ServiceError, match="start `rounds-hub serve`"):
        hub.superlink()


def test_flower_listens_on_the_loopback_with_every_lock_on(hub: Hub) -> None:
    """SuperLink: loopback, TLS, node authentication, process isolation with the secret; nothing is insecure."""
    words = superlink_command(hub, 8000)
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--isolation") + 1] == "process"
    assert {"--enable-supernode-auth", "--ssl-keyfile", "--database"} <= {*words}
    for command in (words, superexec_command(hub, 8000)):
        assert command[command.index("--superexec-auth-secret-file") + 1] == str(hub.superexec_secret)
        assert "--insecure" not in command
    assert "--host" not in registry_command(hub, 9080)  # its default is the loopback


class Running(Supervisor):
    """A supervisor whose services have been started once."""

    def starts(self, _name: str) -> int:
        return 1


@pytest.fixture
def feed(hub: Hub, tmp_path: Path) -> Iterator[str]:
    """Serve the hub's feed in this process; returns where."""
    hub_senders(hub)
    server = start_server(hub, "127.0.0.1:0")
    server.open(open_store(tmp_path / "store.sqlite"))
    yield f"127.0.0.1:{server.port}"
    server.end()


def test_studies_are_looked_after_while_superlink_and_registry_answer(hub: Hub, feed: str) -> None:
    """A run names its app, and the registry says where that is: while it is away no study is started, or resumed.

    Without feed, dashboard or the door for sites studies go on, and the hub says that it is not whole.
    """
    certificate = hub.path / "server.pem"
    certificate.write_bytes(hub.key_file.read_bytes() + hub.certificate_file.read_bytes())
    with hub.sites():
        pass  # the list of sites is made by its first use
    supervisor = Running([], hub.status)
    done: list[str] = []

    def look(
        superlink: str, registry: str, feed: str, readers: str, door: str = ""
    ) -> tuple[list[str], object]:
        done.clear()
        doors = Doors(door or superlink, int(superlink.rpartition(":")[2]), feed, "", Door(readers))
        watch = _Watch(
            hub,
            doors,
            registry,
            FeedProbe(hub, feed),
            lambda _: done.append("ready"),
            lambda _: done.append("tick"),
        )
        watch(supervisor)
        watch.feed.close()
        return list(done), supervisor.facts["answers"]

    with serving(certificate) as superlink, serving(None) as registry, serving(None) as readers:
        assert look(superlink, registry, feed, readers) == (["ready", "tick"], True)
        assert look(superlink, closed_port(), feed, readers) == (["ready"], False)
        assert look(closed_port(), registry, feed, readers) == ([], False)
        assert look(superlink, registry, closed_port(), readers) == (["ready", "tick"], False)
        assert look(superlink, registry, feed, closed_port()) == (["ready", "tick"], False)
        assert look(superlink, registry, feed, readers, door=closed_port()) == (["ready", "tick"], False)


def test_a_dashboard_with_a_certificate_of_its_own_is_asked_by_tls(hub: Hub) -> None:
    """Whatever name it is for, that very certificate is believed; another server's is not."""
    certificate, other = hub.path / "readers.pem", hub.certificate_file
    certificate.write_bytes(hub.key_file.read_bytes() + hub.certificate_file.read_bytes())
    thief = Authority(hub.path).server("127.0.0.1")
    with serving(certificate) as readers, serving(thief) as posing:
        assert dashboard_answers(Door(readers, other, hub.key_file, names=("audit.example.org",)))
        assert not dashboard_answers(Door(posing, other, hub.key_file, names=("audit.example.org",)))


def test_readers_passwords_do_not_cross_the_network_in_the_clear(hub: Hub) -> None:
    """A dashboard for others needs TLS, of its own or of a proxy; the sentence names the option of `serve`."""
    with pytest.raises(ConfigError, match=r"--dashboard-listen is 0\.0\.0\.0:8470: passwords would cross"):
        check_start(hub, replace(DOORS, dashboard=Door("0.0.0.0:8470")))


def test_the_dashboard_is_started_as_it_was_asked_for(hub: Hub) -> None:
    """Certificate files by whole path, for services run in folders of their own."""
    door = Door("0.0.0.0:8470", Path("audit.crt"), Path("audit.key"), "10.0.0.1", ("audit.example.org",))
    words = dashboard_command(hub.path, door, 2)
    assert words[words.index("--hub") + 1] == str(hub.path.resolve())
    assert words[words.index("--certificate") + 1] == str(Path.cwd() / "audit.crt")
    assert words[words.index("--key") + 1] == str(Path.cwd() / "audit.key")
    assert words[words.index("--proxy") + 1] == "10.0.0.1"
    assert words[words.index("--name") + 1] == "audit.example.org"
    assert words[words.index("--workers") + 1] == "2"
