"""Adapters are linear, sized to the teacher, with bounded variances that can be frozen."""

import pytest
import torch

from shared.models.adapters import Adapters

FEATURES = (torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2))


@pytest.fixture
def adapters():
    """Return untrained adapters for two layers."""
    return Adapters((3, 5), (4, 6), ((2, 2), (3, 3)))


def test_means_have_the_teachers_shape(adapters):
    """Student maps of any size become (N, C_teacher, h, w) at the teacher's pooled size."""
    assert [m.shape for m in adapters(FEATURES)] == [(2, 4, 2, 2), (2, 6, 3, 3)]


def test_means_are_linear_without_bias(adapters):
    """g(a x) = a g(x) and g(0) = 0."""
    once, thrice = adapters(FEATURES), adapters([3 * f for f in FEATURES])
    torch.testing.assert_close(thrice, tuple(3 * m for m in once))


def test_variances_start_at_one_and_stay_in_bounds(adapters):
    """sigma2 is exp(log-variance), one a teacher channel, clamped to [1e-4, 1e3]."""
    assert [s.tolist() for s in adapters.sigma2()] == [[1.0] * 4, [1.0] * 6]
    with torch.no_grad():
        adapters.log_variances[0].fill_(-50)
        adapters.log_variances[1].fill_(50)
    assert [s[0].item() for s in adapters.sigma2()] == pytest.approx([1e-4, 1e3])


def test_start_is_the_mean_squared_error_of_each_channel(adapters):
    """After start_from the variances are the errors' mean squares, worked out from a known offset."""
    offsets = [torch.arange(1.0, c + 1).reshape(1, c, 1, 1) for c in (4, 6)]
    targets = [m.detach() + o for m, o in zip(adapters(FEATURES), offsets, strict=True)]
    adapters.start_from(FEATURES, targets)
    assert adapters.sigma2()[0].tolist() == pytest.approx([1, 4, 9, 16], rel=1e-4)
    assert adapters.sigma2()[1].tolist() == pytest.approx([1, 4, 9, 16, 25, 36], rel=1e-4)


def test_freeze_stops_every_parameter(adapters):
    """Frozen adapters still pass gradients to the student but get none themselves."""
    adapters.freeze()
    x = FEATURES[0].clone().requires_grad_()
    adapters((x, FEATURES[1]))[0].sum().backward()
    assert x.grad is not None
    assert all(p.grad is None and not p.requires_grad for p in adapters.parameters())


def test_layers_must_match(adapters):
    """One map too few is an error, not a shorter answer."""
    with pytest.raises(ValueError, match="zip"):
        adapters(FEATURES[:1])
