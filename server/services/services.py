"""The hub's processes: SuperLink, SuperExec, registry, nginx, feed and dashboard, kept running by one supervisor.

In: the hub's folder with its certificate, CA and secret. Out: a door on the public address, and behind it, on this
machine's loopback only, Flower's SuperLink; feed and dashboard have addresses of their own. Studies that were cut off
are resumed from here, and what finished ones left is sent.
"""

import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.feed.credential import FOLDER_VARIABLE
from server.feed.health_probe import FeedProbe
from server.feed.sender_certificates import Senders, hub_senders
from server.flower.superlink import health_answers, loopback_superlink
from server.hub.hub_folder import STORE_VARIABLE, verify_hub
from server.hub.hub_state import NODES, Node, told_nodes
from server.services.dashboard_service import dashboard_answers, dashboard_command
from server.services.feed_catch_up import Leftovers
from server.services.listen_addresses import Doors
from server.services.nginx import Proxy
from server.services.running_hub import Hub
from shared.errors import ConfigError, RoundsError
from shared.processes.flower_environment import bin_folder, flower_environment
from shared.processes.supervisor import Service, Supervisor, free_port

log = logging.getLogger("rounds.hub")
SUPERLINK, SUPEREXEC, REGISTRY, PROXY = "superlink", "superexec", "registry", "proxy"
FEED, DASHBOARD = "feed", "dashboard"
SUPERLINK_PORT = 8000
_LOOK_SECONDS = 3.0


def serve(
    hub: Hub,
    doors: Doors,
    ready: Callable[[str], None] = lambda _: None,
    tick: Callable[[str], None] = lambda _: None,
    nodes: Callable[[str], Mapping[str, Node]] = lambda _: {},
) -> None:
    """Run the hub until SIGTERM; `ConfigError` when something it needs is missing.

    `ready` is called with the SuperLink's host:port whenever it has begun to answer, `tick` every 3 s while it and the
    registry do. What `nodes` says of the sites then stands in the status file, for commands and pages.
    """
    check_start(hub, doors)
    bundles = free_port()
    with _services(hub, doors, bundles) as services:
        probe = FeedProbe(hub, doors.own_feed)
        watch = _Watch(hub, doors, f"127.0.0.1:{bundles}", probe, ready, tick, nodes)
        facts = doors.told() | {"answers": False}
        log.info("hub: sites reach %s, the SuperLink is at %s", doors.listen, doors.superlink)
        Leftovers(hub.studies, lambda run: let_send(hub, doors, run)).start()
        Supervisor(services, hub.status, facts, watch).run()


def let_send(hub: Hub, doors: Doors, run: str) -> Path:
    """Return the file with which a run on this machine sends its records."""
    return Senders(hub.feed).issue_own(run, doors.own_feed, hub.ca_file.read_bytes())


def check_start(hub: Hub, doors: Doors) -> None:
    """Refuse to start where a file or program is missing, or one port is wanted twice."""
    verify_hub(hub)
    doors.check()
    nginx()
    hub_senders(hub)
    for folder in (hub.database.parent, hub.studies):
        folder.mkdir(mode=0o700, exist_ok=True)


def nginx(folders: Sequence[Path] | None = None) -> str:
    """Return where nginx is, in these folders or where programs are; `ConfigError` where it is not installed."""
    usual = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
    found = shutil.which("nginx", path=usual if folders is None else os.pathsep.join(map(str, folders)))
    if found is None:
        raise ConfigError("nginx: is not installed; install it, for example with apt-get install nginx-light")
    return found


@dataclass
class _Watch:
    """Looks at SuperLink, the door before it, registry, feed and dashboard between the supervisor's looks.

    A study is started by an app's name, and the registry says where that is: while it is away no study is looked after.
    """

    hub: Hub
    doors: Doors
    registry: str
    feed: FeedProbe
    ready: Callable[[str], None]
    tick: Callable[[str], None]
    nodes: Callable[[str], Mapping[str, Node]] = lambda _: {}
    looked: float = 0.0
    # what was made ready: which start of the SuperLink, and which state of the list of sites
    seen: tuple[int, float] = (0, 0.0)

    def __call__(self, supervisor: Supervisor) -> None:
        starts = supervisor.starts(SUPERLINK)
        if starts == 0 or time.monotonic() - self.looked < _LOOK_SECONDS:
            return
        superlink = health_answers(self.doors.superlink, self.hub.ca_file)
        registry = health_answers(self.registry, None)
        audit = self.feed.serves() and dashboard_answers(self.doors.dashboard)
        door = health_answers(self.doors.own_listen, self.hub.ca_file, any_name=True)
        supervisor.facts["answers"] = superlink and registry and audit and door
        supervisor.facts[NODES] = None
        if superlink:
            try:
                self._look(starts, studies=registry)
                supervisor.facts[NODES] = told_nodes(self.nodes(self.doors.superlink))
            except RoundsError as error:  # a person's matter, and no reason to end what runs
                log.error("%s", error)
        self.looked = time.monotonic()

    def _look(self, starts: int, *, studies: bool) -> None:
        if (starts, self._listed()) != self.seen:
            self.ready(self.doors.superlink)
            self.seen = (starts, self._listed())  # asked again: reading the list touches its file
        if studies:
            self.tick(self.doors.superlink)

    def _listed(self) -> float:
        """Return when the list of sites was last changed."""
        return self.hub.sites_file.stat().st_mtime


