"""Squares of maps as one SVG: film below, map above, outlines of organs, the patient's sides, and the scale.

In: a sheet of squares, names of its rows and columns, and addresses of the pictures. Out: SVG text; the same on a page
and in an export but for those addresses. No picture is shown without its scale, its unit and the number behind it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Final

from markupsafe import Markup

from server.dashboard.figures.map_scale import FOOT, foot
from server.dashboard.maps import draw
from server.dashboard.maps.film import EDGES, Film
from server.dashboard.maps.sheets import SIDE_PX, Sheet
from server.presentation.svg_charts import label, tag

GAP, HEAD = 10, 22
NARROWEST: Final = 440
_NOISE_PX: Final = 150


@dataclass(frozen=True)
class Addresses:
    """Where pictures are: of a sheet by itself, of a film by its digest and its side in pixels."""

    sheet: Callable[[Sheet], str]
    film: Callable[[str, int], str]


@dataclass(frozen=True)
class Layout:
    """Names of columns and rows, `tile` the side of a square in the drawing, `beside` the room for names of rows.

    `privacy_shares` draws for each row how much of its noise is privacy's, in two tints of one bar.
    """

    columns: tuple[str, ...]
    rows: tuple[str, ...] = ("",)
    tile: int = 150
    beside: int = 0
    privacy_shares: tuple[float | None, ...] = ()

    @property
    def width(self) -> int:
        """Width of the whole drawing."""
        return max(self.beside + (self.tile + GAP) * len(self.columns) - GAP, NARROWEST)

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Left and top of a square in the drawing."""
        return self.beside + (self.tile + GAP) * column, HEAD + (self.tile + GAP) * row


def map_svg(
    title: str,
    describe: str,
    sheet: Sheet,
    layout: Layout,
    film: Film | None,
    said: str,
    addresses: Addresses,
) -> Markup:
    """Draw a sheet; `said` stands below the scale: unit, numbers and noise. A square without a map says why."""
    bottom = layout.corner(len(layout.rows), 0)[1] - GAP
    parts = [_shared(sheet, film, addresses), *_names(layout)]
    for index, place in enumerate(product(range(len(layout.rows)), range(len(layout.columns)))):
        parts.append(_square(sheet, index, *layout.corner(*place), layout.tile, film))
    styles = list(dict.fromkeys(one.style for one in sheet.squares if one.cells is not None)) or ["overlay"]
    parts.append(foot(styles, layout.beside, bottom + 12, layout.width - layout.beside, said))
    return Markup(
        '<svg class="fig maps" role="img" viewBox="0 0 {} {}" width="{}" aria-label="{}"><title>{}</title>'
        "<desc>{}</desc>{}</svg>"
    ).format(
        layout.width,
        bottom + FOOT,
        layout.width,
        f"{title}: {describe}",
        title,
        describe,
        Markup("").join(parts),
    )


def _names(layout: Layout) -> list[Markup]:
    """Write the names of columns, and of rows over as many lines as they have."""
    parts = [
        label(name, layout.corner(0, column)[0], HEAD - 8, "name")
        for column, name in enumerate(layout.columns)
    ]
    for row, name in enumerate(layout.rows):
        for line, text in enumerate(name.split("\n")):
            top = layout.corner(row, 0)[1] + 18 + 17 * line
            parts.append(label(text, 0, top, "tick" if line else "name"))
        share = layout.privacy_shares[row] if row < len(layout.privacy_shares) else None
        if share is not None:
            parts.append(_two_tints(share, layout.corner(row, 0)[1] + 18 + 17 * len(name.split("\n")) - 8))
    return parts


def _two_tints(share: float, y: float) -> Markup:
    """Draw what part of a row's noise is privacy's (lighter) and what part is few patients' (darker)."""
    sampling = tag("rect", "bar", x=0, y=y, width=_NOISE_PX * (1 - share), height=9)
    return sampling + tag(
        "rect", "bar noise", x=_NOISE_PX * (1 - share), y=y, width=_NOISE_PX * share, height=9
    )


def _square(sheet: Sheet, index: int, x: float, y: float, tile: int, film: Film | None) -> Markup:
    one, parts = sheet.squares[index], [Markup("")]
    use = Markup('<use href="#{}" transform="translate({} {}) scale({})" class="{}"/>')
    if film is None:
        place = Markup('<rect class="no-film" x="{}" y="{}" width="{}" height="{}"/>')
        parts.append(place.format(x, y, tile, tile))
    elif one.cells is None or one.style == "overlay":
        parts.append(use.format(_name("film", sheet), x, y, tile, "film"))
    if one.cells is not None:
        left, top = draw.corner_of(index, sheet.side, sheet.columns)
        cut = Markup(
            '<svg x="{}" y="{}" width="{}" height="{}" viewBox="{} {} {} {}"><use href="#{}"/></svg>'
        )
        parts.append(cut.format(x, y, tile, tile, left, top, sheet.side, sheet.side, _name("sheet", sheet)))
    if film is not None and film.outlines:
        named = _name("outline", sheet)
        parts += [use.format(named, x, y, tile, kind) for kind in ("outline-rim", "outline")]
    parts.append(_sides(film, x, y, tile))
    if one.note:
        below = tile / 2 + 4 if one.cells is None else tile - 8
        parts.append(label(one.note, x + tile / 2, y + below, "side middle"))
    return Markup("").join(parts)


def _sides(film: Film | None, x: float, y: float, tile: int) -> Markup:
    """Write the patient's sides, or that they are not known."""
    sides = None if film is None else film.sides
    if sides is None:
        why = "sides not stated" if film is None else film.sides_unknown
        return label(why, x + tile / 2, y + 15, "side middle")
    return label(sides[0], x + 6, y + 15, "side") + label(sides[1], x + tile - 6, y + 15, "side end")


def _name(what: str, sheet: Sheet) -> str:
    return f"{what}-{sheet.digest[:12]}"


def _shared(sheet: Sheet, film: Film | None, addresses: Addresses) -> Markup:
    """Write what all squares use, once: film and outlines on a square of side 1, the sheet in its own pixels."""
    image = Markup('<image id="{}" href="{}" width="{}" height="{}" preserveAspectRatio="none"/>')
    parts = []
    if film is not None:
        parts.append(image.format(_name("film", sheet), addresses.film(film.digest, SIDE_PX), 1, 1))
        parts.append(Markup('<g id="{}">{}</g>').format(_name("outline", sheet), _outlines(film)))
    if any(one.cells is not None for one in sheet.squares):
        parts.append(image.format(_name("sheet", sheet), addresses.sheet(sheet), *sheet.size))
    return Markup("<defs>{}</defs>").format(Markup("").join(parts))


def _outlines(film: Film) -> Markup:
    """Outline organs; the film's own edges are thin dots. Attributes, for style does not reach into what is used."""
    path = Markup('<path d="{}" vector-effect="non-scaling-stroke"{}><title>{}</title></path>')
    dots = Markup(' stroke-width="1" stroke-dasharray="1 5"')
    return Markup("").join(
        path.format(drawn, dots if name in EDGES else "", name)
        for name, drawn in sorted(film.outlines.items())
    )
