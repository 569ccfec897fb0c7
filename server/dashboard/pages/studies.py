"""The first page: all studies of this store."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, RedirectResponse

from server.dashboard.auth.access import Reader
from server.dashboard.pages.page_tools import Page
from server.dashboard.rendering.paging import PageNumber
from server.dashboard.views.studies import studies_view

router = APIRouter()
Search = Annotated[str, Query(max_length=200)]


@router.get("/")
async def first() -> RedirectResponse:
    """Lead to the studies."""
    return RedirectResponse("/studies", 303)


@router.get("/studies")
def studies(page: Page, visit: Reader, search: Search = "", number: PageNumber = 1) -> HTMLResponse:
    """List studies: state, progress, last verdict."""
    view, hides = studies_view(page.connection, search.strip(), number), page.hiding(visit)
    rows = tuple(
        replace(one, verdict="hidden")
        if one.verdict != "none" and hides(one.study_uid, one.evidence)
        else one
        for one in view.studies.rows
    )
    view = replace(view, studies=replace(view.studies, rows=rows))
    return page.render("studies.html", here="studies", view=view)
