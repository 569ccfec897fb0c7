"""The student is OFA-595 exactly, couples no samples, and can be built from any sub-network."""

import pytest
import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from torch import nn

from shared.config.study import StudentChoice, Subnet
from shared.errors import WeightsError
from shared.models.normalisation import FrozenAffine, fold_batch_norm, replace_batch_norm
from shared.models.student import (
    FEATURE_CHANNELS,
    OFA595,
    Student,
    batch_norm_network,
    build_student,
    cam_layers,
    count_macs,
    count_parameters,
    load_batch_norm_weights,
    load_published,
    read_published_weights,
    student_features,
)
from shared.models.weights import file_sha256

GROUP = StudentChoice()
FROZEN = StudentChoice(normalisation="frozen")
SMALL = StudentChoice(architecture=Subnet(kernels=(3,) * 20, expand_ratios=(3,) * 20, depths=(2,) * 5))


def on_meta(choice: StudentChoice, num_classes: int) -> Student:
    """Build a student of shapes alone."""
    with torch.device("meta"):
        return build_student(choice, num_classes)


@pytest.mark.parametrize(
    ("num_classes", "expected"),
    [(2, 7_602_002), (3, 7_603_539), (5, 7_606_613), (14, 7_620_446), (1000, 9_135_928)],
)
@pytest.mark.parametrize("choice", [GROUP, FROZEN], ids=["group", "frozen"])
def test_parameter_count_is_the_published_one(choice, num_classes, expected):
    """Replacing BatchNorm and the classifier leaves exactly the published number of parameters."""
    assert count_parameters(on_meta(choice, num_classes)) == expected


@pytest.mark.parametrize(
    ("num_classes", "size", "expected"), [(1000, 236, 595.189032), (1000, 224, 512.9), (3, 224, 511.33)]
)
def test_macs_are_the_published_ones(num_classes, size, expected):
    """At 236 px with 1000 classes the student costs exactly the 595,189,032 MACs it is named after."""
    macs = count_macs(on_meta(GROUP, num_classes), size)
    assert macs == (595_189_032 if size == 236 else pytest.approx(expected * 1e6, rel=1e-4))


def test_macs_at_128_px():
    """At 128 px with 1000 classes the student costs 171.6 M MACs."""
    assert count_macs(on_meta(GROUP, 1000), 128) == pytest.approx(171.6e6, rel=5e-4)


def test_subnet_encoding_of_ofa595_is_ofa595():
    """The supernet's 20-slot encoding of OFA-595 gives the same tensors as its published configuration."""
    published = on_meta(GROUP, 3).state_dict()
    encoded = on_meta(StudentChoice(architecture=OFA595), 3).state_dict()
    assert {k: v.shape for k, v in encoded.items()} == {k: v.shape for k, v in published.items()}


def test_forward_equals_ofa():
    """Our forward pass and torch's own activations give what ofa's network gives."""
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    original = batch_norm_network(SMALL, 3)
    replace_batch_norm(original, "group")
    original.double()
    own = build_student(SMALL, 3).double()
    own.load_state_dict(original.state_dict())
    torch.testing.assert_close(own(x), original(x), rtol=1e-10, atol=1e-10)


def test_blocks_with_a_shortcut_begin_as_identity():
    """A fresh student's 15 blocks with a shortcut return their input, so that an image reaches the classifier."""
    blocks = [block for block in build_student(GROUP, 3).blocks if block.shortcut is not None]
    assert len(blocks) == sum(depth - 1 for depth in OFA595.depths) + 1
    for block in blocks:
        x = torch.randn(1, block.conv.point_linear.conv.out_channels, 4, 4)
        assert torch.equal(block(x), x)


def test_folded_batch_norm_equals_batch_norm_in_eval_mode():
    """A frozen student with folded weights computes what the BatchNorm original computes in eval mode."""
    torch.manual_seed(1)
    original = batch_norm_network(GROUP, 3)
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.uniform_(module.weight, 0.5, 2)
    student = build_student(FROZEN, 3)
    load_batch_norm_weights(student, original.state_dict())
    x = torch.randn(1, 3, 64, 64)
    expected = original.eval()(x)
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(student(x), expected, rtol=1e-5, atol=1e-5)


