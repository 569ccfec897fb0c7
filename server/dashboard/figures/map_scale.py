"""What stands below every picture of a map: the fixed scale, its unit, the numbers behind it, and the signs.

In: the styles that were drawn. Out: SVG text with one bar a style, in the very colours that maps are drawn in.
"""

import base64
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from markupsafe import Markup

from server.dashboard.maps import colours, draw
from server.dashboard.maps.cells import Cells
from server.dashboard.maps.draw import Style
from server.presentation.svg_charts import label

FOOT: Final = 98  # height of it all
GAP: Final = 24
_WIDEST: Final = 420
_VALUES: Final = ((0.0, "0"), (0.25, "1"), (0.5, "2"), (0.75, "3"), (1.0, "≥ 4"))
_CHANGES: Final = ((0.0, "≤ −2"), (0.25, "−1"), (0.5, "0"), (0.75, "+1"), (1.0, "≥ +2"))


def foot(styles: Sequence[Style], x: float, y: float, room: float, said: str) -> Markup:
    """Draw the bars, what they measure, and what lines and hatching mean."""
    width = min(_WIDEST, (room - GAP * (len(styles) - 1)) / len(styles))
    parts = [_bar(style, x + (width + GAP) * index, y, width) for index, style in enumerate(styles)]
    parts.append(label(said, x, y + 46, "tick"))
    parts += [_picture(_hatching(), x, y + 58, 28, 14), label("may be noise", x + 34, y + 70, "tick")]
    if set(styles) != {"difference"}:
        for left, kind, text in ((132, "half", "half of the energy, as drawn"), (362, "most", "80 % of it")):
            parts.append(Markup('<path class="contour-{}" d="M{} {}h28"/>').format(kind, x + left, y + 65))
            parts.append(label(text, x + left + 34, y + 70, "tick"))
    if "difference" in styles:
        after = 132 if set(styles) == {"difference"} else 470
        parts.append(label("+ more, − less", x + after, y + 70, "tick"))
    return Markup("").join(parts)


def _bar(style: Style, x: float, y: float, width: float) -> Markup:
    parts = [_picture(_scale(style), x, y, width, 10)]
    for place, text in _CHANGES if style == "difference" else _VALUES:
        kind = "tick" if place == 0 else "tick end" if place == 1 else "tick middle"
        parts.append(label(text, x + place * width, y + 25, kind))
    return Markup("").join(parts)


def _picture(address: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup(
        '<image href="{}" x="{}" y="{}" width="{}" height="{}" preserveAspectRatio="none"/>'
    ).format(address, x, y, width, height)


@cache
def _scale(style: Style) -> str:
    bar = colours.scale_bar(style)
    if style == "overlay":  # over a film of middling grey
        bar = draw.overlaid(colours.dimmed(np.full(bar.shape[:2], 0.5)), bar)
    return _inline(bar)


@cache
def _hatching() -> str:
    one = np.ones((1, 1))
    return _inline(draw.layer("alone", 28, Cells(one, one, one))[:14])


def _inline(picture: colours.Layer) -> str:
    return "data:image/png;base64," + base64.b64encode(draw.png(picture)).decode()
