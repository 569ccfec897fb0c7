"""Events, of all studies and of one: searched and filtered by the server."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse

from server.dashboard.auth.access import Reader
from server.dashboard.auth.sessions import Visit
from server.dashboard.pages.page_tools import Page, PageTools
from server.dashboard.rendering.paging import PageNumber
from server.dashboard.views.events import Asked, EventsView, events_view
from server.dashboard.views.head import Head

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
    return _page(page, visit, view, None, "/events")


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
    return _page(page, visit, view, head, path)


def _page(page: PageTools, visit: Visit, view: EventsView, head: Head | None, path: str) -> HTMLResponse:
    """Keep the gate's sentence from who decides, until they said what they think."""
    hides, rows = page.hiding(visit), view.events.rows
    hidden = frozenset(
        one.number for one in rows if one.kind == "gate" and hides(one.study_uid, one.evidence)
    )
    shown = tuple(replace(one, what=HIDDEN) if one.number in hidden else one for one in rows)
    return page.composed(
        "events.html", "events_body.html", study=head, here="events", path=path,
        view=replace(view, events=replace(view.events, rows=shown)), asked=(view.asked, view.events.number, hidden),
    )  # fmt: skip
