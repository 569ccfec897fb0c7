"""Connections, for the coordinator: who is in the federation, what is missing at each site, and whose turn it is.

Other roles see a site's part in a study on the study's own page Sites. Who has been invited, is late, or has not yet
approved something is between that hospital and the coordinator, and no result rests on it.
"""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import HTMLResponse

from server.dashboard.auth.access import COORDINATOR, Coordinator
from server.dashboard.pages.change_stream import Watch
from server.dashboard.pages.changes import LastSeen, Version
from server.dashboard.pages.page_tools import Page
from server.dashboard.views.connections import ConnectionsCache

router = APIRouter()


@router.get("/connections", dependencies=[Depends(COORDINATOR)])
def connections(page: Page) -> HTMLResponse:
    """Show each site, what is missing and whose turn it is."""
    cache: ConnectionsCache = page.request.app.state.connections
    view = cache.get()
    stream = f"/connections/changes?since={view.version}"
    return page.render("connections.html", here="connections", view=view, stream=stream)


@router.get("/connections/changes", response_class=EventSourceResponse)
async def changes(
    request: Request, visit: Coordinator, since: Version = "", last_event_id: LastSeen = None
) -> AsyncIterator[ServerSentEvent]:
    """Say `changed` whenever something that the page shows is no longer so."""
    state = request.app.state
    cache: ConnectionsCache = state.connections
    watch = Watch(state.engine, state.settings, lambda _: cache.get().version, visit, state.closing)
    async for event in watch.events(last_event_id or since):
        yield event
