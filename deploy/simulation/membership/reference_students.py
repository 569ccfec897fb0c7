"""Reference students for membership inference: the same recipe, on other patients of the same made hospitals.

In: a prepared workspace of phantoms. Out: the trainable weights of students that never saw its patients. They come
from the sites' own training code (`client.rounds.local_training`) and the hub's own merging, in one process instead
of Flower's.
"""

from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from client.rounds.local_training import fill_target_cache, private_update
from client.site.site import Site
from deploy.simulation.comparison import site_files
from deploy.simulation.phantoms import write_phantoms
from deploy.simulation.simulated_hospitals import phantom_plans
from deploy.simulation.terminal_progress import Progress
from deploy.simulation.workspace import Workspace
from server.rounds.aggregation import RunningMean, applied
from server.rounds.merging import merge_of
from shared.config.files import parse_site, read_site_yaml
from shared.config.study import StudyConfig
from shared.data.patients import Patient
from shared.data.sources import patients_by_site, read_source
from shared.data.tables.manifest import write_manifest
from shared.messages.release_kinds import THIS_RUN_ALONE
from shared.models.arrays import Arrays, to_arrays
from shared.models.trainable import trainable_names
from shared.processes.process_groups import worker_processes

_OTHER_SEED = 1_000_003  # added to the workspace's: other patients of the same hospitals
_POOL = 2  # times a hospital's training patients; each reference trains on half of them


@dataclass(frozen=True)
class OtherPatients:
    """A pool of patients that no study saw, and the folder that is kept for them."""

    folder: Path
    workspace: Workspace
    seed: int

    def make(self, progress: Progress) -> None:
        """Draw the pool, once."""
        if (self.folder / "drawn").is_file():
            return
        federation, task = self.workspace.recipe.federation, self.workspace.study.task
        plans = [
            replace(plan, num_patients={"train": _POOL * plan.num_patients["train"]})
            for plan in phantom_plans(federation, task)
            if plan.name != federation.public_site
        ]
        write_phantoms(
            self.folder / "data",
            sites=plans,
            seed=_OTHER_SEED + self.seed,
            size=task.image_size,
            progress=lambda done, total: progress("other patients", done, total),
            num_processes=2,
        )
        for site, patients in self._by_site().items():
            write_manifest(patients, self.folder / "pool" / f"{site}.csv", task)
        (self.folder / "drawn").touch()

    def fill_caches(self, studies: Sequence[StudyConfig], progress: Progress) -> None:
        """Let each made hospital compute its teacher's targets of the whole pool, once, two hospitals at a time.

        For every study that will train, so that no two processes write to one cache later.
        """
        done_for = self.folder / f"filled-{'-'.join(sorted(study.digest()[:8] for study in studies))}"
        if done_for.is_file():
            return
        files = list(site_files(self.workspace.path))
        with worker_processes(min(2, len(files)), "spawn") as pool:
            jobs = [
                pool.submit(
                    _fill, [self._site(path, self.folder / "pool", study) for study in studies], studies
                )
                for path in files
            ]
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                progress("teacher's targets of other patients", done, len(jobs))
        done_for.touch()

    def sites(self, study: StudyConfig, number: int) -> list[Site]:
        """Return the made hospitals of reference student `number`: half of the pool each, the same in every study."""
        own = self.folder / f"reference-{number}"
        for site, patients in self._by_site().items():
            chosen = np.random.default_rng([self.seed, number]).permutation(len(patients))
            half = sorted(chosen[: len(patients) // _POOL].tolist())
            write_manifest([patients[row] for row in half], own / f"{site}.csv", study.task)
        return [self._site(path, own, study) for path in site_files(self.workspace.path)]

    def own_sites(self, study: StudyConfig) -> list[Site]:
        """Return the made hospitals with the patients of the workspace itself, and a state of their own."""
        manifests = self.workspace.path / "manifests"
        return [self._site(path, manifests, study, "own-state") for path in site_files(self.workspace.path)]

    def _site(self, file: Path, manifests: Path, study: StudyConfig, state: str = "state") -> Site:
        """Return a made hospital with these patients; its targets and keys lie in the folder `state`."""
        name = file.stem
        raw = read_site_yaml(file) | {
            "data": {"source": str((manifests / f"{name}.csv").resolve())},
            "state_dir": str((self.folder / state / name).resolve()),
            "head_file": str((self.folder / state / f"{name}.head").resolve()),
            "allow_without_privacy": not study.privacy.enabled,
        }
        return Site(parse_site(raw, file.name), THIS_RUN_ALONE)

    def _by_site(self) -> dict[str, list[Patient]]:
        patients = read_source(self.folder / "data" / "manifest.csv", self.workspace.study.task)
        return patients_by_site(patients)


def federated_weights(study: StudyConfig, sites: Sequence[Site]) -> Arrays:
    """Train all rounds of a study: every site answers each of them, and the hub's running mean merges."""
    compact, adapters = sites[0].compact(study)
    parameters = dict(compact.named_parameters())
    names = trainable_names(compact, study.privacy.trainable)
    weights: Arrays = to_arrays({name: parameters[name] for name in names})
    merge = merge_of(study, compact)
    carried: Arrays = {}
    for number in range(1, study.federation.rounds + 1):
        mean = RunningMean({site.config.name: float(site.config.declared_patients) for site in sites})
        for site in sites:
            mean.add(site.config.name, private_update(site, study, number, compact, adapters, weights))
        step, carried = merge(carried, mean.mean(), [site.config.declared_patients for site in sites], number)
        weights = applied(weights, step)
    return weights


def _fill(sites: Sequence[Site], studies: Sequence[StudyConfig]) -> None:
    for site, study in zip(sites, studies, strict=True):
        site.config.state_dir.mkdir(parents=True, exist_ok=True)
        fill_target_cache(site, study)
