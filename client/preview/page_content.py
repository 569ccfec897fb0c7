"""What the preview page says, in the order in which it says it: counts as rows, pictures as data URIs, drawings as SVG.

In: what `client/preview/survey.py` has seen. Out: the values of the template. Patients have numbers here and nothing
else: no identifier and no path gets this far.
"""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np

from client.preview.outliers import FAR
from client.preview.pictures import Film, film, written
from client.preview.survey import TEXT, Look, Outlier, Progress, Seen, images_per_patient, num_patients
from shared.data.image_problems import PROBLEMS, makes_unusable

PARTS = ("train", "evaluation", "audit", "not divided yet")
MOST_OUTLIERS = 16  # pictures of one kind
MOST_WRITTEN = 120
MOST_NUMBERS = 40  # patients listed for one kind of problem
BINS = 48
FEW = 40  # images that are drawn as one stroke each, since a curve would show shapes that are chance
# measure: (title where it is lower, where it is higher, value of a look, digits and unit)
MEASURES: dict[str, tuple[str, str, Callable[[Look], str]]] = {
    "brightness": ("Darker than the others", "Brighter than the others", lambda one: f"{one.brightness:.0f} of 255"),
    "contrast": ("Flatter than the others", "Harsher than the others", lambda one: f"{one.contrast:.0f} of 255"),
    "size": ("Smaller than the others", "Larger than the others", lambda one: f"{one.width} × {one.height}"),
    "shape": ("Narrower than the others", "Wider than the others", lambda one: f"{one.width} × {one.height}"),
}  # fmt: skip


def view(seen: Seen, progress: Progress) -> dict[str, Any]:
    """Return the template's values, reading the pictures that are shown."""
    shown = [look for cell in seen.sample.values() for look in cell]
    far = _far(seen)
    wanted = [*shown, *(one.look for group in far for one in group["shown"]), *seen.suspects[:MOST_WRITTEN]]
    drawn = 0

    def step() -> None:
        nonlocal drawn
        drawn += 1
        progress("Drawing pictures", drawn, len(wanted))

    def draw(look: Look) -> Film:
        step()
        return film(look, seen.study.task)

    classes = _classes(seen, draw)
    for group in far:
        group["films"] = [(draw(one.look), one) for one in group.pop("shown")]
    texts = []
    for look in seen.suspects[:MOST_WRITTEN]:
        texts.append(written(look))
        step()
    readable = sum(look.readable for look in seen.looks)
    refused = sum(bool(look.problem) and look.problem.startswith("image") for look in seen.looks)
    return {
        "site": seen.site,
        "study": seen.study,
        "today": date.today(),  # noqa: DTZ011 - the day at the hospital, for a person
        "num_patients": num_patients(seen.looks),
        "num_images": len(seen.looks),
        "num_readable": readable,
        "num_refused": refused + sum(n for kind, n in seen.left_out.items() if makes_unusable(kind)),
        "num_far": len(
            {(one.look.number, one.look.image) for found in seen.outliers.values() for one in found}
        ),
        "num_written": len(seen.suspects),
        "classes": classes,
        "parts": _parts(seen),
        "has_outlines": any(look.record.mask or look.record.lesion_mask for look in seen.looks),
        "counts": _counts(seen),
        "per_patient": _bars(images_per_patient(seen.looks)),
        "curves": _curves(seen),
        "limit": FAR,
        "far": far,
        "texts": texts,
        "text_refused": any(look.problem in TEXT for look in seen.suspects),
        "problems": _problems(seen),
    }


def _parts(seen: Seen) -> list[str]:
    found = {look.part for look in seen.looks}
    return [part for part in PARTS if part in found]


def _classes(seen: Seen, draw: Callable[[Look], Film]) -> list[dict[str, Any]]:
    """Return the contact sheet: for each class its counts, and films by part of the data."""
    sheet = []
    for label, name in enumerate(seen.study.task.classes):
        own = [look for look in seen.looks if look.record.label == label]
        rows = []
        for part in _parts(seen):
            there = [look for look in own if look.part == part]
            films = [draw(look) for look in seen.sample.get((label, part), [])]
            rows.append({"part": part, "patients": num_patients(there), "images": len(there), "films": films})
        sheet.append({"name": name, "patients": num_patients(own), "images": len(own), "rows": rows})
    return sheet


