"""The hub's processes: what must hold before they start, and how they are started."""

from pathlib import Path

import pytest

from server.authority import Names
from server.doors import Doors, absolute_store
from server.feed.credential import read_credential
from server.feed.senders import hub_senders
from server.hub_folder import make_hub
from server.services import (
    Hub,
    _Watch,
    check_start,
    feed_command,
    let_send,
    nginx,
    registry_command,
    superexec_command,
    superlink_command,
)
from shared.errors import ConfigError, RoundsError, ServiceError
from shared.supervisor import Supervisor
from tests.hub_servers import closed_port, serving
from tests.needs import NGINX

DOORS = Doors("0.0.0.0:8443", 8000, "127.0.0.1:8444", "store.sqlite")


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
    ],
)
def test_no_port_is_wanted_twice(hub: Hub, listen: str, superlink_port: int, feed: str, told: str) -> None:
    """The proxy, the SuperLink and the feed each have their own."""
    with pytest.raises(ConfigError, match=f"{told}; give another"):
        check_start(hub, Doors(listen, superlink_port, feed, "store.sqlite"))


def test_own_studies_dial_an_address(hub: Hub) -> None:
    """A feed on all interfaces is dialled on the loopback; one on an address, there."""
    hub_senders(hub)
    own = [Doors("0.0.0.0:8443", 8000, feed, "").own_feed for feed in ("0.0.0.0:1", "[::]:1", "192.0.2.7:1")]
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


def test_studies_are_looked_after_while_superlink_and_registry_answer(hub: Hub) -> None:
    """A run names its app, and the registry says where that is: while it is away no study is started, or resumed."""
    certificate = hub.path / "server.pem"
    certificate.write_bytes(hub.key_file.read_bytes() + hub.certificate_file.read_bytes())
    with hub.sites():
        pass  # the list of sites is made by its first use
    supervisor = Running([], hub.status)
    done: list[str] = []

    def look(superlink: str, registry: str) -> tuple[list[str], object]:
        done.clear()
        watch = _Watch(
            hub, superlink, registry, lambda _: done.append("ready"), lambda _: done.append("tick")
        )
        watch(supervisor)
        return list(done), supervisor.facts["answers"]

    with serving(certificate) as superlink, serving(None) as registry:
        assert look(superlink, registry) == (["ready", "tick"], True)
        assert look(superlink, closed_port()) == (["ready"], False)
        assert look(closed_port(), registry) == ([], False)
