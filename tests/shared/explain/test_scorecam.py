import json
from importlib.resources import files

import numpy as np
import pytest
import torch
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from shared.config.study import StudentChoice, Subnet
from shared.explain.faithfulness import insertion_deletion
from shared.explain.regions import energy_over_area, random_map, seeded
from shared.explain.scorecam import score_cam, spatial_energy
from shared.models.compact import CompactModel, fill_image
from shared.models.explainer import Explainer
from shared.models.student import build_student, cam_layers


class Small(nn.Module):
    """Two convolutions and a linear head; channel 3 of the second one is constant."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.layer = nn.Conv2d(4, 6, 3, 2, 1)
        self.after = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 3)
        with torch.no_grad():
            self.layer.weight[3] = 0
            self.layer.bias[3] = 0.7

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.after(self.layer(self.first(x))).mean((2, 3)))


@pytest.fixture
def net() -> Small:
    """Build a small net in double precision."""
    torch.manual_seed(1)
    return Small().double()


@pytest.fixture
def image() -> Tensor:
    """Draw one image of 24 px."""
    return torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def library_cam(model: nn.Module, layer: nn.Module, x: Tensor, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and map of pytorch-grad-cam's ScoreCAM."""
    with ScoreCAM(model, [layer]) as cam:
        seen = []
        plain = cam.get_cam_weights
        cam.get_cam_weights = lambda *given: seen.append(plain(*given)) or seen[-1]
        found = cam(x[None], [ClassifierOutputTarget(index)])[0]
    return seen[0][0], found


def test_softmax_mode_equals_the_library_on_a_small_net(net: Small, image: Tensor) -> None:
    """Softmax mode gives pytorch-grad-cam's weights and map."""
    net, image = net.float(), image.float()
    net.after.inplace = False  # the library keeps activations that an in-place layer then overwrites
    ours = score_cam(net, net.layer, image, 1, baseline=torch.zeros_like(image), mode="softmax", chunk=4)
    weights, found = library_cam(net, net.layer, image, 1)
    np.testing.assert_allclose(ours.weights, weights, atol=1e-4)
    np.testing.assert_allclose(ours.map, found, atol=1e-4)


def test_softmax_mode_equals_the_library_on_ofa595() -> None:
    """Softmax mode gives pytorch-grad-cam's weights and map on OFA-595 at 64 px."""
    student = build_student(StudentChoice(), 3).eval()
    with torch.no_grad():
        student.classifier.linear.weight.mul_(50)  # spreads the logits, so that weights differ
    x = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(3))
    layer = cam_layers(student)["stage4"]
    ours = score_cam(student, layer, x, 2, baseline=torch.zeros_like(x), mode="softmax")
    weights, found = library_cam(student, layer, x, 2)
    assert weights.max() > 2 * weights.min()
    np.testing.assert_allclose(ours.weights, weights, atol=1e-4)
    np.testing.assert_allclose(ours.map, found, atol=1e-4)


def test_increase_mode_follows_its_formula(net: Small, image: Tensor) -> None:
    """Each weight is the logit on x m_c + b (1 - m_c) minus the logit on b, and the map their ReLU'd sum."""
    fill = torch.full_like(image, 0.3)
    ours = score_cam(net, net.layer, image, 2, baseline=fill)
    net.eval()
    with torch.no_grad():
        maps = net.layer(net.first(image[None]))
        total = torch.zeros(24, 24, dtype=torch.float64)
        for channel in range(6):
            large = nn.functional.interpolate(maps[:, channel, None], (24, 24), mode="bilinear")[0, 0]
            spread = large.max() - large.min()
            mask = (large - large.min()) / spread if spread > 1e-9 else torch.zeros_like(large)
            weight = (net((image * mask + fill * (1 - mask))[None]) - net(fill[None]))[0, 2]
            torch.testing.assert_close(ours.weights[channel], weight)
            total += weight * large
    torch.testing.assert_close(ours.map, total.relu().float())
    assert ours.grid == (6, 6)
    assert not ours.no_evidence


