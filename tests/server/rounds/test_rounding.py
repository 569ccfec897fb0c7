"""What the hub says of rounding holds for what rounding did."""

from pathlib import Path

import numpy as np
import pytest

from client.rounds.answer import answer
from server.rounds.aggregation import rounding_error
from shared.messages.releases import Release, UpdateRelease, decode_release, encode_release
from shared.models.arrays import Arrays

DIGEST = "0" * 64


def travelled(update: Arrays) -> Arrays:
    """Return the update as the hub gets it where the study asks for float16."""
    fields = UpdateRelease(base_sha256=DIGEST, values="float16")
    shapes = {name: array.shape for name, array in update.items()}
    return decode_release(encode_release(Release("a" * 32, 1, fields, update)), shapes).arrays


def norm(update: Arrays) -> float:
    """L2 norm of all arrays together, in float64."""
    return float(np.sqrt(sum(np.square(array.astype(np.float64)).sum() for array in update.values())))


def true_error(update: Arrays, came: Arrays) -> float:
    """Return the distance over the norm of what came."""
    return norm({name: came[name] - array for name, array in update.items()}) / norm(came)


def test_the_error_on_a_real_update(tiny_federation, tmp_path: Path) -> None:
    """A site's own noised update is rounded by less than the bound, by 1/sqrt(3) of it, and by 0.03 percent at most."""
    parts = answer(tiny_federation.site("film", tmp_path), tiny_federation.request("train", 1))
    update = decode_release(parts["update"], tiny_federation.shapes).arrays
    came = travelled(update)
    error, bound = true_error(update, came), rounding_error(came)
    assert 0 < error < bound < 2.0**-11
    assert error == pytest.approx(bound / np.sqrt(3), rel=0.05)
    assert error < 3e-4


@pytest.mark.parametrize("value", [1.0, 1.5, 1.999, 2.0**-14, 2.0**-15, 3e-8, 0.0])
def test_half_a_step_by_hand(value: float) -> None:
    """Beside 1 the error is half a step of numpy's own float16; small and absent values have the smallest step."""
    pair = {"w": np.array([[1.0, value]], np.float32).astype(np.float16).astype(np.float32)}
    steps = np.spacing(pair["w"].astype(np.float16)).astype(np.float64)
    assert rounding_error(pair) == pytest.approx(np.linalg.norm(steps / 2) / np.linalg.norm(pair["w"]))


def test_nothing_at_all_has_no_error() -> None:
    """An update of zeros, or of no arrays, is exact."""
    assert rounding_error({"w": np.zeros(3, np.float32)}) == rounding_error({}) == 0.0
