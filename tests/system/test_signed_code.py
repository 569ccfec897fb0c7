"""Which bundles real nodes run: flower-superlink and flower-supernode 1.41 over TLS, and our registry between them.

Three nodes: north, north started again after it withdrew a bundle, and south. The hub is hostile: it serves old
signatures, moves one to an altered bundle, and signs with its own key under its own and under north's name.
"""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from server.hub.bundle_registry import Registry
from server.hub.bundle_registry_api import registry_app
from shared.processes.flower_environment import QUIET
from shared.trust.app_bundle import read_bundle
from shared.trust.bundle_signatures import Signatures, openssh, sign_bundle
from tests.probe_app import Hospital, build, write_app

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SECONDS = 150
RAN, REFUSED = "ran", "code refused: the app bundle bears no valid signature of this hospital"
NODES = ("north", "north, started again", "south")
TABLE = {
    "unsigned": (REFUSED, REFUSED, REFUSED),
    "withdrawn by north, its old signature served": (RAN, REFUSED, REFUSED),
    "altered after north signed it": (REFUSED, REFUSED, REFUSED),
    "signed by the hub, also under north's name": (REFUSED, REFUSED, REFUSED),
    "signed by north after the withdrawal, and by south": (REFUSED, RAN, RAN),
}
Outcome = Mapping[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Start everything once, submit every bundle, and return what each node said of it."""
    folder = tmp_path_factory.mktemp("signed")
    registry, hospitals, bundles = Registry(folder / "hub" / "registry"), {}, {}
    for name in ("north", "south"):
        hospitals[name] = Hospital.made(folder, name)
    for number, what in enumerate(TABLE):
        bundles[what] = build(write_app(folder / f"app{number}", f"1.0.{number}"))
    unsigned, withdrawn, altered, forged, good = bundles
    for what in (withdrawn, altered, forged, good):
        registry.add(bundles[what])
    north, south = hospitals["north"], hospitals["south"]
    north.says("code", "approve", bundles[withdrawn])
    trusted = {NODES[0]: Path(shutil.copy(north.trusted_file, folder / "before.yaml"))}
    old = Signatures.model_validate_json(north.signatures_file.read_bytes())
    for one in (north, south):
        one.says("code", "approve", bundles[good])
    north.says("code", "withdraw", read_bundle(bundles[withdrawn]).sha256)
    trusted |= {NODES[1]: north.trusted_file, NODES[2]: south.trusted_file}
    for one in (north, south):
        sent = Signatures.model_validate_json(one.signatures_file.read_bytes())
        registry.sign_in(one.signatures_file, one.name, sent.approval_key)
    _lie(registry, old, read_bundle(bundles[altered]).sha256, read_bundle(bundles[forged]).sha256)
    with ExitStack() as stack:
        port = stack.enter_context(_served(registry))
        link = stack.enter_context(_federation(folder, port))
        ids = {name: stack.enter_context(link.node(name, file)) for name, file in trusted.items()}
        apps = {what: f"@rounds/probe==1.0.{number}" for number, what in enumerate(TABLE)}
        said = link.submit(apps | {unsigned: str(folder / "app0")})
    found = {what: tuple(said[what].get(ids[name].result(), "silent") for name in NODES) for what in TABLE}
    print(_table(found))
    return found


@pytest.mark.parametrize("what", TABLE)
def test_a_node_runs_only_what_its_own_hospital_signs_now(outcome: Outcome, what: str) -> None:
    """Each bundle is run by the nodes whose hospital's trusted key signed it, and refused in words by the others."""
    assert outcome[what] == TABLE[what]


def _lie(registry: Registry, old: Signatures, altered: str, forged: str) -> None:
    """Write past the registry's checks, as a hostile hub can."""
    hub = Ed25519PrivateKey.generate()
    own = openssh(hub.public_key())
    moved = old.bundles[0].model_copy(update={"sha256": altered})
    lies = {
        "old": old.model_copy(update={"bundles": (*old.bundles, moved)}),
        "own": old.model_copy(update={"code_key": own, "bundles": (sign_bundle(hub, forged, 1),)}),
        "as-north": old.model_copy(update={"bundles": (sign_bundle(hub, forged, 1),)}),
    }
    for name, lie in lies.items():
        (registry.folder / "signatures" / f"{name}.json").write_text(lie.model_dump_json())


class NodeId:
    """The id of a node, told by its log once it is connected."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def result(self) -> str:
        """Return the id."""
        return re.search(r"SuperNode ID: (\d+)", self._log.read_text())[1]


class Link:
    """A running SuperLink over TLS."""

    def __init__(self, folder: Path, port: int, environment: dict[str, str]) -> None:
        self.folder, self.port, self.environment = folder, port, environment

    @contextmanager
    def node(self, name: str, trusted: Path) -> Iterator[NodeId]:
        """Start a node that trusts what a hospital wrote down."""
        slug = re.sub(r"\W+", "-", name)
        log = self.folder / f"{slug}.log"
        command = [
            "flower-supernode", "--superlink", f"127.0.0.1:{self.port}", "--port", _free_port(),
            "--root-certificates", self.folder / "hub.crt", "--trusted-entities", trusted,
        ]  # fmt: skip
        with _process(command, log, self.environment | {"FLWR_HOME": str(self.folder / f"home-{slug}")}):
            yield NodeId(log)

    def submit(self, apps: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Run every app and return what it says of each node."""
        outputs = {what: self.folder / f"said{number}.json" for number, what in enumerate(apps)}
        for what, app in apps.items():
            done = subprocess.run(
                [BIN / "flwr", "run", app, "test", "--run-config", f'output="{outputs[what]}"'],
                env=self.environment, capture_output=True, text=True, timeout=SECONDS, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
        end = time.monotonic() + SECONDS
        while not all(path.exists() for path in outputs.values()) and time.monotonic() < end:
            time.sleep(0.2)
        return {what: json.loads(path.read_text()) if path.exists() else {} for what, path in outputs.items()}


@contextmanager
def _federation(folder: Path, registry_port: int) -> Iterator[Link]:
    port = _free_port()
    _certificate(folder)
    home = folder / "home"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "test"\n[superlink.test]\naddress = "127.0.0.1:{port}"\n'
        f'root-certificates = "{folder / "hub.crt"}"\n'
    )
    environment = {
        **os.environ, **QUIET, "FLWR_HOME": str(home), "PYTHONPATH": str(REPOSITORY),
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_SUPERGRID_API_URL": f"http://127.0.0.1:{registry_port}",
    }  # fmt: skip
    command = [
        "flower-superlink", "--host", "127.0.0.1", "--port", port, "--ssl-certfile", folder / "hub.crt",
        "--ssl-keyfile", folder / "hub.key", "--ssl-ca-certfile", folder / "hub.crt",
        "--disable-runtime-dependency-installation",
    ]  # fmt: skip
    with _process(command, folder / "superlink.log", environment):
        _wait_for_health(port, folder / "hub.crt")
        yield Link(folder, port, environment)


@contextmanager
def _process(command: list[object], log: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a command of Flower in a folder of its own; on leaving, end it and all that it started."""
    empty = log.with_suffix(".cwd")
    empty.mkdir()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [BIN / str(command[0]), *map(str, command[1:])],
            cwd=empty, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield
    finally:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for one in family:
            one.kill()
        psutil.wait_procs(family, timeout=10)
        process.wait()


@contextmanager
def _served(registry: Registry) -> Iterator[int]:
    port = _free_port()
    server = uvicorn.Server(uvicorn.Config(registry_app(registry), port=port, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()


def _wait_for_health(port: int, ca_file: Path) -> None:
    trusted, end = ssl.create_default_context(cafile=str(ca_file)), time.monotonic() + SECONDS
    while True:
        try:
            urlopen(f"https://127.0.0.1:{port}/health", timeout=5, context=trusted).close()
            return
        except OSError:
            assert time.monotonic() < end, "the SuperLink did not start"
            time.sleep(0.2)


def _certificate(folder: Path) -> None:
    """Write one certificate that serves as its own CA for 127.0.0.1."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
    )
    (folder / "hub.crt").write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    (folder / "hub.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _table(found: Outcome) -> str:
    lines = [f"{'bundle':<52}" + "".join(f"{name:<24}" for name in NODES)]
    lines += [
        f"{what:<52}" + "".join(f"{said.split(':')[0]:<24}" for said in row) for what, row in found.items()
    ]
    return "\n".join(["", *lines])
