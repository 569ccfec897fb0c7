"""One study: progress, who took part, curves, baselines, bytes and times."""

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from server.dashboard.pages.page_tools import Page
from server.dashboard.rendering.csv import csv_response
from server.dashboard.views.study import study_view
from server.dashboard.views.study_rows import closed_rounds, every_participation

router = APIRouter()


@router.get("/studies/{study_uid}")
def study(page: Page, study_uid: str) -> HTMLResponse:
    """Show the study."""
    head = page.study(study_uid)
    path = f"/studies/{study_uid}"
    return page.composed(
        "study.html", "study_body.html", study=head, here="study", view=page.view(study_view, head), path=path
    )


@router.get("/studies/{study_uid}/rounds.csv")
def rounds(page: Page, study_uid: str) -> Response:
    """Give the learning curve and the times of all rounds, none left out."""
    head = page.study(study_uid)
    rows = [
        (one.number, one.auc.value, one.auc.low, one.auc.high, one.auc.n, one.seconds)
        for one in closed_rounds(page.connection, study_uid)
    ]
    columns = ("round", "auc", "auc_low", "auc_high", "patients", "seconds")
    return csv_response(f"{head.name}-rounds", columns, rows)


@router.get("/studies/{study_uid}/participation.csv")
def participation(page: Page, study_uid: str) -> Response:
    """Give who took part in each round, none left out."""
    head = page.study(study_uid)
    columns = ("round", "site", "outcome", "bytes", "epsilon")
    return csv_response(
        f"{head.name}-participation", columns, every_participation(page.connection, study_uid)
    )
