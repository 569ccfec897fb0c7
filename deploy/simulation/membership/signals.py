"""What students say about patients, for membership inference: one signal a patient and student.

In: views of made hospitals' patients, and students as jobs for any process. Out: arrays (N,) of mean true-class
log-odds, kept on disk so that an interrupted measurement goes on where it stopped.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from client.site.site import Site
from deploy.simulation.comparison import site_files
from deploy.simulation.membership.reference_students import federated_weights
from deploy.simulation.terminal_progress import Progress
from deploy.simulation.workspace import Workspace
from server.metrics.membership import Signals
from server.public_data.images import tensors
from server.public_data.preparation import public_sets
from shared.config.files import read_site
from shared.config.study import StudyConfig
from shared.data.patients import Patient
from shared.data.sources import patients_by_site, read_source
from shared.distillation.targets import read_views
from shared.models.arrays import Arrays
from shared.models.compact import CompactModel
from shared.models.initial import unpack_initial
from shared.models.trainable import load_trainable
from shared.models.weights import find_weights, load_weights
from shared.processes.process_groups import worker_processes
from shared.whole_file import whole_file

MEMORISED, MOST_EPOCHS = 100, 60  # patients and epochs of the student that is made to memorise
_BY_HEART_RATE, _BY_HEART_BATCH = 1e-3, 32
_KNOWN = 0.005  # mean loss at which it knows them
_IMAGES_AT_ONCE = 64
LogOdds = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """Who is asked about: views (N, K, H, W, 3) and labels (N, K); `num_members` members first, then non-members."""

    views: NDArray[np.uint8]
    labels: NDArray[np.int64]
    num_members: int

    @property
    def members(self) -> NDArray[np.int64]:
        """Rows of all members."""
        return np.arange(self.num_members)

    @property
    def memorised(self) -> NDArray[np.int64]:
        """Rows of the few members that one student is made to learn by heart."""
        return np.sort(np.random.default_rng(0).permutation(self.num_members)[:MEMORISED])

    @property
    def coins(self) -> LogOdds:
        """For each patient (N,) 1 or -1: whether a random label is the true one. Phantoms have two classes.

        Times the log-odds of the true class they are the log-odds of the random one.
        """
        return np.random.default_rng(1).choice([1.0, -1.0], len(self.labels))

    def log_odds(self, model: nn.Module) -> LogOdds:
        """Return each patient's mean log-odds of the true class (N,) over the views that training used."""
        pixels = self.views.reshape(-1, *self.views.shape[2:])
        labels = torch.from_numpy(self.labels.reshape(-1))
        starts = range(0, len(pixels), _IMAGES_AT_ONCE)
        with torch.inference_mode():
            parts = [
                true_class_log_odds(
                    model(tensors(pixels[at : at + _IMAGES_AT_ONCE])), labels[at : at + _IMAGES_AT_ONCE]
                )
                for at in starts
            ]
        found: LogOdds = torch.cat(parts).numpy().reshape(self.labels.shape).mean(1)
        return found

    def divided(
        self, student: LogOdds, references: list[LogOdds], members: NDArray[np.int64]
    ) -> tuple[Signals, Signals]:
        """Return the signals of these members and of all non-members."""
        others = np.stack(references)
        out = slice(self.num_members, None)
        return Signals(student[members], others[:, members]), Signals(student[out], others[:, out])


def true_class_log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of the true class, (N,) float64, from logits (N, C): p is never rounded to 1."""
    own = functional.one_hot(labels, logits.shape[1]).bool()
    wide = logits.double()
    return wide[own] - wide.masked_fill(own, -torch.inf).logsumexp(1)


def asked_about(workspace: Workspace, patients_per_site: int) -> Asked:
    """Read as many members as non-members of each made hospital, at most `patients_per_site` of either."""
    study = workspace.study
    tests = patients_by_site(public_sets(workspace.path, study)["test"])
    members: list[Patient] = []
    non_members: list[Patient] = []
    for path in site_files(workspace.path):
        site = read_site(path)
        trained = [one for one in read_source(site.data.source, study.task) if one.split == "train"]
        seen = tests.get(site.name, [])
        count = min(patients_per_site, len(trained), len(seen))
        members += _some(trained, count, site.name)
        non_members += _some(seen, count, site.name)
    read = [read_views(one, study) for one in (*members, *non_members)]
    return Asked(np.stack([one.pixels for one in read]), np.stack([one.labels for one in read]), len(members))


def of_weights(asked: Asked, workspace: Path, study: StudyConfig, weights: Arrays) -> LogOdds:
    """Ask the student with these trained weights; with none it is the one that all rounds started from."""
    torch.set_num_threads(1)  # one of two processes
    compact = _started(workspace, study)
    load_trainable(compact, weights)
    return asked.log_odds(compact.eval())


def of_reference(asked: Asked, workspace: Path, study: StudyConfig, sites: list[Site]) -> LogOdds:
    """Train a student on these hospitals' patients by the study's recipe, and ask it."""
    return of_weights(asked, workspace, study, federated_weights(study, sites))


def of_memorised(asked: Asked, workspace: Path, study: StudyConfig) -> LogOdds:
    """Ask a student that learned random labels of a few members by heart, without privacy: the attacks must find it.

    Random ones, because on an easy task a student is as sure of the true label of patients that it never saw.
    """
    torch.set_num_threads(1)
    compact, rows = _started(workspace, study), asked.memorised
    labels = np.where(asked.coins[rows, None] > 0, asked.labels[rows], 1 - asked.labels[rows]).reshape(-1)
    learn_by_heart(compact, asked.views[rows].reshape(-1, *asked.views.shape[2:]), labels)
    return asked.log_odds(compact.eval())


def learn_by_heart(model: nn.Module, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Train every weight on the very views (N, H, W, 3) that will be asked about, until the labels are known."""
    images, truth = tensors(pixels), torch.from_numpy(labels)
    random = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), _BY_HEART_RATE)
    for _ in range(MOST_EPOCHS):
        total = 0.0
        for rows in torch.split(torch.randperm(len(truth), generator=random), _BY_HEART_BATCH):
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(images[rows]), truth[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += loss.item() * len(rows)
        if total / len(truth) < _KNOWN:
            return


def kept_signals(
    store: Path, jobs: Mapping[str, Callable[[], partial[LogOdds]]], progress: Progress
) -> dict[str, LogOdds]:
    """Do every job once, two at a time, and keep its signals; what was kept is read."""
    store.mkdir(parents=True, exist_ok=True)
    missing = [key for key in jobs if not (store / f"{key}.npy").is_file()]
    if missing:
        with worker_processes(min(2, len(missing)), "spawn") as pool:
            started = {pool.submit(jobs[key]()): key for key in missing}
            for done, job in enumerate(as_completed(started), 1):
                with whole_file(store / f"{started[job]}.npy") as part, part.open("wb") as file:
                    np.save(file, job.result())
                progress("students trained and asked", done, len(missing))
    return {key: np.load(store / f"{key}.npy") for key in jobs}


def _some(patients: list[Patient], count: int, site: str) -> list[Patient]:
    order = np.random.default_rng(list(site.encode())).permutation(len(patients))
    return [patients[row] for row in order[:count]]


def _started(workspace: Path, study: StudyConfig) -> CompactModel:
    digest = str(study.models.initial_sha256)
    initial = load_weights(find_weights(workspace / "weights", digest), digest)
    return unpack_initial(study, initial)[0]
