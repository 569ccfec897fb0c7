"""A hub's folder with hospitals in every state: keys, signatures, bundles and a study's records are real files.

What only running processes write (`services.json`) is written here as `rounds-hub serve` writes it; the system tests
have the processes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from server.hub.bundle_registry import Registry
from server.hub.certificates import Names
from server.hub.hub_folder import HubFolder, make_hub
from server.hub.hub_state import NODES, Node, told_nodes
from server.studies.submissions import State, Submission, SubmittedStudy
from shared.trust.bundle_signatures import Signatures, openssh, sign_bundle
from shared.trust.site_introduction import introduce
from tests.probe_app import build, write_app

STUDY = "lungs-20261120-190000"
AWAY = "2026-11-20T18:30:00+00:00"
NODES_NOW = {
    "north": Node("online"),
    "south": Node("online"),
    "east": Node("offline", AWAY),
    "coast": Node("registered"),
    "hill": Node("online"),
}


@dataclass
class ConnectedHub:
    """The folder, with what people and processes do to it."""

    hub: HubFolder
    keys: dict[str, ed25519.Ed25519PrivateKey]

    def admit(self, name: str) -> None:
        """Admit a site with keys of its own."""
        approval = ed25519.Ed25519PrivateKey.generate()
        made = introduce(name, ec.generate_private_key(ec.SECP384R1()), approval, date(2026, 11, 20))
        self.keys[name] = approval
        with self.hub.sites() as sites:
            sites.admit(made)

    def remove(self, name: str) -> None:
        with self.hub.sites() as sites:
            sites.remove(name)

    def invite(self, name: str) -> None:
        with self.hub.sites() as sites:
            sites.invite(name)

    def add_bundle(self, version: str) -> str:
        """Offer a bundle; returns its digest."""
        sources = self.hub.path.parent / f"app-{version}"
        return Registry(self.hub.registry).add(build(write_app(sources, version))).sha256

    def sign_in(self, name: str, *digests: str, signed_at: datetime | None = None) -> None:
        """Take in a hospital's signatures on these bundles."""
        key, at = self.keys[name], int((signed_at or datetime.now(UTC)).timestamp())
        own = openssh(key.public_key())
        bundles = tuple(sign_bundle(key, one, at) for one in digests)
        said = Signatures(site=name, number=1, approval_key=own, code_key=own, bundles=bundles).signed(key)
        file = self.hub.path.parent / f"{name}.signatures.json"
        file.write_text(said.model_dump_json())
        Registry(self.hub.registry).sign_in(file, name, own)

    def serving(self, nodes: Mapping[str, Node] | None = None, age: timedelta = timedelta()) -> None:
        """Write what `rounds-hub serve` writes; `nodes` None: its SuperLink does not answer."""
        told = {
            "superlink": "127.0.0.1:1",
            "answers": nodes is not None,
            NODES: None if nodes is None else told_nodes(nodes),
            "time": (datetime.now(UTC) - age).isoformat(timespec="seconds"),
            "services": {},
        }
        self.hub.status.write_text(json.dumps(told))

    def submit(self, name: str = STUDY, state: State = "running") -> SubmittedStudy:
        """Submit a study; returns it."""
        study = SubmittedStudy(self.hub.studies / name)
        study.path.mkdir(parents=True)
        study.write(
            Submission(workspace=self.hub.path, app="@rounds/probe==1.1.0", study="5" * 64, state=state)
        )
        return study


def new_hub(folder: Path) -> ConnectedHub:
    """Make a hub without sites."""
    made = make_hub(folder / "hub", "lungs", "hub.example.org:8443", Names.of(["hub.example.org"], []))
    return ConnectedHub(made, {})


def whole_hub(folder: Path) -> ConnectedHub:
    """Make a hub with a hospital in each state: taking part, refusing, away, new, not signed, invited, removed."""
    one = new_hub(folder)
    for name in ("north", "south", "east", "coast", "hill", "west"):
        one.admit(name)
    one.invite("north")
    one.invite("island")
    one.remove("west")
    older, newest = one.add_bundle("1.0.0"), one.add_bundle("1.1.0")
    for name in ("north", "south", "east"):
        one.sign_in(name, newest)
    one.sign_in("hill", older)
    study = one.submit()
    record = study.folder.record_event
    record("study_started", study="lungs", uid="5" * 32, rounds=4)
    record("enrolled", site="north", declared_patients=600)
    record("not_enrolled", site="south", why="answered study_not_approved")
    record("enrolled", site="hill", declared_patients=400)
    record("round_started", round=1, sites=["hill", "north"])
    record("answered", round=1, kind="train", site="north", outcome="accepted", epsilon=1.2)
    record("answered", round=1, kind="train", site="hill", outcome="budget_spent", epsilon=None)
    one.serving(NODES_NOW)
    return one
