"""A search for weights under which one patient moves the clipped sum by more than the clip.

Random walks over everything that a hostile hub chooses: methods, trainable sets, views, weights up to 1e4; and over
patients of 1 to 5 images, of one class or more, in chunks whose boundaries fall anywhere. No pack is needed.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from client.dp_sgd.private_steps import clipped_sum_for_step
from client.rounds.local_training import SitePatients
from shared.config.files import parse_study
from shared.config.study import Method, StudyConfig, TrainableSet
from shared.models.adapters import Adapters
from shared.models.arrays import Arrays, to_arrays
from shared.models.compact import CompactModel, build_compact
from shared.models.trainable import load_trainable, trainable_names
from shared.privacy.noise import Coins
from shared.privacy.step_plan import StepPlan
from tests.privacy.crafted import LARGEST, opposed_positions, opposed_views

LIMIT = 1 + 1e-6
CHUNK = 3
TEACHER_CHANNELS, TEACHER_SIZE = 8, (2, 2)
SMALL = {"kernels": (3,) * 20, "expand_ratios": (3,) * 20, "depths": (2,) * 5}


@dataclass
class Worst:
    """The largest ratio of one trainable set, where it was found, and how many weights were tried."""

    ratio: float = 0.0
    where: str = ""
    tried: int = 0

    def tell(self, ratio: float, where: str) -> None:
        """Count a trial; a sum that is not finite is worse than any."""
        self.tried += 1
        if not ratio <= self.ratio:
            self.ratio, self.where = (ratio if np.isfinite(ratio) else float("inf")), where


class MadeUp(SitePatients):
    """Patients with 1 to 5 random pictures and labels of their own; their losses are the study's."""

    def __init__(
        self, study: StudyConfig, compact: CompactModel, adapters: Adapters, who: Sequence[int]
    ) -> None:
        super().__init__([], study, compact, adapters, None, Coins(bytes(32)))  # type: ignore[arg-type]
        self.who = who

    def load(self, patient: int, step: int) -> Mapping[str, Tensor]:  # noqa: ARG002 - the same in every step
        """Return the patient's views: of its own few pictures, some of them bright or nearly the same."""
        template = self.template
        draw = np.random.default_rng(self.who[patient])
        images = draw.integers(1, 6)
        views, shape = template["images"].shape[0], template["images"].shape[1:]
        first = draw.standard_normal(shape)
        near = draw.choice([0.0, 1e-6, 1e-3, 1.0])
        pictures = [first * (1 - near) + near * draw.standard_normal(shape) for _ in range(images)]
        chosen = [int(draw.integers(images)) for _ in range(views)]
        fields = {
            "images": torch.tensor(np.stack([pictures[one] for one in chosen]), dtype=torch.float32),
            "labels": torch.tensor([(view + self.who[patient]) % 2 for view in range(views)]),
        }
        for name, value in template.items():
            if name not in fields:
                fields[name] = torch.tensor(draw.standard_normal(value.shape), dtype=torch.float32)
        return fields


def study_of(method: Method, views: int) -> StudyConfig:
    """Return a study of a method with so many views a step."""
    return parse_study(
        {
            "name": "searched",
            "purpose": "search",
            "ethics_reference": "none",
            "expires": "2100-01-01",
            "task": {"classes": ["normal", "opacity"], "image_size": 32},
            "models": {
                "teacher": {"name": "resnet10t"},
                "explainer": {"width": 4},
                "student": {"architecture": SMALL},
            },
            "distillation": {"method": method, "num_views": 2, "views_per_step": views},
        }
    )


def worst_ratios(
    seconds: float, sets: Sequence[TrainableSet] = get_args(TrainableSet)
) -> list[dict[str, Any]]:
    """Search for so many seconds and return a row for each trainable set."""
    torch.set_num_threads(1)
    corners = [(m, w, v) for v in (1, 2) for m in get_args(Method) for w in sets]
    found = {which: Worst() for which in sets}
    started = time.monotonic()
    for number, (method, which, views) in enumerate(corners):
        until = started + seconds * (number + 1) / len(corners)
        walk(method, which, views, found[which], until, seed=number)
    took = time.monotonic() - started
    return [
        {
            "name": f"search, {which}",
            "claim": "one patient moves the clipped sum by at most the clip",
            "attack": "random walks over weights, methods, views, patients and chunk boundaries",
            "bound": "1.000001 of the clip",
            "seen": f"{worst.ratio:.9g} of the clip at most, {worst.tried} weights, {took / len(sets):.0f} s"
            + (f"; {worst.where}" if worst.ratio > LIMIT else ""),
            "holds": bool(worst.ratio <= LIMIT and worst.tried > 0),
        }
        for which, worst in found.items()
    ]


