import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from server.dashboard.maps.cells import Cells
from server.dashboard.maps.sheets import Sheet, Square

VALUES = np.random.default_rng(0).gamma(1, size=(7, 7))


def sheet(
    values: np.ndarray = VALUES, style: str = "overlay", expected: float = 1.0, side: int = 70
) -> Sheet:
    cells = Cells(values, values - 0.1, values + 0.1, expected)
    return Sheet((Square(style, cells), Square("overlay", None, "not measured")), 2, side)  # type: ignore[arg-type]


def test_equal_sheets_have_one_name_and_one_picture() -> None:
    """The digest and the bytes depend on what is drawn alone."""
    assert sheet().digest == sheet(VALUES.copy()).digest
    assert sheet().png() == sheet(VALUES.copy()).png()


@pytest.mark.parametrize(
    "other",
    [sheet(VALUES + 1e-9), sheet(style="alone"), sheet(expected=0.5), sheet(side=77), Sheet(sheet().squares, 1, 70),
     Sheet(sheet().squares[:1], 2, 70), Sheet(sheet().squares[::-1], 2, 70),
     Sheet((Square("overlay", Cells(VALUES)), sheet().squares[1]), 2, 70),
     Sheet((replace(sheet().squares[0], under=True), sheet().squares[1]), 2, 70)],
)  # fmt: skip
def test_another_picture_has_another_name(other: Sheet) -> None:
    """Whatever decides what is drawn is in the digest: an address never changes its content."""
    assert other.digest != sheet().digest


def test_a_sheet_is_as_large_as_it_says() -> None:
    """The page cuts squares out by these numbers."""
    with Image.open(io.BytesIO(sheet().png())) as opened:
        assert opened.size == sheet().size == (144, 70)
