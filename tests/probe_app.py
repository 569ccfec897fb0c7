"""A small Flower app that says which nodes ran it, and the hospitals that decide on it. No torch: it starts fast."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flwr.cli.build import build_fab_from_disk
from typer.testing import CliRunner, Result

from client.cli.program import app
from client.site.site import Site
from shared.config.files import parse_site, read_site, read_yaml, write_yaml
from shared.trust.bundle_signatures import openssh

PROJECT = """
[project]
name = "probe"
version = "{version}"
[tool.flwr.app]
publisher = "rounds"
[tool.flwr.app.components]
serverapp = "probe.server:app"
clientapp = "probe.client:app"
[tool.flwr.app.config]
output = ""
"""
SERVER = """
import json
from pathlib import Path
from flwr.serverapp import ServerApp
from server.rounds.exchange import Exchange

app = ServerApp()

@app.main()
def main(grid, context):
    exchange = Exchange(grid)
    nodes = exchange.wait_for_nodes(3, 120)
    said = {str(a.node_id): a.failure or "ran" for a in exchange.ask("enrol", dict.fromkeys(nodes, b"?"), 120)}
    output = Path(context.run_config["output"])
    output.with_suffix(".part").write_text(json.dumps(said))
    output.with_suffix(".part").replace(output)
"""
CLIENT = """
from flwr.app import Message
from flwr.clientapp import ClientApp

app = ClientApp()

@app.query("enrol")
def answer(message, context):
    return Message(message.content, reply_to=message)
"""


def write_app(folder: Path, version: str, remark: str = "") -> Path:
    """Write the app's sources; `remark` makes another bundle of the same app and version."""
    (folder / "probe").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(version=version))
    (folder / "probe" / "__init__.py").write_text("")
    (folder / "probe" / "server.py").write_text(SERVER)
    (folder / "probe" / "client.py").write_text(CLIENT + remark)
    return folder


def build(folder: Path) -> Path:
    """Build a bundle of the sources in a folder, beside it."""
    path = folder.with_suffix(".fab")
    with warnings.catch_warnings():  # Flower's build uses an old name of a pattern of pathspec
        warnings.simplefilter("ignore", DeprecationWarning)
        path.write_bytes(build_fab_from_disk(folder))
    return path


@dataclass(frozen=True)
class Hospital:
    """A hospital's folder with a key of its own, as `rounds-site init` leaves it, and its commands."""

    name: str
    folder: Path

    @classmethod
    def made(cls, parent: Path, name: str, **changed: Any) -> "Hospital":
        """Make the folder; `changed` holds other fields of site.yaml."""
        hospital = cls(name, parent / name)
        new_key(hospital.folder / "keys")
        raw = {
            "name": name,
            "data": {"source": str(hospital.folder / "data.csv")},
            "declared_patients": 100,
            "weights_dir": str(hospital.folder / "weights"),
            "state_dir": str(hospital.folder / "state"),
            "head_file": str(hospital.folder / "head" / "ledger.head"),
        }
        write_yaml(hospital.folder / "site.yaml", parse_site(raw | changed))
        return hospital

    def change(self, **fields: Any) -> None:
        """Change fields of site.yaml."""
        path = self.folder / "site.yaml"
        write_yaml(path, parse_site(read_yaml(path) | fields))

    def run(self, *words: object, typed: str | None = None) -> Result:
        """Run a command of this hospital."""
        site = ("--site", str(self.folder / "site.yaml"))
        return CliRunner().invoke(app, [*map(str, words), *site], input=typed)

    def run_plain(self, *words: object) -> Result:
        """Run a command that takes the site's file in its own place."""
        return CliRunner().invoke(app, [*map(str, words)])

    def says(self, *words: object) -> str:
        """Run a command that works, and return what it prints."""
        done = self.run(*words)
        assert done.exit_code == 0, done.output
        return done.stdout

    @property
    def site(self) -> Site:
        """The hospital's site as its commands open it."""
        return Site(read_site(self.folder / "site.yaml"))

    @property
    def signatures_file(self) -> Path:
        """The file that goes to the hub."""
        return self.folder / f"{self.name}.signatures.json"

    @property
    def trusted_file(self) -> Path:
        """The file that its node is started with."""
        return self.folder / "state" / "trusted-entities.yaml"


def new_key(keys_dir: Path) -> str:
    """Make an approval key; returns its public half as OpenSSH text."""
    keys_dir.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    path = keys_dir / "approval.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return openssh(key.public_key())
