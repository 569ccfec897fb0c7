"""The pages, one module each.

A new page is one module here with a `router`, one view in `server.dashboard.views`, and its line in `PAGES`: whoever
is not logged in is then refused without a word in the page itself. Only what stands in `OPEN` answers everybody.
"""

from typing import Final

from fastapi import APIRouter

from server.dashboard.pages import (
    account,
    changes,
    connections,
    events,
    explanations,
    login,
    model,
    people,
    pictures,
    privacy,
    sites,
    studies,
    study,
    unguarded,
)

OPEN: Final[tuple[APIRouter, ...]] = (unguarded.router, login.router)
OWN: Final[tuple[APIRouter, ...]] = (
    account.router,
)  # also with a one-time password: each route says what it needs
PAGES: Final[tuple[APIRouter, ...]] = (
    studies.router,
    study.router,
    privacy.router,
    sites.router,
    events.router,
    explanations.router,
    model.router,
    pictures.router,
    changes.router,
    people.router,
    connections.router,
)
