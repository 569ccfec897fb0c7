"""Admission by real Flower: a SuperLink with TLS and node authentication, and SuperNodes that are in or out."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.identity.site_folder import make_site
from client.readiness.admission_check import admission_finding
from deploy.simulation.local_superlink import end_superlink
from server.cli.program import app
from server.connections.connections import gather
from server.connections.next_steps import SiteFacts
from server.dashboard.serve import Door
from server.feed.health_probe import FeedProbe
from server.feed.sender_certificates import hub_senders
from server.flower.node_registration import Alignment, SuperLinkAbsent, align_nodes, node_states
from server.hub.certificates import Names, make_authority
from server.hub.hub_folder import HubFolder, make_hub
from server.hub.hub_state import Node
from server.services.listen_addresses import Doors
from server.services.running_hub import Hub
from server.services.services import _Watch
from shared.errors import TrustError
from shared.processes.flower_environment import QUIET
from shared.processes.supervisor import Supervisor, free_port
from shared.trust.site_introduction import read_introduction

SECONDS = 90
BIN = Path(sys.executable).parent


@contextmanager
def flower(folder: Path, name: str, *options: object) -> Iterator["subprocess.Popen[bytes]"]:
    """Start one of Flower's processes with a home of its own; on leaving, end it and all that it started."""
    home = folder / f"home-{len(list(folder.glob('home-*')))}"
    (home / "empty").mkdir(parents=True)
    environment = {
        **os.environ,
        **QUIET,
        "FLWR_HOME": str(home),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / name), *map(str, options)], cwd=home / "empty", env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        end_superlink(process, str(home))


def until(process: "subprocess.Popen[bytes]", holds: Callable[[], bool]) -> None:
    """Wait until something holds while a process lives."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "it took too long"
        try:
            pytest.fail(f"the process ended with exit status {process.wait(0.2)}")
        except subprocess.TimeoutExpired:
            continue


@dataclass
class Federation:
    """A hub with its SuperLink on this machine, and sites that were made but not admitted."""

    folder: Path
    hub: HubFolder
    address: str

    @property
    def ca(self) -> bytes:
        """The CA that everybody here believes."""
        return self.hub.ca_file.read_bytes()

    def align(self) -> Alignment:
        """Bring the SuperLink in line."""
        with self.hub.sites() as sites:
            return align_nodes(sites.all(), self.address, self.ca)

    def command(self, *words: object) -> str:
        """Run a command of the hub at this SuperLink."""
        options = ("--hub", self.hub.path, "--superlink", self.address)
        done = CliRunner().invoke(app, [*map(str, words), *map(str, options)])
        assert done.exit_code == 0, done.output
        return done.stdout

    def admit(self, name: str) -> str:
        """Admit a site by command, its fingerprint compared."""
        file = self.folder / name / f"{name}.pub"
        return self.command("admit", file, "--fingerprint", read_introduction(file).fingerprint())

    def supernode(self, name: str) -> "AbstractContextManager[subprocess.Popen[bytes]]":
        """Return what starts a site's SuperNode, as the site would."""
        return flower(
            self.folder, "flower-supernode", "--superlink", self.address, "--root-certificates", self.hub.ca_file,
            "--auth-supernode-private-key", self.folder / name / "keys" / "node.key", "--host", "127.0.0.1",
            "--port", free_port(),
        )  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubFolder, str]]:
    """Make a hub and start its SuperLink; yields the hub and host:port."""
    folder = tmp_path_factory.mktemp("federation")
    address = f"127.0.0.1:{free_port()}"
    hub = make_hub(folder / "hub", "lungs", address, Names.of([], ["127.0.0.1"]))
    with pytest.raises(SuperLinkAbsent, match="nobody answers there"):
        align_nodes([], address, hub.ca_file.read_bytes())
    with flower(
        folder, "flower-superlink", "--host", "127.0.0.1", "--port", address.rpartition(":")[2],
        "--ssl-ca-certfile", hub.ca_file, "--ssl-certfile", hub.certificate_file, "--ssl-keyfile", hub.key_file,
        "--enable-supernode-auth", "--database", folder / "state.db", "--disable-runtime-dependency-installation",
    ) as superlink:  # fmt: skip
        until(superlink, lambda: answers(hub, address))
        yield hub, address


def answers(hub: HubFolder, address: str) -> bool:
    try:
        return align_nodes([], address, hub.ca_file.read_bytes()) == Alignment((), ())
    except SuperLinkAbsent:
        return False


@pytest.fixture
def federation(running: tuple[HubFolder, str], tmp_path: Path) -> Federation:
    """Empty the hub's list and the SuperLink's registrations, and make two new sites."""
    hub, address = running
    (hub.path / "sites.sqlite").unlink()
    for name in ("north", "stranger"):
        make_site(tmp_path / name, name)
    made = Federation(tmp_path, hub, address)
    made.align()
    return made


def asked(federation: Federation, name: str, address: str | None = None) -> tuple[str, str]:
    """Ask as `rounds-site check` does; returns the mark and the sentence."""
    keys = federation.folder / name / "keys"
    found = admission_finding(address or federation.address, federation.hub.ca_file, keys)
    return found.mark, found.sentence


