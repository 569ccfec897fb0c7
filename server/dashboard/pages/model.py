"""The model: gate, decisions, card, output controls, and the student itself once gate and person accepted it."""

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from server.dashboard.auth.access import FreshAuditor, Reader
from server.dashboard.auth.roles import at_least
from server.dashboard.auth.sessions import Visit
from server.dashboard.decisions import ACTIONS, VIEWS, NotDecided, decide, own_view_of, state_view
from server.dashboard.export.chai_xml import chai_xml
from server.dashboard.export.html_export import export_html
from server.dashboard.pages.page_tools import Page, PageTools
from server.dashboard.rendering.csv import csv_response
from server.dashboard.views.model import ModelView, model_view
from server.report.chai_fields import Card
from server.store.blobs import get_blob
from shared.errors import StoreError

router = APIRouter()
Word = Annotated[str, Form(max_length=20)]
Reason = Annotated[str, Form(max_length=4000)]
Digest = Annotated[str, Form(max_length=64)]


@router.get("/studies/{study_uid}/model")
def model(page: Page, visit: Reader, study_uid: str) -> HTMLResponse:
    """Show what the gate and people decided, and on what."""
    return _page(page, visit, study_uid)


@router.post("/studies/{study_uid}/model/view")
def own_view(
    page: Page, visit: FreshAuditor, study_uid: str, view: Word = "", evidence: Digest = ""
) -> Response:
    """Record what an auditor thinks before the verdict is shown."""
    try:
        state_view(page.request.app.state.engine, study_uid, visit, view, evidence)
    except NotDecided as refused:
        return _refused(page, visit, study_uid, refused)
    return RedirectResponse(f"/studies/{study_uid}/model#decision", 303)


@router.post("/studies/{study_uid}/model/decision")
def decision(
    page: Page,
    visit: FreshAuditor,
    study_uid: str,
    action: Word = "",
    reason: Reason = "",
    evidence: Digest = "",
) -> Response:
    """Record a decision, bound to the evidence that the page showed."""
    first = page.settings.own_view_first
    try:
        decide(
            page.request.app.state.engine, study_uid, visit, action, reason, evidence, own_view_first=first
        )
    except NotDecided as refused:
        return _refused(page, visit, study_uid, refused, reason)
    return RedirectResponse(f"/studies/{study_uid}/model#decision", 303)


@router.get("/studies/{study_uid}/model/student.safetensors")
def student(page: Page, study_uid: str) -> Response:
    """Give the student's weights; 403 with the reason unless gate and person accepted it."""
    head = page.study(study_uid)
    view = page.view(model_view, head)
    if not view.may_leave or view.weights is None:
        raise HTTPException(403, view.why_not)
    blob = get_blob(page.connection, view.weights)
    if blob is None:
        raise HTTPException(
            404, "The weights are named in the store but not in it; send the study's records again."
        )
    headers = {
        "content-disposition": f'attachment; filename="{head.name}-student.safetensors"',
        "etag": f'"{view.weights}"',
    }
    return Response(blob.content, media_type="application/octet-stream", headers=headers)


@router.get("/studies/{study_uid}/model/card.xml")
def card_xml(page: Page, study_uid: str) -> Response:
    """Give the model card as CHAI's applied model card v0.2."""
    head = page.study(study_uid)
    text = chai_xml(_card(page.view(model_view, head)))
    headers = {"content-disposition": f'attachment; filename="{head.name}-card.xml"'}
    return Response(text, media_type="application/xml; charset=utf-8", headers=headers)


@router.get("/studies/{study_uid}/model/card.json")
def card_json(page: Page, study_uid: str) -> Response:
    """Give the model card as the run wrote it."""
    head = page.study(study_uid)
    headers = {"content-disposition": f'attachment; filename="{head.name}-card.json"'}
    return JSONResponse(_card(page.view(model_view, head)), headers=headers)


@router.get("/studies/{study_uid}/model/checks.csv")
def checks(page: Page, study_uid: str) -> Response:
    """Give the gate's checks."""
    head = page.study(study_uid)
    rows = [
        (one.name, one.state, one.value, one.limit, one.sentence)
        for one in page.view(model_view, head).checks
    ]
    return csv_response(f"{head.name}-checks", ("check", "state", "value", "limit", "sentence"), rows)


def _card(view: ModelView) -> Card:
    if not view.card:
        raise HTTPException(404, "There is no model card yet; it is written when the run is over.")
    return view.card


def _refused(page: PageTools, visit: Visit, uid: str, refused: NotDecided, reason: str = "") -> Response:
    if refused.status == 404:
        raise HTTPException(404)
    return _page(page, visit, uid, refused.status, refused.sentence, reason)


def _page(
    page: PageTools, visit: Visit, uid: str, status: int = 200, mistake: str = "", reason: str = ""
) -> HTMLResponse:
    """Show the page as the store is now: a refused decision must see the evidence that it missed."""
    with page.request.app.state.engine.connect() as connection:
        fresh = PageTools(page.request, connection)
        return _shown(fresh, visit, uid, status, mistake, reason)


def _shown(page: PageTools, visit: Visit, uid: str, status: int, mistake: str, reason: str) -> HTMLResponse:
    head = page.study(uid)
    view = page.view(model_view, head)
    own = own_view_of(view.decisions, visit.person, view.evidence)
    decides = at_least(visit.role, "auditor") and view.judged
    return page.render(
        "model.html", study=head, here="model", status=status, view=view, path=f"/studies/{uid}/model",
        own_view=own, decides=decides, asks_view=decides and page.settings.own_view_first and not own,
        fresh=visit.is_fresh(page.settings), actions=ACTIONS, views=VIEWS, mistake=mistake, reason=reason,
    )  # fmt: skip


@router.get("/studies/{study_uid}/export.html")
def export(page: Page, visit: Reader, study_uid: str) -> Response:
    """Give the whole audit as one file; 409 for a person who has yet to say what they think."""
    head = page.study(study_uid)
    if page.hides_verdict(visit, head):
        raise HTTPException(
            409, "The file holds the gate's verdict: say first, on the page Model, what you think yourself."
        )
    try:
        text = page.remembered(("export", head.uid), lambda: export_html(page.connection, head.uid))
    except StoreError as error:
        raise HTTPException(413, str(error)) from error
    headers = {"content-disposition": f'attachment; filename="{head.name}-audit.html"'}
    return HTMLResponse(text, headers=headers)
