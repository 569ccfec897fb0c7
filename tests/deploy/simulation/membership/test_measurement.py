"""What students are asked, and the reference students they are compared with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deploy.simulation.membership.measurement import measure_membership
from deploy.simulation.membership.reference_students import OtherPatients, federated_weights
from deploy.simulation.membership.signals import Asked, LogOdds, learn_by_heart, true_class_log_odds
from deploy.simulation.simulated_hospitals import Federation, Recipe
from deploy.simulation.terminal_progress import Progress
from deploy.simulation.workspace import Workspace
from server.metrics.membership import attacked
from server.metrics.membership_result import Attack
from server.public_data.images import tensors
from server.rounds.study import run_study
from server.runs.run_folder import RunFolder
from shared.config.files import parse_study
from shared.data.tables.manifest import manifest_digest, read_manifest
from shared.errors import ConfigError
from tests.conftest import SITES, STUDY

SIDE, VIEWS = 6, 2


def random_patients(random: np.random.Generator, num: int) -> tuple[Any, Any]:
    """Draw views and labels that have nothing to do with each other: only learning by heart gets them right."""
    views = random.integers(0, 256, (num, VIEWS, SIDE, SIDE, 3), dtype=np.uint8)
    return views, np.repeat(random.integers(0, 2, (num, 1)), VIEWS, axis=1)


def by_heart(views: Any, labels: Any, seed: int) -> nn.Module:
    """Train a small network on patients until it knows them."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, 2))
    images, truth = tensors(views.reshape(-1, SIDE, SIDE, 3)), torch.from_numpy(labels.reshape(-1))
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(150):
        optimiser.zero_grad()
        functional.cross_entropy(model(images), truth).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def attacks() -> Mapping[str, tuple[Attack, ...]]:
    """Attack a network that learned 200 members by heart, and one that learned others."""
    random = np.random.default_rng(0)
    views, labels = random_patients(random, 1000)
    asked = Asked(views, labels, num_members=200)
    references: list[LogOdds] = [
        asked.log_odds(by_heart(*random_patients(random, 200), seed)) for seed in range(4)
    ]

    def attack(model: nn.Module) -> tuple[Attack, ...]:
        return attacked(*asked.divided(asked.log_odds(model), references, asked.members), delta=1e-5)

    return {
        "members": attack(by_heart(views[:200], labels[:200], 10)),
        "others": attack(by_heart(*random_patients(random, 200), 11)),
    }


def test_a_network_that_learned_its_patients_by_heart_is_found_out(
    attacks: Mapping[str, tuple[Attack, ...]],
) -> None:
    """Every attack's AUC is surely above 0.75; loss and LiRA find surely more than 1 %, and show epsilon above 1.

    Seen: AUC 0.99, 0.96 and 0.83, 28, 20 and 5 % at 1 % false positives, epsilon at least 2.1, 2.1 and 1.0.
    """
    for one in attacks["members"]:
        assert one.auc.low is not None
        assert one.auc.low > 0.75
        assert one.true_positive is not None
        assert one.epsilon_seen is not None
        if one.attack != "rmia":
            assert one.true_positive.low > 0.01
            assert one.epsilon_seen.at_least > 1


def test_a_network_that_learned_others_by_heart_gives_chance(
    attacks: Mapping[str, tuple[Attack, ...]],
) -> None:
    """The same patients, the same attack: the interval holds 1 %, that of the AUC holds 0.5."""
    for one in attacks["others"]:
        assert one.true_positive is not None
        assert one.auc.low is not None
        assert one.auc.high is not None
        assert one.true_positive.low <= 0.01 <= one.true_positive.high
        assert one.auc.low <= 0.5 <= one.auc.high


def test_the_signal_is_the_log_odds_of_the_true_class() -> None:
    """Of three classes by hand; where the probability rounds to 1 the log-odds stay finite."""
    logits = torch.tensor([[0.0, 1.0, 2.0], [500.0, 0.0, 0.0]])
    found = true_class_log_odds(logits, torch.tensor([1, 0]))
    p = torch.softmax(logits[0].double(), 0)[1]
    torch.testing.assert_close(found[0], torch.log(p / (1 - p)))
    torch.testing.assert_close(found[1], torch.tensor(500.0 - np.log(2), dtype=torch.float64))


class Brightness(nn.Module):
    """Says class 1 as surely as a picture is bright."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 2)."""
        level = images.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(level), level], 1)


def test_a_patient_has_the_mean_signal_of_its_views() -> None:
    """More patients than are asked at once, each with its own views and label."""
    random = np.random.default_rng(1)
    views, labels = random_patients(random, 50)
    found = Asked(views, labels, 20).log_odds(Brightness())
    level = tensors(views.reshape(-1, SIDE, SIDE, 3)).double().mean((1, 2, 3)).numpy().reshape(50, VIEWS)
    np.testing.assert_allclose(found, (level * np.where(labels == 1, 1, -1)).mean(1), atol=1e-6)


