"""The statements behind the privacy page, each cut by the database.

In: the store. Out: plain rows by site.
"""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from server.store.projections import ACCEPTED
from server.store.schema import DOCUMENTS, PARTICIPATION, RELEASES, SITES, STATEMENTS
from shared.messages.release_kinds import LedgerStatement

MOST_POINTS: Final = 60  # of one site's line


@dataclass(frozen=True)
class Stated:
    """A site's newest ledger statement, the round of it, and whether its head follows the one remembered."""

    round: int
    follows: bool | None
    statement: LedgerStatement
    first_said: int | None  # the first round whose statement says this epsilon; None where no guarantee holds
    last_asked: int | None  # the last round that names the site, whether it answered or not

    @property
    def stale_since(self) -> int | None:
        """Round in which the site stated its epsilon, where it was asked later and so may have spent more."""
        if self.first_said is None or self.last_asked is None:
            return None
        return self.first_said if self.last_asked > self.first_said else None


def last_statements(connection: sa.Connection, uid: str) -> dict[str, Stated | None]:
    """Return the newest statement of each enrolled site, None for a site that let none out, by name."""
    table = STATEMENTS.c
    newest = (
        sa.select(sa.func.max(table.id).label("id"))
        .where(table.study_uid == uid)
        .group_by(table.site)
        .subquery()
    )
    stated = (
        sa.select(table.site, table.round, table.follows, table.statement, table.epsilon)
        .join(newest, newest.c.id == table.id)
        .subquery()
    )
    names = (
        sa.select(SITES.c.site).where(SITES.c.study_uid == uid)
        .union(sa.select(table.site).where(table.study_uid == uid)).subquery()
    )  # fmt: skip
    asked = (
        sa.select(sa.func.max(PARTICIPATION.c.round))
        .where(PARTICIPATION.c.study_uid == uid, PARTICIPATION.c.site == names.c.site)
        .scalar_subquery()
    )
    alike = STATEMENTS.alias("alike").c
    first = (
        sa.select(sa.func.min(alike.round))
        .where(alike.study_uid == uid, alike.site == names.c.site, alike.epsilon == stated.c.epsilon)
        .scalar_subquery()
    )
    rows = connection.execute(
        sa.select(names.c.site.label("name"), stated, first.label("first_said"), asked.label("last_asked"))
        .join_from(names, stated, stated.c.site == names.c.site, isouter=True)
        .order_by(names.c.site)
    )
    return {
        row.name: None
        if row.site is None
        else Stated(
            row.round,
            row.follows,
            LedgerStatement.model_validate(row.statement),
            row.first_said,
            row.last_asked,
        )
        for row in rows
    }


def spend_series(
    connection: sa.Connection, uid: str, rounds_done: int
) -> dict[str, tuple[tuple[int, float | None], ...]]:
    """Return (round, epsilon) of each site, one point for each stretch of rounds, at most `MOST_POINTS`."""
    table = STATEMENTS.c
    width = max(1, -(-max(rounds_done, 1) // MOST_POINTS))
    stretch = table.round // width
    rows = connection.execute(
        sa.select(table.site, sa.func.max(table.round), sa.func.max(table.epsilon))
        .where(table.study_uid == uid)
        .group_by(table.site, stretch)
        .order_by(table.site, sa.func.max(table.round))
    )
    series: dict[str, list[tuple[int, float | None]]] = {}
    for site, number, epsilon in rows:
        series.setdefault(site, []).append((number, epsilon))
    return {site: tuple(points) for site, points in series.items()}


def unfollowed_heads(connection: sa.Connection, uid: str) -> dict[str, int]:
    """Return how often a site's ledger head did not follow the one remembered; sites without such a case are absent."""
    table = STATEMENTS.c
    rows = connection.execute(
        sa.select(table.site, sa.func.count())
        .where(table.study_uid == uid, table.follows.is_(False))
        .group_by(table.site)
    )
    return {site: count for site, count in rows}  # noqa: C416 - rows are not pairs to mypy


def releases_by_kind(connection: sa.Connection, uid: str) -> list[tuple[str, int, int, int]]:
    """Return (kind, accepted, refused, bytes) over all sites."""
    table = RELEASES.c
    accepted = sa.func.sum(sa.case((table.outcome == ACCEPTED, 1), else_=0))
    rows = connection.execute(
        sa.select(table.release, accepted, sa.func.count() - accepted, sa.func.sum(table.num_bytes))
        .where(table.study_uid == uid)
        .group_by(table.release)
        .order_by(table.release)
    )
    return [(kind, int(good), int(bad), int(sent)) for kind, good, bad, sent in rows]


def documents(connection: sa.Connection, uid: str, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return a study's documents of these names; one that was not written is absent."""
    table = DOCUMENTS.c
    rows = connection.execute(
        sa.select(table.name, table.document).where(table.study_uid == uid, table.name.in_(names))
    )
    return {name: document for name, document in rows}  # noqa: C416 - rows are not pairs to mypy


def all_statements(connection: sa.Connection, uid: str) -> list[tuple[Any, ...]]:
    """Return every statement: site, round, epsilon, delta, cap, ledger row and hash, whether its head follows."""
    table = STATEMENTS.c
    rows = connection.execute(
        sa.select(table.site, table.round, table.epsilon, table.delta, table.cap_epsilon, table.head_seq,
                  table.head_hash, table.follows)
        .where(table.study_uid == uid).order_by(table.site, table.id)
    )  # fmt: skip
    return [tuple(row) for row in rows]
