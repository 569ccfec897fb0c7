"""The API's door: a token that the operator made, sent as `Authorization: Bearer TOKEN`.

In: a request. Out: the live token, or 401. A browser's session opens nothing here, so no page can be made to ask.
"""

from collections.abc import Iterator
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from server.dashboard.auth import tokens

_BEARER = HTTPBearer(
    auto_error=False, scheme_name="token", description="A token of `rounds-hub token new NAME`."
)
Said = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


def token_holder(request: Request, said: Said) -> tokens.Token:
    """Return the live token that came with a request."""
    engine: sa.Engine = request.app.state.engine
    if said is not None:
        with engine.connect() as connection:
            found = tokens.look_up(connection, said.credentials)
        if found is not None:
            return found
    raise HTTPException(
        401, "A live token is needed; `rounds-hub token new NAME` makes one.", {"www-authenticate": "Bearer"}
    )


def _reading(request: Request) -> Iterator[sa.Connection]:
    engine: sa.Engine = request.app.state.engine
    with engine.connect() as connection:
        yield connection


TokenHolder = Annotated[tokens.Token, Depends(token_holder)]
Reading = Annotated[sa.Connection, Depends(_reading, scope="function")]