def test_random_labels_are_learned_by_heart_and_asked_about() -> None:
    """A network that learns the labels of the coins knows them, and the coins turn its signal into theirs."""
    views, labels = random_patients(np.random.default_rng(2), 60)
    asked = Asked(views, labels, 40)
    random_labels = np.where(asked.coins[:, None] > 0, labels, 1 - labels)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, 2))
    learn_by_heart(model, views.reshape(-1, SIDE, SIDE, 3), random_labels.reshape(-1))
    signal = asked.log_odds(model) * asked.coins
    assert 10 < (asked.coins < 0).sum() < 50
    assert (signal > 1).all()
    np.testing.assert_allclose(signal, Asked(views, random_labels, 40).log_odds(model))


def test_signals_are_divided_by_who_was_trained_on() -> None:
    """The first rows are members, however few of them are asked about; all others are not."""
    asked = Asked(np.zeros((5, 1, 2, 2, 3), np.uint8), np.zeros((5, 1), np.int64), num_members=3)
    student = np.arange(5.0)
    members, non_members = asked.divided(student, [student + 10, student + 20], np.array([0, 2]))
    np.testing.assert_array_equal(members.student, [0, 2])
    np.testing.assert_array_equal(members.references, [[10, 12], [20, 22]])
    np.testing.assert_array_equal(non_members.student, [3, 4])
    np.testing.assert_array_equal(non_members.references, [[13, 14], [23, 24]])


def test_a_reference_is_trained_as_the_study_trains(tiny_federation: Any, tmp_path: Path) -> None:
    """On the same patients, without noise and with all in every step, its weights are those of the hub's study."""
    study = tiny_federation.changed(
        privacy={"enabled": False, "sample_rate": 1.0},
        distillation={"num_views": 1, "views_per_step": 1},
        federation={"server_momentum": 0.5},
    )
    allowed = {site: {"allow_without_privacy": True} for site in SITES}
    sites = tiny_federation.sites(tmp_path / "state", **allowed)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    hub = run_study(
        study,
        tiny_federation.initial,
        tiny_federation.hospitals(sites),
        folder,
        lambda _: {},
        simulation=True,
    )
    again = federated_weights(study, list(tiny_federation.sites(tmp_path / "other", **allowed).values()))
    assert set(again) == set(hub.weights)
    for name, array in hub.weights.items():
        np.testing.assert_array_equal(again[name], array)
        assert name not in tiny_federation.initial or array.shape == tiny_federation.initial[name].shape
    assert any((array != tiny_federation.initial[name]).any() for name, array in again.items())


def test_other_patients_are_nobody_of_the_study(tiny_federation: Any, tmp_path: Path) -> None:
    """No picture of the pool is one of the study; each reference has half of it, as many as a hospital trains on."""
    hospitals = {
        "title": "tiny",
        "public_site": "public",
        "phantoms": {"public": {"style": "public", "train": 24}}
        | {site: {"style": site, "train": 4, "test": 4} for site in SITES},
        "declared_patients": dict.fromkeys(SITES, 4),
    }
    recipe = Recipe("tiny", tiny_federation.study, Federation.model_validate(hospitals), None)
    workspace = Workspace(tiny_federation.workspace, tiny_federation.study, recipe, (), {})
    others = OtherPatients(tmp_path / "other", workspace, seed=0)
    others.make(Progress())
    sites = [others.sites(tiny_federation.study, number) for number in (0, 1)]
    assert [site.config.name for site in sites[0]] == list(SITES)
    known = {row.file.read_bytes() for row in read_manifest(tiny_federation.workspace / "data/manifest.csv")}
    for site in (*sites[0], *sites[1]):
        trained = site.partitions(tiny_federation.study)["train"]
        assert len(trained) == 4
        assert not known & {image.file.read_bytes() for one in trained for image in one.images}
    first, second = (
        manifest_digest(tmp_path / "other" / f"reference-{number}" / "film.csv") for number in (0, 1)
    )
    assert first != second
    others.sites(tiny_federation.study, 0)
    assert manifest_digest(tmp_path / "other" / "reference-0" / "film.csv") == first


@pytest.mark.parametrize(
    ("source", "references", "named"),
    [(Path("x.csv"), 4, "^DATA is real: "), (None, 1, "^--references is 1, allowed is 2 or more")],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_made(
    source: Path | None, references: int, named: str
) -> None:
    """Real data has no other patients to compare with, and one reference has no spread."""
    hospitals = Federation(title="tiny", declared_patients={"film": 12})
    recipe = Recipe("tiny", parse_study(STUDY), hospitals, source)
    with pytest.raises(ConfigError, match=named):
        measure_membership(recipe, 0, Progress(), num_references=references, patients_per_site=4)
