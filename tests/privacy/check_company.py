"""A patient's numbers are the same bit for bit, whoever else is in the chunk and wherever the patient stands."""

import numpy as np
import torch
from torch import Tensor, nn

from client.dp_sgd.private_steps import clipped_sum_for_step
from client.rounds.local_training import SitePatients
from shared.errors import UnsupportedLayerError
from shared.models.arrays import Arrays
from shared.models.trainable import load_trainable
from shared.privacy.noise import Coins
from tests.privacy.check_sensitivity import detecting
from tests.privacy.room import KEY, OpenStudy, Room, weights_of
from tests.privacy.small import InMemory, plan, summed
from tests.privacy.table import Check, Finding

CHUNK = 32
LENGTHS = (1, 2, 15, 16, 17, CHUNK)


def company(room: Room) -> Finding:
    """Mute everybody but one patient (a loss times 0 adds exactly 0), and compare that patient's bits."""
    study = room.study("supervised", distillation={"num_views": 1, "views_per_step": 1})
    with room.scratch() as scratch:
        full = OpenStudy(room.site(scratch / "with"), study, "scales")
        tried, different, furthest = 0, 0, 0.0
        for weights in (weights_of(full.site, study, "scales"), detecting(full, room)):
            alone = heard(full, weights, 0, 1)
            for length in LENGTHS[1:]:
                for place in {length - 1} if room.quick else {0, length // 2, length - 1}:
                    other = heard(full, weights, place, length)
                    tried += 1
                    different += not torch.equal(alone, other)
                    furthest = max(furthest, float((alone - other).norm()))
    return Finding(
        "not a bit",
        f"other bits in {different} of {tried} companies, at most {furthest:.3g} of the clip",
        different == 0,
    )


def heard(full: OpenStudy, weights: Arrays, place: int, length: int) -> Tensor:
    """Return the clipped sum of a chunk in which only the patient at `place` is heard, always the same patient."""
    load_trainable(full.compact, weights)
    generator = torch.Generator().manual_seed(7)
    with full.site.target_cache(full.study) as cache:
        patients = SitePatients(full.patients, full.study, full.compact, full.adapters, cache, full.coins)
        one = dict(patients.load(0, 0))
        others = [
            {
                name: torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
                for name, value in one.items()
            }
            for _ in range(length - 1)
        ]
        everybody = [fields | {"heard": torch.zeros(1)} for fields in others]
        everybody.insert(place, one | {"heard": torch.ones(1)})

        def loss(batch):
            fields = {name: value for name, value in batch.items() if name != "heard"}
            return patients.losses(fields) * batch["heard"]

        source = InMemory(everybody, loss, everybody[place])
        names = [f"p{index}" for index in range(length)]
        names[place] = "heard"
        sums = clipped_sum_for_step(
            full.compact, full.names, plan(patients_per_chunk=CHUNK), patient_ids=names, coins=full.coins,
            source=source, step=0,
        )  # fmt: skip
    return torch.cat([sums[name].double().flatten() for name in sorted(sums)])


COUPLING = {
    "BatchNorm in train mode": (lambda: nn.BatchNorm2d(4), True),
    "BatchNorm without running statistics": (lambda: nn.BatchNorm2d(4, track_running_stats=False), False),
    "InstanceNorm that keeps statistics": (lambda: nn.InstanceNorm2d(4, track_running_stats=True), True),
    "Dropout in train mode": (lambda: nn.Dropout2d(0.5), True),
}


def coupling(room: Room) -> Finding:  # noqa: ARG001 - every check has this shape
    """Offer models whose layers mix patients; where one is taken, say how far one patient then moves the sum."""
    taken = []
    for name, (layer, train) in COUPLING.items():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), layer(), nn.Flatten(), nn.Linear(4 * 16, 2))
        model.train(train)
        for parameter in model[1].parameters():
            parameter.requires_grad_(False)
        people = [{"x": torch.randn(1, 1, 6, 6) * (1 + p), "y": torch.tensor([p % 2])} for p in range(6)]

        def loss(batch, model=model):
            return nn.functional.cross_entropy(50 * model(batch["x"]), batch["y"], reduction="none")

        source = InMemory(people, loss, people[0])
        trained = ["0.bias", "0.weight", "3.bias", "3.weight"]
        try:
            sums = [
                clipped_sum_for_step(
                    model, trained, plan(), patient_ids=[f"p{p}" for p in range(count)], coins=Coins(KEY),
                    source=source, step=0,
                )
                for count in (6, 5)
            ]  # fmt: skip
        except UnsupportedLayerError:
            continue
        difference = torch.cat([(sums[0][n] - sums[1][n]).double().flatten() for n in trained])
        taken.append(
            f"{name}: taken, one patient moves the sum by {float(difference.norm()):.3g} of the clip"
        )
    return Finding("refused", "; ".join(taken) or f"all {len(COUPLING)} refused", not taken)


def failures(room: Room) -> Finding:  # noqa: ARG001 - every check has this shape
    """One patient's files raise, its tensors have another form, its loss is not finite, its loss raises."""
    torch.manual_seed(0)
    model = nn.Linear(8, 2)
    people = [{"x": torch.randn(1, 8)} for _ in range(5)]
    worst, different = 0.0, 0
    bad = {
        "another shape": {"x": torch.randn(2, 8)},
        "another type": {"x": torch.randn(1, 8).double()},
        "NaN": {"x": torch.full((1, 8), float("nan"))},
        "infinity": {"x": torch.full((1, 8), float("inf"))},
        "a loss that raises": {"x": torch.full((1, 8), 777.0)},
    }

    def loss(batch):
        if bool((batch["x"] == 777.0).any()):
            raise RuntimeError("this patient's loss")
        return model(batch["x"]).square().sum(1)

    for fields in bad.values():
        source = InMemory([*people[:2], fields, *people[2:]], loss, people[0])
        whole, rest = (
            summed(model, source, who, Coins(KEY)) for who in ([0, 1, 2, 3, 4, 5], [0, 1, 3, 4, 5])
        )
        worst = max(worst, float((whole - rest).norm()) if bool(whole.isfinite().all()) else np.inf)
        different += not torch.equal(whole, rest)
    return Finding(
        "contributes exactly 0", f"{different} of {len(bad)} kinds moved the sum, at most by {worst:.3g} of the clip",
        different == 0,
    )  # fmt: skip


CHECKS = (
    Check("company", "a patient's numbers do not depend on who else is in the chunk",
          f"chunks of {', '.join(map(str, LENGTHS))}, each place, warm-started and crafted weights", company),
    Check("coupling layers", "no layer lets one patient touch another",
          "models with BatchNorm, InstanceNorm or Dropout that mix patients", coupling),
    Check("a patient that fails", "what fails for one patient contributes zero and touches nobody",
          "wrong shapes and types, NaN, infinity, a loss that raises", failures),
)  # fmt: skip
