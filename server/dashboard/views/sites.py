"""The page of the sites: who is well, what each runs and sent, what was refused; compared only as chance allows.

In: the store. Out: one frozen value.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from server.dashboard.figures.funnel import FEWEST, Share, funnel_figure
from server.dashboard.views.head import Head
from server.presentation.formatting import in_bytes
from server.presentation.model_names import OWN
from server.presentation.svg_charts import Figure
from server.store.projections import ACCEPTED
from server.store.record_kinds import EVERY
from server.store.schema import FIGURES, PARTICIPATION, RELEASES, SITES

NUM_REFUSALS: Final = 100
_SAME_CODE, _OTHER_CODE = ("✓", "the study's code"), ("✕", "other code than the study's")


@dataclass(frozen=True)
class Comparison:
    """How the page names what is compared: made hospitals are the images' own sites, real ones are not."""

    heading: str
    title: str
    words: str


@dataclass(frozen=True)
class SiteLine:
    """One site: its health in shape and word, when it was last heard of, what it runs and sent."""

    site: str
    mark: str
    health: str
    last_seen: datetime
    declared: str
    code: str
    code_mark: str
    code_word: str
    versions: str
    accepted: int
    refused: int
    sent: str


@dataclass(frozen=True)
class Refusal:
    """Answers of one site that were refused for one reason."""

    site: str
    kind: str
    why: str
    times: int
    last: datetime


@dataclass(frozen=True)
class SitesView:
    """Everything the page prints."""

    finding: str
    sites: tuple[SiteLine, ...]
    refusals: tuple[Refusal, ...]
    funnel: Figure | None
    fewest: int
    comparison: Comparison


_OF_SIMULATION: Final = Comparison(
    "Between sites",
    "Right answers by site of origin of the public test images",
    "Sites are never ranked: small ones land at either end by chance. The plot shows each site's share of right "
    "answers over its number of patients, inside the limits that chance alone gives.",
)
_OF_FEDERATION: Final = Comparison(
    "Between sources of the public images",
    "Right answers by source of the public test images",
    "These names are sources of the hub's public test images. The hospitals of this federation are not compared: their "
    "images are not at the hub. Sources are never ranked: small ones land at either end by chance. The plot shows each "
    "source's share of right answers over its number of patients, inside the limits that chance alone gives.",
)


def sites_view(connection: sa.Connection, head: Head) -> SitesView:
    """Read the page, in five statements."""
    missed = _missing_last_round(connection, head)
    sites = _sites(connection, head, head.code_digest, missed)
    refusals = _refusals(connection, head.uid)
    away = [one.site for one in sites if one.mark == "✕"]
    finding = (
        "No site has enrolled yet."
        if not sites
        else f"{len(sites) - len(away)} of {len(sites)} sites took part in the last round."
        + (f" Missing: {', '.join(away[:8])}{' and more' if len(away) > 8 else ''}." if away else "")
    )
    shares = _shares(connection, head.uid)
    comparison = _OF_SIMULATION if head.simulation else _OF_FEDERATION
    funnel = funnel_figure(comparison.title, "share right", shares)
    return SitesView(finding, sites, refusals, funnel, FEWEST, comparison)


def _missing_last_round(connection: sa.Connection, head: Head) -> dict[str, str]:
    """Return why sites were missing in the last closed round."""
    table = PARTICIPATION.c
    rows = connection.execute(
        sa.select(table.site, table.outcome).where(
            table.study_uid == head.uid, table.round == head.rounds_done, table.outcome != ACCEPTED
        )
    )
    return {site: outcome for site, outcome in rows}  # noqa: C416 - rows are not pairs to mypy


def _sites(connection: sa.Connection, head: Head, code: str, missed: dict[str, str]) -> tuple[SiteLine, ...]:
    sent = RELEASES.c
    accepted = sa.func.sum(sa.case((sent.outcome == ACCEPTED, 1), else_=0))
    counts = (
        sa.select(sent.site, accepted.label("accepted"), sa.func.count().label("all"),
                  sa.func.sum(sent.num_bytes).label("num_bytes"))
        .where(sent.study_uid == head.uid).group_by(sent.site).subquery()
    )  # fmt: skip
    rows = connection.execute(
        sa.select(SITES, counts.c.accepted, counts.c.all, counts.c.num_bytes)
        .join_from(SITES, counts, counts.c.site == SITES.c.site, isouter=True)
        .where(SITES.c.study_uid == head.uid)
        .order_by(SITES.c.site)
    ).mappings()
    lines = []
    for row in rows:
        good = int(row["accepted"] or 0)
        code_mark, code_word = _SAME_CODE if row["code_digest"] == code else _OTHER_CODE
        why = missed.get(row["site"])
        lines.append(
            SiteLine(
                site=row["site"],
                mark="✓" if why is None else "✕",
                health="took part in the last round" if why is None else f"missing: {why}",
                last_seen=row["last_seen"],
                declared=str(row["declared_patients"]),
                code=row["code_digest"][:12],
                code_mark=code_mark,
                code_word=code_word,
                versions=", ".join(f"{name} {number}" for name, number in sorted(row["versions"].items())),
                accepted=good,
                refused=int(row["all"] or 0) - good,
                sent=in_bytes(int(row["num_bytes"] or 0)),
            )
        )
    return tuple(lines)


def _refusals(connection: sa.Connection, uid: str) -> tuple[Refusal, ...]:
    table = RELEASES.c
    times = sa.func.count()
    rows = connection.execute(
        sa.select(
            table.site, table.release, table.outcome, times, sa.func.max(table.time, type_=table.time.type)
        )
        .where(table.study_uid == uid, table.outcome != ACCEPTED)
        .group_by(table.site, table.release, table.outcome)
        .order_by(table.site, times.desc())
        .limit(NUM_REFUSALS)
    )
    return tuple(Refusal(*row) for row in rows)


def _shares(connection: sa.Connection, uid: str) -> list[Share]:
    """Return the student's accuracy by site of origin of the public test images, over patients."""
    table = FIGURES.c
    rows = connection.execute(
        sa.select(table.from_source, table.value, table.n).where(
            table.study_uid == uid, table.of == "evaluation", table.name == "accuracy", table.label == EVERY,
            table.subject.in_(OWN), table.from_source != EVERY, table.value.is_not(None),
        )
    )  # fmt: skip
    return [Share(source, value, n) for source, value, n in rows]
