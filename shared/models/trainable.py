"""Which parameters train under privacy: one named list that engine, clip, upload and report share.

In: a compact model and the study's word (readout, head, scales, last, all). Out: sorted parameter names. Fewer
parameters mean less noise for the same privacy. Only names; nothing of a patient.
"""

import torch
from torch import nn

from shared.config.study import TrainableSet
from shared.errors import WeightsError
from shared.models.arrays import Arrays, to_tensors
from shared.models.compact import CompactModel
from shared.models.normalisation import FrozenAffine
from shared.models.student import SqueezeExcite

NORMALISATION = (nn.GroupNorm, FrozenAffine)
LAST_STAGES = (4, 5)
READOUT = "readout.linear"
AFTER_BLOCKS = ("student.final_expand_layer", "student.feature_mix_layer")


def trainable_names(model: CompactModel, which: TrainableSet) -> tuple[str, ...]:
    """Return the sorted names, as in `model.named_parameters()`, of a trainable set.

    readout: the linear layer on a frozen map, which every other set holds too, where a study has one. head: the
    student's classifier. scales: also all normalisation scales and biases, the biases of squeeze-excite and the
    explainer's last layer. last: also all of the student from stage 4 on. all: all.
    """
    every = sorted(name for name, _ in model.named_parameters())
    if which == "all":
        return tuple(every)
    if which == "readout":
        return tuple(_under(every, [READOUT]))
    prefixes = ["student.classifier", READOUT]
    if which in ("scales", "last"):
        prefixes += ["explainer.head", *_modules(model, NORMALISATION)]
    if which == "last":
        blocks = [index for stage in LAST_STAGES for index in model.student.stage_blocks[stage]]
        prefixes += [*(f"student.blocks.{index}" for index in blocks), *AFTER_BLOCKS]
    names = set(_under(every, prefixes))
    if which in ("scales", "last"):
        names |= {name for name in _under(every, _modules(model, SqueezeExcite)) if name.endswith(".bias")}
    return tuple(sorted(names))


@torch.no_grad()
def load_trainable(model: nn.Module, weights: Arrays) -> None:
    """Copy named weights into a model's parameters; the others stay as they are.

    Raises WeightsError naming the first that is unknown or has another shape, before anything is changed.
    """
    parameters = dict(model.named_parameters())
    for name, array in sorted(weights.items()):
        if name not in parameters:
            raise WeightsError(f"weights hold {name}, unknown to this model; use weights of this study")
        if parameters[name].shape != array.shape:
            raise WeightsError(
                f"weights hold {name} of shape {array.shape}, this model has "
                f"{tuple(parameters[name].shape)}; use weights of this study"
            )
    for name, tensor in to_tensors(weights).items():
        parameters[name].copy_(tensor)


def _modules(model: nn.Module, kind: type | tuple[type, ...]) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


def _under(names: list[str], prefixes: list[str]) -> list[str]:
    dotted = tuple(f"{prefix}." for prefix in prefixes)
    return [name for name in names if name.startswith(dotted)]
