"""The registry answers as Flower's SuperLink expects, with what was verified before it was stored."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from flwr.superlink.servicer.control import control_handlers
from typer.testing import CliRunner, Result

from server.cli.program import app
from server.hub.bundle_registry import Registry
from server.hub.bundle_registry_api import registry_app
from shared.errors import ConfigError, DataError
from shared.trust.app_bundle import read_bundle
from shared.trust.bundle_signatures import Signatures, key_id
from tests.probe_app import Hospital, build, new_key, write_app

with warnings.catch_warnings():  # starlette's client uses an old name of anyio
    warnings.simplefilter("ignore", DeprecationWarning)
    from fastapi.testclient import TestClient


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "hub" / "registry")


@pytest.fixture
def north(tmp_path: Path) -> Hospital:
    """Return a hospital that has approved the bundle one.fab."""
    north = Hospital.made(tmp_path, "north")
    north.says("code", "approve", build(write_app(tmp_path / "one", "1.0.0")))
    return north


def key_of(hospital: Hospital) -> str:
    return Signatures.model_validate_json(hospital.signatures_file.read_bytes()).approval_key


def rounds_hub(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


def fetch(registry: Registry, version: str | None = None, name: str = "@rounds/probe") -> Any:
    client = TestClient(registry_app(registry))
    return client.post(
        "/hub/fetch-fab", json={"app_id": name, "app_version": version, "flwr_version": "1.41.0"}
    )


def test_superlink_gets_the_bundle_and_every_hospital_s_signature(
    registry: Registry, north: Hospital, tmp_path: Path
) -> None:
    """In the form that SuperLink 1.41 passes on to nodes: a link to the very bytes, and each hospital's signature."""
    south = Hospital.made(tmp_path, "south")
    south.says("code", "approve", tmp_path / "one.fab")
    registry.add(tmp_path / "one.fab")
    for one in (north, south):
        registry.sign_in(one.signatures_file, one.name, key_of(one))
    said = fetch(registry, "1.0.0").json()
    assert (
        TestClient(registry_app(registry)).get(said["fab_url"]).content == (tmp_path / "one.fab").read_bytes()
    )
    passed_on = control_handlers._format_verification(said["verifications"])
    assert passed_on.pop("valid_license")
    codes = [
        Signatures.model_validate_json(one.signatures_file.read_bytes()).code_key for one in (north, south)
    ]
    assert passed_on.keys() == {key_id(code) for code in codes}


def test_the_bundle_added_last_is_served(registry: Registry, tmp_path: Path) -> None:
    """Of two bundles of one version the later, without a version the one added last, of none an honest 404."""
    bundles = [
        build(write_app(tmp_path / f"a{number}", version, "#" * number))
        for number, version in enumerate(("1.0.0", "1.1.0", "1.0.0"))
    ]
    for one in bundles:
        registry.add(one)
    assert fetch(registry, "1.0.0").json()["fab_url"].endswith(read_bundle(bundles[2]).sha256)
    assert fetch(registry, "1.1.0").json()["fab_url"].endswith(read_bundle(bundles[1]).sha256)
    assert fetch(registry).json()["fab_url"].endswith(read_bundle(bundles[2]).sha256)
    assert fetch(registry, "9.9.9").status_code == 404
    assert fetch(registry, "9.9.9").json()["detail"] == {"available_app_versions": ["1.1.0", "1.0.0"]}
    assert fetch(registry, name="@nobody/none").json()["detail"] == {"available_app_versions": []}
    assert fetch(registry, name="../../etc").status_code == 422
    assert TestClient(registry_app(registry)).get("/bundles/..%2f..%2fbundles.jsonl").status_code == 404


def test_a_withdrawn_signature_is_no_longer_served(
    registry: Registry, north: Hospital, tmp_path: Path
) -> None:
    """The hospital's newer file takes the place of its older one, which is not taken in again."""
    old = tmp_path / "old.json"
    old.write_bytes(north.signatures_file.read_bytes())
    sha256 = registry.add(tmp_path / "one.fab").sha256
    registry.sign_in(old, "north", key_of(north))
    assert len(registry.verifications(sha256)) == 1
    north.says("code", "withdraw", sha256)
    registry.sign_in(north.signatures_file, "north", key_of(north))
    assert registry.verifications(sha256) == []
    with pytest.raises(ConfigError, match="is of decision 1, the registry has north's decision 2"):
        registry.sign_in(old, "north", key_of(north))
    assert registry.verifications(sha256) == []


@pytest.mark.parametrize("damage", ["", "north"])
def test_nothing_unverified_is_stored(
    registry: Registry, north: Hospital, tmp_path: Path, damage: str
) -> None:
    """A damaged file, a file of another hospital's key and what is no bundle leave the registry as it was."""
    key = key_of(north)
    north.signatures_file.write_text(north.signatures_file.read_text().replace(damage, "south"))
    with pytest.raises(ConfigError):
        registry.sign_in(north.signatures_file, "north", key)
    with pytest.raises(ConfigError, match=r"another key|no signatures file"):
        registry.sign_in(north.signatures_file, "north", new_key(tmp_path / "elsewhere"))
    (tmp_path / "no.fab").write_text("no bundle")
    with pytest.raises(DataError):
        registry.add(tmp_path / "no.fab")
    assert not registry.folder.exists()


def test_nobody_signs_for_another(registry: Registry, north: Hospital, tmp_path: Path) -> None:
    """A file in north's name, whole and signed with south's own key, does not take the place of north's."""
    south = Hospital.made(tmp_path / "elsewhere", "north")
    south.says("code", "approve", tmp_path / "one.fab")
    registry.sign_in(north.signatures_file, "north", key_of(north))
    with pytest.raises(ConfigError, match="speaks for north, but its key belongs to south"):
        registry.sign_in(south.signatures_file, "south", key_of(south))
    assert [one.approval_key for one in registry.signatures()] == [key_of(north)]


def test_the_commands_of_the_hub(north: Hospital, tmp_path: Path) -> None:
    """Add, sign in with the admitted key, list who signed; a wrong folder or key file is one sentence."""
    hub = ("--hub", tmp_path / "hub")
    assert "make it with `rounds-hub init`" in rounds_hub("code", "add", tmp_path / "one.fab", *hub).stderr
    (tmp_path / "hub").mkdir()
    assert "flwr run @rounds/probe==1.0.0" in rounds_hub("code", "add", tmp_path / "one.fab", *hub).stdout
    assert "signed by nobody" in rounds_hub("code", "list", *hub).stdout
    pub = tmp_path / "north.pub"
    wrong = rounds_hub("code", "sign-in", north.signatures_file, "--pub", pub, *hub)
    assert "holds no site and approval_key" in wrong.stderr
    pub.write_text(f'{{"site": "north", "approval_key": "{key_of(north)}"}}')
    done = rounds_hub("code", "sign-in", north.signatures_file, "--pub", pub, *hub)
    assert done.stdout == "signed in: north, 1 bundles, decision 1\n"
    assert rounds_hub("code", "list", *hub).stdout.endswith("  north\n")


@pytest.mark.usefixtures("north")
def test_the_commands_find_the_hub_as_all_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --hub the folder is ROUNDS_HUB, as in the container, else `hub` here."""
    (tmp_path / "hub").mkdir(exist_ok=True)
    monkeypatch.setenv("ROUNDS_HUB", str(tmp_path / "hub"))
    assert rounds_hub("code", "add", tmp_path / "one.fab").exit_code == 0
    monkeypatch.delenv("ROUNDS_HUB")
    monkeypatch.chdir(tmp_path)
    assert "signed by nobody" in rounds_hub("code", "list").stdout