def test_folding_matches_hand_computed_numbers():
    """BatchNorm with weight 4, bias 1, mean 3 and variance 4 folds to 2 x - 5."""
    state = {
        "a.mobile_inverted_conv.bn.weight": torch.tensor([4.0]),
        "a.mobile_inverted_conv.bn.bias": torch.tensor([1.0]),
        "a.mobile_inverted_conv.bn.running_mean": torch.tensor([3.0]),
        "a.mobile_inverted_conv.bn.running_var": torch.tensor([4.0]),
        "a.mobile_inverted_conv.bn.num_batches_tracked": torch.tensor(7),
    }
    folded = fold_batch_norm(state, eps=0.0)
    assert folded == {"a.conv.bn.weight": torch.tensor([2.0]), "a.conv.bn.bias": torch.tensor([-5.0])}


def test_published_file_loads_with_old_names_and_its_own_classifier(tmp_path):
    """A published init file (old block names, 1000 classes) loads into a student for three classes."""
    torch.manual_seed(2)
    original = batch_norm_network(SMALL, 1000)
    old = {}
    for key, value in original.state_dict().items():
        block = key.startswith("blocks.")
        old[key.replace(".conv.", ".mobile_inverted_conv.", 1) if block else key] = value
    torch.save({"state_dict": old}, tmp_path / "init")
    student = build_student(SMALL.model_copy(update={"normalisation": "frozen"}), 3)
    head = student.classifier.linear.weight.clone()
    load_batch_norm_weights(student, read_published_weights(tmp_path / "init"))
    assert torch.equal(
        student.blocks[3].conv.depth_conv.conv.weight, original.blocks[3].conv.depth_conv.conv.weight
    )
    assert torch.equal(student.classifier.linear.weight, head)


def supernet_with_statistics(subnet):
    """Return ofa's w1.2 supernet of three classes, in eval mode, with the statistics of one sub-network's pass."""
    supernet = OFAMobileNetV3(
        3, width_mult=1.2, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4]
    )
    supernet.set_active_subnet(list(subnet.kernels), list(subnet.expand_ratios), list(subnet.depths))
    supernet.set_bn_param(momentum=1.0, eps=1e-5)
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.1)
    with torch.no_grad():
        supernet.train()(torch.randn(4, 3, 64, 64))
    return supernet.eval()


@pytest.mark.parametrize("architecture", ["ofa595", SMALL.architecture], ids=["ofa595", "small"])
def test_a_student_cut_from_a_supernet_computes_what_the_supernet_does(tmp_path, architecture):
    """From the supernet's file a frozen student gives the logits of the supernet with that sub-network active."""
    supernet = supernet_with_statistics(OFA595 if architecture == "ofa595" else architecture)
    torch.save({"state_dict": supernet.state_dict()}, tmp_path / "supernet")
    digest = file_sha256(tmp_path / "supernet")
    choice = StudentChoice(architecture=architecture, normalisation="frozen", weights_sha256=digest)
    student = build_student(choice, 3)
    load_published(student, choice, tmp_path / "supernet")
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = supernet(x)
        assert (expected[0] - expected[1]).abs().max() > 1e-2
        torch.testing.assert_close(student(x), expected, rtol=1e-4, atol=1e-4)


def test_a_supernet_that_is_not_whole_is_refused(tmp_path):
    """A supernet's file that lacks a tensor, or has another digest, is a WeightsError that names the file."""
    state = supernet_with_statistics(SMALL.architecture).state_dict()
    del state["blocks.3.conv.depth_conv.conv.conv.weight"]
    torch.save(state, tmp_path / "supernet")
    choice = SMALL.model_copy(update={"normalisation": "frozen"})
    with pytest.raises(WeightsError, match=r"^supernet: is not whole"):
        load_published(build_student(choice, 3), choice, tmp_path / "supernet")
    named = choice.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(WeightsError, match="expected 0000"):
        load_published(build_student(choice, 3), named, tmp_path / "supernet")


