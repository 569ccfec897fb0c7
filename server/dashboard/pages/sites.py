"""The sites: health, what they run and sent, refusals, and an honest comparison."""

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from server.dashboard.pages.page_tools import Page
from server.dashboard.views.sites import sites_view

router = APIRouter()


@router.get("/studies/{study_uid}/sites")
def sites(page: Page, study_uid: str) -> HTMLResponse:
    """Show the sites of a study."""
    head = page.study(study_uid)
    path = f"/studies/{study_uid}/sites"
    return page.composed(
        "sites.html", "sites_body.html", study=head, here="sites", view=page.view(sites_view, head), path=path
    )