def test_a_site_can_ask_whether_it_was_admitted(federation: Federation) -> None:
    """The hub knows an admitted key and no other; asking makes no node connected, and a removed key is told."""
    federation.admit("north")
    assert asked(federation, "north") == ("ok", "the hub has admitted this site's key")
    mark, sentence = asked(federation, "stranger")
    assert mark == "fail"
    assert "send it the site's .pub file again" in sentence
    assert node_states(federation.address, federation.ca) == {"north": Node("registered")}
    federation.command("remove", "north")
    assert asked(federation, "north") == (mark, sentence)
    mark, sentence = asked(federation, "north", f"127.0.0.1:{free_port()}")
    assert (mark, "ConnectError" in sentence) == ("warn", True)
    (federation.folder / "north" / "keys" / "node.key").unlink()
    assert asked(federation, "north")[0] == "fail"


def test_just_the_admitted_site_is_let_in(federation: Federation) -> None:
    """An admitted node joins, an unknown one is refused; once removed it is cut off, and refused when it returns."""
    assert "SuperLink: registered north." in federation.admit("north")
    assert federation.align() == Alignment((), ())
    with federation.supernode("north") as north, federation.supernode("stranger") as stranger:
        until(north, lambda: node_states(federation.address, federation.ca) == {"north": Node("online")})
        assert stranger.wait(SECONDS) == 1
        assert asked(federation, "north")[0] == "ok", "also while the node is connected, which stays so"
        assert node_states(federation.address, federation.ca) == {"north": Node("online")}
        listed = json.loads(federation.command("sites", "--json"))["sites"]
        assert [(site["name"], site["connection"]) for site in listed] == [("north", "online")]
        assert "SuperLink: unregistered north." in federation.command("remove", "north")
        assert node_states(federation.address, federation.ca) == {}
        north.wait(SECONDS)
    with federation.supernode("north") as again:
        assert again.wait(SECONDS) == 1
    assert federation.align() == Alignment((), ())


def seen_by_the_hub(federation: Federation, address: str) -> SiteFacts:
    """Let the hub's own services look once at the SuperLink, and gather what they wrote down of the one site."""
    hub = Hub(federation.hub.path)
    hub_senders(hub)
    doors = Doors("", int(address.rpartition(":")[2]), "127.0.0.1:1", "", Door("127.0.0.1:1"))
    watch = _Watch(
        hub, doors, "127.0.0.1:1", FeedProbe(hub, doors.own_feed), lambda _: None, lambda _: None,
        lambda at: node_states(at, federation.ca),
    )  # fmt: skip
    supervisor = Started([], hub.status, doors.told(), watch)
    watch(supervisor)
    watch.feed.close()
    supervisor._write_status()
    (site,) = gather(federation.hub).sites
    return site.facts


class Started(Supervisor):
    """A supervisor whose services have been started once."""

    def starts(self, _name: str) -> int:
        return 1


def test_the_hub_writes_down_who_is_connected(federation: Federation) -> None:
    """What commands and pages read: never came, online, offline since when; of a SuperLink that is dead, nothing."""
    federation.admit("north")
    assert seen_by_the_hub(federation, federation.address).connection == "never came"
    with federation.supernode("north") as north:
        until(north, lambda: node_states(federation.address, federation.ca) == {"north": Node("online")})
        online = seen_by_the_hub(federation, federation.address)
        assert online.connection == "online"
        before = datetime.now(UTC)
        north.terminate()
        north.wait(SECONDS)
    offline = seen_by_the_hub(federation, federation.address)
    assert (offline.connection, offline.last_seen is not None) == ("offline", True)
    assert offline.last_seen is not None
    assert before <= offline.last_seen <= datetime.now(UTC)
    dead = seen_by_the_hub(federation, f"127.0.0.1:{free_port()}")
    assert (dead.connection, dead.last_seen) == ("not known", None)


def test_whatever_else_is_registered_is_put_out(federation: Federation) -> None:
    """A key that somebody registered past the list is unregistered, and its old name does not help it."""
    strange = read_introduction(federation.folder / "stranger" / "stranger.pub")
    with federation.hub.sites() as sites:
        sites.admit(strange)
        (row,) = sites.all()
    assert align_nodes([row], federation.address, federation.ca).registered == ("stranger",)
    federation.admit("north")
    with federation.hub.sites() as sites:
        sites.remove("stranger")
    assert federation.align() == Alignment((), ("stranger",))
    with pytest.raises(TrustError, match="stranger: the SuperLink does not register its key"):
        align_nodes([row], federation.address, federation.ca)


def test_a_site_under_a_wrong_name_is_told(federation: Federation) -> None:
    """A node key that the SuperLink knows under another name is an error, not a match."""
    federation.admit("north")
    with federation.hub.sites() as sites:
        (row,) = sites.all()
    renamed = type(row)(**(vars(row) | {"name": "south"}))
    with pytest.raises(TrustError, match="calls it 'north', it was admitted as 'south'"):
        align_nodes([renamed], federation.address, federation.ca)


def test_another_ca_is_told_from_an_absent_superlink(federation: Federation) -> None:
    """A SuperLink of another federation is not spoken to."""
    other = make_authority("lungs", datetime.now(UTC)).certificate_pem()
    with pytest.raises(TrustError, match="shows no certificate of this federation"):
        align_nodes([], federation.address, other)
