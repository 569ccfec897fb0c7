"""The first page: all studies of this store."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, RedirectResponse

from server.dashboard.page import Page
from server.dashboard.paging import PageNumber
from server.dashboard.views.studies import studies_view

router = APIRouter()
Search = Annotated[str, Query(max_length=200)]


@router.get("/")
async def first() -> RedirectResponse:
    """Lead to the studies."""
    return RedirectResponse("/studies", 303)


@router.get("/studies")
def studies(page: Page, search: Search = "", number: PageNumber = 1) -> HTMLResponse:
    """List studies: state, progress, last verdict."""
    view = studies_view(page.connection, search.strip(), number)
    return page.render("studies.html", here="studies", view=view)
