"""What a running site does though nobody asks it anything: targets end with their study, on the day that it ends.

In: `site.yaml`. Out: a purged cache; nothing leaves. Requests and commands purge as well, but after a study's end none
may ever come.
"""

import logging
import sqlite3
import threading
import time
from dataclasses import dataclass

from client.site.site_rules import SiteRules, describe
from shared.errors import RoundsError

log = logging.getLogger("rounds.site")
EVERY_SECONDS = 3600.0


@dataclass
class Upkeep:
    """Called often; purges at once and then every hour, beside what the caller does: a busy cache makes it wait."""

    site: SiteRules
    next_time: float = 0.0
    running: threading.Thread | None = None

    def __call__(self) -> None:
        """Begin a purge where it is time for one and none is going on."""
        if time.monotonic() < self.next_time or (self.running is not None and self.running.is_alive()):
            return
        self.next_time = time.monotonic() + EVERY_SECONDS
        self.running = threading.Thread(target=self._purge, daemon=True)
        self.running.start()

    def _purge(self) -> None:
        try:
            number = self.site.purge_targets()
        except (RoundsError, sqlite3.Error) as error:
            log.warning("targets could not be purged, tried again in an hour: %s", describe(error))
            return
        if number:
            log.info("targets of %d patients purged: no approved study uses them any more", number)
