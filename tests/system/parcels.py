"""A hub that offers one study in a parcel, and hospitals that take it; for tests of the whole way."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from client.cli.program import app as site_app
from client.identity.site_folder import join_federation, make_site
from client.site.site import Site
from server.cli.program import app as hub_app
from server.hub.hub_folder import HubFolder
from shared.config.files import read_site, read_yaml
from shared.trust.site_introduction import Introduction
from tests.conftest import TinyFederation

SET = ("--set", "federation.rounds=1", "--set", "privacy.epsilon=7")


@dataclass(frozen=True)
class Place:
    """A hub's folder, or a hospital's, and its commands."""

    path: Path

    @property
    def site_file(self) -> Path:
        return self.path / "site.yaml"

    @property
    def answer(self) -> Path:
        return self.path / f"{self.path.name}.answer.json"

    @property
    def site(self) -> Site:
        return Site(read_site(self.site_file))

    def hub(self, *words: object) -> Result:
        return CliRunner().invoke(hub_app, [*map(str, words), "--hub", str(self.path)])

    def submit(self, workspace: Path, *words: str) -> Result:
        """Submit to a hub whose services have just said that they run."""
        status = {"time": datetime.now(UTC).isoformat(), "superlink": "127.0.0.1:1", "services": {}}
        (self.path / "services.json").write_text(json.dumps(status))
        return self.hub("study", "submit", workspace, *words)

    def take(self, parcel: Path, *words: object, typed: str | None = None) -> Result:
        given = ["study", "take", str(parcel), "--site", str(self.site_file), *map(str, words)]
        return CliRunner().invoke(site_app, given, input=typed)

    def says(self, *words: object) -> str:
        done = CliRunner().invoke(site_app, [*map(str, words), "--site", str(self.site_file)])
        assert done.exit_code == 0, done.output
        return done.stdout

    def files(self) -> dict[str, bytes]:
        """Return what of the site a take may change, without locks."""
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for path in self.path.rglob("*")
            if path.is_file() and path.suffix != ".lock"
        }


@dataclass(frozen=True)
class Federation:
    """A hub that has offered one study, and two hospitals that have joined."""

    hub: Place
    north: Place
    south: Place
    workspace: Path
    parcel: Path
    offered: dict[str, Any]


def hospital(path: Path, hub: HubFolder, tiny: TinyFederation, data: str) -> Introduction:
    """Make a site as `init` and a person's own typing leave it, joined to the hub."""
    introduction = make_site(path, path.name)
    text = (path / "site.yaml").read_text()
    source = read_yaml(tiny.workspace / "sites" / f"{data}.yaml")["data"]["source"]
    text = text.replace("  source:  ", f"  source: {source}").replace(
        "declared_patients: ", "declared_patients: 4"
    )
    (path / "site.yaml").write_text(text.replace("reply_after_seconds: auto", "reply_after_seconds: off"))
    join_federation(path / "site.yaml", hub.invitation())
    return introduction


def open_workspace(folder: Path, tiny: TinyFederation) -> Path:
    """Return the tiny workspace with its noise left open, as `make prepare` leaves it."""
    folder.mkdir()
    for part in ("public", "weights", "manifests", "data", "sites"):
        (folder / part).symlink_to(tiny.workspace / part)
    study = tiny.study.model_dump(mode="json")
    study["privacy"]["noise_multiplier"] = None
    (folder / "study.yaml").write_text(json.dumps(study))
    return folder


def yes(federation: Federation) -> tuple[str, ...]:
    """Return the digests that a script types."""
    return "--yes-code", federation.offered["bundle"], "--yes-study", federation.offered["digest"]
