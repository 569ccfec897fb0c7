"""The table of routes and roles, made from the application itself: a door that is open cannot be left out of it.

In: the application. Out: who may use each method and path, and the same as Markdown.
"""

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from server.dashboard.api.guard import token_holder
from server.dashboard.app import create_app
from server.dashboard.auth.access import Role
from server.dashboard.auth.roles import ROLES

EVERYBODY: Final = "everybody"
TOKEN: Final = "API token"  # noqa: S105 - the word for who holds one
_HEAD: Final = ("method", "path", "who")
Table = Mapping[tuple[str, str], str]  # (method, path): who


def needs(dependant: Dependant) -> set[str]:
    """Return what a route asks for: roles, or a token."""
    found = {needed for one in dependant.dependencies for needed in needs(one)}
    if isinstance(dependant.call, Role):
        found.add(dependant.call.role)
    if dependant.call is token_holder:
        found.add(TOKEN)
    return found


def route_table(app: FastAPI) -> Table:
    """Return who may use each method and path: the lowest role that may, who holds a token, or everybody."""
    made: dict[tuple[str, str], str] = {}
    for route in iter_route_contexts(app.routes):
        asked = needs(route.dependant)
        roles = [role for role in ROLES if role in asked]
        who = TOKEN if TOKEN in asked else roles[-1] if roles else EVERYBODY
        made |= {(method, route.path or ""): who for method in route.methods or ()}
    return made


def markdown(table: Table) -> str:
    """Return the table as Markdown, what is most open first, then by path."""
    order = (EVERYBODY, *ROLES, TOKEN)
    rows = sorted(table.items(), key=lambda row: (order.index(row[1]), row[0][1], row[0][0]))
    lines = [_HEAD, ("---",) * len(_HEAD), *((method, f"`{path}`", who) for (method, path), who in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def own_table() -> Table:
    """Return the table of the dashboard; no store is opened for it."""
    return route_table(create_app(sa.create_engine("sqlite://")))