@contextmanager
def _services(hub: Hub, doors: Doors, bundles: int) -> Iterator[Sequence[Service]]:
    """Yield the services, the registry at the port `bundles`; their homes and nginx's own files are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="rounds-hub-") as scratch:
        run = Path(scratch)
        for name in ("flwr", "empty", "nginx"):
            (run / name).mkdir()
        environment = flower_environment(run / "flwr")
        environment.pop(STORE_VARIABLE, None)  # for who keeps records alone
        environment.pop(
            "GRPC_VERBOSITY", None
        )  # without it the feed has a line for each handshake that fails
        registry = {
            "FLWR_SUPERGRID_API_URL": f"http://127.0.0.1:{bundles}"
        }  # where SuperLink asks for an app's name
        to_store = {STORE_VARIABLE: doors.store}
        to_feed = {FOLDER_VARIABLE: str(Senders(hub.feed).own.resolve())}
        proxy = Proxy(
            doors.listen, doors.superlink, hub.certificate_file, hub.key_file, hub.ca_file,
            readers=doors.readers, dashboard=doors.dashboard.listen,
        )  # fmt: skip
        configuration = run / "nginx.conf"
        configuration.write_text(proxy.configuration(run / "nginx", _request_log(hub)), encoding="utf-8")
        yield (
            Service(REGISTRY, lambda: registry_command(hub, bundles), run / "empty", environment),
            Service(FEED, lambda: feed_command(hub, doors.feed), run / "empty", environment | to_store),
            Service(DASHBOARD, lambda: dashboard_command(hub.path, doors.dashboard, doors.workers), run / "empty",
                    environment | to_store),
            Service(SUPERLINK, lambda: superlink_command(hub, doors.superlink_port), run / "empty",
                    environment | registry),
            Service(SUPEREXEC, lambda: superexec_command(hub, doors.superlink_port), run / "empty",
                    environment | to_feed),
            Service(PROXY, lambda: [nginx(), "-e", "stderr", "-p", str(run / "nginx"), "-c", str(configuration)],
                    run / "empty", environment),
        )  # fmt: skip


def superlink_command(hub: Hub, port: int) -> list[str]:
    """Return the command line of the hub's SuperLink: TLS, admitted nodes alone, apps in processes of their own."""
    return loopback_superlink(
        port,
        "--ssl-ca-certfile", str(hub.ca_file.resolve()),
        "--ssl-certfile", str(hub.certificate_file.resolve()),
        "--ssl-keyfile", str(hub.key_file.resolve()),
        "--enable-supernode-auth",
        "--isolation", "process",
        "--superexec-auth-secret-file", str(hub.superexec_secret.resolve()),
        "--database", str(hub.database.resolve()),
    )  # fmt: skip


def registry_command(hub: Hub, port: int) -> list[str]:
    """Return the command line of the service that gives SuperLink the bundles and the hospitals' signatures."""
    words = ["registry", "serve", "--hub", str(hub.path.resolve()), "--port", str(port)]
    return [sys.executable, "-m", "server.main", *words]


def feed_command(hub: Hub, listen: str) -> list[str]:
    """Return the command line of the service that takes studies' records into the store."""
    words = ["feed", "serve", "--hub", str(hub.path.resolve()), "--listen", listen]
    return [sys.executable, "-m", "server.main", *words]


def superexec_command(hub: Hub, port: int) -> list[str]:
    """Return the command line of Flower's SuperExec, which starts the ServerApp."""
    return [
        f"{bin_folder()}/flower-superexec",
        "--runtime-api-address", f"127.0.0.1:{port}",
        "--root-certificates", str(hub.ca_file.resolve()),
        "--superexec-auth-secret-file", str(hub.superexec_secret.resolve()),
    ]  # fmt: skip


def _request_log(hub: Hub) -> Path:
    """Return where nginx can write: standard output, or a file where that is a socket."""
    try:
        with Path("/dev/stdout").open("ab"):
            return Path("/dev/stdout")
    except OSError:
        return hub.path / "refused-requests.log"