def walk(method: Method, which: TrainableSet, views: int, worst: Worst, until: float, seed: int) -> None:
    """Try weights of one corner until the time is over, at least twice; go on from what came nearest to the bound."""
    draw = np.random.default_rng(seed)
    study = study_of(method, views)
    compact = build_compact(study, seed=seed).eval()
    adapters = adapters_of(compact, study)
    names = list(trainable_names(compact, which))
    parameters = dict(compact.named_parameters())
    base = to_arrays({name: parameters[name] for name in names})
    best, best_ratio, tried = base, 0.0, 0
    while tried < 2 or time.monotonic() < until:
        weights = changed(base if draw.random() < 0.3 else best, base, compact, which, draw)
        ratio = moved(study, compact, adapters, names, weights, draw)
        worst.tell(ratio, f"{method}, {which}, {views} views")
        if ratio >= best_ratio * 0.999:
            best, best_ratio = weights, ratio
        tried += 1


def adapters_of(compact: CompactModel, study: StudyConfig) -> Adapters:
    """Return frozen random adapters for whatever the student's features are."""
    with torch.no_grad():
        features = compact.run(torch.zeros(1, 3, study.task.image_size, study.task.image_size)).features
    count = len(features)
    adapters = Adapters(
        [one.shape[1] for one in features], [TEACHER_CHANNELS] * count, [TEACHER_SIZE] * count
    )
    adapters.freeze()
    return adapters


def changed(
    weights: Arrays, base: Arrays, compact: CompactModel, which: TrainableSet, draw: np.random.Generator
) -> Arrays:
    """Return weights one move further: a tensor scaled, set, or drawn anew; or a crafted start."""
    move = draw.integers(6)
    if move == 0 and which != "head":
        return within(opposed_views(base, float(10 ** draw.uniform(-2, 2))))
    if move == 1 and which in {"last", "all"}:
        small, gamma, mixed = (float(10 ** draw.uniform(*span)) for span in ((-5, 0), (-1, 4), (0, 4)))
        return within(opposed_positions(base, compact.student, small, gamma, mixed))
    moved_on = {name: value.copy() for name, value in weights.items()}
    for name in draw.choice(list(moved_on), size=int(draw.integers(1, 4))):
        value = moved_on[name]
        if move in {0, 1, 2}:
            value *= np.float32(10 ** draw.uniform(-4, 4))
        elif move == 3:
            value[...] = np.float32(draw.choice([0.0, 1e-30, 1.0, LARGEST, -LARGEST]))
        else:
            value[...] = (draw.standard_normal(value.shape) * 10 ** draw.uniform(-6, 4)).astype(np.float32)
    return within(moved_on)


def within(weights: Arrays) -> Arrays:
    """Return the weights held within what a site accepts."""
    return {name: np.clip(value, -LARGEST, LARGEST) for name, value in weights.items()}


def moved(
    study: StudyConfig,
    compact: CompactModel,
    adapters: Adapters,
    names: Sequence[str],
    weights: Arrays,
    draw: np.random.Generator,
) -> float:
    """Return how far the clipped sum moves when one of 1 to 7 patients goes, over the clip."""
    load_trainable(compact, weights)
    who = [int(one) for one in draw.integers(1_000_000, size=int(draw.integers(1, 2 * CHUNK + 2)))]
    who = list(dict.fromkeys(who))
    gone = who[int(draw.integers(len(who)))]
    clip = float(10 ** draw.uniform(-3, 2))
    plan = StepPlan(1, 1.0, float(10 ** draw.uniform(-0.5, 1)), clip, 0.1, 0.0, 1.0, CHUNK)

    def total(ids: Sequence[int]) -> Tensor:
        sums = clipped_sum_for_step(
            compact, names, plan, patient_ids=[str(one) for one in ids], coins=Coins(bytes(32)),
            source=MadeUp(study, compact, adapters, ids), step=0,
        )  # fmt: skip
        return torch.cat([sums[name].flatten() for name in sorted(sums)])

    return float((total(who) - total([one for one in who if one != gone])).norm()) / clip
