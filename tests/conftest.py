"""A whole federation in miniature, made once a session: three phantom hospitals, a teacher, a warm start."""

import csv
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

with warnings.catch_warnings():  # Flower imports typer, which imports a name that click has deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    import flwr.serverapp  # noqa: F401 - imported for its warning, once

from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.supercore.task_identity import TaskIdentity

from client.rounds.answer import answer
from client.site.site import Site
from deploy.simulation.phantoms import STYLES, SitePlan, write_phantoms
from deploy.simulation.simulated_hospitals import Federation, Recipe, accept_weights, build_workspace
from server.app import initial_state
from server.public_data.preparation import with_public_digests, with_teacher, with_warm_start
from server.rounds.exchange import Answer, Exchange
from shared.code_digest import code_digest
from shared.config.files import parse_site, parse_study, read_yaml
from shared.config.kinds import RequestKind
from shared.config.study import StudyConfig
from shared.data.tables.manifest import COLUMNS
from shared.messages.release_kinds import THIS_RUN_ALONE
from shared.messages.requests import Request, RequestHeader, encode_request
from shared.models.arrays import Arrays, arrays_digest, to_arrays
from shared.models.initial import unpack_initial
from shared.models.trainable import trainable_names
from tests.flower_nodes import FlowerNodes, HttpNodes, LocalNodes, served_superlink

UID = "a" * 32
SITES = ("bedside", "children", "film")
STUDY: dict[str, Any] = {
    "name": "tiny",
    "purpose": "test the whole way",
    "ethics_reference": "none needed",
    "expires": "2035-12-31",
    "task": {"classes": ["normal", "opacity"], "positive": "opacity", "image_size": 32},
    "models": {
        "teacher": {"name": "resnet10t"},
        "student": {"architecture": {"kernels": (3,) * 20, "expand_ratios": (3,) * 20, "depths": (2,) * 5}},
        "explainer": {"width": 4},
    },
    "warm_start": {"epochs": 1, "batch_size": 8},
    "privacy": {"noise_multiplier": 1.0, "sample_rate": 0.5},
    "federation": {"rounds": 2, "steps": 2, "learning_rate": 0.1, "quorum": 2, "min_sites": 3},
}
Tamper = Callable[[str, RequestKind, dict[str, bytes]], dict[str, bytes] | None]


class Hospitals(Exchange):
    """Real sites answering in this process, in reverse order, so that nothing rests on arrival order.

    `tamper(site, kind, parts)` may change an answer on its way; where it returns None the site stays silent,
    as one does that misses the deadline. `asked` keeps what each site was asked and what the hub got. A site in `later`
    takes the place of the one that enrolled, as where a hospital changes its rules while a study runs.
    """

    def __init__(
        self, sites: Mapping[str, Site], tamper: Tamper | None = None, later: Mapping[str, Site] | None = None
    ) -> None:
        self.sites = list(sites.values())
        self.later = later or {}
        self.tamper: Tamper = tamper or (lambda _site, _kind, parts: parts)
        self.asked: list[tuple[str, RequestKind, bytes, dict[str, bytes] | None]] = []
        self.names: dict[int, str] = {}

    def wait_for_nodes(self, at_least: int, seconds: float) -> list[int]:  # noqa: ARG002 - Exchange's shape
        """Return one node a site."""
        return list(range(len(self.sites)))

    def admitted_names(self) -> dict[int, str]:
        """Return the names given in `names`; as in a simulation there are none unless a test gives them."""
        return self.names

    def ask(
        self,
        kind: RequestKind,
        payloads: Mapping[int, bytes],
        *_: object,
        meanwhile: Callable[[], None] = lambda: None,
        **__: object,
    ) -> Iterator[Answer]:
        """Let each site answer."""
        meanwhile()
        for node, payload in reversed(list(payloads.items())):
            name = self.sites[node].config.name
            parts = self.tamper(name, kind, answer(self.sites[node], payload))
            self.asked.append((name, kind, payload, parts))
            self.sites[node] = self.later.get(name, self.sites[node])
            if parts is not None:
                yield Answer(node, parts, sum(len(part) for part in parts.values()))

    def late(self) -> Iterator[Answer]:
        """Yield nothing: who is silent here stays silent."""
        return iter(())


@pytest.fixture(scope="session")
def flower_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the file of an empty state once: Flower's migrations take a second."""
    path = tmp_path_factory.mktemp("flower") / "state.db"
    LocalNodes(str(path), 0)
    return path


@pytest.fixture(params=["memory", "sqlite", "http"])
def flower(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[int], FlowerNodes]]:
    """Put nodes in touch with the hub over Flower's two kinds of state in this process, and over HTTP."""
    identity = dict(vars(TaskIdentity))
    if request.param == "http":
        with served_superlink() as superlink, ExitStack() as opened:
            yield lambda count: opened.enter_context(closing(HttpNodes(superlink, count)))
    else:
        database = FLWR_IN_MEMORY_DB_NAME
        if request.param == "sqlite":
            database = str(tmp_path / "state.db")
            made = request.getfixturevalue("flower_database")
            with closing(sqlite3.connect(made)) as old, closing(sqlite3.connect(database)) as new:
                old.backup(new)
        yield lambda count: LocalNodes(database, count)
    for name in ("_run_id", "_node_id", "_task_id"):
        setattr(TaskIdentity, name, identity[name])


