"""Live pages: a stream that says that a study changed, and the line above its pages that tells how it stands."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import HTMLResponse

from server.dashboard.auth.access import Reader
from server.dashboard.pages.change_stream import Watch, study_version
from server.dashboard.pages.page_tools import Page

router = APIRouter()
Version = Annotated[str, Query(max_length=60)]
LastSeen = Annotated[str | None, Header(alias="last-event-id", max_length=60)]


@router.get("/studies/{study_uid}/changes", response_class=EventSourceResponse)
async def changes(
    request: Request, study_uid: str, visit: Reader, since: Version = "", last_event_id: LastSeen = None
) -> AsyncIterator[ServerSentEvent]:
    """Say `changed` whenever a record of this study arrived, beginning with what came after the page was made."""
    state = request.app.state
    look = partial(study_version, study_uid=study_uid)
    watch = Watch(state.engine, state.settings, look, visit, state.closing)
    async for event in watch.events(last_event_id or since):
        yield event


@router.get("/studies/{study_uid}/badges")
def badges(page: Page, study_uid: str) -> HTMLResponse:
    """Return the line that tells how a study stands and how old its last record is."""
    return page.block("base.html", "badges", study=page.study(study_uid))