def _counts(seen: Seen) -> list[tuple[str, list[tuple[int, int]]]]:
    """Return (patients, images) for each class and part, and of all; a patient of two classes counts once in all."""
    classes = [
        (name, [look for look in seen.looks if look.record.label == label])
        for label, name in enumerate(seen.study.task.classes)
    ]
    table = []
    for name, own in (*classes, ("all", list(seen.looks))):
        cells = [[look for look in own if look.part == part] for part in _parts(seen)]
        table.append((name, [(num_patients(one), len(one)) for one in (*cells, own)]))
    return table


def _bars(counts: dict[int, int], most: int = 8) -> list[tuple[str, int, float]]:
    """Return (images, patients, percent of the longest bar); the last bar gathers what is beyond `most`."""
    together: dict[str, int] = {}
    for images, patients in counts.items():
        name = str(images) if images < most else f"{most} or more"
        together[name] = together.get(name, 0) + patients
    longest = max(together.values(), default=1)
    return [(name, patients, 100 * patients / longest) for name, patients in together.items()]


def _curves(seen: Seen) -> dict[str, Any]:
    """Return brightness as one filled curve a class, on one scale of 0 to 255."""
    values = {
        name: [look.brightness for look in seen.looks if look.readable and look.record.label == label]
        for label, name in enumerate(seen.study.task.classes)
    }
    curves = []
    for name, found in values.items():
        heights = np.histogram(found, BINS, (0, 255))[0] if found else np.zeros(BINS)
        top = max(float(heights.max()), 1.0)
        points = " ".join(
            f"{(i + 0.5) * 600 / BINS:.1f},{44 - 40 * h / top:.1f}" for i, h in enumerate(heights)
        )
        middle = float(np.median(found)) if found else None
        place = None if middle is None else 600 * middle / 255
        each = [600 * one / 255 for one in found] if len(found) < FEW else []
        curves.append({"name": name, "points": points, "place": place, "number": len(found), "each": each})
    far = [one.look.brightness * 600 / 255 for one in seen.outliers["brightness"]]
    return {"classes": curves, "far": far}


def _far(seen: Seen) -> list[dict[str, Any]]:
    """Return groups of outliers by measure and side, worst first; an image stands where it is farthest."""
    farthest: dict[tuple[int, int], float] = {}
    for one in (one for found in seen.outliers.values() for one in found):
        image = (one.look.number, one.look.image)
        farthest[image] = max(farthest.get(image, 0.0), abs(one.score))
    groups = []
    told: set[tuple[int, int]] = set()
    for measure, (lower, higher, value) in MEASURES.items():
        for title, side in ((lower, -1), (higher, 1)):
            found = [
                one
                for one in seen.outliers[measure]
                if one.score * side > 0 and not _told(one, farthest, told)
            ]
            if found:
                groups.append(
                    {"title": title, "value": value, "number": len(found), "shown": found[:MOST_OUTLIERS]}
                )
    return groups


def _told(one: Outlier, farthest: dict[tuple[int, int], float], told: set[tuple[int, int]]) -> bool:
    """Say whether the image stands elsewhere; remembers that it stands here where it does not."""
    image = (one.look.number, one.look.image)
    if image in told or abs(one.score) < farthest[image]:
        return True
    told.add(image)
    return False


def _problems(seen: Seen) -> list[dict[str, Any]]:
    """Return what is wrong by kind: of images with a patient by number, of other files by count alone."""
    rows = []
    for kind in sorted({*seen.problems, *seen.left_out}):
        looks = seen.problems.get(kind, [])
        numbers = sorted({look.number for look in looks})
        wrong, remedy = PROBLEMS[kind]
        rows.append(
            {
                "kind": kind,
                "count": len(looks) + seen.left_out.get(kind, 0),
                "wrong": wrong,
                "remedy": remedy,
                "numbers": numbers[:MOST_NUMBERS],
                "more": max(0, len(numbers) - MOST_NUMBERS),
            }
        )
    return rows
