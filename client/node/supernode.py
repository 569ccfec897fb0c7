"""The hospital's node: Flower's SuperNode, kept running by a supervisor, with nothing around it that it does not need.

In: `site.yaml`, the keys beside it, the hub's address and CA. Out: connections to the hub only, which the node dials;
nothing listens but a port on this machine's own loopback, by which the node talks to the processes it starts.
"""

import logging
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client.consent.approvals import Approvals
from client.consent.bundle_signing import write_trusted_entities
from client.identity.site_keys import NODE_FILE
from client.ledger.ledger import Ledger
from client.node.target_purge import Upkeep
from client.readiness.keys_check import key_findings
from client.site.site_rules import SiteRules
from shared.config.site import SiteConfig
from shared.errors import ConfigError
from shared.processes.flower_environment import bin_folder, flower_environment
from shared.processes.service_health import answers
from shared.processes.supervisor import Service, Supervisor, free_port

log = logging.getLogger("rounds.site")
STATUS = "node.json"
NODE = "node"
# Flower sends an answer in pieces, two at once, and gives a piece up when the hub has said nothing for 30 s after the
# system took its last byte, of which it may hold 4 MiB back. Pieces of 5 MiB (Flower's own) fail below 3 Mbit/s, over
# and over; these go through from 0.6 Mbit/s on.
PIECES = {"FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE": str(1 << 20)}
_HINT = (
    "if the node or its machine ended hard, the hub still counts it as connected, and lets it in again about 55 s "
    "after its last sign of life; if the hub has not admitted this key, ask the hub. It is started again until it stays"
)


@dataclass(frozen=True)
class Connection:
    """What the node needs to be let in, and what it lets in: the hub's host:port and CA, this site's key, its trust.

    `trusted_entities` is a file with the one key that must have signed an app: the hospital's own.
    """

    hub: str
    ca_file: Path
    node_key: Path
    trusted_entities: Path


def run_node(config: SiteConfig, site_file: Path) -> None:
    """Run the node until SIGTERM; `ConfigError`, `LedgerError` or `ApprovalsError` when it must not start."""
    connection = checked_connection(config)
    check_start(config)
    with _node_service(config, site_file, connection) as service:
        log.info("site %s: the node dials %s", config.name, connection.hub)
        facts: dict[str, object] = {"site": config.name, "hub": connection.hub}
        trust, upkeep = _Trust(connection.trusted_entities), Upkeep(SiteRules(config))

        def tick(supervisor: Supervisor) -> None:
            trust(supervisor)
            upkeep()

        Supervisor([service], config.state_dir / STATUS, facts, tick).run()


def checked_connection(config: SiteConfig) -> Connection:
    """Return what site.yaml and the keys beside it say; `ConfigError` where the site has not joined yet."""
    if config.hub is None or config.keys_dir is None:
        raise ConfigError(
            "hub and keys_dir: not both filled in; run `rounds-site init` and `rounds-site join` first"
        )
    for finding in key_findings(config):
        if finding.mark == "fail":
            raise ConfigError(f"{finding.what}: {finding.sentence}")
    return Connection(
        config.hub.address,
        config.hub.ca_file,
        config.keys_dir / NODE_FILE,
        written_trust(config, config.keys_dir),
    )


def written_trust(config: SiteConfig, keys_dir: Path) -> Path:
    """Write anew which key must have signed an app: a node without the file would run whatever the hub sends."""
    head_file = config.head_file.with_suffix(".approvals")
    return write_trusted_entities(Approvals.open(config.state_dir, head_file, keys_dir), config.state_dir)


@dataclass
class _Trust:
    """Starts the node again when the hospital's trust has changed: it reads the file at its start only."""

    file: Path
    known: tuple[int, str] = (0, "")

    def __call__(self, supervisor: Supervisor) -> None:
        now = (supervisor.starts(NODE), self.file.read_text(encoding="utf-8"))
        if self.known[0] == now[0] and self.known[1] != now[1]:
            log.info("the hospital withdrew code: the node is started again, and trusts the new key alone")
            supervisor.start_again(NODE)
        self.known = now


def check_start(config: SiteConfig) -> None:
    """Refuse to start where data or volumes are missing, or the ledger is not whole."""
    if config.approved_studies == "any-in-simulation":
        raise ConfigError(
            "approved_studies is 'any-in-simulation', allowed at a real site are digests of studies; correct site.yaml"
        )
    if not config.data.source.exists():
        raise ConfigError(
            f"data.source: {config.data.source} does not exist here; mount it or correct site.yaml"
        )
    for field, folder in (("state_dir", config.state_dir), ("head_file", config.head_file.parent)):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise ConfigError(f"{field}: {folder} cannot be written; mend rights or mount the volume")
    path = config.state_dir / "ledger.sqlite"
    if path.is_file():  # a new site begins its ledger with its first answer, after its own key
        with Ledger.open(path, config.head_file) as ledger:
            ledger.verify()


def is_healthy(config: SiteConfig) -> str:
    """Return one sentence that the node runs; `ServiceError` says why it does not."""
    status = answers(config.state_dir / STATUS, "rounds-site run")
    return f"{config.name}: the node runs, started {status.starts(NODE)} times"


@contextmanager
def _node_service(config: SiteConfig, site_file: Path, connection: Connection) -> Iterator[Service]:
    with tempfile.TemporaryDirectory(prefix="rounds-site-") as scratch:
        home, empty = Path(scratch) / "flwr", Path(scratch) / "empty"
        home.mkdir()
        empty.mkdir()  # started elsewhere, an app could import what lies there

        def command() -> Sequence[str]:
            if config.keys_dir is not None:
                written_trust(config, config.keys_dir)
            return node_command(site_file, connection, free_port())

        yield Service(NODE, command, empty, flower_environment(home) | PIECES, _HINT, signal.SIGTERM)


def node_command(site_file: Path, connection: Connection, port: int) -> list[str]:
    """Return the command line of Flower's SuperNode (1.41)."""
    path = str(site_file.resolve())
    if any(sign in path for sign in "\"'\\"):
        raise ConfigError(
            f"SITE.yaml is {path!r}: quotes and backslashes are not allowed in its path; move it"
        )
    return [
        f"{bin_folder()}/flower-supernode",
        "--superlink", connection.hub,
        "--root-certificates", str(connection.ca_file.resolve()),
        "--auth-supernode-private-key", str(connection.node_key.resolve()),
        "--node-config", f'site-config="{path}"',
        "--isolation", "subprocess",
        "--trusted-entities", str(connection.trusted_entities.resolve()),
        "--host", "127.0.0.1",
        "--port", str(port),
    ]  # fmt: skip
