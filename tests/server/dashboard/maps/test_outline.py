import io

import numpy as np
from PIL import Image

from server.dashboard.maps.outline import LESIONS, REGION, outlines


def mask(inside: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(inside.astype(np.uint8) * 255).save(out, format="PNG")
    return out.getvalue()


def test_only_edges_are_drawn() -> None:
    """Inside and outside stay clear, so that nothing of the film is covered."""
    inside = np.zeros((40, 40), bool)
    inside[10:30, 10:30] = True
    drawn = outlines(mask(inside), None, 40)
    assert drawn[10, 20].tolist() == list(REGION)
    assert drawn[20, 20].tolist() == drawn[5, 5].tolist() == [0, 0, 0, 0]
    assert (drawn[..., 3] > 0).sum() == 4 * 19


def test_lesions_are_dashed_over_the_region() -> None:
    """Both can be told apart without colour: one line is whole, one is dashed."""
    inside, lesion = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    inside[5:55, 5:55], lesion[20:40, 20:40] = True, True
    drawn = outlines(mask(inside), mask(lesion), 60)
    edge = drawn[20, 20:40]
    assert {tuple(one) for one in edge.tolist()} == {LESIONS, (0, 0, 0, 0)}
    assert (drawn[5, 5:55] == REGION).all()


def test_an_image_without_masks_has_no_outline() -> None:
    """Nothing is made up for it."""
    assert not outlines(None, None, 20).any()
