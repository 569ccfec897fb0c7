"""The connections of a federation as lines of text and as JSON, for `rounds-hub sites`.

In: what `server.connections.connections` gathered. Out: words; the dashboard shows the same values.
"""

from collections.abc import Iterator
from typing import Any, Final

from server.connections.connections import Connections
from server.connections.next_steps import Known, SiteFacts

COLUMNS: Final = (
    "site",
    "standing",
    "since",
    "connection",
    "app bundle",
    "study",
    "data",
    "turn",
    "fingerprint",
)


def connection_rows(found: Connections) -> Iterator[tuple[str, ...]]:
    """Yield one row a site."""
    for one in found.sites:
        facts = one.facts
        said = [
            _said(known) if facts.standing == "admitted" else ""
            for known in (facts.code, facts.study, facts.data)
        ]
        yield (
            facts.site,
            facts.standing,
            f"{facts.since:%Y-%m-%d}",
            connection_word(facts),
            *said,
            one.turn,
            one.key[:16],
        )


def connection_lines(found: Connections) -> Iterator[str]:
    """Yield the sentences beside the table: the next step of each site, the hub's own state, and the certificates."""
    for one in found.sites:
        yield f"{one.facts.site}: {one.next_step}"
    if found.hub.why:
        yield found.hub.why
    yield from found.notes
    for held in found.certificates:
        yield f"certificate of the {held.what} holds until {held.ends:%Y-%m-%d} ({held.days} days)"


def connections_json(found: Connections) -> dict[str, Any]:
    """Return everything as plain values."""
    return {
        "federation": found.federation,
        "address": found.address,
        "serves": found.hub.serves,
        "bundle": found.situation.bundle,
        "study": found.situation.study,
        "study_state": found.situation.study_state,
        "certificates": {held.what.lower(): held.ends.isoformat() for held in found.certificates},
        "notes": [*found.notes, *([found.hub.why] if found.hub.why else [])],
        "sites": [
            {
                "name": one.facts.site,
                "standing": one.facts.standing,
                "since": one.facts.since.isoformat(),
                "removed": one.facts.since.isoformat() if one.facts.standing == "removed" else None,
                "fingerprint": one.key,
                "connection": one.facts.connection,
                "last_seen": None if one.facts.last_seen is None else one.facts.last_seen.isoformat(),
                "code": vars(one.facts.code),
                "study": vars(one.facts.study),
                "data": vars(one.facts.data),
                "last_answer": last_answer(one.facts),
                "missing": list(one.missing),
                "turn": one.turn,
                "next_step": one.next_step,
            }
            for one in found.sites
        ],
    }


def connection_word(facts: SiteFacts) -> str:
    """Say whether a site is connected, and when it was last where it is not."""
    seen = facts.last_seen
    return (
        f"offline since {seen:%Y-%m-%d %H:%M}" if facts.connection == "offline" and seen else facts.connection
    )


def last_answer(facts: SiteFacts) -> str:
    """Say what a site answered last, and in which part of the study; empty where it was not asked."""
    answer = facts.answer
    return "" if answer is None or answer.round is None else f"{answer.stage}: {answer.outcome}"


def _said(known: Known) -> str:
    return f"{known.word} ({known.how})" if known.how else known.word
