"""A teacher is any timm classifier, frozen, with two matched maps, and says plainly what it cannot take."""

import pytest
import torch
from torch import nn

from shared.errors import ConfigError, WeightsError
from shared.models.student import count_parameters
from shared.models.teacher import build_teacher
from shared.models.weights import save_weights

SMALL = "resnet10t"


def on_meta(name, num_classes, image_size):
    """Build a teacher of shapes alone."""
    with torch.device("meta"):
        return build_teacher(name, num_classes, image_size)


@pytest.fixture(scope="module")
def small():
    """Return a small teacher of three classes."""
    return build_teacher(SMALL, 3, 64)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vgg19", 139_582_531), ("visformer_small", 39_452_899), ("swin_s3_tiny_224", 27_561_981)],
)
def test_parameter_counts_of_the_three_teachers(name, expected):
    """At 224 px with three classes the teachers have timm's published sizes."""
    assert count_parameters(on_meta(name, 3, 224)) == expected


@pytest.mark.parametrize(
    ("name", "channels", "sizes"),
    [
        ("vgg19", (512, 512), ((7, 7), (7, 7))),
        ("visformer_small", (384, 768), ((7, 7), (7, 7))),
        ("swin_s3_tiny_224", (384, 768), ((7, 7), (7, 7))),
        ("vit_tiny_patch16_224", (192, 192), ((7, 7), (7, 7))),
    ],
)
def test_maps_are_pooled_to_seven(name, channels, sizes):
    """At 224 px both matched maps are pooled to 7x7, whatever the family of the teacher."""
    teacher = on_meta(name, 3, 224)
    assert (teacher.feature_channels, teacher.feature_sizes) == (channels, sizes)


@pytest.mark.parametrize("name", [SMALL, "visformer_small", "swin_s3_tiny_224"])
def test_features_and_forward_agree(name):
    """At 64 px features gives forward's logits and NCHW maps of strides 16 and 32."""
    teacher = build_teacher(name, 3, 64)
    x = torch.randn(2, 3, 64, 64)
    logits, maps = teacher.features(x)
    torch.testing.assert_close(logits, teacher(x), rtol=1e-5, atol=1e-5)
    assert [m.shape[2:] for m in maps] == [(4, 4), (2, 2)]
    assert tuple(m.shape[1] for m in maps) == teacher.feature_channels
    assert tuple(tuple(m.shape[2:]) for m in maps) == teacher.feature_sizes


def test_vgg19_runs_at_64_px():
    """VGG19 with 2x2 last maps gives finite logits; its weights are left uninitialised to save time."""
    teacher = on_meta("vgg19", 3, 64).to_empty(device="cpu")
    for parameter in teacher.parameters():
        parameter.data.fill_(1e-4)
    logits, maps = teacher.features(torch.ones(1, 3, 64, 64))
    assert torch.isfinite(logits).all()
    assert [m.shape for m in maps] == [(1, 512, 4, 4), (1, 512, 2, 2)]


@pytest.mark.parametrize(("name", "nhwc"), [(SMALL, False), ("swin_s3_tiny_224", True)])
def test_cam_layer_gives_the_last_map(name, nhwc):
    """The output of the CAM layer, permuted when nhwc, is the last matched map."""
    teacher = build_teacher(name, 2, 64)
    seen = []
    handle = teacher.cam_layer().register_forward_hook(lambda _m, _i, output: seen.append(output))
    _, maps = teacher.features(torch.randn(1, 3, 64, 64))
    handle.remove()
    assert teacher.nhwc == nhwc
    torch.testing.assert_close(seen[0].permute(0, 3, 1, 2) if nhwc else seen[0], maps[-1])


def test_a_teacher_cannot_be_trained(small):
    """After train(), a forward and a backward pass no parameter, statistic or mode has changed."""
    before = {k: v.clone() for k, v in small.state_dict().items()}
    small.train()
    x = torch.randn(4, 3, 64, 64, requires_grad=True)
    small(x).sum().backward()
    assert x.grad is not None
    assert not [m for m in small.modules() if m.training]
    assert not [p for p in small.parameters() if p.requires_grad or p.grad is not None]
    assert all(torch.equal(before[k], v) for k, v in small.state_dict().items())
    assert any(isinstance(m, nn.BatchNorm2d) for m in small.modules())


def test_a_module_around_it_cannot_train_it(small):
    """Calling train() on a model that contains the teacher leaves the teacher in eval mode."""
    around = nn.Sequential(nn.Linear(1, 1), small).train()
    assert around[0].training
    assert not [m for m in small.modules() if m.training]


def test_an_unknown_name_suggests_close_ones():
    """An unknown teacher is a ConfigError that names it and close names."""
    with pytest.raises(ConfigError, match=r"'vgg91'.*vgg19"):
        build_teacher("vgg91", 2, 64)


@pytest.mark.parametrize("name", ["vgg19", "visformer_small", "swin_s3_tiny_224"])
def test_the_three_teachers_take_the_size_of_ofa595(name):
    """At 236 px, which OFA-595 is named after, each of the three teachers gives both maps."""
    assert on_meta(name, 2, 236).feature_sizes == ((7, 7), (7, 7))


def test_a_size_it_cannot_take_names_sizes_that_work():
    """A size that is too small for the network is a ConfigError that names sizes it takes."""
    with pytest.raises(ConfigError, match=r"is 32, .*inception_v3 cannot take.* 96"):
        on_meta("inception_v3", 2, 32)


def test_weights_come_from_a_local_file(tmp_path, small):
    """A safetensors file with the right digest becomes the teacher's weights."""
    sha256 = save_weights(small.network.state_dict(), tmp_path / "t.safetensors")
    loaded = build_teacher(SMALL, 3, 64, weights=tmp_path / "t.safetensors", sha256=sha256, seed=9)
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded(x), small(x))
    with pytest.raises(WeightsError, match="expected 0000"):
        build_teacher(SMALL, 3, 64, weights=tmp_path / "t.safetensors", sha256="0" * 64)


def test_weights_for_other_classes_are_refused(tmp_path, small):
    """Weights with three outputs are a ConfigError in a study of five classes, naming both numbers."""
    save_weights(small.network.state_dict(), tmp_path / "t.safetensors")
    with pytest.raises(ConfigError, match=r"for 3 classes, task\.classes has 5"):
        build_teacher(SMALL, 5, 64, weights=tmp_path / "t.safetensors")


def test_weights_of_another_network_are_refused(tmp_path):
    """Weights of another teacher are a WeightsError naming a tensor."""
    save_weights({"conv.weight": torch.zeros(1)}, tmp_path / "t.safetensors")
    with pytest.raises(WeightsError, match=r"weights (lack|hold) "):
        build_teacher(SMALL, 3, 64, weights=tmp_path / "t.safetensors")


def test_published_weights_out_of_reach_are_a_plain_error(monkeypatch):
    """Without the hub, asking for published weights is a ConfigError that says what to do."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="give a local weights file"):
        build_teacher(SMALL, 3, 64, pretrained=True)


def test_building_keeps_the_random_state():
    """Building a teacher is seeded and leaves the caller's random state alone."""
    before = torch.get_rng_state()
    one, two = build_teacher(SMALL, 2, 32, seed=4), build_teacher(SMALL, 2, 32, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one(torch.ones(1, 3, 32, 32)), two(torch.ones(1, 3, 32, 32)))
