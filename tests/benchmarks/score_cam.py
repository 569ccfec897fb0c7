"""Time our Score-CAM beside pytorch-grad-cam's, and compare their maps.

In: nothing but a seeded picture. Out: processor seconds a map on OFA-595 at 96 px, one thread, and the
correlation of the maps; as JSON with `--json FILE`.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from shared.config.study import StudentChoice
from shared.explain.scorecam import score_cam
from shared.models.student import Student, build_student, cam_layers

SIZE_PX, REPEATS = 96, 4
LAYERS = {"stage4": 136, "stage5": 192}  # channels
Way = Callable[[Student, str, torch.Tensor], np.ndarray]


def library(student: Student, layer: str, x: torch.Tensor) -> np.ndarray:
    """Draw the map with pytorch-grad-cam."""
    with ScoreCAM(student, [cam_layers(student)[layer]]) as cam:
        found: np.ndarray = cam(x[None], [ClassifierOutputTarget(1)])[0]
    return found


def softmax_mode(student: Student, layer: str, x: torch.Tensor) -> np.ndarray:
    """Draw the library's map with our engine."""
    target = cam_layers(student)[layer]
    return score_cam(student, target, x, 1, baseline=torch.zeros_like(x), mode="softmax").map.numpy()


def increase_mode(student: Student, layer: str, x: torch.Tensor) -> np.ndarray:
    """Draw the map that the audit uses."""
    target = cam_layers(student)[layer]
    return score_cam(student, target, x, 1, baseline=torch.zeros_like(x)).map.numpy()


WAYS: dict[str, Way] = {"library": library, "softmax": softmax_mode, "increase": increase_mode}


def main() -> None:
    """Measure both layers and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    student, x = prepared()
    rows = [measured(student, x, layer) for layer in LAYERS]
    for row in rows:
        print(json.dumps(row))
    if options.json:
        result = {"size_px": SIZE_PX, "layers": rows}
        options.json.write_text(json.dumps(result, indent=2), encoding="utf-8")


def prepared() -> tuple[Student, torch.Tensor]:
    """Build OFA-595 with spread logits, as a trained one has, and one smooth picture."""
    student = build_student(StudentChoice(), 2).eval()
    with torch.no_grad():
        student.classifier.linear.weight.mul_(50)
    coarse = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return student, torch.nn.functional.interpolate(coarse, (SIZE_PX, SIZE_PX), mode="bilinear")[0]


def measured(student: Student, x: torch.Tensor, layer: str) -> dict[str, Any]:
    """Time every way at one layer and compare the maps."""
    maps = {name: draw(student, layer, x) for name, draw in WAYS.items()}  # also warms up
    # in turn, and the best of each: what else runs on the machine then hits all alike
    turns = [{name: timed(draw, student, layer, x) for name, draw in WAYS.items()} for _ in range(REPEATS)]
    seconds = {name: min(turn[name] for turn in turns) for name in WAYS}
    return {
        "layer": layer,
        "channels": LAYERS[layer],
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "library_over_increase": round(seconds["library"] / seconds["increase"], 2),
        "correlation_softmax": round(correlation(maps["library"], maps["softmax"]), 4),
        "correlation_increase": round(correlation(maps["library"], maps["increase"]), 4),
    }


def timed(draw: Way, student: Student, layer: str, x: torch.Tensor) -> float:
    """Take the processor seconds of one map: less noisy than wall time on a shared machine."""
    start = time.process_time()
    draw(student, layer, x)
    return time.process_time() - start


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlate two maps (Pearson)."""
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


if __name__ == "__main__":
    main()
