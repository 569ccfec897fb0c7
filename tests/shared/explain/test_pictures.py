from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared.explain import pictures

FILM = np.full((32, 32, 3), 120, np.uint8)


def peak(height: float = 1.0) -> torch.Tensor:
    """Draw a map with one square of evidence."""
    found = torch.zeros(32, 32)
    found[8:16, 8:16] = height
    return found


def test_equal_shares_of_energy_have_equal_colour() -> None:
    """The colour of a map does not depend on its unit, so that maps of two models can be compared."""
    once, thousandfold = (pictures.film_with_map(FILM, peak(height)) for height in (1.0, 1000.0))
    np.testing.assert_array_equal(once, thousandfold)


def test_a_weaker_concentration_is_paler() -> None:
    """A map spread over the image is paler than a concentrated one: no map is stretched to full colour."""
    flat = pictures.film_with_map(FILM, torch.ones(32, 32))
    expected_opacity = pictures.STRONGEST / pictures.FULL_SCALE
    dimmed = pictures.film_with_map(FILM, None)[0, 0].astype(float)
    expected = dimmed * (1 - expected_opacity) + pictures.HUE * expected_opacity
    assert abs(flat.astype(float) - expected).max() <= 1
    assert flat[96, 96, 0] < pictures.film_with_map(FILM, peak())[72, 72, 0]


def test_a_map_without_evidence_leaves_the_film_bare() -> None:
    """No evidence is shown as the grey film alone."""
    bare = pictures.film_with_map(FILM, torch.zeros(32, 32))
    assert (bare[:, :, 0] == bare[:, :, 2]).all()


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_contour_holds_its_share_of_energy(share: float) -> None:
    """The region inside a contour holds the share, and without its faintest pixel it would not."""
    shares = np.random.default_rng(0).gamma(1.0, size=(16, 16))
    inside = shares >= pictures.energy_threshold(shares, share)
    held = shares[inside].sum()
    assert held >= share * shares.sum() > held - shares[inside].min()


def test_the_outline_follows_the_region_and_nothing_else() -> None:
    """Only the rim of the region mask is coloured; without a mask the film stays as it is."""
    region = torch.zeros(32, 32, dtype=torch.bool)
    region[8:24, 8:24] = True
    drawn, plain = pictures.film_with_outline(FILM, region), pictures.film(FILM)
    coloured = (drawn != plain).any(2)
    assert int(coloured.sum()) == 4 * (96 - 1)
    assert coloured[48, 48:144].all()
    np.testing.assert_array_equal(pictures.film_with_outline(FILM, None), plain)


def test_pictures_have_equal_bytes_whenever_they_are_written(tmp_path: Path) -> None:
    """The same panel gives the same file, which holds the same pixels."""
    drawn = pictures.panel(pictures.film(FILM), pictures.film_with_map(FILM, peak()))
    pictures.write_png(drawn, tmp_path / "new" / "a.png")
    pictures.write_png(drawn, tmp_path / "b.png")
    assert (tmp_path / "new" / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), drawn)
    assert drawn.shape == (192, 2 * 192 + 4, 3)


def test_the_scale_bar_ends_at_the_colour_of_four_times_uniform() -> None:
    """The bar grows steadily from the bare film's grey to the strongest hue."""
    bar = pictures.scale_bar(100, 5).astype(int)
    assert (np.diff(bar[0, :, 0]) >= 0).all()
    assert bar[0, 0, 0] == bar[0, 0, 2]
    assert bar[0, -1, 2] < bar[0, 0, 2]
