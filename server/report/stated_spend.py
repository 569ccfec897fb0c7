"""What the records say of who stated its spend, and whether a statement is older than the last request.

In: a `Summary`. Out: names of sites and rounds. A site that let no statement out has spent an unknown amount, not
none; one that was asked after its last statement may have spent more than it says.
"""

import math

from server.runs.summary import Summary


def sites(summary: Summary) -> list[str]:
    """Every site that is named anywhere, sorted."""
    named = {site for one in summary.rounds for site in (*one.answered, *one.missing, *one.epsilon)}
    return sorted(named | set(summary.statements) | set(summary.epsilon))


def sites_without_statement(summary: Summary) -> list[str]:
    """Sites that took part and whose ledger the hub never heard of."""
    return [site for site in sites(summary) if site not in summary.statements]


def stale_since(summary: Summary, site: str) -> int | None:
    """Round of the site's last statement where it was asked again later; None where the records show no such gap.

    Each private round adds to epsilon, so the last statement is of the round that first shows its figure.
    """
    final = summary.epsilon.get(site)
    stated = [(one.round, one.epsilon[site]) for one in summary.rounds if site in one.epsilon]
    of_round = [
        number
        for number, value in stated
        if None not in (value, final) and math.isclose(float(value or 0), float(final or 0))
    ]
    if not of_round:
        return None  # stated after the rounds, or in a round that the records do not name
    asked = [one.round for one in summary.rounds if site in one.answered or site in one.missing]
    last = summary.rounds[-1].round
    evaluation_unanswered = any(
        (one.round, one.site) == (last, site) and one.code in {"deadline", "answered"}
        for one in summary.events
    )
    later = max(asked, default=0) > of_round[0] or evaluation_unanswered
    return of_round[0] if later else None
