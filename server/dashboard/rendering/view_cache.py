"""Views that were read once, kept until the store has a new record: twenty readers of one page read it once.

In: a function from a connection to a frozen view. Out: its value, from memory where nothing was recorded since.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from server.store.schema import RECORDS

View = TypeVar("View")
MOST_VIEWS: Final = 128  # the largest, of 50 sites and 1,000 rounds, takes half a megabyte


class ViewCache:
    """Keeps the views used last; readers that want the same one at the same moment wait for one reading of it."""

    def __init__(self, most: int = MOST_VIEWS) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._making: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def get(self, newest: int | None, key: Hashable, build: Callable[[], View]) -> View:
        """Return the view of `key` as of the record `newest`, the last that `build` sees."""
        whole = (key, newest)
        with self._lock:
            if whole in self._kept:
                self._kept.move_to_end(whole)
                found: View = self._kept[whole]
                return found
            making = self._making.setdefault(whole, Lock())
        with making:
            with self._lock:
                if whole in self._kept:
                    made: View = self._kept[whole]
                    return made
            view = build()
            with self._lock:
                self._kept[whole] = view
                self._making.pop(whole, None)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return view


def newest_record(connection: sa.Connection) -> int | None:
    """Return the number of the newest record that a connection sees, None in an empty store."""
    return connection.execute(sa.select(sa.func.max(RECORDS.c.id))).scalar()
