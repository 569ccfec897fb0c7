"""The explanations page's pictures: which maps stand beside each other, and the table of each.

In: mean maps of one class. Out: figures with name, description and table, and the sheets that they show.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from server.dashboard.figures.maps import Addresses, Layout, map_svg
from server.dashboard.maps.cells import Cells
from server.dashboard.maps.draw import Style
from server.dashboard.maps.film import Film
from server.dashboard.maps.sheets import SIDE_PX, SMALL_PX, Sheet, Square
from server.dashboard.views.explanations import map_words as words
from server.dashboard.views.explanations.mean_maps import MAIN, NAMES, MeanMap, difference, find
from server.presentation.model_names import FLOORS
from server.presentation.svg_charts import Figure

WIDE, MIDDLE = 360, 184  # side of a square in the drawing
BESIDE = 140
UNDER: Final = "You asked for the values under the hatching: they may be noise."


@dataclass(frozen=True)
class Drawn:
    """A figure, and the sheet that its picture is."""

    figure: Figure
    sheet: Sheet


@dataclass(frozen=True)
class Ground:
    """What a page's maps have in common: their class, the film below, where pictures are, what hatching hides."""

    label: str
    film: Film | None
    addresses: Addresses
    under: bool = False  # colours stay under the hatching

    @property
    def title(self) -> str:
        """The class, at the end of a figure's title."""
        return words.of_class(self.label)


def panels(one: MeanMap | None, ground: Ground) -> Drawn | None:
    """Draw film, map alone and overlay of one map; its table has the values where the picture has the cells."""
    if one is None:
        return None
    title = f"{one.name}’s map, {ground.title}"
    describe = f"{_capital(words.seen(one))}. {words.sides(ground.film)}"
    squares = (Square("overlay", None), _square(one, "alone"), _square(one))
    layout = Layout(("Film", "Map alone", "Map over the film"), tile=WIDE)
    return _drawn(title, describe, squares, layout, words.unit(one), ground, *_cell_table(one))


def by_source(maps: Sequence[MeanMap], sources: Sequence[str], ground: Ground) -> Drawn:
    """Draw teacher, mask and student side by side for each source of reference images, with the floors."""
    subjects = [*MAIN, *(floor for floor in FLOORS if any(one.subject == floor for one in maps))]
    squares, rows, names = [], [], []
    for source in sources:
        found = [find(maps, subject, source) for subject in subjects]
        squares += [_square(one) for one in found]
        count = next((one.num_images for one in found if one is not None), 0)
        names.append(f"{words.of_source(source)[:18]}\n{words.counted(count, 'image')}")
        rows += [
            (words.of_source(source), NAMES[subject], words.behind(one), words.seen(one))
            for subject, one in zip(subjects, found, strict=True)
        ]
    student = find(maps, "student", sources[0])
    said = "; ".join(f"{NAMES[one]}: {words.seen(find(maps, one, sources[0]))}" for one in MAIN)
    describe = f"The same fixed scale in every square. Over {words.of_source(sources[0])}: {said}."
    layout = Layout(
        tuple(NAMES[one].removesuffix(" (floor)") for one in subjects), tuple(names), MIDDLE, BESIDE
    )
    head = ("images of", "map", "behind it", "what is seen")
    title = f"Teacher, mask and student by source of the images, {ground.title}"
    return _drawn(title, describe, squares, layout, words.unit(student), ground, head, rows)


def differences(maps: Sequence[MeanMap], sources: Sequence[str], ground: Ground) -> Drawn | None:
    """Draw the student's map less the teacher's, over all images and by source, each with an interval of its own."""
    squares, rows = [], []
    for source in sources:
        cells = _minus_teacher(maps, source)
        squares.append(Square("difference", cells, words.note(cells, "not measured")))
        said = "not measured" if cells is None else words.places(cells)
        rows.append((words.of_source(source), words.behind(find(maps, "student", source)), said))
    if all(one.cells is None for one in squares):
        return None
    recorded = find(maps, "student-teacher") is not None
    describe = f"Over {words.of_source(sources[0])}: {rows[0][2]}. " + (
        "Each cell's interval is that of the difference itself, made from both maps of each patient."
        if recorded
        else "How both maps vary together is not on record, so each cell's interval is the sum of both: at least as "
        "wide as it should be."
    )
    layout = Layout(
        tuple(words.of_source(one)[:20] for one in sources), tile=min(MIDDLE, 1100 // len(sources) - 10)
    )
    said = (
        f"difference of shares of energy, times uniform · {words.behind(find(maps, 'student', sources[0]))}"
    )
    title = f"Student minus teacher, {ground.title}"
    head = ("images of", "behind it", "where the student differs")
    return _drawn(title, describe, squares, layout, said, ground, head, rows)


def after_round(now: MeanMap, before: MeanMap | None, recorded: MeanMap | None, ground: Ground) -> Drawn:
    """Draw the student's map after a round, and what changed since the measured round before."""
    change = recorded.cells if recorded else None if before is None else difference(now, before)
    since = "since the round before" if before is None else f"since round {before.round}"
    why = "first measured round" if before is None else "not measured"
    squares = (
        _square(now),
        Square("difference", change, words.note(change, why)),
    )
    changed = why if change is None else words.places(change)
    describe = f"After round {now.round}: {words.seen(now)}. Change {since}: {changed}."
    layout = Layout((f"After round {now.round}", f"Change {since}"), tile=WIDE)
    rows = [
        (f"after round {now.round}", words.behind(now), words.seen(now)),
        (f"change {since}", "", changed),
    ]
    title = f"Student’s map after round {now.round}, {ground.title}"
    head = ("map", "behind it", "what is seen")
    return _drawn(title, describe, squares, layout, words.unit(now), ground, head, rows)


def _minus_teacher(maps: Sequence[MeanMap], source: str) -> Cells | None:
    recorded, student, teacher = (
        find(maps, one, source) for one in ("student-teacher", "student", "teacher")
    )
    if recorded is not None:
        return recorded.cells
    return None if student is None or teacher is None else difference(student, teacher)


def _square(one: MeanMap | None, style: Style = "overlay") -> Square:
    if one is None:
        return Square(style, None, "not measured")
    return Square(style, one.cells, words.note(one.cells, words.TOO_FEW if one.too_few else "no evidence"))


def _drawn(
    title: str, describe: str, squares: Sequence[Square], layout: Layout, said: str, ground: Ground,
    head: tuple[str, ...], rows: Sequence[tuple[str, ...]],
) -> Drawn:  # fmt: skip
    side = SIDE_PX if layout.tile > SIDE_PX else SMALL_PX
    sheet = Sheet(tuple(replace(one, under=ground.under) for one in squares), len(layout.columns), side)
    if ground.under:
        describe = f"{describe} {UNDER}"
    drawing = map_svg(title, describe, sheet, layout, ground.film, said, ground.addresses)
    return Drawn(Figure(title, describe, drawing, head, tuple(rows)), sheet)


def _cell_table(one: MeanMap) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Lay values out as the picture does; brackets stand where the value may be noise."""
    cells = one.cells
    if cells is None:
        return ("map", "what is seen"), [(one.name, words.seen(one))]
    head = ("row", *(f"column {k + 1}" for k in range(cells.values.shape[1])))
    sure = cells.stands_out
    rows = [
        (
            f"{row + 1}",
            *(f"{value:.2f}" if sure[row, k] else f"({value:.2f})" for k, value in enumerate(line)),
        )
        for row, line in enumerate(cells.values)
    ]
    return head, rows


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
