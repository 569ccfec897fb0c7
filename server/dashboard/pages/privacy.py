"""What each site spent, from the ledger statements that it released."""

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from server.dashboard.pages.page_tools import Page
from server.dashboard.rendering.csv import csv_response
from server.dashboard.views.privacy import privacy_view
from server.dashboard.views.privacy_rows import all_statements

router = APIRouter()


@router.get("/studies/{study_uid}/privacy")
def privacy(page: Page, study_uid: str) -> HTMLResponse:
    """Show spend, cap, label and what is not covered."""
    head = page.study(study_uid)
    path = f"/studies/{study_uid}/privacy"
    return page.composed(
        "privacy.html",
        "privacy_body.html",
        study=head,
        here="privacy",
        view=page.view(privacy_view, head),
        path=path,
    )


@router.get("/studies/{study_uid}/privacy.csv")
def statements(page: Page, study_uid: str) -> Response:
    """Give every ledger statement, none left out."""
    head = page.study(study_uid)
    columns = ("site", "round", "epsilon", "delta", "cap_epsilon", "head_seq", "head_hash", "follows")
    return csv_response(f"{head.name}-privacy", columns, all_statements(page.connection, study_uid))
