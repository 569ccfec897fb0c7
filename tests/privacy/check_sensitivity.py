"""One patient moves a step's clipped sum by at most the clip, for any weights that a site accepts."""

from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from shared.config.study import TrainableSet
from shared.models.arrays import Arrays
from shared.models.trainable import load_trainable
from shared.privacy.noise import Coins
from tests.privacy.crafted import blown_up_rounding, opposed_positions, opposed_views, split_by
from tests.privacy.room import DISAGREES, KEY, ONE_IMAGE, OpenStudy, Room, less, weights_of
from tests.privacy.small import InMemory, summed
from tests.privacy.table import Check, Finding

LIMIT = 1 + 1e-6
BOUND = "1.000001 of the clip"
CLAIM = "one patient moves the clipped sum by at most the clip"


def finding(ratio: float, tried: int) -> Finding:
    """Say how far one patient moved the sum."""
    return Finding(BOUND, f"{ratio:.7g} of the clip, the largest of {tried}", bool(ratio <= LIMIT))


def moved(full: OpenStudy, without: OpenStudy, weights: Arrays) -> float:
    """Return how far the clipped sum moves between two folders, in units of the clip."""
    distance = (full.clipped_sum(weights) - without.clipped_sum(weights)).norm()
    return float(distance) / full.study.privacy.max_grad_norm


def pair(room: Room, study, which: str, gone: str, scratch, chunk: int = 16, keep: int = 4):
    """Open the hospital twice: with `keep` patients, and without one of them; the coins are the same."""
    everybody = room.site(scratch / "everybody").partitions(study)["train"]
    others = [one.patient_id for one in everybody if one.patient_id != gone][keep - 1 :]
    few = less(room.manifest, scratch / "few.csv", *others) if others else room.manifest
    fewer = less(few, scratch / "fewer.csv", gone)
    return (
        OpenStudy(room.site(scratch / "with", few), study, which, chunk),
        OpenStudy(room.site(scratch / "without", fewer), study, which, chunk),
    )


def honest(room: Room) -> Finding:
    """Remove a patient from the folder under the warm-started weights, with a clip that everybody reaches."""
    ratios = []
    for method in ("supervised", "rounds"):
        for which in ("scales", "all") if room.quick else get_args(TrainableSet):
            study = room.study(method, privacy={"max_grad_norm": 0.01})
            with room.scratch() as scratch:
                full, without = pair(room, study, which, DISAGREES, scratch)
                ratios.append(moved(full, without, weights_of(full.site, study, which)))
    return finding(max(ratios), len(ratios))


def opposed(room: Room) -> Finding:
    """Two views of one patient cancel: a search over the size of what is left of them."""
    worst, tried = 0.0, 0
    for which in ("scales",) if room.quick else ("scales", "last"):
        study = room.study("supervised")
        with room.scratch() as scratch:
            full, without = pair(room, study, which, DISAGREES, scratch)
            base = weights_of(full.site, study, which)
            target = [one for one in full.patients if one.patient_id == DISAGREES]
            scales = np.geomspace(0.1, 30, 8 if room.quick else 40)
            alone = [
                float(full.clipped_sum(opposed_views(base, float(scale)), target).norm()) for scale in scales
            ]
            best = opposed_views(base, float(scales[int(np.argmax(alone))]))
            worst, tried = max(worst, moved(full, without, best), *alone), tried + len(scales)
    return finding(worst, tried)


