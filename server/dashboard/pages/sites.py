"""The sites: health, what they run and sent, refusals, and an honest comparison."""

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from server.dashboard.page import Page
from server.dashboard.views.sites import sites_view

router = APIRouter()


@router.get("/studies/{study_uid}/sites")
def sites(page: Page, study_uid: str) -> HTMLResponse:
    """Show the sites of a study."""
    head = page.study(study_uid)
    path = f"/studies/{study_uid}/sites"
    body = page.body("sites_body.html", head, view=page.view(sites_view, head), path=path)
    return page.render("sites.html", study=head, here="sites", body=body, path=path)
