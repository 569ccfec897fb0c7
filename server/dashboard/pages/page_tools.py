"""What every page's function is given: one read transaction of the store, and the way to its template.

In: a request. Out: a page, or the one block of it that htmx asked for.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Depends, HTTPException, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse

from server.dashboard.auth.roles import at_least
from server.dashboard.auth.sessions import Visit
from server.dashboard.decisions import views_given
from server.dashboard.http.settings import Settings
from server.dashboard.pages.change_stream import version_of
from server.dashboard.rendering.templating import has_block, rendered
from server.dashboard.rendering.view_cache import View, ViewCache, newest_record
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

    @cached_property
    def _newest(self) -> int | None:
        return newest_record(self.connection)

    @cached_property
    def _views_given(self) -> dict[str, set[str]]:
        """By study, the evidence of which the reader has said what they think."""
        return views_given(self.connection, self.request.state.visit.person)

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
        key = (build.__module__, name or build.__name__, head.uid, asked)
        return self.remembered(key, lambda: build(self.connection, head))

    def remembered(self, key: Hashable, make: Callable[[], View]) -> View:
        """Return what `make` reads, from memory where nothing was recorded since; `key` says all that decides it."""
        cache: ViewCache = self.request.app.state.views
        return cache.get(self._newest, key, make)

    def composed(
        self,
        template: str,
        body: str,
        *,
        study: Head | None = None,
        here: str = "",
        asked: Hashable = None,
        **values: Any,
    ) -> HTMLResponse:
        """Return a page whose `body`, a template of its own, is made once for all readers until the next record.

        `asked` must tell apart all that `values` can say of one study: nothing of who reads may be among them that is
        not also in `asked`. Where htmx asks for a block of the body, only that block.
        """
        block = self.wanted_block if has_block(body, self.wanted_block) else None

        def made() -> Markup:
            return Markup(rendered(body, {"study": study, "asked": asked} | values, block))  # noqa: S704 - ours, autoescaped

        text = self.remembered((body, study and study.uid, asked, block), made)
        if block is not None:
            return HTMLResponse(text, headers={"vary": "hx-request"})
        return self.render(template, study=study, here=here, body=text, **values)

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
            "visit": visit, "study": self._as_shown_to(visit, study), "here": here,
            "fresh": visit is not None and visit.is_fresh(self.settings),
            "now": datetime.now(UTC), "version": "" if study is None else version_of(study), "stream": "",
        }  # fmt: skip

    def hides_verdict(self, visit: Visit | None, study: Head) -> bool:
        """Tell whether the gate's verdict is kept from a person who decides and has not yet said what they think."""
        return study.verdict != "none" and self.hiding(visit)(study.uid, study.evidence)

    def hiding(self, visit: Visit | None) -> Callable[[str, str], bool]:
        """Return how to tell the same of any study, by its identifier and the digest of its evidence so far."""
        if visit is None or not at_least(visit.role, "auditor") or not self.settings.own_view_first:
            return lambda _uid, _evidence: False
        return lambda uid, evidence: evidence not in self._views_given.get(uid, set())

    def _as_shown_to(self, visit: Visit | None, study: Head | None) -> Head | None:
        if study is None or not self.hides_verdict(visit, study):
            return study
        return replace(study, verdict="hidden")

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
