"""What every page's function is given: one read transaction of the store, and the way to its template.

In: a request. Out: a page, or the one block of it that htmx asked for.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Depends, HTTPException, Request
from starlette.responses import HTMLResponse

from server.dashboard.changes import version_of
from server.dashboard.sessions import Visit
from server.dashboard.settings import Settings
from server.dashboard.templating import rendered
from server.dashboard.view_cache import View, ViewCache
from server.dashboard.views.head import Head, study_head


@dataclass(frozen=True)
class PageTools:
    """`connection` sees one state of the store throughout."""

    request: Request
    connection: sa.Connection

    @property
    def settings(self) -> Settings:
        """How this dashboard was started."""
        settings: Settings = self.request.app.state.settings
        return settings

    def study(self, study_uid: str) -> Head:
        """Return what stands above every page of a study; 404 where the store has none of this name."""
        found = study_head(self.connection, study_uid)
        if found is None:
            raise HTTPException(404)
        return found

    def view(
        self, build: Callable[[sa.Connection, Head], View], head: Head, asked: Hashable = None, name: str = ""
    ) -> View:
        """Return a view of a study that `build` reads, from memory where nothing was recorded since.

        `asked` is what else decides the view; a `build` that has no name of its own, such as a lambda, is given one.
        """
        cache: ViewCache = self.request.app.state.views
        key = (build.__module__, name or build.__name__, head.uid, asked)
        return cache.get(self.connection, key, lambda: build(self.connection, head))

    def render(
        self,
        template: str,
        *,
        study: Head | None = None,
        here: str = "",
        status: int = 200,
        **values: Any,
    ) -> HTMLResponse:
        """Return a page; `here` names its entry in the navigation.

        Where htmx asks for an element whose `id` is the name of a block, only that block.
        """
        text = rendered(template, self._common(study, here) | values, self.wanted_block)
        return HTMLResponse(text, status, headers={"vary": "hx-request"})

    def block(self, template: str, block: str, *, study: Head | None = None, **values: Any) -> HTMLResponse:
        """Return one block of a template, for htmx to put in place."""
        return HTMLResponse(rendered(template, self._common(study, "") | values, block))

    def _common(self, study: Head | None, here: str) -> dict[str, Any]:
        visit: Visit | None = getattr(self.request.state, "visit", None)
        return {
            "visit": visit, "study": study, "here": here,
            "fresh": visit is not None and visit.is_fresh(self.settings),
            "now": datetime.now(UTC), "version": "" if study is None else version_of(study),
        }  # fmt: skip

    @property
    def wanted_block(self) -> str | None:
        """The one block that htmx asked for, None for a whole page: a page need not read what it will not show."""
        return self.request.headers.get("hx-target") if self._wants_block() else None

    def _wants_block(self) -> bool:
        return (
            self.request.headers.get("hx-request") == "true"
            and self.request.headers.get("hx-history-restore-request") != "true"
            and self.request.headers.get("hx-boosted") != "true"
            and bool(self.request.headers.get("hx-target"))
        )


def _page(request: Request) -> Iterator[PageTools]:
    engine: sa.Engine = request.app.state.engine
    with engine.connect() as connection:
        yield PageTools(request, connection)


Page = Annotated[PageTools, Depends(_page, scope="function")]
