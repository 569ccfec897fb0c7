"""Events, of all studies and of one: searched and filtered by the server."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse

from server.dashboard.page import Page
from server.dashboard.paging import PageNumber
from server.dashboard.views.events import Asked, events_view

router = APIRouter()
Search = Annotated[str, Query(max_length=200)]
Choice = Annotated[str, Query(max_length=40)]


@router.get("/events")
def events(
    page: Page, search: Search = "", kind: Choice = "", site: Choice = "", number: PageNumber = 1
) -> HTMLResponse:
    """List events of all studies, and logins and decisions."""
    asked = Asked(search.strip(), kind, site)
    view = page.remembered(("events", asked, number), lambda: events_view(page.connection, asked, number))
    return page.render("events.html", here="events", view=view, path="/events")


@router.get("/studies/{study_uid}/events")
def events_of_study(
    page: Page,
    study_uid: str,
    search: Search = "",
    kind: Choice = "",
    site: Choice = "",
    number: PageNumber = 1,
) -> HTMLResponse:
    """List events of one study."""
    head, path = page.study(study_uid), f"/studies/{study_uid}/events"
    asked = Asked(search.strip(), kind, site)
    view = page.remembered(
        ("events", study_uid, asked, number),
        lambda: events_view(page.connection, asked, number, study_uid, path),
    )
    return page.render("events.html", study=head, here="events", view=view, path=path)
