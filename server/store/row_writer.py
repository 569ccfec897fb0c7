"""Writing the tables that pages read, many rows at once.

In: rows that projections add, or put in the place of older ones with the same key. Out: after `flush`, for each table
one statement that deletes and one that inserts, whatever the number of records behind them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from server.store.schema import (
    CHECKS,
    DOCUMENTS,
    FIGURES,
    FILMS,
    IMAGES,
    MAPS,
    MODELS,
    PARTICIPATION,
    PROJECTED,
    ROUNDS,
    SITES,
    STUDIES,
)

# what the newest record replaces: all rows with these columns equal; a table that is not here only grows
KEYS: Final[Mapping[sa.Table, tuple[str, ...]]] = {
    STUDIES: ("study_uid",),
    ROUNDS: ("study_uid", "round"),
    PARTICIPATION: ("study_uid", "round"),
    SITES: ("study_uid", "site"),
    FIGURES: ("study_uid", "of"),
    MAPS: ("study_uid", "subject", "label", "from_source", "round", "site_release"),
    FILMS: ("study_uid", "frame", "from_source"),
    IMAGES: ("study_uid", "key"),
    CHECKS: ("study_uid",),
    DOCUMENTS: ("study_uid", "name"),
    MODELS: ("study_uid",),
}
Row = dict[str, Any]
Key = tuple[Any, ...]


class Rows:
    """Rows that wait to be written, within one writing transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self._added: dict[sa.Table, list[Row]] = {}
        self._replaced: dict[sa.Table, dict[Key, list[Row]]] = {}
        self._absent: set[tuple[sa.Table, Key]] = set()

    def add(self, table: sa.Table, row: Row) -> None:
        """Add a row to a table that only grows."""
        self._added.setdefault(table, []).append(row)

    def replace(self, table: sa.Table, key: Mapping[str, Any], rows: Sequence[Row]) -> None:
        """Put rows in the place of all that have this key."""
        self._replaced.setdefault(table, {})[_values(table, key)] = list(rows)

    def current(self, table: sa.Table, **key: Any) -> Row | None:
        """Return the one row with this key, for the caller to change; None where there is none."""
        values = _values(table, key)
        waiting = self._replaced.setdefault(table, {})
        if values not in waiting:
            if (table, values) in self._absent:
                return None
            row = self.connection.execute(sa.select(table).filter_by(**key)).mappings().one_or_none()
            if row is None:
                self._absent.add((table, values))
                return None
            waiting[values] = [dict(row)]
        return waiting[values][0]

    def flush(self) -> None:
        """Write everything that waits."""
        for table in PROJECTED:
            replaced = self._replaced.pop(table, {})
            self._delete(table, list(replaced))
            rows = [row for some in replaced.values() for row in some] + self._added.pop(table, [])
            if rows:
                self.connection.execute(sa.insert(table), rows)

    def _delete(self, table: sa.Table, keys: Sequence[Key]) -> None:
        by_nulls: dict[
            tuple[bool, ...], list[Key]
        ] = {}  # NULL equals nothing, so that it needs a statement of its own
        for key in keys:
            by_nulls.setdefault(tuple(value is None for value in key), []).append(key)
        for nulls, some in by_nulls.items():
            names = [name for name, null in zip(KEYS[table], nulls, strict=True) if not null]
            where = [table.c[name] == sa.bindparam(f"key_{name}") for name in names]
            where += [table.c[name].is_(None) for name, null in zip(KEYS[table], nulls, strict=True) if null]
            values = [[value for value in key if value is not None] for key in some]
            parameters = [
                {f"key_{name}": one for name, one in zip(names, key, strict=True)} for key in values
            ]
            self.connection.execute(sa.delete(table).where(*where), parameters)


def _values(table: sa.Table, key: Mapping[str, Any]) -> Key:
    return tuple(key[name] for name in KEYS[table])
