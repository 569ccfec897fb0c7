"""Time and memory of one private step beside plain SGD and Opacus, on the study's own student.

In: image size, batch, threads. Out: a table, and JSON with `--json FILE`. Every row runs in a process of its
own, forked after the imports, so that peak memory is its own and has one common base; made-up images only.

    python tests/benchmarks/private_step.py --json bench.json
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor, nn
from torch.nn import functional

from client.dp_sgd.patient_gradients import PatientGradients
from client.dp_sgd.private_steps import StepPlan, private_steps
from shared.config.study import StudentChoice, TrainableSet
from shared.models.compact import CompactModel
from shared.models.student import build_student
from shared.models.trainable import trainable_names
from shared.privacy.noise import Coins, NoiseSource

SETS: tuple[TrainableSet, ...] = ("scales", "all")
METHODS = {"plain SGD": 6, "our clipped sum": 6, "our whole step": 2, "Opacus hooks": 1, "Opacus ghost": 1}
CLASSES = 2
STEPS_A_ROUND = 6  # as in the phantoms' study: a round rehearses the loss once
PROTOTYPE = (
    "a prototype at 96 px, batch 16, all weights: 1.65 x plain in time, 1.15 x in memory; "
    "Opacus' hooks 19 x and 3.3 x"
)


def plain_step(model: nn.Module, names: list[str], x: Tensor, y: Tensor) -> Callable[[], None]:
    """Return SGD on the batch mean; only the named parameters train."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in set(names))
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6)

    def step() -> None:
        optimiser.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimiser.step()

    return step


def our_sum(model: nn.Module, names: list[str], x: Tensor, y: Tensor) -> Callable[[], None]:
    """Return the clipped sum of one chunk, without sampling and noise: comparable with one plain step."""

    def step() -> None:
        with PatientGradients(model, names) as gradients:
            gradients.clipped_sum(
                lambda: functional.cross_entropy(model(x), y, reduction="none"), len(x), 1.0
            )

    return step


class Images:
    """Made-up patients of one image each, already in memory."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        self.model, self.x, self.y = model, x, y
        self.template = {"x": torch.zeros_like(x[:1]), "y": torch.zeros_like(y[:1])}

    def load(self, patient: int, step: int) -> dict[str, Tensor]:  # noqa: ARG002 - the same in every step
        """Return one image and its label."""
        return {"x": self.x[patient : patient + 1], "y": self.y[patient : patient + 1]}

    def losses(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the cross-entropy of each image."""
        return functional.cross_entropy(self.model(batch["x"]), batch["y"], reduction="none")


def our_step(model: nn.Module, names: list[str], x: Tensor, y: Tensor) -> Callable[[], None]:
    """Return a round of whole private steps: everybody sampled, clipped sum, noise from the keystream, update."""
    plan = StepPlan(STEPS_A_ROUND, 1.0, 1.0, 1.0, 1e-6, 0.0, float(len(x)), len(x))
    coins, noise, ids = Coins.fresh(), NoiseSource(), [str(index) for index in range(len(x))]

    def step() -> None:
        private_steps(
            model, names, plan, patient_ids=ids, coins=coins, noise=noise, source=Images(model, x, y)
        )

    return step


def opacus_hooks(model: nn.Module, names: list[str], x: Tensor, y: Tensor) -> Callable[[], None]:
    """Return Opacus' per-sample gradients, clip and noise (`GradSampleModule`, `DPOptimizer`)."""
    plain_step(model, names, x, y)
    wrapped = GradSampleModule(model)
    sgd = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    optimiser = DPOptimizer(sgd, noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=len(x))

    def step() -> None:
        optimiser.zero_grad()
        functional.cross_entropy(wrapped(x), y).backward()
        optimiser.step()

    return step