def test_batch_norm_weights_do_not_fit_another_architecture():
    """Weights of OFA-595 are refused by a smaller sub-network, naming the tensor."""
    student = build_student(SMALL.model_copy(update={"normalisation": "frozen"}), 3)
    with pytest.raises(WeightsError, match="blocks"):
        load_batch_norm_weights(student, batch_norm_network(GROUP, 3).state_dict())


def test_a_file_that_is_no_weights_is_refused(tmp_path):
    """A published file that torch cannot read as tensors is a WeightsError without its folder's path."""
    (tmp_path / "init").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"^init: "):
        read_published_weights(tmp_path / "init")


@pytest.mark.parametrize("normalisation", ["group", "frozen"])
def test_samples_do_not_touch_each_other(normalisation):
    """A sample's logits and features do not change when its neighbour in the batch changes, in train mode."""
    student = build_student(SMALL.model_copy(update={"normalisation": normalisation}), 3).double().train()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    other = torch.stack([x[0], 100 * x[1]])
    for one, two in zip(_outputs(student, x), _outputs(student, other), strict=True):
        torch.testing.assert_close(one[0], two[0], rtol=1e-12, atol=1e-12)
    gradient = torch.autograd.functional.jacobian(lambda z: student(z)[0].sum(), x)
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0


def _outputs(student, x):
    logits, features = student_features(student, x)
    return (logits, *features)


def test_nothing_is_in_place_or_random_or_remembered():
    """No module works in place, drops out, holds a buffer or keeps batch statistics."""
    for choice in (GROUP, FROZEN):
        student = on_meta(choice, 3)
        assert not [m for m in student.modules() if getattr(m, "inplace", False)]
        assert not [m for m in student.modules() if isinstance(m, nn.Dropout | nn.BatchNorm2d)]
        assert not list(student.buffers())


def test_every_layer_with_parameters_is_used_once():
    """Each leaf module with parameters runs exactly once in a forward pass; per-patient gradients need it."""
    student = build_student(SMALL, 2)
    calls: dict[str, int] = {}
    leaves = {n: m for n, m in student.named_modules() if list(m.parameters(recurse=False))}
    for name, leaf in leaves.items():
        leaf.register_forward_hook(lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1}))
    student(torch.zeros(1, 3, 32, 32))
    assert calls == dict.fromkeys(leaves, 1)
    assert {type(leaf) for leaf in leaves.values()} == {nn.Conv2d, nn.GroupNorm, nn.Linear}


def test_features_are_the_outputs_of_the_cam_layers():
    """Matched features are what the last blocks of stages 4 and 5 put out, at strides 16 and 32."""
    student = build_student(SMALL, 2)
    seen = {}
    for name, layer in cam_layers(student).items():
        layer.register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: output}))
    logits, features = student_features(student, torch.randn(2, 3, 64, 64))
    assert [f.shape for f in features] == [(2, FEATURE_CHANNELS[0], 4, 4), (2, FEATURE_CHANNELS[1], 2, 2)]
    assert torch.equal(features[0], seen["stage4"])
    assert torch.equal(features[1], seen["stage5"])
    assert seen["final_expand"].shape == (2, 1152, 2, 2)
    assert logits.shape == (2, 2)


def test_initial_weights_depend_on_the_seed_alone():
    """Two builds with one seed are equal, another seed differs, and the caller's random state stays."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = (build_student(SMALL, 2, seed=s).state_dict() for s in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["first_conv.conv.weight"], other["first_conv.conv.weight"])


def test_frozen_affine_is_scale_and_shift_per_channel():
    """FrozenAffine computes weight * x + bias for each channel."""
    affine = FrozenAffine(2)
    nn.init.constant_(affine.weight, 3.0)
    affine.bias.data = torch.tensor([1.0, -1.0])
    x = torch.ones(1, 2, 2, 2)
    assert affine(x)[0, :, 0, 0].tolist() == [4.0, 2.0]


def test_groups_are_the_largest_divisor_up_to_sixteen():
    """24 channels take 12 groups, 32 and 1152 take 16, 136 takes 8."""
    groups = {
        m.num_channels: m.num_groups for m in on_meta(GROUP, 2).modules() if isinstance(m, nn.GroupNorm)
    }
    assert {c: groups[c] for c in (24, 32, 136, 1152)} == {24: 12, 32: 16, 136: 8, 1152: 16}
