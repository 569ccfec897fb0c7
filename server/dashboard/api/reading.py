"""Rows of the store as the API's models: pages cut in the database, one statement a list and one for its number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
from fastapi import Depends, HTTPException, Query

from server.dashboard.api.models import Paged
from server.store.schema import STUDIES
from shared.config.values import Frozen

Model = TypeVar("Model", bound=Frozen)


@dataclass(frozen=True)
class Window:
    """Which page of a list is asked for."""

    page: int
    size: int


def _window(
    page: Annotated[int, Query(ge=1, le=1_000_000, description="page, from 1")] = 1,
    size: Annotated[int, Query(ge=1, le=500, description="items a page")] = 100,
) -> Window:
    return Window(page, size)


InWindow = Annotated[Window, Depends(_window)]


def paged(
    connection: sa.Connection,
    query: sa.Select[Any],
    window: Window,
    model: type[Model],
    complete: Callable[[Sequence[sa.Row[Any]]], list[Model]] | None = None,
) -> Paged[Model]:
    """Return one page of an ordered query; `complete` makes items that need more than their row."""
    counted = sa.select(sa.func.count()).select_from(query.order_by(None).subquery())
    total = int(connection.execute(counted).scalar_one())
    rows = connection.execute(query.limit(window.size).offset((window.page - 1) * window.size)).all()
    items = complete(rows) if complete else [read(model, row) for row in rows]
    return Paged(items=tuple(items), page=window.page, size=window.size, total=total)


def read(model: type[Model], row: sa.Row[Any], **more: Any) -> Model:
    """Return a row as a model; columns that the model has no field for stay behind."""
    names = {str(field.validation_alias or name) for name, field in model.model_fields.items()}
    values = {name: value for name, value in row._asdict().items() if name in names}
    return model.model_validate(values | more, strict=False)


def check_study(connection: sa.Connection, study_uid: str) -> None:
    """Refuse a study that the store does not hold: an empty list would say that it has nothing."""
    if (
        connection.execute(sa.select(STUDIES.c.study_uid).where(STUDIES.c.study_uid == study_uid)).first()
        is None
    ):
        raise HTTPException(404, "The store holds no study of this identifier; /api/v1/studies lists them.")
