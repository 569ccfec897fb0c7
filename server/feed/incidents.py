"""Incidents of the feed: evidence that did not arrive as it should, on record in the hub's own chain.

In: which source, which study, and what happened, in a sentence of ours. Out: one record, however often it is tried.
"""

import logging
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from server.store.append import append_own
from server.store.database import writing
from server.store.records import IncidentBody
from server.store.schema import EVENTS

log = logging.getLogger("rounds.feed")
OWN_SOURCE: Final = "feed"


def record_incident(store: sa.Engine, source: str, study_uid: str, what: str) -> None:
    """Put an incident on record, unless the same one stands there; a store that cannot be written is only logged."""
    log.error("incident: %s: %s", source, what)
    same = sa.select(EVENTS.c.id).where(
        EVENTS.c.study_uid == study_uid, EVENTS.c.kind == "incident", EVENTS.c.what == f"{source}: {what}"
    )
    try:
        with writing(store).begin() as connection:
            if connection.execute(same.limit(1)).first() is None:
                append_own(connection, OWN_SOURCE, study_uid, IncidentBody(source=source, what=what))
    except SQLAlchemyError as error:
        log.error("incident: is not on record, the store cannot be written (%s)", type(error).__name__)
