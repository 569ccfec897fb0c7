"""Models that couple patients, or whose layers have no rule, are refused before a patient is read."""

import pytest
import torch
from torch import nn

from client.dp_sgd.patient_gradients import PatientGradients
from shared.errors import UnsupportedLayerError


class RawParameter(nn.Module):
    """A container with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


class Subclass(nn.Linear):
    """A Linear by name that mixes samples."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(0))


def tied() -> nn.Module:
    """Return two layers with one weight."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


NO_RULE = {
    "unknown layer": (lambda: nn.Sequential(nn.PReLU()), "0.weight"),
    "raw parameter": (RawParameter, "scale"),
    "subclass": (lambda: nn.Sequential(Subclass(3, 3)), "0.weight"),
    "parametrised": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))),
        "0.parametrizations.weight.original0",
    ),
    "tied": (tied, "0.weight"),
    "batch norm": (lambda: nn.Sequential(nn.BatchNorm2d(3)).eval(), "0.weight"),
    "reflecting padding": (
        lambda: nn.Sequential(nn.Conv2d(3, 3, 3, 1, 1, padding_mode="reflect")),
        "0.weight",
    ),
    "no such parameter": (lambda: nn.Sequential(nn.Linear(3, 3)), "1.weight"),
}


@pytest.mark.parametrize("kind", NO_RULE)
def test_a_trained_parameter_without_a_rule_is_refused(kind: str) -> None:
    """A trained parameter needs a layer of exactly a known type, of its own, in known settings."""
    build, name = NO_RULE[kind]
    with pytest.raises(UnsupportedLayerError):
        PatientGradients(build(), [name])


COUPLED = {
    "batch norm in train mode": lambda: nn.BatchNorm2d(3),
    "batch norm without affine": lambda: nn.BatchNorm1d(3, affine=False),
    "batch norm without statistics": lambda: nn.BatchNorm2d(3, track_running_stats=False).eval(),
    "instance norm with statistics": lambda: nn.InstanceNorm2d(3, track_running_stats=True),
    "dropout": lambda: nn.Dropout(0.1),
}


@pytest.mark.parametrize("kind", COUPLED)
def test_a_frozen_layer_that_couples_patients_is_refused(kind: str) -> None:
    """Layers that mix samples are refused although nothing of them trains."""
    model = nn.Sequential(nn.Linear(3, 3), COUPLED[kind]())
    with pytest.raises(UnsupportedLayerError, match="1 is a"):
        PatientGradients(model, ["0.weight"])


def test_a_layer_switched_to_train_mode_inside_is_refused() -> None:
    """A BatchNorm in eval mode is fine, and is noticed when it leaves that mode."""
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval()
    with PatientGradients(model, ["0.weight"]) as gradients:
        gradients.clipped_sum(lambda: model(torch.ones(2, 3)).sum(1), 2, 1.0)
        model.train()
        with pytest.raises(UnsupportedLayerError):
            gradients.clipped_sum(lambda: model(torch.ones(2, 3)).sum(1), 2, 1.0)


@pytest.mark.parametrize(
    "build", [lambda: nn.InstanceNorm2d(3), lambda: nn.Dropout(0.0), lambda: nn.LayerNorm(3)]
)
def test_frozen_layers_that_treat_samples_alone_are_accepted(build) -> None:
    """Only coupling is refused, not every frozen layer without a rule."""
    PatientGradients(nn.Sequential(nn.Linear(3, 3), build()), ["0.weight"])
