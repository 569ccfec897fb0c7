import matplotlib as mpl
import numpy as np
import pytest

from server.dashboard.maps import colours
from shared.explain import pictures, scale


def lightness(layer: colours.Layer) -> np.ndarray:
    """CIE L* of opaque colours (..., 4)."""
    linear = np.where(
        layer[..., :3] / 255 <= 0.04045,
        layer[..., :3] / 255 / 12.92,
        ((layer[..., :3] / 255 + 0.055) / 1.055) ** 2.4,
    )
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_the_map_alone_has_the_colours_of_cividis() -> None:
    """The table is cividis, by matplotlib's own, and its lightness only rises."""
    drawn = colours.alone(np.linspace(0, colours.FULL_SCALE, 256))
    published = np.array(mpl.colormaps["cividis"].colors) * 255
    assert abs(drawn[:, :3] - published).max() < 6.5
    assert (np.diff(lightness(drawn)) > -0.2).all()
    assert lightness(drawn)[-1] - lightness(drawn)[0] > 70


@pytest.mark.parametrize("paint", [colours.alone, colours.over, colours.difference])
def test_a_colour_depends_on_the_value_alone(paint: object) -> None:
    """The same value has the same colour, whatever else the map holds."""
    small, large = np.array([0.3, 1.7]), np.array([1.7, 60.0, -9.0])
    np.testing.assert_array_equal(paint(small)[1], paint(large)[0])  # type: ignore[operator]


def test_what_is_beyond_the_scale_looks_like_its_end() -> None:
    """Values are clipped, never stretched."""
    for paint, end in ((colours.alone, 4.0), (colours.over, 4.0), (colours.difference, 2.0)):
        np.testing.assert_array_equal(paint(np.array([end])), paint(np.array([10 * end])))
    np.testing.assert_array_equal(colours.over(np.array([0.0])), colours.over(np.array([-1.0])))


def test_a_difference_is_white_at_zero_and_equally_strong_on_both_sides() -> None:
    """Blue and orange of one size differ from white by nearly the same lightness."""
    drawn = colours.difference(np.array([-1.5, 0.0, 1.5]))
    assert drawn[1].tolist() == [255, 255, 255, 255]
    light = lightness(drawn)
    assert light[0] == pytest.approx(light[2], abs=6)
    assert drawn[0, 2] > drawn[0, 0]
    assert drawn[2, 0] > drawn[2, 2]


def test_a_film_keeps_15_to_60_percent_of_lightness() -> None:
    """Black and white of a film leave room for the hue on both sides."""
    assert colours.dimmed(np.array([[0.0, 1.0]])).tolist() == [[38, 153]]


def test_the_report_and_the_dashboard_draw_on_one_scale() -> None:
    """The pictures of the report use the same hue, limit and strength."""
    drawn = colours.over(np.array([scale.FULL_SCALE]))[0]
    assert drawn[:3].tolist() == pictures.HUE.tolist()
    assert drawn[3] == round(255 * pictures.STRONGEST)
    assert pictures.FULL_SCALE == colours.FULL_SCALE


def test_a_scale_bar_holds_the_colours_that_maps_have() -> None:
    """The bar of a style is that style's own colours from end to end."""
    np.testing.assert_array_equal(colours.scale_bar("alone")[0, [0, -1]], colours.alone(np.array([0.0, 4.0])))
    np.testing.assert_array_equal(
        colours.scale_bar("difference", 3)[0, 1], colours.difference(np.array([0.0]))[0]
    )
