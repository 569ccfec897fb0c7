"""Searching text in a database: what a reader typed is text, never a pattern."""

from typing import Any

import sqlalchemy as sa


def contains(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column contains a text, in any case of its letters."""
    return column.icontains(text, autoescape=True)
