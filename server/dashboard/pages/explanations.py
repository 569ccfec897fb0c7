"""Explanations: where the student looks, for one class, and the reference images on which it does worst."""

import csv
import io
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from starlette.responses import HTMLResponse, Response

from server.dashboard.page import Page
from server.dashboard.pages.pictures import addresses
from server.dashboard.paging import PageNumber
from server.dashboard.views.explanations import (
    Asked,
    figures_part,
    first_label,
    labels_of,
    maps_part,
    reference_film,
    rounds_part,
)
from server.dashboard.views.map_numbers import map_numbers
from server.dashboard.views.map_words import CANNOT, of_class
from server.dashboard.views.mean_maps import films, final_maps, inventory
from server.dashboard.views.reference_images import OUTCOMES, PANELS, SIDE_PX, Wanted, reference_images
from server.store.records import EVERY

router = APIRouter()
Choice = Annotated[str, Query(max_length=100)]
PartNumber = Annotated[int, Query(ge=1, le=10_000)]
Round = Annotated[int | None, Query(alias="round", ge=0, le=1_000_000)]
Outcome = Literal["", "wrong", "right", "bare"]


@router.get("/studies/{study_uid}/explanations")
def explanations(
    page: Page, study_uid: str, label: Choice = "", number: Round = None, sources: PartNumber = 1,
    sites: PartNumber = 1, true_class: Choice = "", source: Choice = "", outcome: Outcome = "",
    images: PageNumber = 1,
) -> HTMLResponse:  # fmt: skip
    """Show where the student looks for one class."""
    head, connection = page.study(study_uid), page.connection
    labels = labels_of(head.config)
    asked = Asked(
        label=_known(label or first_label(head.config), labels), round=number, sources=sources, sites=sites
    )
    path, known = f"/studies/{study_uid}/explanations", films(connection, study_uid)
    film, where = reference_film(known), addresses(study_uid, asked)
    values: dict[str, Any] = {
        "asked": asked, "path": path, "labels": labels, "every": EVERY, "of_class": of_class, "cannot": CANNOT,
        "film": film, "film_address": lambda digest: where.film(digest, SIDE_PX),
    }  # fmt: skip
    if page.block != "images":
        rounds, all_sources = inventory(connection, study_uid, asked.label)
        values["rounds"] = rounds_part(connection, study_uid, asked, rounds, known, where)
    if page.block in {None, "sources", "sites"}:
        values["maps"] = maps_part(connection, study_uid, asked, all_sources, known, where)
    if page.block is None:
        values["figures"] = figures_part(connection, study_uid, asked.label, film)
    if page.block in {None, "images"}:
        wanted = Wanted(true_class, source, outcome)
        values["images"] = reference_images(connection, study_uid, wanted, images, film, path, asked.label)
        values |= {
            "wanted": wanted, "outcomes": OUTCOMES, "panels": PANELS, "classes": head.config["task"]["classes"],
            "image_sources": sorted({one.source for one in known} - {EVERY}),
        }  # fmt: skip
    return page.render("explanations.html", study=head, here="explanations", **values)


@router.get("/studies/{study_uid}/explanations.csv")
def numbers(page: Page, study_uid: str, label: Choice = EVERY) -> Response:
    """Return every cell of one class's final maps."""
    head = page.study(study_uid)
    label = _known(label, labels_of(head.config))
    _, sources = inventory(page.connection, study_uid, label)
    written = io.StringIO()
    csv.writer(written).writerows(map_numbers(final_maps(page.connection, study_uid, label, sources)))
    return Response(written.getvalue(), media_type="text/csv")


def _known(label: str, labels: tuple[str, ...]) -> str:
    """Return a class of this study; 404 for another."""
    if label not in labels:
        raise HTTPException(404)
    return label
