"""What answers everybody: health, style sheet and scripts. None of it says anything of a study."""

from fastapi import APIRouter, HTTPException, Request, Response
from sqlalchemy import Engine, text
from starlette.responses import PlainTextResponse

from server.dashboard.http.headers import FOREVER
from server.dashboard.rendering.static_files import by_url

router = APIRouter()


@router.get("/health")
def health(request: Request) -> PlainTextResponse:
    """Say that this process and its store answer."""
    engine: Engine = request.app.state.engine
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return PlainTextResponse("ok\n")


@router.get("/static/{name}")
async def static(name: str, request: Request) -> Response:
    """Return a file whose name holds its digest."""
    found = by_url().get(f"/static/{name}")
    if found is None:
        raise HTTPException(404)
    headers = {"cache-control": FOREVER, "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(found.compressed, media_type=found.media_type, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
