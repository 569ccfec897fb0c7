"""Events, of all studies and of one: searched and filtered by the server."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse

from server.dashboard.access import Reader
from server.dashboard.page import Page, PageTools
from server.dashboard.paging import PageNumber
from server.dashboard.sessions import Visit
from server.dashboard.views.events import Asked, EventsView, events_view

router = APIRouter()
HIDDEN: Final = "The verdict is hidden until you have said on the page Model what you think."
Search = Annotated[str, Query(max_length=200)]
Choice = Annotated[str, Query(max_length=40)]


@router.get("/events")
def events(
    page: Page,
    visit: Reader,
    search: Search = "",
    kind: Choice = "",
    site: Choice = "",
    number: PageNumber = 1,
) -> HTMLResponse:
    """List events of all studies, and logins and decisions."""
    asked = Asked(search.strip(), kind, site)
    view = page.remembered(("events", asked, number), lambda: events_view(page.connection, asked, number))
    return page.render("events.html", here="events", view=_as_shown_to(page, visit, view), path="/events")


@router.get("/studies/{study_uid}/events")
def events_of_study(
    page: Page,
    visit: Reader,
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
    shown = _as_shown_to(page, visit, view)
    return page.render("events.html", study=head, here="events", view=shown, path=path)


def _as_shown_to(page: PageTools, visit: Visit, view: EventsView) -> EventsView:
    """Keep the gate's sentence from who decides, until they said what they think."""
    hides = page.hiding(visit)
    rows = tuple(
        replace(one, what=HIDDEN) if one.kind == "gate" and hides(one.study_uid, one.evidence) else one
        for one in view.events.rows
    )
    return replace(view, events=replace(view.events, rows=rows))