def test_the_map_does_not_depend_on_the_chunk(net: Small, image: Tensor) -> None:
    """Any chunk size gives the same map."""
    maps = [score_cam(net, net.layer, image, 0, baseline=image * 0, chunk=c).map for c in (1, 4, 5, 100)]
    for other in maps[1:]:
        torch.testing.assert_close(other, maps[0], rtol=1e-6, atol=1e-9)


def test_constant_channels_are_not_run(net: Small, image: Tensor) -> None:
    """A constant channel weighs exactly zero and costs no forward pass."""
    num_images = []

    def counting(batch: Tensor) -> Tensor:
        num_images.append(len(batch))
        return net(batch)

    found = score_cam(net, net.layer, image, 0, baseline=torch.zeros_like(image), forward=counting)
    assert found.weights[3] == 0
    assert sum(num_images) == 2 + 5  # image and fill, five channels that vary


def test_the_explainer_is_run_again_on_every_masked_image() -> None:
    """The compact model's weights come from explainer and student together, not from a mask kept from x."""
    slots, stages = 20, 5
    subnet = Subnet(kernels=(3,) * slots, expand_ratios=(3,) * slots, depths=(2,) * stages)
    student = build_student(StudentChoice(architecture=subnet), 2)
    explainer = Explainer(16, 8)
    compact = CompactModel(student, explainer, "blur").eval()
    x = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(4))
    fill = fill_image(x[None], "blur")[0]
    kept = [0, 5]
    layer = cam_layers(student)["stage4"]
    ours = score_cam(compact, layer, x, 1, baseline=fill, channels=kept)
    with torch.no_grad():
        coarse = compact.run(x[None]).features[0][:, kept]
        large = nn.functional.interpolate(coarse, (32, 32), mode="bilinear")[0]
        low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
        masks = ((large - low) / (high - low))[:, None]
        expected = compact(masks * x + (1 - masks) * fill)[:, 1] - compact(fill[None])[0, 1]
    torch.testing.assert_close(ours.weights, expected, rtol=1e-3, atol=1e-6)


def test_an_image_without_evidence_is_said_to_have_none(net: Small, image: Tensor) -> None:
    """The fill image itself changes no logit: its map is zero and flagged."""
    found = score_cam(net, net.layer, torch.zeros_like(image), 0, baseline=torch.zeros_like(image))
    net.head.weight.data.zero_()
    blind = score_cam(net, net.layer, image, 0, baseline=torch.zeros_like(image))
    assert found.no_evidence
    assert blind.no_evidence
    assert blind.map.sum() == 0


def test_a_larger_head_does_not_change_the_relative_weights(net: Small, image: Tensor) -> None:
    """Scaling all logits scales the map and changes nothing else, unlike softmax over channels."""
    before = score_cam(net, net.layer, image, 1, baseline=torch.zeros_like(image))
    net.head.weight.data.mul_(10)
    after = score_cam(net, net.layer, image, 1, baseline=torch.zeros_like(image))
    torch.testing.assert_close(after.map, 10 * before.map)


def test_a_number_of_channels_keeps_those_of_highest_energy(net: Small, image: Tensor) -> None:
    """An int keeps that many channels of highest spatial energy, with the weights they have among all."""
    whole = score_cam(net, net.layer, image, 1, baseline=torch.zeros_like(image))
    part = score_cam(net, net.layer, image, 1, baseline=torch.zeros_like(image), channels=2)
    with torch.no_grad():
        energy = spatial_energy(net.eval().layer(net.first(image[None]))[0])
    assert set(part.channel_indices.tolist()) == set(energy.argsort()[-2:].tolist())
    torch.testing.assert_close(part.weights, whole.weights[part.channel_indices])
    assert part.num_channels == 6


def test_channels_last_layers_give_the_same_map(image: Tensor) -> None:
    """A layer that gives (N, H, W, C) is read with nhwc=True."""

    class Flipped(Small):
        def __init__(self) -> None:
            super().__init__()
            self.view = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            maps = self.view(self.layer(self.first(x)).movedim(1, -1)).movedim(-1, 1)
            return self.head(self.after(maps).mean((2, 3)))

    torch.manual_seed(1)
    flipped = Flipped().double()
    plain = score_cam(flipped, flipped.layer, image, 0, baseline=torch.zeros_like(image))
    turned = score_cam(flipped, flipped.view, image, 0, baseline=torch.zeros_like(image), nhwc=True)
    torch.testing.assert_close(turned.map, plain.map)


