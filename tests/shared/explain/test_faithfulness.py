import pytest
import torch
from torch import Tensor

from shared.explain.faithfulness import insertion_deletion


def top_rows_seen(batch: Tensor) -> Tensor:
    """Logits (N, 2) whose softmax probability of class 1 is the share of ones in the upper half."""
    share = batch[:, 0, :4].mean((1, 2)).clamp(1e-12, 1 - 1e-12)
    return torch.stack([(1 - share).log(), share.log()], 1)


IMAGE = torch.ones(3, 8, 8, dtype=torch.float64)
FILL = torch.zeros(3, 8, 8, dtype=torch.float64)


def test_areas_of_a_right_and_a_wrong_map_are_those_worked_out_by_hand() -> None:
    """A map of exactly the used half gives insertion 3/4 and deletion 1/4, its opposite the reverse."""
    right = torch.zeros(8, 8)
    right[:4] = 1
    good = insertion_deletion(top_rows_seen, IMAGE, right, 1, baseline=FILL, steps=4)
    bad = insertion_deletion(top_rows_seen, IMAGE, 1 - right, 1, baseline=FILL, steps=4)
    assert (good.insertion, good.deletion) == (pytest.approx(0.75), pytest.approx(0.25))
    assert (bad.insertion, bad.deletion) == (pytest.approx(0.25), pytest.approx(0.75))


def test_equal_pixels_come_in_no_spatial_order() -> None:
    """A flat map is worth about 1/2 although the used pixels stand first in raster order."""
    flat = [
        insertion_deletion(
            top_rows_seen, IMAGE, torch.ones(8, 8), 1, baseline=FILL, tie_key=str(key)
        ).insertion
        for key in range(20)
    ]
    assert sum(flat) / 20 == pytest.approx(0.5, abs=0.03)


def test_both_curves_share_their_ends_and_chunks_change_nothing() -> None:
    """Image and baseline are run once for both curves, and any chunk size gives the same areas."""
    num_run = []

    def counted(batch: Tensor) -> Tensor:
        num_run.append(len(batch))
        return top_rows_seen(batch)

    found = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    all_at_once = insertion_deletion(counted, IMAGE, found, 1, baseline=FILL, steps=8, chunk=99)
    assert num_run == [9 + 7]
    assert insertion_deletion(counted, IMAGE, found, 1, baseline=FILL, steps=8, chunk=3) == all_at_once


def test_wrong_arguments_are_named() -> None:
    """No step, or a map of another size, is refused."""
    with pytest.raises(ValueError, match="at least 1"):
        insertion_deletion(top_rows_seen, IMAGE, torch.ones(8, 8), 1, baseline=FILL, steps=0)
    with pytest.raises(ValueError, match="allowed is the image's"):
        insertion_deletion(top_rows_seen, IMAGE, torch.ones(4, 4), 1, baseline=FILL)
