"""Explanations: where the student looks, for one class, and the reference images on which it does worst."""

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Query
from starlette.responses import HTMLResponse, Response

from server.dashboard.pages.page_tools import Page
from server.dashboard.pages.pictures import addresses
from server.dashboard.rendering.csv import csv_response
from server.dashboard.views.explanations.map_numbers import HEAD, map_numbers
from server.dashboard.views.explanations.map_words import of_class, sides
from server.dashboard.views.explanations.mean_maps import inventory, page_maps
from server.dashboard.views.explanations.reference_images import OUTCOMES, PANELS, SIDE_PX
from server.dashboard.views.explanations.view import (
    ALL_PARTS,
    MAP_PARTS,
    Asked,
    ExplanationsView,
    explanations_view,
    first_label,
    labels_of,
)
from server.dashboard.views.head import Head
from server.presentation.map_limits import CANNOT

router = APIRouter()
_BLOCKS = {"round": MAP_PARTS, "sources": MAP_PARTS, "sites": MAP_PARTS, "images": frozenset({"images"})}


@router.get("/studies/{study_uid}/explanations")
def explanations(page: Page, study_uid: str, asked: Annotated[Asked, Query()]) -> HTMLResponse:
    """Show where the student looks for one class."""
    head = page.study(study_uid)
    asked = _known(asked, head)
    where, parts = addresses(study_uid, asked), _BLOCKS.get(page.wanted_block or "", ALL_PARTS)

    def read(connection: sa.Connection, head: Head) -> ExplanationsView:
        return explanations_view(connection, head, asked, where, parts)

    return page.composed(
        "explanations.html", "explanations_body.html", study=head, here="explanations",
        view=page.view(read, head, (asked, parts), "page"), asked=asked,
        path=f"/studies/{study_uid}/explanations", outcomes=OUTCOMES, panels=PANELS, cannot=CANNOT,
        of_class=of_class, sides_of=sides, film_address=lambda digest: where.film(digest, SIDE_PX),
    )  # fmt: skip


@router.get("/studies/{study_uid}/explanations.csv")
def numbers(page: Page, study_uid: str, asked: Annotated[Asked, Query()]) -> Response:
    """Give every cell of one class's final maps."""
    head = page.study(study_uid)
    label = _known(asked, head).label
    _, sources = inventory(page.connection, study_uid, label)
    maps, _ = page_maps(page.connection, study_uid, label, sources)
    return csv_response(f"{head.name}-maps", HEAD, map_numbers(maps))


def _known(asked: Asked, head: Head) -> Asked:
    """Return what was asked for, with a class of this study; 404 for another."""
    label = asked.label or first_label(head.config)
    if label not in labels_of(head.config):
        raise HTTPException(404)
    return asked.model_copy(update={"label": label})