@pytest.mark.parametrize("failing_call", [1, 2])
def test_the_model_is_left_as_it_was_found(net: Small, image: Tensor, failing_call: int) -> None:
    """Modes of every module come back and no hook stays, whether the first or a later forward fails."""
    net.train()
    net.after.eval()
    calls = []

    def failing(batch: Tensor) -> Tensor:
        calls.append(len(net.layer._forward_hooks))
        logits = net(batch)
        if len(calls) == failing_call:
            raise RuntimeError("no more")
        return logits

    with pytest.raises(RuntimeError, match="no more"):
        score_cam(net, net.layer, image, 0, baseline=torch.zeros_like(image), forward=failing)
    assert calls == [1, 0][:failing_call]  # the hook is there for the first forward only
    assert not net.layer._forward_hooks
    assert net.training
    assert net.first.training
    assert not net.after.training


def test_maps_can_be_worked_on_with_autograd(net: Small, image: Tensor) -> None:
    """What comes back are ordinary tensors, not inference-mode ones."""
    found = score_cam(net, net.layer, image, 0, baseline=torch.zeros_like(image))
    assert not found.map.is_inference()
    assert not found.weights.is_inference()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"class_index": 3}, "allowed is 0 to 2"),
        ({"channels": [6]}, "allowed are indices 0 to 5"),
        ({"channels": 0}, "allowed is at least 1"),
        ({"baseline": torch.zeros(3, 8, 8)}, "baseline has shape"),
        ({"x": torch.zeros(2, 3, 8, 8)}, "an image has shape"),
    ],
)
def test_wrong_arguments_are_named(net: Small, image: Tensor, change: dict, sentence: str) -> None:
    """A wrong argument is refused with its value and what is allowed."""
    arguments = {"x": image, "class_index": 0, "baseline": torch.zeros_like(image)} | change
    with pytest.raises(ValueError, match=sentence):
        score_cam(net, net.layer, **arguments)


def test_the_published_configuration_has_the_stage_that_is_audited() -> None:
    """Block 15 of OFA-595, the end of stage 4, has 136 channels at stride 16."""
    config = json.loads(files("shared.models").joinpath("ofa595_net_config.json").read_text())
    strides = [block["mobile_inverted_conv"]["stride"] for block in config["blocks"][:16]]
    assert config["blocks"][15]["mobile_inverted_conv"]["out_channels"] == 136
    assert 2 * np.prod(strides) == 16


def test_a_trained_net_is_caught_looking_at_what_it_was_trained_on() -> None:
    """On squares in noise, the map of a net that finds them lies on them and orders pixels far above chance."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(160, 3, 8, 8, generator=generator) / 2
    images = nn.functional.interpolate(images, (32, 32), mode="bilinear")
    labels, squares = torch.arange(160) % 2, torch.zeros(160, 32, 32, dtype=torch.bool)
    for index in range(1, 160, 2):
        row, column = (int(start) for start in torch.randint(2, 24, (2,), generator=generator))
        squares[index, row : row + 6, column : column + 6] = True
    images += 2 * squares[:, None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU())
        trained = nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2))
    optimiser = torch.optim.Adam(trained.parameters(), 1e-2)
    for _ in range(40):
        nn.functional.cross_entropy(trained(images[8:]), labels[8:]).backward()
        optimiser.step()
        optimiser.zero_grad()
    lifts, areas, floors = [], [], []
    for index in (1, 3, 5, 7):
        x, fill = images[index], torch.zeros(3, 32, 32)
        found = score_cam(trained, layers, x, 1, baseline=fill)
        chance = random_map(found.grid, (32, 32), seeded(str(index)))
        lifts.append(energy_over_area(found.map, squares[index]))
        areas.append(insertion_deletion(trained, x, found.map, 1, baseline=fill))
        floors.append(insertion_deletion(trained, x, chance, 1, baseline=fill))
    assert np.mean(lifts) > 3
    assert np.mean([area.insertion for area in areas]) > np.mean([area.insertion for area in floors]) + 0.1
    assert np.mean([area.deletion for area in areas]) < np.mean([area.deletion for area in floors]) - 0.1
