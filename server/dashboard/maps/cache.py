"""Pictures that were made once are kept in memory, up to a limit, under the digest of what they show."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

MOST_BYTES: Final = 48 * 2**20


class PictureCache:
    """The pictures asked for last; safe for many threads, and none of them waits while another draws."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._held = most_bytes, 0
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> bytes | None:
        """Return a picture, if it is still here."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def get_or_make(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Return a picture, made now if it must be."""
        found = self.get(key)
        if found is None:
            found = make()
            self._keep(key, found)
        return found

    def _keep(self, key: str, content: bytes) -> None:
        with self._lock:
            if key in self._known or len(content) > self._most:
                return
            self._known[key] = content
            self._held += len(content)
            while self._held > self._most:
                _, dropped = self._known.popitem(last=False)
                self._held -= len(dropped)


PICTURES: Final = PictureCache()
