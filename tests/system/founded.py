"""A hub and its sites as their people make them: `init`, `join`, `admit`, and an app bundle that each site approves."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flwr.cli.build import build_fab_from_disk
from typer.testing import CliRunner

from client.cli.program import app as site_app
from client.identity.site_folder import SITE_FILE, join_federation, make_site
from server.hub.bundle_registry import Registry
from server.hub.certificates import Names
from server.hub.hub_folder import HubFolder, make_hub
from shared.config.files import parse_site, write_yaml

REPOSITORY = Path(__file__).resolve().parents[2]


def found_hub(path: Path, address: str, also: Iterable[str]) -> tuple[HubFolder, Registry, Path]:
    """Make a hub that is reached at `address`, and under the names `also`; returns it, its registry, its bundle."""
    hub = make_hub(path, "tiny", address, Names.of([], ["127.0.0.1", *also]))
    bundle = path.parent / "app.fab"
    with warnings.catch_warnings():  # Flower's build uses an old name of a pattern of pathspec
        warnings.simplefilter("ignore", DeprecationWarning)
        bundle.write_bytes(build_fab_from_disk(REPOSITORY))
    registry = Registry(path / "registry")
    registry.add(bundle)
    return hub, registry, bundle


def found_site(
    path: Path, raw: dict[str, Any], hub: HubFolder, dialled: str, registry: Registry, bundle: Path
) -> None:
    """Make a site with the rules `raw` that reaches the hub at `dialled`, is admitted, and approves the bundle."""
    introduction = make_site(path, str(raw["name"]))
    own = {"state_dir": path / "state", "head_file": path / "head" / "ledger.head", "keys_dir": path / "keys"}
    write_yaml(path / SITE_FILE, parse_site(raw | {key: str(value) for key, value in own.items()}))
    join_federation(path / SITE_FILE, hub.invitation().model_copy(update={"address": dialled}))
    with hub.sites() as sites:
        sites.admit(introduction)
    approve = ["code", "approve", str(bundle), "--site", str(path / SITE_FILE)]
    done = CliRunner().invoke(site_app, approve)
    assert done.exit_code == 0, done.output
    registry.sign_in(path / f"{raw['name']}.signatures.json", str(raw["name"]), introduction.approval_key)
