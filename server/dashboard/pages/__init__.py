"""The pages, one module each.

A new page is one module here with a `router`, one view in `server.dashboard.views`, and its line in `PAGES`: whoever
is not logged in is then refused without a word in the page itself. Only what stands in `OPEN` answers everybody.
"""

from typing import Final

from fastapi import APIRouter

from server.dashboard.pages import events, explanations, pictures, studies, unguarded

OPEN: Final[tuple[APIRouter, ...]] = (unguarded.router,)
PAGES: Final[tuple[APIRouter, ...]] = (
    studies.router,
    events.router,
    explanations.router,
    pictures.router,
)
