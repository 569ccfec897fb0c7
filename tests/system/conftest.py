"""Made once: a hub with two hospitals and its offer. Each test gets a copy in which nothing was decided."""

import json
import shutil
from pathlib import Path

import pytest

from server.hub.certificates import Names
from server.hub.hub_folder import make_hub
from tests.conftest import TinyFederation
from tests.system.parcels import SET, Federation, Place, hospital, open_workspace


@pytest.fixture(scope="session")
def made(tiny_federation: TinyFederation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Make the hub and both hospitals, and offer the study."""
    folder = tmp_path_factory.mktemp("parcel")
    hub = make_hub(folder / "hub", "tiny", "127.0.0.1:8443", Names.of([], ["127.0.0.1"]))
    with hub.sites() as sites:
        for name, data in (("north", "film"), ("south", "children")):
            sites.admit(hospital(folder / name, hub, tiny_federation, data))
    (hub.path / "studies").mkdir()
    workspace = open_workspace(folder / "workspace", tiny_federation)
    at_hub = Place(hub.path)
    done = at_hub.hub("study", "offer", workspace, *SET, "--out", folder / "tiny.study")
    assert done.exit_code == 0, done.output
    (offered,) = json.loads(at_hub.hub("study", "offers", "--json").stdout)
    assert offered["digest"] in done.stdout
    return Federation(
        at_hub, Place(folder / "north"), Place(folder / "south"), workspace, folder / "tiny.study", offered
    )


@pytest.fixture
def fresh(made: Federation, tmp_path: Path) -> Federation:
    """Return a copy of everything in which nothing was decided yet."""
    shutil.copytree(made.hub.path.parent, tmp_path / "f", symlinks=True)
    for name in ("north", "south"):
        file = tmp_path / "f" / name / "site.yaml"
        file.write_text(file.read_text().replace(str(made.hub.path.parent), str(tmp_path / "f")))
    at = tmp_path / "f"
    return Federation(
        Place(at / "hub"),
        Place(at / "north"),
        Place(at / "south"),
        made.workspace,
        at / "tiny.study",
        made.offered,
    )
