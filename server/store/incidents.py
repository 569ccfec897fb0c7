"""Incidents: evidence that did not arrive as it should, on record in the hub's own chain.

In: which source, which study, and what happened, in a sentence of ours. Out: one record, however often it is tried.
"""

import logging

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from server.store.append import append_own
from server.store.chain import canonical
from server.store.record_kinds import IncidentBody
from server.store.schema import RECORDS
from server.store.transactions import writing

log = logging.getLogger("rounds.store")


def record_incident(engine: sa.Engine, source: str, study_uid: str, what: str, own: str = "store") -> bool:
    """Put an incident on record, unless the same one stands there; returns whether it is new.

    A store that cannot be written is only logged: whoever asks goes on.
    """
    body = IncidentBody(source=source, what=what)
    same = sa.select(RECORDS.c.id).where(
        RECORDS.c.study_uid == study_uid,
        RECORDS.c.kind == body.kind,
        RECORDS.c.body == canonical(body.model_dump(mode="json")),
    )
    try:
        with writing(engine).begin() as connection:
            if connection.execute(same.limit(1)).first() is not None:
                return False
            append_own(connection, own, study_uid, body)
    except SQLAlchemyError as error:
        log.error("incident: is not on record, the store cannot be written (%s)", type(error).__name__)
        return False
    log.error("incident: %s: %s", source, what)
    return True
