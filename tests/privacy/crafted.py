"""Weights as a hostile hub crafts them: inside the range that a site accepts, made to break the clip."""

import numpy as np
from scipy.optimize import lsq_linear
from torch import nn

from shared.models.arrays import Arrays

LARGEST = 1e4  # client.rounds.answer.MAX_ABSOLUTE_WEIGHT
CLASSIFIER = "student.classifier.linear"
EXPANDED = "student.final_expand_layer"


def opposed_views(base: Arrays, scale: float) -> Arrays:
    """Let the views of a patient of two classes pull the classifier in opposite directions, with huge features.

    Both views see nearly the same features, 1e4 large: the two halves of the gradient cancel but for a rest of size
    `scale`. A norm from products of the halves (float32) loses the rest.
    """
    weights = {name: value.copy() for name, value in base.items()}
    weights[f"{CLASSIFIER}.weight"][...] = 0
    weights[f"{CLASSIFIER}.bias"][...] = 0
    weights[f"{EXPANDED}.bn.bias"][...] = LARGEST
    weights[f"{EXPANDED}.bn.weight"][...] = scale
    return weights


def opposed_positions(base: Arrays, student: nn.Module, small: float, gamma: float, mixed: float) -> Arrays:
    """Let the positions of one picture cancel in the last convolution's gradient: the same with one view."""
    weights = {name: value.copy() for name, value in base.items()}
    last = f"student.blocks.{len(student.blocks) - 1}.conv.point_linear.bn."
    weights[last + "bias"][...] = LARGEST
    weights[last + "weight"][...] = 1.0
    kernel = weights[f"{EXPANDED}.conv.weight"]
    direction = np.random.default_rng(0).standard_normal(kernel.shape[1])
    direction -= direction.mean()
    kernel[...] = np.float32(direction * small)[None, :, None, None]
    weights[f"{EXPANDED}.bn.weight"][...] = gamma
    weights[f"{EXPANDED}.bn.bias"][...] = 0
    weights["student.feature_mix_layer.conv.weight"][...] = mixed
    weights[f"{CLASSIFIER}.weight"][0] = LARGEST
    weights[f"{CLASSIFIER}.weight"][1] = -LARGEST
    weights[f"{CLASSIFIER}.bias"][...] = 0
    return weights


def flat_biases(student: nn.Module) -> np.ndarray:
    """Return biases before the last block's last convolution under which its output is the same in every group."""
    block = student.blocks[-1]
    kernel = block.conv.point_linear.conv.weight.detach().double().flatten(1).numpy()
    groups = block.conv.point_linear.bn.num_groups
    size = len(kernel) // groups
    rules = np.concatenate([kernel[g * size + 1 : (g + 1) * size] - kernel[g * size] for g in range(groups)])
    start = np.random.default_rng(0).uniform(3e3, 9e3, kernel.shape[1])
    low, high = 4.0, 9.9e3
    beta = start + lsq_linear(rules, -rules @ start, (low - start, high - start), tol=1e-14, max_iter=500).x
    for _ in range(5):
        free = (beta > low + 1) & (beta < high - 1)
        beta[free] += np.linalg.lstsq(rules[:, free], -rules @ beta, rcond=None)[0]
    return beta.astype(np.float32)


def blown_up_rounding(base: Arrays, student: nn.Module, biases: np.ndarray) -> Arrays:
    """Make the last block show nothing but rounding, blown up: other bits of a kernel become other features.

    A norm's scale is 0 and its biases are `flat_biases`, so that the next norm sees the rounding of a sum only.
    """
    prefix = f"student.blocks.{len(student.blocks) - 1}.conv."
    weights = {name: value.copy() for name, value in base.items()}
    weights[prefix + "depth_conv.bn.weight"][...] = 0
    weights[prefix + "depth_conv.bn.bias"] = biases
    if (squeeze := prefix + "depth_conv.se.fc.expand.bias") in weights:
        weights[squeeze][...] = 9e3
    weights[prefix + "point_linear.bn.weight"][...] = LARGEST
    weights[prefix + "point_linear.bn.bias"][...] = 0
    return weights


def split_by(base: Arrays, one: np.ndarray, other: np.ndarray) -> Arrays:
    """Point the classifier along the difference of two mean features, so that they get opposite answers."""
    weights = {name: value.copy() for name, value in base.items()}
    difference, middle = one - other, (one + other) / 2
    if not difference.any():
        return weights
    direction = difference * (60 / float(difference @ difference))
    offset = float(direction @ middle)
    weights[f"{CLASSIFIER}.weight"] = (
        np.stack([direction, -direction]).clip(-LARGEST, LARGEST).astype(np.float32)
    )
    weights[f"{CLASSIFIER}.bias"] = np.array([-offset, offset]).clip(-LARGEST, LARGEST).astype(np.float32)
    return weights
