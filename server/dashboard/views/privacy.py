"""The privacy page: what each site's own ledger says was spent, over time and by kind of release, against its cap.

In: ledger statements that sites released. Out: one frozen value. Nothing is computed from a configuration: a site that
stated nothing has spent an unknown amount, not none.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import sqlalchemy as sa
from markupsafe import Markup

from server.dashboard.figures.spend import Spend, cap_bar, spend_figure
from server.dashboard.views.head import Head
from server.dashboard.views.membership import membership_of
from server.dashboard.views.privacy_rows import (
    Stated,
    last_statements,
    releases_by_kind,
    spend_series,
    unfollowed_heads,
)
from server.presentation.formatting import NOT_STATED, in_bytes, shown
from server.presentation.membership_statements import MembershipView
from server.presentation.privacy_label import missing_fields
from server.presentation.privacy_section import (
    Label,
    claim,
    label_of,
    no_guarantee,
    not_covered,
    spent_words,
)
from server.presentation.privacy_statements import WITHOUT_PRIVACY
from server.presentation.svg_charts import Figure
from shared.config.study import Privacy

NOT_SHOWN: Final = "not shown by the hospital"
_FOLLOWS: Final = {True: ("✓", "follows"), False: ("✕", "does not follow"), None: ("—", "first statement")}


@dataclass(frozen=True)
class SiteSpend:
    """One site: what it spent and may spend, and whether its ledger is the one that was remembered."""

    site: str
    epsilon: str
    delta: str
    cap: str
    bar: Markup | None
    rounds_left: str
    as_of_round: str
    head: str
    mark: str
    head_word: str
    gaps: tuple[str, ...]


@dataclass(frozen=True)
class KindOfRelease:
    """Answers of one kind, over all sites."""

    kind: str
    accepted: int
    refused: int
    sent: str


@dataclass(frozen=True)
class PrivacyView:
    """Everything the page prints."""

    holds: bool
    finding: str
    claim: str
    sites: tuple[SiteSpend, ...]
    spend: Figure | None
    label: Label
    kinds: tuple[KindOfRelease, ...]
    membership: MembershipView
    not_covered: tuple[str, ...]
    silent: tuple[str, ...]

    @property
    def kind_rows(self) -> list[tuple[str, ...]]:
        """Releases by kind, as cells."""
        return [(one.kind, str(one.accepted), str(one.refused), one.sent) for one in self.kinds]


def privacy_view(connection: sa.Connection, head: Head) -> PrivacyView:
    """Read the page, in six statements."""
    stated = last_statements(connection, head.uid)
    series = spend_series(connection, head.uid, head.rounds_done)
    lost = unfollowed_heads(connection, head.uid)
    privacy = head.config.privacy
    clip = shown(privacy.max_grad_norm)
    silent = tuple(site for site, row in stated.items() if row is None)
    statements = {site: row.statement for site, row in stated.items() if row is not None}
    epsilon = {site: one.epsilon for site, one in statements.items()}
    spent = {
        site: spent_words(row.statement.epsilon, row.stale_since)
        for site, row in stated.items()
        if row is not None
    }
    rows = tuple(
        _site(site, row, series.get(site, ()), clip, lost.get(site, 0)) for site, row in stated.items()
    )
    return PrivacyView(
        holds=no_guarantee(epsilon, private=privacy.enabled) is None,
        finding=_finding(privacy, stated, lost),
        claim=claim(epsilon, silent, private=privacy.enabled),
        sites=rows,
        spend=spend_figure([Spend(site, points) for site, points in series.items()], privacy.epsilon),
        label=label_of(tuple(stated), statements, spent, clip),
        kinds=tuple(
            KindOfRelease(kind.replace("_", " "), accepted, refused, in_bytes(sent))
            for kind, accepted, refused, sent in releases_by_kind(connection, head.uid)
        ),
        membership=membership_of(connection, head),
        not_covered=not_covered(statements, epsilon, private=privacy.enabled),
        silent=silent,
    )


def rounds_left(points: tuple[tuple[int, float | None], ...], cap: float | None) -> str:
    """Say how many more such rounds the cap allows, from the spend of the last rounds.

    Spend grows ever more slowly under composition of equal rounds, so going on along the last slope says too few
    rounds rather than too many.
    """
    known = [(number, value) for number, value in points if value is not None]
    rises = [
        (value - before) / (number - earlier)
        for (earlier, before), (number, value) in pairwise(known)
        if value > before and number > earlier
    ]
    if cap is None or not rises:
        return NOT_STATED
    return f"at least {math.floor(max(cap - known[-1][1], 0) / rises[-1])}"


def _site(
    site: str,
    one: Stated | None,
    points: tuple[tuple[int, float | None], ...],
    clip: str,
    num_lost: int,
) -> SiteSpend:
    gaps = missing_fields(None if one is None else one.statement, clip)
    if one is None:
        return SiteSpend(
            site, NOT_STATED, NOT_STATED, NOT_STATED, None, NOT_STATED, "—", NOT_STATED, "—", NOT_STATED, gaps
        )
    statement = one.statement
    epsilon, cap = statement.epsilon, statement.cap_epsilon
    mark, word = _FOLLOWS[False] if num_lost else _FOLLOWS[one.follows]
    return SiteSpend(
        site=site,
        epsilon="no guarantee" if epsilon is None else f"{epsilon:.2f}",
        delta=shown(statement.delta),
        cap=NOT_SHOWN if cap is None else shown(cap),
        bar=None if epsilon is None or cap is None else cap_bar(site, epsilon, cap),
        rounds_left=NOT_SHOWN if cap is None else rounds_left(points, cap),
        as_of_round=str(one.round),
        head=f"{statement.head_seq} · {statement.head_hash[:16]}",
        mark=mark,
        head_word=word,
        gaps=gaps,
    )


def _finding(privacy: Privacy, stated: Mapping[str, Stated | None], lost: Mapping[str, int]) -> str:
    """Say the finding in words, before any figure."""
    if not privacy.enabled:
        return WITHOUT_PRIVACY
    if not stated:
        return "No site has taken part yet, so nothing has been spent that this store knows of."
    found = {site: row.statement.epsilon for site, row in stated.items() if row is not None}
    spent = [epsilon for epsilon in found.values() if epsilon is not None]
    open_ended = [site for site, epsilon in found.items() if epsilon is None]
    silent = [site for site, row in stated.items() if row is None]
    parts = []
    if spent:
        parts.append(
            f"The most that a site's ledger states to have spent on one patient is epsilon {max(spent):.2f}; the "
            f"study asked for at most {shown(privacy.epsilon)}."
        )
    if open_ended:
        parts.append(f"At {_names(open_ended)} no guarantee holds.")
    if silent:
        parts.append(f"{_names(silent)} let no ledger statement out: what was spent there is not known.")
    if lost:
        parts.append(
            f"The ledger of {_names(sorted(lost))} does not follow the head remembered: restored or cut."
        )
    return " ".join(parts)


def _names(sites: list[str]) -> str:
    return ", ".join(sites) if len(sites) <= 6 else f"{', '.join(sites[:6])} and {len(sites) - 6} more"
