"""What is seen on a map, in words: for the line above it, for who cannot see it, and for the table.

In: mean maps. Out: sentences. They say where the energy lies and what may be noise, never why.
"""

import numpy as np

from server.dashboard.maps.cells import Bools, Cells, strongest
from server.dashboard.maps.film import Film
from server.dashboard.views.explanations.mean_maps import MeanMap
from server.store.record_kinds import EVERY

NO_EVIDENCE = "no positive evidence on any image"
TOO_FEW = "too few to say"
WITHOUT_INTERVALS = "no intervals were measured, so which cells may be noise is not known"


def of_class(label: str) -> str:
    """Name a class within a sentence."""
    return "all classes" if label == EVERY else label


def of_source(source: str) -> str:
    """Name a source of reference images."""
    return "all sources" if source == EVERY else source


def sure_cells(cells: Cells) -> str:
    """Say how many cells stand out from noise."""
    if not cells.has_intervals:
        return WITHOUT_INTERVALS
    return f"{int(cells.stands_out.sum()) or 'none'} of {cells.values.size} cells can be told from noise"


def places(cells: Cells) -> str:
    """Say where a map is surely more or less than expected: 'more upper left (2.1 times even); less centre'."""
    above = cells.stands_out & (cells.values > cells.expected)
    below = cells.stands_out & ~above
    said = [f"more {_named(cells, above)}"] if above.any() else []
    if below.any():
        said.append(f"less {' and '.join(name for name, _ in strongest(-cells.values, below))}")
    return "; ".join([*said, sure_cells(cells)])


def strongest_places(cells: Cells) -> str:
    """Say where a single image's map is strongest; it has no intervals, and nothing is concluded from it."""
    return f"strongest {_named(cells, np.ones(cells.values.shape, bool))}"


def _named(cells: Cells, among: Bools) -> str:
    unit = "{:+.1f}" if cells.expected == 0 else "{:.1f} times even"
    return " and ".join(f"{name} ({unit.format(value)})" for name, value in strongest(cells.values, among))


def seen(one: MeanMap | None) -> str:
    """Say what a map shows, without its name."""
    if one is None:
        return "not measured"
    if one.cells is None:
        return TOO_FEW if one.too_few else NO_EVIDENCE
    return places(one.cells)


def behind(one: MeanMap | None) -> str:
    """Say how many images and patients stand behind a map, and what noise was added."""
    if one is None:
        return "not measured"
    if one.too_few:
        return TOO_FEW
    images, patients = counted(one.num_images, "image"), counted(one.num_patients, "patient")
    if not one.site_release:
        bare = f", {one.num_without_evidence} without positive evidence" if one.num_without_evidence else ""
        return f"{images} of {patients}{bare}; public images, no noise added"
    if one.noise_std is None:
        return f"{patients}; no noise added"
    spent = "epsilon not stated" if one.epsilon is None else f"epsilon {one.epsilon:.3g}"
    return f"{patients}; noise added for {spent}: standard deviation {one.noise_std:.2f} a cell"


def note(cells: Cells | None, why: str) -> str:
    """Say what must stand on a square itself: why it has no map, or that its map has no intervals."""
    return why if cells is None else "" if cells.has_intervals else "no intervals"


def counted(count: int, what: str) -> str:
    """Write '1 image', '6 images'."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def unit(one: MeanMap | None) -> str:
    """Say the unit of a picture's colours and the numbers behind it."""
    return f"share of energy, times uniform (1 is what an even map has) · {behind(one)}"


def sides(film: Film | None) -> str:
    """Say which side of the patient is where."""
    if film is None or not film.laterality:
        return "Which side of the picture is the patient's left is not stated."
    return f"{film.laterality[:1].upper()}{film.laterality[1:].rstrip('.')}."
