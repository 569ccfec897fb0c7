"""One colour scale for every map of every study, wherever it is drawn; numbers alone, so that any process reads it.

The value of a map is its share of energy, times uniform: 1 is what a map that is equal everywhere has.
"""

from typing import Final

HUE: Final = (230.0, 159.0, 0.0)  # #E69F00, told apart from grey by every kind of colour vision
FULL_SCALE: Final = 4.0  # the value at which the hue is strongest; more looks the same
STRONGEST: Final = 0.85  # opacity there: the film stays visible under the map
DIMMEST, BRIGHTEST = 0.15, 0.60  # lightness that the film keeps under a map
NEARLY_UNIFORM: Final = 0.9  # a contour round more than this part of what a uniform map needs is not drawn
CONTOURS: Final = (0.5, 0.8)  # share of energy inside: solid, dashed
