"""Each site alone: what a hospital would reach without the others, under the same budget or without noise."""

from concurrent.futures import as_completed
from functools import partial
from pathlib import Path

import numpy as np

from client.rounds.local_training import private_update
from client.site.site import Site
from deploy.simulation.result_cache import Probabilities, kept
from deploy.simulation.terminal_progress import Progress
from server.public_data.baselines import Public
from server.public_data.images import predict_logits, softmax
from server.rounds.aggregation import applied
from server.rounds.merging import merge_of
from shared.config.files import parse_site, read_site_yaml
from shared.config.study import StudyConfig
from shared.messages.release_kinds import THIS_RUN_ALONE
from shared.models.arrays import Arrays, to_arrays
from shared.models.initial import unpack_initial
from shared.models.trainable import load_trainable, trainable_names
from shared.processes.process_groups import worker_processes


def sites_alone(
    public: Public, study: StudyConfig, files: list[Path], *, private: bool, store: Path, progress: Progress
) -> dict[str, Probabilities]:
    """Train every site alone, two at a time with one thread each; what an earlier call kept is read.

    Each is kept as soon as it is done, and ending this process ends its workers.
    """
    group = "site_alone" if private else "site_alone_without_privacy"
    keys = {path: f"{group}.{path.stem}" for path in files}
    missing = [path for path in files if not (store / f"{keys[path]}.npy").is_file()]
    if missing:
        progress.say(f"Comparing: {group}, {', '.join(path.stem for path in missing)}")
        job = partial(site_weights, study, private=private, state=store / "alone")
        with worker_processes(min(2, len(missing)), "spawn") as pool:
            jobs = {pool.submit(job, path): path for path in missing}
            for done in as_completed(jobs):
                kept(store, keys[jobs[done]], partial(of_weights, public, study, done.result()), progress)
    return {key: np.load(store / f"{key}.npy") for key in keys.values()}


def site_weights(study: StudyConfig, site_file: Path, *, private: bool, state: Path) -> Arrays:
    """Train one site alone: as many rounds and steps as the federation, with or without noise."""
    privacy = study.privacy.model_copy(update={"enabled": private})
    study = study.model_copy(update={"privacy": privacy})
    raw = read_site_yaml(site_file) | {
        "state_dir": str(state / site_file.stem),
        "allow_without_privacy": not private,
    }
    site = Site(parse_site(raw, site_file.name), THIS_RUN_ALONE)
    site.config.state_dir.mkdir(parents=True, exist_ok=True)
    compact, adapters = site.compact(study)
    parameters = dict(compact.named_parameters())
    weights: Arrays = to_arrays(
        {name: parameters[name] for name in trainable_names(compact, privacy.trainable)}
    )
    merge = merge_of(study, compact)
    carried: Arrays = {}
    for number in range(1, study.federation.rounds + 1):
        update = private_update(site, study, number, compact, adapters, weights)
        step, carried = merge(carried, update, [site.config.declared_patients], number)
        weights = applied(weights, step)
    return weights


def of_weights(public: Public, study: StudyConfig, weights: Arrays) -> Probabilities:
    """Return the test probabilities of the compact model with these trainable weights."""
    compact, _ = unpack_initial(study, public.initial())
    load_trainable(compact, weights)
    return softmax(predict_logits(compact, public.test))
