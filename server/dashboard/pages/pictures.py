"""Pictures of maps and films: made once, kept by digest, and the same for ever behind the same address.

A sheet's address holds the digest of what it shows and what its page was asked for. It is made again from the store
where no process has it any more; where the store would now show something else, the address is gone.
"""

from collections.abc import Callable
from typing import Annotated, Final, Literal
from urllib.parse import quote

import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Path, Query, Request
from starlette.responses import Response

from server.dashboard.figures.maps import Addresses
from server.dashboard.http.headers import FOREVER_PRIVATE
from server.dashboard.maps import draw
from server.dashboard.maps.cache import PICTURES
from server.dashboard.maps.cells import Cells
from server.dashboard.maps.film import film_for
from server.dashboard.maps.sheets import SIDE_PX, Sheet
from server.dashboard.pages.page_tools import Page, PageTools
from server.dashboard.views.explanations.mean_maps import MeanMap, films, map_by_digest, page_maps
from server.dashboard.views.explanations.reference_images import SIDE_PX as STRIP_PX
from server.dashboard.views.explanations.site_maps import site_maps
from server.dashboard.views.explanations.view import MAP_PARTS, Asked, explanations_view, labels_of
from server.store.blobs import get_blob
from server.store.record_kinds import EVERY
from server.store.schema import FILMS, IMAGES

router = APIRouter()
SIDES: Final = (SIDE_PX, STRIP_PX)
REVALIDATED: Final = "private, no-cache"  # the film below a map may be recorded anew
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


def addresses(study_uid: str, asked: Asked) -> Addresses:
    """Return where the pictures of one page are."""
    at = f"/studies/{quote(study_uid)}"
    return Addresses(
        sheet=lambda one: f"{at}/maps/{one.digest}.png?{asked.query()}",
        film=lambda digest, side: f"{at}/films/{digest}.png?side={side}",
    )


@router.get("/studies/{study_uid}/maps/{digest}.png")
def sheet(page: Page, study_uid: str, digest: Digest, asked: Annotated[Asked, Query()]) -> Response:
    """Return a sheet of the explanations page."""

    def make() -> bytes:
        return _sheet(page, study_uid, digest, asked).png()

    return served(page.request, f"sheet-{digest}", make)


@router.get("/studies/{study_uid}/films/{digest}.png")
def film(page: Page, study_uid: str, digest: Digest, side: int = SIDE_PX) -> Response:
    """Return a film of a study, dimmed as it lies under every map."""
    if side not in SIDES:
        raise HTTPException(404)

    def make() -> bytes:
        return draw.png(draw.film_picture(_film(page.connection, study_uid, digest), side))

    return served(page.request, f"film-{draw.RENDERING}-{side}-{digest}", make)


@router.get("/maps/{digest}.png")
def one_map(page: Page, digest: Digest, style: Literal["film", "alone", "overlay"] = "overlay") -> Response:
    """Return one recorded map in one picture: the dimmed film, the map alone, or the map over the film."""
    found = map_by_digest(page.connection, digest)
    if found is None:
        raise HTTPException(404)
    uid, one = found
    below = None if style == "alone" else film_for(films(page.connection, uid), one.frame)
    cells = _shown_cells(page.connection, uid, one)
    if cells is None or (below is None and style != "alone"):
        raise HTTPException(404)

    def make() -> bytes:
        if below is None:
            return draw.png(draw.layer("difference" if cells.expected == 0 else "alone", SIDE_PX, cells))
        ground = draw.film_picture(_film(page.connection, uid, below.digest), SIDE_PX)
        return draw.png(
            ground if style == "film" else draw.overlaid(ground, draw.layer("overlay", SIDE_PX, cells))
        )

    named = f"map-{draw.RENDERING}-{style}-{digest}-{'' if below is None else below.digest}"
    return served(page.request, named, make, REVALIDATED)


def served(
    request: Request, key: str, make: Callable[[], bytes], cache_control: str = FOREVER_PRIVATE
) -> Response:
    """Return a picture, from the cache where it is there, or say that the reader has it."""
    headers = {"cache-control": cache_control, "etag": f'"{key}"'}
    content = PICTURES.get_or_make(key, make)
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/png", headers=headers)


def _sheet(page: PageTools, uid: str, digest: str, asked: Asked) -> Sheet:
    """Make the page's pictures again and return the one that is meant; 404 where the page no longer shows it."""
    head = page.study(uid)
    if asked.label not in labels_of(head.config):
        raise HTTPException(404)
    view = explanations_view(page.connection, head, asked, addresses(uid, asked), MAP_PARTS)
    for one in view.sheets:
        if one.digest == digest:
            return one
    raise HTTPException(404)


def _film(connection: sa.Connection, uid: str, digest: str) -> bytes:
    """Return a film that a record of this study names: other blobs are not pictures."""
    named = sa.union_all(
        sa.select(FILMS.c.film).where(FILMS.c.study_uid == uid, FILMS.c.film == digest),
        sa.select(IMAGES.c.film).where(IMAGES.c.study_uid == uid, IMAGES.c.film == digest),
    )
    blob = None if connection.execute(named).first() is None else get_blob(connection, digest)
    if blob is None:
        raise HTTPException(404)
    return blob.content


def _shown_cells(connection: sa.Connection, uid: str, one: MeanMap) -> Cells | None:
    """Return what may be shown of a map; a site's with the intervals that only its study's other maps can give."""
    if not one.site_release:
        return one.cells
    maps, _ = page_maps(connection, uid, one.label, [EVERY])
    return next((site.own for site in site_maps(maps) if site.name == one.source), None)
