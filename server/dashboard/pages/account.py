"""A person's own account: sessions, password, logging out, and giving the password again before a decision."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.dashboard.auth import accounts as people
from server.dashboard.auth import sessions
from server.dashboard.auth.access import ANY_ACCOUNT, READER, AnyAccount, Reader, drop_cookie, give_cookie
from server.dashboard.auth.login import WRONG, Try, proved
from server.dashboard.auth.passwords import Hashing, weakness
from server.dashboard.http.error_pages import TooMany, local
from server.dashboard.pages.login import Typed, caller
from server.dashboard.pages.page_tools import Page, PageTools
from server.store.database import writing

router = APIRouter()
Back = Annotated[str, Query(alias="next", max_length=2000)]
BackField = Annotated[str, Form(alias="next", max_length=2000)]


@router.get("/account")
def account(page: Page, visit: Reader) -> HTMLResponse:
    """Show who is logged in, and where else."""
    own = sessions.of_person(page.connection, visit.person, page.settings)
    return page.render("account.html", here="account", sessions=own)


@router.post("/account/sessions")
def end_others(request: Request, visit: Reader) -> RedirectResponse:
    """End all other sessions of this person."""
    with writing(request.app.state.engine).begin() as connection:
        sessions.end_all(connection, visit.person, but=visit.token)
        people.tell(connection, visit.person, "ended all other sessions", address=caller(request))
    return RedirectResponse("/account", 303)


@router.post("/logout")
def log_out(request: Request, visit: AnyAccount) -> Response:
    """End this session."""
    with writing(request.app.state.engine).begin() as connection:
        sessions.end(connection, visit.token)
        people.tell(connection, visit.person, "logged out", address=caller(request))
    return drop_cookie(RedirectResponse("/login", 303), request.app.state.settings)


@router.get("/account/password", dependencies=[Depends(ANY_ACCOUNT)])
def password_form(page: Page, back: Back = "/") -> HTMLResponse:
    """Ask for the old password and a new one."""
    return _password_form(page, back)


@router.post("/account/password")
async def change_password(
    page: Page, request: Request, visit: AnyAccount, old: Typed = "", new: Typed = "", again: Typed = "",
    back: BackField = "/",
) -> Response:  # fmt: skip
    """Keep a new password; all sessions of this person end and a new one begins."""
    state = request.app.state
    try:
        is_right = await proved(state.engine, state.hashing, Try(visit.person, old, caller(request)))
    except TooMany as refused:
        return _password_form(page, back, refused.detail, 429)
    mistake = "" if is_right else "The present password is not the right one."
    if not mistake and new != again:
        mistake = "The new password was typed in two ways."
    if not mistake and new == old:
        mistake = "The new password is the present one; choose another."
    mistake = mistake or weakness(new, visit.person)
    if mistake:
        return _password_form(page, back, mistake, 422)
    hashed = await state.hashing.hash(new)

    def keep() -> str:
        with writing(state.engine).begin() as connection:
            people.set_password(connection, visit.person, hashed, caller(request))
            sessions.end_all(connection, visit.person)
            return sessions.begin(connection, visit.person)

    return give_cookie(RedirectResponse(local(back), 303), await run_in_threadpool(keep), state.settings)


@router.get("/account/prove", dependencies=[Depends(READER)])
def proof_form(page: Page, back: Back = "/") -> HTMLResponse:
    """Ask for the password again."""
    return page.render("prove.html", here="account", back=local(back), mistake="")


@router.post("/account/prove")
async def prove(
    page: Page, request: Request, visit: Reader, password: Typed = "", back: BackField = "/"
) -> Response:
    """Note that the password was given again, and lead back."""
    engine, hashing = request.app.state.engine, _hashing(request)
    mistake, status = "", 303
    try:
        if not await proved(engine, hashing, Try(visit.person, password, caller(request))):
            mistake, status = WRONG, 401
    except TooMany as refused:
        mistake, status = refused.detail, 429
    if mistake:
        return page.render("prove.html", here="account", status=status, back=local(back), mistake=mistake)

    def note() -> None:
        with writing(engine).begin() as connection:
            sessions.prove(connection, visit.token)
            people.tell(connection, visit.person, "gave the password again", address=caller(request))

    await run_in_threadpool(note)
    return RedirectResponse(local(back), 303)


def _hashing(request: Request) -> Hashing:
    hashing: Hashing = request.app.state.hashing
    return hashing


def _password_form(page: PageTools, back: str, mistake: str = "", status: int = 200) -> HTMLResponse:
    return page.render("password.html", here="account", status=status, back=local(back), mistake=mistake)
