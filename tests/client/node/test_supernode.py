"""The hospital's node: what must hold before it starts, and how it is started."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.identity.site_folder import SITE_FILE, join_federation, make_site
from client.ledger.ledger import Ledger
from client.node.supernode import (
    NODE,
    Connection,
    _node_service,
    _Trust,
    check_start,
    checked_connection,
    node_command,
    written_trust,
)
from server.hub.certificates import Names
from server.hub.hub_folder import make_hub
from shared.config.files import parse_site, read_yaml
from shared.config.site import SiteConfig
from shared.errors import ConfigError, LedgerError
from shared.processes.supervisor import Supervisor

Change = Callable[..., SiteConfig]


@pytest.fixture
def site(tmp_path: Path) -> Change:
    """Make a site that joined a hub; the function returns its configuration with fields changed."""
    hub = make_hub(tmp_path / "hub", "lungs", "127.0.0.1:8443", Names.of([], ["127.0.0.1"]))
    folder = tmp_path / "north"
    make_site(folder, "north")
    join_federation(folder / SITE_FILE, hub.invitation())
    (tmp_path / "images").mkdir()
    raw = read_yaml(folder / SITE_FILE) | {
        "data": {"source": str(tmp_path / "images")},
        "declared_patients": 100,
    }

    def changed(**fields: Any) -> SiteConfig:
        return parse_site(raw | fields)

    return changed


def test_a_site_that_joined_may_start(site: Change) -> None:
    """Its connection is what `join` wrote down, and the checks pass without beginning a ledger."""
    config = site()
    connection = checked_connection(config)
    check_start(config)
    assert connection.hub == "127.0.0.1:8443"
    assert (connection.ca_file.name, connection.node_key.name) == ("ca.crt", "node.key")
    assert not (config.state_dir / "ledger.sqlite").exists()


def test_a_site_that_did_not_join_does_not_start(site: Change) -> None:
    """Without a hub the person is told what to run."""
    with pytest.raises(ConfigError, match=r"run `rounds-site init` and `rounds-site join` first"):
        checked_connection(site(hub=None))


def test_a_key_open_to_others_does_not_start(site: Change) -> None:
    """A private key that other accounts may read stops the start, with the command that mends it."""
    config = site()
    key = Path(str(config.keys_dir)) / "node.key"
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        checked_connection(config)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data": {"source": "/no/such/folder"}}, r"data\.source: .* does not exist here"),
        ({"approved_studies": "any-in-simulation"}, "allowed at a real site are digests"),
    ],
)
def test_what_is_missing_is_said_before_the_start(site: Change, changed: dict[str, Any], words: str) -> None:
    """Missing data and a simulation's rules stop the start, each in one sentence."""
    with pytest.raises(ConfigError, match=words):
        check_start(site(**changed))


def test_a_damaged_ledger_does_not_start(site: Change) -> None:
    """A node does not come up beside a ledger that cannot be read."""
    config = site()
    (config.state_dir / "ledger.sqlite").write_bytes(b"no database")
    with pytest.raises(LedgerError):
        check_start(config)


def test_a_restored_snapshot_of_the_volume_stops_the_site(site: Change, tmp_path: Path) -> None:
    """The state's volume put back to an earlier day is behind the head file on the other one; the newest copy heals."""
    config = site()
    ledger, kept = config.state_dir / "ledger.sqlite", tmp_path / "kept"

    def spend(digest: str) -> None:
        with Ledger.open(ledger, config.head_file) as opened:
            opened.record_declared(digest, 1.0, 0.0)

    def put_back(snapshot: Path) -> None:
        shutil.rmtree(config.state_dir)
        shutil.copytree(snapshot, config.state_dir)

    spend("a" * 64)
    shutil.copytree(config.state_dir, kept / "before")
    spend("b" * 64)
    shutil.copytree(config.state_dir, kept / "last")
    check_start(config)
    put_back(kept / "before")
    for _ in range(2):  # trying again does not mend it
        with pytest.raises(LedgerError, match="knows 2 rows, the ledger has 1: it was restored or cut"):
            check_start(config)
    put_back(kept / "last")
    check_start(config)


def test_the_node_trusts_its_hospital_alone(site: Change) -> None:
    """The node is started with the hospital's own key as the one that must have signed, also before any approval."""
    config = site()
    keys_dir = Path(str(config.keys_dir))
    trusted = yaml.safe_load(written_trust(config, keys_dir).read_text(encoding="utf-8"))
    assert len(trusted) == 1
    words = node_command(Path("/site/site.yaml"), checked_connection(config), 9094)
    assert words[words.index("--trusted-entities") + 1] == str(config.state_dir / "trusted-entities.yaml")
    assert "--insecure" not in words
    assert words[words.index("--host") + 1] == "127.0.0.1"


def test_a_path_that_could_change_the_command_is_refused(tmp_path: Path) -> None:
    """Flower splits the node's configuration at quotes, so a path with one is refused."""
    connection = Connection("hub:1", tmp_path, tmp_path, tmp_path)
    with pytest.raises(ConfigError, match="quotes and backslashes"):
        node_command(tmp_path / 'a" b="c.yaml', connection, 9094)


class Looked(Supervisor):
    """A supervisor that is looked at and starts nothing: how often the node was started, and what was asked."""

    asked: tuple[str, ...] = ()
    started = 1

    def starts(self, name: str) -> int:  # noqa: ARG002 - the base class's shape
        return self.started

    def start_again(self, name: str) -> None:
        self.asked = (*self.asked, name)


def test_a_withdrawal_starts_the_node_again(tmp_path: Path) -> None:
    """A changed key starts the node again once; a node that is started meanwhile has read the new one already."""
    file = tmp_path / "trusted-entities.yaml"
    file.write_text("a: old")
    looked, trust = Looked([], tmp_path / "status.json"), _Trust(file)
    trust(looked)
    trust(looked)
    assert looked.asked == ()
    file.write_text("a: new")
    trust(looked)
    trust(looked)
    assert looked.asked == (NODE,)
    file.write_text("a: newer")
    looked.started = 2
    trust(looked)
    assert looked.asked == (NODE,)


SLICED = """
import numpy as np
from flwr.app import ArrayRecord
(array,) = ArrayRecord([np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8)]).values()
print(max(len(piece.data) for _, piece in array.slice_array()))
"""


def test_what_a_node_starts_sends_answers_in_small_pieces(site: Change, tmp_path: Path) -> None:
    """Flower, started as the node is, cuts an array at 1 MiB: larger pieces fail over a slow link (`PIECES`)."""
    config = site()
    with _node_service(config, tmp_path / "north" / SITE_FILE, checked_connection(config)) as service:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SLICED], env=service.environment, cwd=service.folder,
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    assert int(done.stdout) == 1 << 20