def positions(room: Room) -> Finding:
    """Positions of one picture cancel, with one view and one image."""
    study = room.study(
        "supervised", task={"image_size": 64}, distillation={"num_views": 1, "views_per_step": 1}
    )
    sizes = (1e-4, 1e-2) if room.quick else (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    gammas = (0.1, 10.0) if room.quick else (0.1, 1.0, 10.0, 1e2, 1e3)
    mixes = (1e4,) if room.quick else (1e4, 1.0)
    with room.scratch() as scratch:
        full, without = pair(room, study, "last", ONE_IMAGE, scratch)
        base, student = weights_of(full.site, study, "last"), full.compact.student
        target = [one for one in full.patients if one.patient_id == ONE_IMAGE]
        worst, best, tried = -1.0, base, 0
        for small in sizes:
            for gamma in gammas:
                for mixed in mixes:
                    weights = opposed_positions(base, student, small, gamma, mixed)
                    alone, tried = float(full.clipped_sum(weights, target).norm()), tried + 1
                    if alone > worst:
                        worst, best = alone, weights
        return finding(max(worst, moved(full, without, best)), tried)


def detector(room: Room) -> Finding:
    """Crafted weights tell everybody whether the chunk holds 15 patients or 16."""
    study = room.study("supervised", distillation={"num_views": 1, "views_per_step": 1})
    with room.scratch() as scratch:
        site = room.site(scratch / "with")
        full = OpenStudy(site, study, "scales")
        number = len(full.patients)
        weights = detecting(full, room)
        everybody = full.clipped_sum(weights)
        worst = 0.0
        gone = [one.patient_id for one in full.patients][: 2 if room.quick else 6]
        for who in gone:
            source = less(room.manifest, scratch / f"less-{who}.csv", who)
            without = OpenStudy(room.site(scratch / who, source), study, "scales")
            worst = max(worst, float((everybody - without.clipped_sum(weights)).norm()))
        found = finding(worst, len(gone))
        return Finding(found.bound, f"{found.seen}; {number} patients become {number - 1}", found.holds)


def detecting(full: OpenStudy, room: Room) -> Arrays:
    """Craft the detector: rounding blown up, then a classifier along what the chunk's length changes."""
    base = weights_of(full.site, full.study, "scales")
    weights = blown_up_rounding(base, full.compact.student, room.flat_biases())
    load_trainable(full.compact, weights)
    images = full.images(full.patients)
    held: list[Tensor] = []
    hook = full.compact.student.classifier.register_forward_pre_hook(
        lambda _module, inputs: held.append(inputs[0].detach().double())
    )
    with torch.no_grad():
        full.compact(images[:-1])
        full.compact(images)
    hook.remove()
    shorter, longer = held[0].mean(0).numpy(), held[1][:-1].mean(0).numpy()
    return split_by(weights, shorter, longer)


def poison(room: Room) -> Finding:  # noqa: ARG001 - every check has this shape
    """One patient's factors beyond float32's squares, cancelling: does everybody's sum stay finite and bounded."""
    torch.manual_seed(0)
    target = torch.randn(64)
    worst, tried, broken = 0.0, 0, 0
    for large in (1e10, 1e18, 1e20, 1e25, 1e30, float("inf"), float("nan")):
        for slip in (0.0, 1e-6, 1e-3):
            model = nn.Linear(64, 64, bias=False)
            nn.init.zeros_(model.weight)
            samples = torch.randn(3, 2, 64)
            samples[0, 1] = samples[0, 0] * (1 + slip * torch.randn(64))
            samples[0] *= large
            signs = torch.ones(3, 2)
            signs[0] = torch.tensor([large, -large])
            people = [{"x": samples[p], "s": signs[p]} for p in range(3)]

            def loss(batch, model=model):
                return (model(batch["x"]) * target).sum(1) * batch["s"].flatten()

            source = InMemory(people, loss, people[1])
            whole = summed(model, source, [0, 1, 2], Coins(KEY))
            rest = summed(model, source, [1, 2], Coins(KEY))
            ratio = float((whole - rest).norm())
            tried += 1
            broken += not bool(torch.isfinite(whole).all())
            worst = max(worst, ratio if np.isfinite(ratio) else float("inf"))
    return Finding(
        f"{BOUND}, all sums finite", f"{worst:.7g} of the clip, {broken} of {tried} sums not finite",
        broken == 0 and worst <= LIMIT,
    )  # fmt: skip


def engine_clip(room: Room) -> Finding:  # noqa: ARG001 - every check has this shape
    """Gradients of all sizes and shapes on each kind of layer: nobody adds more than the clip."""
    worst, tried = 0.0, 0
    for seed in range(12):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6),
            nn.Flatten(), nn.Linear(6 * 16, 3),
        )  # fmt: skip
        x, y = torch.randn(5, 2, 2, 6, 6), torch.randint(0, 3, (5, 2))
        people = [{"x": x[p] * 10.0 ** (seed - 6), "y": y[p]} for p in range(5)]

        def loss(batch, model=model):
            return nn.functional.cross_entropy(100 * model(batch["x"]), batch["y"], reduction="none")

        source = InMemory(people, loss, people[0])
        for clip in (1e-3, 1.0):
            for p in range(5):
                ratio = float(summed(model, source, [p], Coins(KEY), max_grad_norm=clip).norm()) / clip
                worst, tried = max(worst, ratio), tried + 1
    return finding(worst, tried)


CHECKS = (
    Check("clip, honest weights", CLAIM, "remove a patient's files under warm-started weights", honest),
    Check("clip, each layer", CLAIM, "gradients from tiny to huge on each kind of layer", engine_clip),
    Check("clip, opposed views", CLAIM, "crafted weights: views of one patient cancel", opposed),
    Check("clip, opposed positions", CLAIM, "crafted weights: positions of one picture cancel", positions),
    Check("clip, chunk detector", CLAIM, "crafted weights show whether a chunk has 15 or 16 patients", detector),
    Check("clip, poison", "nothing of one patient reaches another's numbers",
          "factors of one patient beyond float32, with NaN and infinity", poison),
)  # fmt: skip