def opacus_ghost(model: nn.Module, names: list[str], x: Tensor, y: Tensor) -> Callable[[], None]:
    """Return Opacus' fast gradient clipping: norms first, then a second backward pass on weighted losses."""
    plain_step(model, names, x, y)
    wrapped = GradSampleModuleFastGradientClipping(model, max_grad_norm=1.0, use_ghost_clipping=True)
    sgd = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    optimiser = DPOptimizerFastGradientClipping(
        sgd, noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=len(x)
    )
    criterion = DPLossFastGradientClipping(wrapped, optimiser, nn.CrossEntropyLoss())

    def step() -> None:
        optimiser.zero_grad()
        criterion(wrapped(x), y).backward()
        optimiser.step()

    return step


STEPS = dict(zip(METHODS, (plain_step, our_sum, our_step, opacus_hooks, opacus_ghost), strict=True))


def measured(method: str, which: TrainableSet, size: int, batch: int, threads: int) -> dict[str, float]:
    """Return seconds a step, the same for plain SGD of the set and of all weights, and peak MiB.

    The three take turns, so that a busy machine slows all of them; the best turn of each counts. The peak is
    read before plain SGD first runs.
    """
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore")  # Opacus' advice about hooks
    turns = {"seconds": built(method, which, size, batch)}
    turns["seconds"]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    turns |= {
        f"plain_{kind}": built("plain SGD", kind, size, batch) for kind in dict.fromkeys((which, "all"))
    }
    for name in list(turns)[1:]:
        turns[name]()
    best = dict.fromkeys(turns, float("inf"))
    for _ in range(METHODS[method]):
        for name, step in turns.items():
            start = time.perf_counter()
            step()
            best[name] = min(best[name], time.perf_counter() - start)
    if method == "our whole step":
        best["seconds"] /= STEPS_A_ROUND
    return {
        "seconds": best["seconds"],
        "time_ratio": best["seconds"] / best[f"plain_{which}"],
        "time_ratio_to_all": best["seconds"] / best["plain_all"],
        "peak_mib": peak,
    }


def built(method: str, which: TrainableSet, size: int, batch: int) -> Callable[[], None]:
    """Return a method's step on a model and images of its own."""
    torch.manual_seed(0)
    model = CompactModel(build_student(StudentChoice(), CLASSES), None)
    x, y = torch.randn(batch, 3, size, size), torch.arange(batch) % CLASSES
    return STEPS[method](model, list(trainable_names(model, which)), x, y)


def row(method: str, which: TrainableSet, size: int, batch: int, threads: int) -> dict[str, float]:
    """Measure one row in a fresh process."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(measured, (method, which, size, batch, threads))


def main() -> None:
    """Measure every method for every set, print ratios to plain SGD of the same set and of all weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    setting = {"size": arguments.size, "batch": arguments.batch, "threads": arguments.threads}
    order = [(m, s) for s in reversed(SETS) for m in METHODS if (m, s) != ("Opacus ghost", "scales")]
    rows = {key: row(*key, **setting) for key in order}
    table = [
        {
            "method": m,
            "trained": s,
            **r,
            "memory_ratio": r["peak_mib"] / rows["plain SGD", s]["peak_mib"],
        }
        for (m, s), r in rows.items()
    ]
    print(
        f"OFA-595 (GroupNorm), {arguments.size} px, batch {arguments.batch}, {arguments.threads} threads, CPU"
    )
    print(
        f"{'method':18}{'trained':9}{'s/step':>8}{'x plain':>9}{'x plain all':>13}{'peak MiB':>10}{'x plain':>9}"
    )
    for r in table:
        print(
            f"{r['method']:18}{r['trained']:9}{r['seconds']:8.3f}{r['time_ratio']:9.2f}"
            f"{r['time_ratio_to_all']:13.2f}{r['peak_mib']:10.0f}{r['memory_ratio']:9.2f}"
        )
    print(PROTOTYPE)
    if arguments.json:
        arguments.json.write_text(json.dumps({"setting": setting, "rows": table}, indent=1))


if __name__ == "__main__":
    main()