@dataclass(frozen=True)
class TinyFederation:
    """A prepared workspace at 32 px; its sites get a ledger and a key of their own in each test."""

    workspace: Path
    study: StudyConfig
    initial: Arrays

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays that the hub sends, and of those of an update."""
        return {name: array.shape for name, array in self.initial.items()}

    def site(self, name: str, state: Path, **changed: Any) -> Site:
        """Open a hospital with its state under `state`; `changed` overrides fields of its site.yaml."""
        raw = read_yaml(self.workspace / "sites" / f"{name}.yaml")
        raw |= {"state_dir": str(state / name), "head_file": str(state / "heads" / f"{name}.head")}
        return Site(parse_site(raw | changed), THIS_RUN_ALONE)

    def sites(self, state: Path, **changed: dict[str, Any]) -> dict[str, Site]:
        """Open all hospitals; `changed` holds overrides by site name."""
        return {name: self.site(name, state, **changed.get(name, {})) for name in SITES}

    def hospitals(
        self, sites: Mapping[str, Site], tamper: Tamper | None = None, later: Mapping[str, Site] | None = None
    ) -> Hospitals:
        """Put the hub in touch with these sites."""
        return Hospitals(sites, tamper, later)

    def poorer(self, state: Path, cap: float, *names: str) -> dict[str, Site]:
        """Open hospitals that have lowered their caps, for `later`: a site that is poor from the start stays away."""
        return {name: self.site(name, state, cap={"epsilon": cap}) for name in names}

    def request(
        self,
        kind: RequestKind,
        round_: int,
        weights: Arrays | None = None,
        study: StudyConfig | None = None,
        **header_fields: Any,
    ) -> bytes:
        """Return a request as the hub sends it; without weights a train request carries the initial ones."""
        if weights is None:
            weights = {} if kind == "enrol" else self.initial
        header = RequestHeader(
            study_uid=UID,
            round=round_,
            kind=kind,
            study_json=(study or self.study).canonical_json(),
            base_digest=arrays_digest(weights),
            code_digest=code_digest(),
            **header_fields,
        )
        return encode_request(Request(header, weights))

    def changed(self, **groups: dict[str, Any]) -> StudyConfig:
        """Return the study with fields of some of its groups changed."""
        raw = self.study.model_dump(mode="json")
        return parse_study(
            {key: value | groups.get(key, {}) if key in groups else value for key, value in raw.items()}
        )


@pytest.fixture(scope="session")
def tiny_federation(tmp_path_factory: pytest.TempPathFactory) -> TinyFederation:
    """Make the miniature once."""
    return make_tiny_federation(tmp_path_factory.mktemp("tiny"))


def make_tiny_federation(workspace: Path, raw: Mapping[str, Any] = STUDY) -> TinyFederation:
    """Make phantoms, workspace, teacher and warm start of a study: about 3 s of one core for the usual one."""
    torch.set_num_threads(1)
    patients = {"train": 4, "val": 2, "test": 4}
    plans = [SitePlan(name, patients, STYLES[name], max_images=2) for name in SITES]
    plans.append(SitePlan("public", {"train": 24}, STYLES["public"], max_images=1))
    source = write_phantoms(workspace / "data", sites=plans, seed=0, size=32)
    federation = Federation(
        title="tiny", public_site="public", declared_patients=dict.fromkeys(SITES, 4), teacher_epochs=1
    )
    study = parse_study(raw)
    build_workspace(Recipe("tiny", study, federation, source), workspace, seed=0, progress=_quiet)
    for manifests in ("manifests", "public"):
        name_whole_paths(workspace / manifests)
    study = with_public_digests(study, workspace)
    study = with_teacher(study, workspace, federation.teacher_fit, seed=0, progress=_quiet)
    study = with_warm_start(study, workspace, seed=0, progress=_quiet)
    accept_weights(workspace, study)
    compact, _ = unpack_initial(study, initial_state(workspace, study))
    parameters = dict(compact.named_parameters())
    names = trainable_names(compact, study.privacy.trainable)
    return TinyFederation(workspace, study, to_arrays({name: parameters[name] for name in names}))


def name_whole_paths(manifests: Path) -> None:
    """Name files by whole paths, so that tests can copy a manifest to another folder."""
    for manifest in manifests.glob("*.csv"):
        with manifest.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row |= {
                name: str(manifests.parent / row[name])
                for name in ("file", "mask", "lesion_mask")
                if row[name]
            }
        with manifest.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def _quiet(_what: str, _done: int, _total: int) -> None:
    """Show no progress."""
